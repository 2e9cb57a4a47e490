"""Bad files and values end in one sentence that names them; inputs that take processes are run by hand."""

from collections.abc import Callable, Iterator

import pytest

from tools.chaos import keeping, models, values
from tools.chaos.outcome import Outcome, judge
from tools.chaos.toys import Toys, installed_toys


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    """A small installation that all inputs are given to."""
    with installed_toys(tmp_path_factory.mktemp("chaos")) as installed:
        yield installed


@pytest.mark.parametrize(
    "case",
    [
        models.truncated_safetensors,
        models.pickle_with_a_command,
        models.lora_as_checkpoint,
        values.no_steps_and_too_many,
        values.tiny_picture,
        values.huge_picture,
        values.cfg_that_is_no_number,
        values.unknown_sampler,
        keeping.unwritable_outputs,
    ],
)
def test_bad_input_gets_its_sentence_and_costs_nothing(toys: Toys, case: Callable[[Toys], Outcome]) -> None:
    assert case(toys).problems == ()


def test_silence_wrong_words_and_tracebacks_are_failures() -> None:
    assert judge("x", "", names=["x"]).problems
    assert judge("x", "y is wrong", names=["x"]).problems
    assert judge("x", "Traceback (most recent call last)\nx", names=["x"]).problems
    assert judge("x", "x is wrong", names=["x"], problems=["the picture is lost"]).problems == ("the picture is lost",)
    assert judge("x", "x is wrong", names=["x"], problems=[""]) == Outcome(given="x", sentence="x is wrong")
