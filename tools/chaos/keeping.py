"""Pictures in danger: no place to write to, the program killed while writing, two requests at once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from PIL import Image

from pipelines.output.metadata import read_infotext
from schema.results import JobState
from tools.chaos.outcome import Outcome, judge
from tools.chaos.toys import Toys, pictures, told

ROOT = Path(__file__).parents[2]
KILLS_WANTED, MOST_KILLS = 3, 12


def unwritable_outputs(toys: Toys) -> Outcome:
    """An output folder that cannot be made, because a file has its name; works for an administrator too."""
    folder = toys.manager.paths.outputs / "txt2img-images"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file where the folder should be", encoding="utf-8")
    answer = toys.ask(save_images=True)
    folder.unlink()
    if answer.status_code != 200:
        return judge("an outputs folder that cannot be written", told(answer), names=[], problems=["no picture"])
    sentence = " ".join(json.loads(answer.json()["info"]).get("warnings", []))
    problems = ["" if len(pictures(answer)) == 1 else "the picture is lost", toys.still_works()]
    names = [str(folder), "not a folder", "gallery"]
    return judge("an outputs folder that cannot be written", sentence, names=names, problems=problems)


def killed_while_saving(folder: Path) -> Outcome:
    """Processes that save without pause, killed at any moment until some were killed in the middle of a file."""
    folder.mkdir()
    reported: list[str] = []
    unfinished: list[Path] = []
    for _ in range(MOST_KILLS):
        reported += _killed_saver(folder)
        unfinished = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"]
        if len(unfinished) >= KILLS_WANTED:
            break
    whole = [path for path in folder.rglob("*.png") if _is_whole(path)]
    saved_later = subprocess.run(
        [sys.executable, "-m", "tools.chaos.saver", folder, "1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    names = {str(path) for path in whole}
    problems = [
        "" if unfinished else "no kill met a file being written",
        "" if len(whole) >= len(reported) else "fewer pictures than were reported",
        *(f"{path} was reported saved and is broken or gone" for path in reported if path not in names),
        *(f"{path} is broken" for path in folder.rglob("*.png") if not _is_whole(path)),
        "" if _is_whole(Path(saved_later.stdout.strip() or "none")) else "nothing can be saved afterwards",
    ]
    sentence = (
        f"No broken picture: all {len(whole)} .png open with their record; {len(unfinished)} writes were cut off under "
        f"a temporary name ('{unfinished[0].name if unfinished else ''}'), and the next picture is saved as usual."
    )
    return judge("SIGKILL in the middle of saving", sentence, names=["No broken picture"], problems=problems)


def two_at_once(toys: Toys) -> Outcome:
    """Two requests at the same moment: one waits and is told so, both get their own picture, and both are kept."""
    answers: dict[int, httpx.Response] = {}
    start = threading.Barrier(2)

    def ask(seed: int) -> None:
        start.wait()
        answers[seed] = toys.ask(seed=seed, steps=20, save_images=True)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    waiting = ""
    while any(thread.is_alive() for thread in threads):
        queued = [job for job in toys.manager.jobs() if job.state is JobState.QUEUED]
        waiting = waiting or next((job.progress().text for job in queued), "")
        time.sleep(0.005)
    delivered = {seed: pictures(answer) for seed, answer in answers.items() if answer.status_code == 200}
    kept = [path.stem.rpartition("-")[2] for path in toys.manager.paths.outputs.rglob("*.png")]
    distinct = {image.tobytes() for images in delivered.values() for image in images}
    problems = [
        "" if len(delivered) == 2 and len(distinct) == 2 else f"{len(distinct)} pictures were delivered",
        *("" if str(seed) in kept else f"the picture of seed {seed} was not kept" for seed in (1, 2)),
    ]
    sentence = f"The second is told '{waiting}'; both pictures were delivered and kept." if waiting else ""
    return judge("two generates at once", sentence, names=["queue"], problems=problems)


def _killed_saver(folder: Path) -> list[str]:
    """Where a saver that was killed after some pictures says they lie."""
    command = [sys.executable, "-m", "tools.chaos.saver", str(folder), "1000000"]
    saver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert saver.stdout is not None
    first = [saver.stdout.readline().strip() for _ in range(2)]
    time.sleep(random.uniform(0.0, 0.2))
    saver.kill()
    rest, _ = saver.communicate()
    # The last line may be cut off, as the process was.
    return [line for line in [*first, *rest.split("\n")] if line.endswith(".png")]


def _is_whole(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
            return read_infotext(image)[0] == "a record"
    except OSError:
        return False
