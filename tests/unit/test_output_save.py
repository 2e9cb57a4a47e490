"""Saving: recorded paths, several processes at once, killed processes, full disks, archives and the log."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from pipelines.output import save as save_module
from pipelines.output.export import LOG_COLUMNS, append_log, save_selection, write_zip
from pipelines.output.filenames import NameFacts
from pipelines.output.metadata import read_infotext
from pipelines.output.save import SaveOptions, publish, save_image
from schema.errors import OutputError
from schema.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CASES = json.loads((ROOT / "tests" / "data" / "pure" / "filename.json").read_text(encoding="utf-8"))
RECORDED = [case for case in CASES["cases"] if case["input"]["op"] == "save"]
FACTS = NameFacts(
    prompt="a cat",
    seed=5,
    seeds=(5, 6, 7, 8),
    steps=20,
    cfg_scale=7.0,
    sampler="DPM++ 2M",
    now=datetime(2024, 3, 9, 17, 5, 42, tzinfo=UTC),
)
PICTURE = Image.new("RGB", (8, 8), (9, 9, 9))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("case", RECORDED, ids=[case["id"] for case in RECORDED])
def test_pictures_are_saved_where_recorded(case, tmp_path: Path):
    given, arguments = case["input"], case["input"]["args"]
    settings = Settings().overridden(given["settings"], restricted=True)
    for name in given["existing"]:
        (tmp_path / name).touch()
    saved = [
        save_image(
            PICTURE,
            tmp_path,
            facts=NameFacts(**{**vars(FACTS), "basename": arguments.get("basename", "")}),
            options=SaveOptions.taken_from(settings),
            infotext="text",
            extension=arguments.get("extension"),
            suffix=arguments.get("suffix", ""),
            is_grid=arguments.get("grid", False),
            is_short_name=arguments.get("short_filename", False),
            forced_name=arguments.get("forced_filename"),
            save_to_dirs=arguments.get("save_to_dirs"),
        )
        for _ in range(given["times"])
    ]
    paths = [
        [
            str(item.path.relative_to(tmp_path)),
            str(item.text_path.relative_to(tmp_path)) if item.text_path else None,
        ]
        for item in saved
    ]
    assert paths == case["output"]["saved"]
    assert files_below(tmp_path) == sorted(case["output"]["files"])


def test_existing_file_gets_company_when_it_may_not_be_replaced(tmp_path: Path):
    options = SaveOptions(save_images_add_number=False, save_images_replace_action="Add number suffix", save_txt=True)
    saved = [
        save_image(PICTURE, tmp_path, facts=FACTS, options=options, infotext=str(index), save_to_dirs=False)
        for index in range(3)
    ]
    assert [item.path.name for item in saved] == ["5.png", "5-1.png", "5-2.png"]
    assert [item.text_path.read_text() for item in saved if item.text_path] == ["0\n", "1\n", "2\n"]


def test_folder_pattern_cannot_leave_the_output_folder(tmp_path: Path):
    root = tmp_path / "outputs"
    for pattern in ("../../[date]", "/tmp/x", "a/../../../b", "[prompt]/..\\..", "~/x", "con/nul.png"):
        saved = save_image(PICTURE, root, facts=FACTS, options=SaveOptions(directories_filename_pattern=pattern))
        assert saved.path.resolve().is_relative_to(root.resolve())
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_link_out_of_the_output_folder_is_not_followed(tmp_path: Path):
    root, outside = tmp_path / "outputs", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(OutputError, match="Directory name pattern"):
        save_image(PICTURE, root, facts=FACTS, options=SaveOptions(directories_filename_pattern="link"))
    assert not list(outside.iterdir())


def test_file_pattern_with_a_folder_is_refused_with_advice(tmp_path: Path):
    with pytest.raises(OutputError, match="Directory name pattern"):
        save_image(PICTURE, tmp_path, facts=FACTS, options=SaveOptions(samples_filename_pattern="../[seed]"))
    assert files_below(tmp_path) == []


def test_long_names_are_cut_and_device_names_avoided(tmp_path: Path):
    options = SaveOptions(samples_filename_pattern="猫" * 300, save_to_dirs=False)
    saved = save_image(PICTURE, tmp_path, facts=FACTS, options=options)
    assert len(saved.path.name.encode()) <= 255 and saved.path.suffix == ".png"
    assert save_image(PICTURE, tmp_path, facts=FACTS, options=options, forced_name="con").path.name == "_con.png"


def test_oversized_webp_becomes_png(tmp_path: Path):
    saved = save_image(Image.new("L", (16384, 1)), tmp_path, facts=FACTS, options=SaveOptions(samples_format="webp"))
    assert saved.path.suffix == ".png"


def test_large_picture_gets_a_small_copy_with_its_text(tmp_path: Path):
    options = SaveOptions(export_for_4chan=True, target_side_length=10)
    saved = save_image(Image.new("RGB", (40, 20)), tmp_path, facts=FACTS, options=options, infotext="text")
    assert saved.small_path is not None
    with Image.open(saved.small_path) as small:
        assert small.size == (10, 5) and read_infotext(small)[0] == "text"
    only = save_image(Image.new("RGB", (40, 20)), tmp_path, facts=FACTS, options=options, extension="jpg")
    with Image.open(only.path) as image:
        assert only.small_path is None and image.size == (40, 20)


def test_text_that_a_jpeg_cannot_hold_goes_to_a_sidecar(tmp_path: Path):
    saved = save_image(PICTURE, tmp_path, facts=FACTS, options=SaveOptions(), infotext="x" * 40_000, extension="jpg")
    assert saved.text_path is not None and saved.text_path.read_text() == "x" * 40_000 + "\n"


@pytest.mark.parametrize("has_links", [True, False])
def test_many_savers_never_overwrite_each_other(tmp_path: Path, monkeypatch, has_links: bool):
    if not has_links:

        def refuse(*arguments):
            raise OSError(errno.EPERM, "no hard links here")

        monkeypatch.setattr(os, "link", refuse)
    options = SaveOptions(samples_filename_pattern="[none]")

    def save(number: int) -> Path:
        return save_image(PICTURE, tmp_path, facts=FACTS, options=options, infotext=str(number)).path

    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(save, range(40)))
    assert len(set(paths)) == 40
    for number, path in enumerate(paths):
        with Image.open(path) as image:
            assert read_infotext(image)[0] == str(number)
    assert len(files_below(tmp_path)) == 40


SAVER = """
import sys
from pathlib import Path
from PIL import Image
from pipelines.output.filenames import NameFacts
from pipelines.output.save import SaveOptions, save_image

