"""What the browser is asked to keep, and the defaults of ui-config.json on the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tests.contract.ui_client import PageClient, served
from ui.app import mount_page
from ui.keep import NOT_KEPT

RECORDED = Path(__file__).parents[1] / "data" / "api" / "ui-config.json"
CONTROLS = {
    "slider",
    "number",
    "textbox",
    "dropdown",
    "radio",
    "checkbox",
    "checkboxgroup",
    "colorpicker",
    "image",
    "file",
}
CHANGED = {
    "customscript/sampler.py/txt2img/Sampling steps/value": 31,
    "customscript/sampler.py/txt2img/Sampling steps/maximum": 90,
    "txt2img/Batch size/visible": False,
    "txt2img/Hires. fix/value": True,
    "img2img/Mask mode/value": "Inpaint not masked",
    "img2img/Denoising strength/value": 7,
}


class Page:
    """The page on the stand-in engine with an ui-config.json."""

    def __init__(self, url: str, manager: FakeManager) -> None:
        self.client, self.manager = PageClient(url, "kept"), manager

    def props(self, elem_id: str) -> dict[str, Any]:
        return self.client.props[self.client.id_of(elem_id)]

    def spec(self) -> dict[str, Any]:
        """What the browser is told about the controls."""
        script = next(d["js"] for d in self.client.config["dependencies"] if "keep.opened(" in str(d["js"]))
        return json.loads(script[script.index("{") : script.rindex(")")])

    def lists(self) -> dict[str, Any]:
        """What the browser is told when the page is opened."""
        number = self.client.id_of("keep_lists")
        opened = next(d for d in self.client.config["dependencies"] if number in d["outputs"])
        answer = self.client._run(opened, opened["targets"][0][0], {})[0]
        return json.loads(answer["keep_lists"])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("kept")
    values = json.loads(RECORDED.read_text()) | CHANGED
    (folder / "ui-config.json").write_text(json.dumps(values))
    manager = FakeManager(folder / "outputs", settings=SettingsStore(folder / "config.json"), step_s=0.0)
    app = FastAPI()
    mount_page(app, manager)
    with served(app) as url:
        yield Page(url, manager)


def test_every_control_of_every_tab_is_kept(page: Page) -> None:
    components = {entry["id"]: entry for entry in page.client.config["components"]}
    kept = {rule["id"] for rules in page.spec()["groups"].values() for rule in rules}
    missing: list[str] = []
    for node in inside_tabs(page):
        entry, props = components[node], components[node]["props"]
        shown = props.get("visible") is not False and props.get("interactive") is not False
        shown = shown and NOT_KEPT not in (props.get("elem_classes") or [])
        if entry["type"] in CONTROLS and shown and props.get("elem_id") not in kept:
            missing.append(f"{entry['type']} {props.get('elem_id')} {props.get('label')}")
    assert missing == []


def inside_tabs(page: Page) -> Iterator[int]:
    """Ids of everything in the page's tabs, except Settings, whose values are the server's."""
    settings = page.client.id_of("tab_settings")

    def walk(node: dict[str, Any]) -> Iterator[int]:
        if node["id"] == settings:
            return
        yield node["id"]
        for child in node.get("children") or []:
            yield from walk(child)

    tabs = page.client.id_of("tabs")
    root = next(node for node in nodes(page.client.config["layout"]) if node["id"] == tabs)
    yield from walk(root)


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("children") or []:
        yield from nodes(child)


def test_no_control_is_kept_twice(page: Page) -> None:
    ids = [rule["id"] for rules in page.spec()["groups"].values() for rule in rules]
    assert len(ids) == len(set(ids))


def test_keeping_asks_the_server_for_nothing(page: Page) -> None:
    own = [d for d in page.client.config["dependencies"] if "webui.keep." in str(d["js"])]
    assert own
    assert not any(d["backend_fn"] for d in own)


def test_a1111s_page_defaults_are_on_the_page(page: Page) -> None:
    assert (page.props("txt2img_steps")["value"], page.props("txt2img_steps")["maximum"]) == (31, 90)
    assert page.props("txt2img_batch_size")["visible"] is False
    assert page.props("txt2img_hr")["value"] is True
    assert page.props("inpaint_denoising_strength")["value"] == 0.75, "7 is no denoising strength"
    # What is chosen may decide what else is shown, so the browser sets it.
    chosen = {"inpaint_inpainting_mask_invert": 1, "img2img_inpainting_mask_invert": 1, "extras_upscaler_2": "Lanczos"}
    assert chosen.items() <= page.lists()["defaults"].items()


def test_live_lists_come_with_the_open_page(page: Page) -> None:
    assert page.lists()["lists"]["samplers"] == page.manager.choices("samplers")


def test_saving_defaults_keeps_the_rest_of_the_file(page: Page) -> None:
    page.client.fire("ui_defaults_apply", txt2img_cfg_scale=4.5, img2img_resize_mode=2)
    saved = json.loads((page.manager.settings.ui_path).read_text())
    assert saved["txt2img/CFG Scale/value"] == 4.5
    assert saved["img2img/Resize mode/value"] == "Resize and fill"
    assert saved["modelmerger/Custom Name (Optional)/visible"] is True
    newer = page.lists()["defaults"]
    assert (newer["txt2img_cfg_scale"], newer["img2img_resize_mode"]) == (4.5, 2)
    assert page.manager.settings.ui_path.with_name("ui-config.json.bak1").exists()


def test_only_what_differs_is_named_before_saving(page: Page) -> None:
    table = page.client.fire("ui_defaults_view", txt2img_n_iter=1, extras_max_side_length=7)[-1]["ui_defaults_review"]
    assert "Max side length" in table
    assert "Sampling steps" not in table


def test_a_damaged_file_of_defaults_is_set_aside_and_the_page_opens(tmp_path: Path) -> None:
    (tmp_path / "ui-config.json").write_text("{broken")
    manager = FakeManager(tmp_path / "outputs", settings=SettingsStore(tmp_path / "config.json"))
    app = FastAPI()
    mount_page(app, manager)
    with served(app) as url:
        assert Page(url, manager).props("txt2img_steps")["value"] == 20
    assert any("ui-config.json was damaged" in note for note in manager.settings.notes)
    assert list(tmp_path.glob("ui-config.json.damaged-*"))


def test_a_follower_that_broke_off_gives_generate_back(page: Page) -> None:
    dependencies = page.client.config["dependencies"]
    interrupt = page.client.id_of("txt2img_interrupt")
    after_failure = [d for d in dependencies if d["trigger_only_on_failure"] and interrupt in d["outputs"]]
    assert len(after_failure) == 1
    answer = page.client._run(after_failure[0], after_failure[0]["trigger_after"], {})[0]
    assert answer["txt2img_generate"]["visible"] is True
    assert answer["txt2img_interrupt"]["visible"] == "hidden"
