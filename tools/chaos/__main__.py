"""`python -m tools.chaos`: gives the program fourteen bad inputs and prints what a user is told about each.

Makes its own toy model in a temporary folder and reaches nothing outside this machine. Exit status 1 when one of the
inputs did not get its sentence, or cost a picture, the model in use, or the program.
"""

import functools
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tools.chaos import keeping, models, starting, values
from tools.chaos.outcome import Outcome
from tools.chaos.toys import Toys, installed_toys


def cases(toys: Toys, folder: Path) -> list[Callable[[], Outcome]]:
    """The fourteen, in the order in which they are printed."""
    toy = toys.checkpoints / "toy"
    with_toys = (
        models.truncated_safetensors,
        models.pickle_with_a_command,
        models.lora_as_checkpoint,
        values.no_steps_and_too_many,
        values.tiny_picture,
        values.huge_picture,
        values.cfg_that_is_no_number,
        values.unknown_sampler,
        keeping.unwritable_outputs,
    )
    return [
        *(functools.partial(case, toys) for case in with_toys),
        lambda: starting.taken_port(folder / "port", toy),
        lambda: keeping.killed_while_saving(folder / "killed"),
        lambda: keeping.two_at_once(toys),
        lambda: starting.share_without_a_way_out(folder / "share", toy),
        lambda: starting.listen_without_credentials(folder / "listen"),
    ]


def main() -> int:
    """Prints a line for each input; the exit status."""
    logging.disable(logging.WARNING)
    started, bad = time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, installed_toys(Path(name)) as toys:
        inputs = cases(toys, Path(name))
        for number, case in enumerate(inputs, start=1):
            outcome = case()
            print(f"{number:2}. {outcome.given}: {outcome.sentence}", flush=True)
            for problem in outcome.problems:
                print(f"    FAILED: {problem}", flush=True)
            bad += bool(outcome.problems)
    print(f"\n{len(inputs) - bad} of {len(inputs)} as it should be, in {time.monotonic() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
