"""The queue: order, stopping, errors, and what a waiting client sees."""

import threading

import pytest

from pipelines.jobs import Job, JobQueue
from schema.errors import Interrupted, InvalidRequest, OutputError
from schema.results import GenerationResult, JobState


@pytest.fixture
def queue():
    queue = JobQueue()
    yield queue
    queue.close(5)


def test_jobs_run_in_the_order_they_came(queue):
    seen = []
    jobs = [queue.submit(Job(lambda job, n=n: seen.append(n) or GenerationResult(), None)) for n in range(20)]
    assert all(job.wait(10) for job in jobs)
    assert seen == list(range(20))


def test_a_failing_job_tells_why_and_the_next_one_runs(queue):
    def fail(job):
        raise OutputError("The folder 'x' is read-only.")

    def crash(job):
        raise ZeroDivisionError("division by zero")

    failing, crashing = queue.submit(Job(fail, None)), queue.submit(Job(crash, None))
    good = queue.submit(Job(lambda job: GenerationResult(), None))
    assert good.wait(10)
    assert (failing.state, failing.error) == (JobState.FAILED, "The folder 'x' is read-only.")
    assert crashing.error == "ZeroDivisionError: division by zero"
    assert good.state is JobState.DONE


def test_waiting_jobs_know_how_many_are_before_them(queue):
    gate = threading.Event()
    first = queue.submit(Job(lambda job: gate.wait(10) and GenerationResult() or GenerationResult(), None))
    others = [queue.submit(Job(lambda job: GenerationResult(), None)) for _ in range(3)]
    seen = 0
    while first.state is not JobState.RUNNING:
        seen = first.wait_change(seen, 1)
    while others[0].progress().queue_position != 1:
        pass
    assert [job.progress().queue_position for job in others] == [1, 2, 3]
    others[0].cancel()
    gate.set()
    assert others[2].wait(10)
    assert others[0].state is JobState.CANCELLED
    assert others[2].state is JobState.DONE


def test_progress_counts_runs_and_steps(queue):
    seen = []

    def work(job):
        job.plan_runs(2)
        for _ in range(2):
            job.started_run(4)
            for step in range(1, 5):
                job.stepped(step)
                seen.append(round(job.progress().fraction, 4))
            job.finished_run()
        return GenerationResult()

    assert queue.submit(Job(work, None)).wait(10)
    assert seen == [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]


def test_interrupt_and_skip_are_noticed_between_steps(queue):
    job = Job(lambda job: GenerationResult(), None)
    job.raise_if_stopped()
    job.skip()
    with pytest.raises(Interrupted):
        job.raise_if_stopped()
    job.begin_batch()
    job.raise_if_stopped()
    assert not job.stop_requested
    job.interrupt(after_current=True)
    job.raise_if_stopped()
    assert job.stop_requested
    job.interrupt(after_current=True)
    with pytest.raises(Interrupted):
        job.raise_if_stopped()


def test_the_same_id_is_refused_while_its_job_lives(queue):
    gate = threading.Event()
    queue.submit(Job(lambda job: gate.wait(10) and GenerationResult() or GenerationResult(), None, job_id="task(a)"))
    with pytest.raises(InvalidRequest, match=r"task\(a\)"):
        queue.submit(Job(lambda job: GenerationResult(), None, job_id="task(a)"))
    gate.set()


def test_finished_jobs_are_found_again_by_their_owner(queue):
    job = queue.submit(Job(lambda job: GenerationResult(notes=("hello",)), None, owner="browser-1"))
    assert job.wait(10)
    assert [found.result.notes for found in queue.jobs("browser-1")] == [("hello",)]
    assert queue.jobs("browser-2") == []
    assert queue.get(job.id) is job
