"""Habits of the page on the server's side: what is dropped on a prompt, the folder button, styles, the live preview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schema.errors import InvalidRequest, OutputError
from schema.results import GeneratedImage
from schema.settings import Settings
from schema.store import SettingsStore
from schema.styles import Style, StyleLibrary, read_styles
from tests.contract.fake_manager import FakeManager
from ui import habits
from ui.app import arrange_tabs
from ui.habits import dropped_infotext, folder_html, folder_of, is_same_machine, open_folder
from ui.output_panel import preview_html
from ui.quicksettings import checkpoint_entries

RECORD = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64"


@pytest.fixture
def manager(tmp_path: Path) -> FakeManager:
    return FakeManager(tmp_path / "outputs", settings=SettingsStore(tmp_path / "config.json"))


def picture_in(path: Path | None) -> GeneratedImage:
    image = Image.new("RGB", (8, 8))
    return GeneratedImage(image=image, infotext="", seed=1, subseed=-1, prompt="", negative_prompt="", path=path)


def asked_from(host: str, **headers: str) -> Any:
    return SimpleNamespace(client=SimpleNamespace(host=host), headers=headers)


def test_a_dropped_picture_gives_its_record(tmp_path: Path) -> None:
    chunks = PngInfo()
    chunks.add_text("parameters", RECORD)
    Image.new("RGB", (8, 8)).save(tmp_path / "fox.png", pnginfo=chunks)
    assert dropped_infotext(str(tmp_path / "fox.png")) == RECORD


def test_a_dropped_text_is_taken_as_it_is_and_an_odd_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "fox.txt").write_text(RECORD, encoding="utf-8-sig")
    assert dropped_infotext(str(tmp_path / "fox.txt")) == RECORD
    (tmp_path / "odd.txt").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(InvalidRequest, match="neither a picture nor a text"):
        dropped_infotext(str(tmp_path / "odd.txt"))
    (tmp_path / "long.txt").write_text("x" * (habits.MAX_TEXT_BYTES + 1))
    with pytest.raises(InvalidRequest, match=str(habits.MAX_TEXT_BYTES + 1)):
        dropped_infotext(str(tmp_path / "long.txt"))


def test_a_dropped_picture_without_a_record_says_so(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(InvalidRequest, match="says nothing"):
        dropped_infotext(str(tmp_path / "plain.png"))


def test_the_folder_is_the_pictures_or_that_of_all_of_its_kind(manager: FakeManager) -> None:
    picture = picture_in(manager.paths.outputs / "txt2img-images" / "2026-01-01" / "00001.png")
    assert folder_of(manager, None) == folder_of(manager, picture_in(None)) == manager.paths.outputs  # type: ignore[arg-type]
    assert folder_of(manager, picture).name == "2026-01-01"  # type: ignore[arg-type]
    manager.settings.update({"open_dir_button_choice": "Output Root"})
    assert folder_of(manager, picture).name == "txt2img-images"  # type: ignore[arg-type]


def test_a_folder_is_opened_only_for_a_browser_on_the_same_machine(manager: FakeManager) -> None:
    assert is_same_machine(manager, asked_from("127.0.0.1"))  # type: ignore[arg-type]
    assert not is_same_machine(manager, asked_from("192.168.1.20"))  # type: ignore[arg-type]
    assert not is_same_machine(manager, asked_from("127.0.0.1", **{"X-Forwarded-For": "203.0.113.9"}))  # type: ignore[arg-type]
    manager.flags = replace(manager.flags, share=True)
    assert not is_same_machine(manager, asked_from("127.0.0.1"))  # type: ignore[arg-type]


def test_where_no_file_manager_can_be_shown_the_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(habits.sys, "platform", "linux")
    monkeypatch.setattr(habits.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(habits.subprocess, "Popen", lambda command, **_options: started.append(command))
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    assert not open_folder(tmp_path) and not started
    monkeypatch.setenv("DISPLAY", ":0")
    assert not open_folder(tmp_path / "absent")
    assert open_folder(tmp_path) and started == [["xdg-open", str(tmp_path)]]
    assert str(tmp_path) in folder_html(tmp_path)


def test_styles_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "styles.csv"
    library = StyleLibrary([file])
    library.save(Style(name="Ink", prompt='ink, "{prompt}"', negative_prompt="colour,\nnoise"))

    def fails(path: Path, write: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("schema.styles.write_atomically", fails)
    with pytest.raises(OutputError, match="No space left"):
        library.save(Style(name="Chalk", prompt="chalk"))
    (kept,) = read_styles(file)
    assert (kept.name, kept.prompt, kept.negative_prompt) == ("Ink", 'ink, "{prompt}"', "colour,\nnoise")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_the_live_preview_has_the_format_that_was_chosen(kind: str) -> None:
    assert f'src="data:image/{kind};base64,' in preview_html(Image.new("RGB", (700, 20)), kind)


def test_tabs_stand_in_the_order_that_was_chosen_and_settings_always_stays() -> None:
    settings = Settings().overridden({"ui_tab_order": ["B", "Settings"], "hidden_tabs": ["A", "Settings"]})
    with gr.Blocks(), gr.Tabs() as tabs:
        for name in ("A", "B", "Settings"):
            gr.Tab(name)
    arranged = [child for child in arrange_tabs(tabs, settings).children if isinstance(child, gr.Tab)]
    assert [(tab.label, tab.visible) for tab in arranged] == [("B", True), ("Settings", True), ("A", False)]


def test_the_checkpoint_list_leaves_out_folders_where_that_is_wanted(manager: FakeManager) -> None:
    manager.lists["checkpoints"] = ["sdxl/big.safetensors [0123456789]"]
    title = "sdxl/big.safetensors [0123456789]"
    assert checkpoint_entries(manager) == [(title, title)]  # type: ignore[arg-type]
    manager.settings.update({"sd_checkpoint_dropdown_use_short": True})
    assert checkpoint_entries(manager) == [("big.safetensors [0123456789]", title)]  # type: ignore[arg-type]
