"""GET progress, POST interrupt and skip, and A1111's /internal/progress by task id."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from pipelines.jobs import Job
from pipelines.manager import PipelineManager
from schema.images import encode_base64_image
from schema.results import JobState

STARTED = 0.01
"""A1111's progress as soon as a job has begun."""


class InternalProgressBody(BaseModel):
    """Which task, and which preview the page shows already."""

    id_task: str | None = None
    id_live_preview: int = -1
    live_preview: bool = True


def progress_routes(manager: PipelineManager) -> APIRouter:
    """The routes that tell how far a job is and that stop it."""
    router = APIRouter()

    @router.get("/sdapi/v1/progress")
    def progress(skip_current_image: bool = False, task_id: str | None = None) -> dict[str, Any]:
        job = manager.job(task_id) if task_id else manager.queue.current
        return _progress(job, with_image=not skip_current_image)

    @router.post("/sdapi/v1/interrupt")
    def interrupt() -> dict[str, Any]:
        manager.interrupt()
        return {}

    @router.post("/sdapi/v1/skip")
    def skip() -> None:
        manager.skip()

    @router.post("/internal/progress")
    def internal_progress(body: InternalProgressBody) -> dict[str, Any]:
        job = manager.job(body.id_task) if body.id_task else manager.queue.current
        return _internal(job, body)

    @router.get("/internal/pending-tasks")
    def pending_tasks() -> dict[str, Any]:
        tasks = [job.id for job in manager.jobs() if not job.finished]
        return {"size": len(tasks), "tasks": tasks}

    @router.get("/internal/ping")
    def ping() -> dict[str, Any]:
        return {}

    _ = progress, interrupt, skip, internal_progress, pending_tasks, ping
    return router


def _progress(job: Job | None, *, with_image: bool) -> dict[str, Any]:
    now = job.progress() if job else None
    busy = job is not None and now is not None and now.state is JobState.RUNNING
    state = {
        "skipped": bool(job and job.skipped),
        "interrupted": bool(job and job.interrupted),
        "stopping_generation": bool(job and job.stopping_generation),
        "job": job.id if job and busy else "",
        "job_count": ((now.job_count or -1) if busy and now else 0),
        "job_timestamp": job.timestamp if job and busy else "0",
        "job_no": now.job_no if now and busy else 0,
        "sampling_step": now.step if now and busy else 0,
        "sampling_steps": now.steps if now and busy else 0,
    }
    image = encode_base64_image(now.preview) if now and busy and with_image and now.preview else None
    return {
        "progress": min(STARTED + now.fraction, 1.0) if now and busy else 0.0,
        "eta_relative": (now.eta_s or 0.0) if now and busy else 0.0,
        "state": state,
        "current_image": image,
        "textinfo": now.text if now and busy else None,
    }


def _internal(job: Job | None, body: InternalProgressBody) -> dict[str, Any]:
    if job is None:
        return {"active": False, "queued": False, "completed": body.id_task is not None, "id_live_preview": -1}
    now = job.progress()
    preview = now.preview if body.live_preview and now.preview_id != body.id_live_preview else None
    return {
        "active": now.state is JobState.RUNNING,
        "queued": now.state is JobState.QUEUED,
        "completed": job.finished,
        "progress": now.fraction,
        "eta": now.eta_s,
        "live_preview": f"data:image/png;base64,{encode_base64_image(preview)}" if preview else None,
        "id_live_preview": now.preview_id,
        "textinfo": now.text,
    }