image = Image.effect_noise((256, 256), 90).convert("RGB")
facts = NameFacts(seed=1)
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    options = SaveOptions(samples_filename_pattern="[none]")
    print(save_image(image, Path(sys.argv[1]), facts=facts, options=options, infotext="x").path, flush=True)
"""


def saver(folder: Path, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SAVER, str(folder), str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_two_processes_saving_at_once_keep_all_pictures(tmp_path: Path):
    processes = [saver(tmp_path, 15) for _ in range(2)]
    lines = [line for process in processes for line in process.communicate(timeout=60)[0].split() if line != "ready"]
    assert len(set(lines)) == 30 and len(files_below(tmp_path)) == 30


def test_killed_process_leaves_only_whole_pictures(tmp_path: Path):
    process = saver(tmp_path, 100_000)
    assert process.stdout is not None
    for _ in range(6):
        process.stdout.readline()
    time.sleep(0.013)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    pictures = list(tmp_path.rglob("*.png"))
    assert len(pictures) >= 5
    for path in pictures:
        with Image.open(path) as image:
            image.load()
    assert all(name.endswith((".png", ".tmp")) for name in files_below(tmp_path))


def test_name_is_given_once(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    assert publish(tmp_path / "a", tmp_path / "final")
    assert not publish(tmp_path / "b", tmp_path / "final")
    assert (tmp_path / "final").read_text() == "a"


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "read-only"), (errno.EIO, "Input/output")]
)
def test_failure_to_write_names_folder_and_reason_and_leaves_nothing(
    tmp_path: Path, monkeypatch, number: int, words: str
):
    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(save_module, "write_image", fail)
    with pytest.raises(OutputError) as caught:
        save_image(PICTURE, tmp_path, facts=FACTS, options=SaveOptions())
    assert words in str(caught.value) and str(tmp_path) in str(caught.value)
    assert files_below(tmp_path) == []


def test_file_in_the_way_of_a_folder_is_explained(tmp_path: Path):
    (tmp_path / "outputs").touch()
    with pytest.raises(OutputError, match="not a folder"):
        save_image(PICTURE, tmp_path / "outputs", facts=FACTS, options=SaveOptions())


def test_save_button_writes_pictures_and_one_row(tmp_path: Path):
    selection = [(PICTURE, "one", FACTS), (PICTURE, "two", FACTS)]
    row = {"prompt": "a, cat", "seed": 5, "steps": 20}
    for _ in range(2):
        saved = save_selection(selection, tmp_path, options=SaveOptions(), extension="png", log_row=row)
    assert [item.path.name for item in saved] == ["00002-5.png", "00003-5.png"]
    with (tmp_path / "log.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [entry["filename"] for entry in rows] == ["00000-5.png", "00002-5.png"]
    assert tuple(rows[0]) == LOG_COLUMNS and rows[1]["prompt"] == "a, cat"


def test_log_of_an_older_release_gets_the_missing_columns(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("prompt,seed,width,height,sampler,cfgs,steps,filename,negative_prompt\nold,1,2,3,4,5,6,7,8\n")
    append_log(path, {"prompt": "new", "sd_model_name": "m"})
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(entry["prompt"], entry["sd_model_name"]) for entry in rows] == [("old", ""), ("new", "m")]


def test_zip_holds_every_picture_under_a_name_of_its_own(tmp_path: Path):
    folders = [tmp_path / "a", tmp_path / "b"]
    files = [
        save_image(PICTURE, folder, facts=FACTS, options=SaveOptions(save_to_dirs=False)).path for folder in folders
    ]
    facts = NameFacts(**{**vars(FACTS), "model_name": "m", "batch_size": 2, "is_archive": True})
    path = write_zip(files, tmp_path, facts=facts, image=PICTURE)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["00000-5-a cat.png", "00000-5-a cat-1.png"]
        assert archive.testzip() is None
    assert path.name.endswith("_[m]_5-8.zip")
