"""The events of Extras and PNG Info over HTTP, on a manager that needs no engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tests.contract.ui_client import PageClient, served
from ui.app import TABS, mount_page
from ui.png_info import info_html, read_picture, words_of

RECORD = (
    "a <b>fox</b>\nNegative prompt: dog\nSteps: 9, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 64x96, Model: gone"
)

EXTRAS_ELEMENTS = {
    "tab_extras",
    "mode_extras",
    "extras_image",
    "extras_image_batch",
    "extras_batch_input_dir",
    "extras_batch_output_dir",
    "extras_show_extras_results",
    "extras_upscaling_resize",
    "extras_upscaling_resize_w",
    "extras_upscaling_resize_h",
    "extras_upscaling_crop",
    "extras_upscaler_1",
    "extras_upscaler_2",
    "extras_upscaler_2_visibility",
    "extras_gfpgan_visibility",
    "extras_codeformer_visibility",
    "extras_codeformer_weight",
    "extras_gallery",
    "extras_generate",
    "extras_interrupt",
    "extras_skip",
    "html_info_extras",
    "txt2img_send_to_extras",
    "pnginfo_send_to_extras",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeManager]]:
    folder = tmp_path_factory.mktemp("page")
    manager = FakeManager(folder / "outputs", settings=SettingsStore(folder / "config.json"), step_s=0.0)
    app = FastAPI()
    mount_page(app, manager, allowed_paths=[str(folder / "outputs")])
    with served(app) as url:
        yield url, manager


@pytest.fixture
def client(page: tuple[str, FakeManager], request: pytest.FixtureRequest) -> PageClient:
    return PageClient(page[0], request.node.name)


def uploaded(client: PageClient, file: Path) -> dict[str, Any]:
    """`file` as the page holds it once it is on the server."""
    with file.open("rb") as stream:
        answer = client.http.post("/gradio_api/upload", files={"files": (file.name, stream, "image/png")})
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    texts = PngInfo()
    texts.add_text("parameters", RECORD)
    Image.new("RGB", (64, 96), "#204060").save(tmp_path / "fox.png", pnginfo=texts)
    return tmp_path / "fox.png"


def test_the_elements_of_extras_have_a1111s_names(client: PageClient):
    assert EXTRAS_ELEMENTS - {props.get("elem_id") for props in client.props.values()} == set()


def test_the_tabs_are_those_of_a1111_and_in_order(client: PageClient):
    labels = [props.get("label") for props in client.props.values() if str(props.get("elem_id")).startswith("tab_")]
    assert labels == list(TABS)


def test_extras_reads_every_control(page: tuple[str, FakeManager], client: PageClient, picture: Path):
    client.fire(
        "extras_generate",
        extras_image=uploaded(client, picture),
        extras_upscaling_resize=2,
        extras_gfpgan_visibility=0.5,
        extras_codeformer_enable=True,
        extras_codeformer_visibility=0.25,
        extras_codeformer_weight=0.75,
        extras_upscaler_2="Lanczos",
        extras_upscaler_2_visibility=0.3,
    )
    request = page[1].seen[-1]
    assert request.images[0].size == (64, 96)
    assert (request.upscaler_1, request.upscaling_resize) == ("Lanczos", 2)
    assert request.gfpgan_visibility == 0, "a restorer that is switched off has no effect"
    assert (request.codeformer_visibility, request.codeformer_weight) == (0.25, 0.75)
    assert (request.upscaler_2, request.extras_upscaler_2_visibility) == ("Lanczos", 0.3)


def test_extras_shows_its_result(client: PageClient, picture: Path):
    answers = client.fire("extras_generate", extras_image=uploaded(client, picture), extras_upscaling_resize=2)
    assert any(answer.get("extras_gallery") for answer in answers)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no picture yet"),
        ({"extras_selected_mode": "batch_process"}, "no pictures yet"),
        ({"extras_selected_mode": "batch_from_directory"}, "no input directory"),
        ({"extras_selected_mode": "batch_from_directory", "extras_batch_input_dir": "/etc"}, "outside the folders"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(client: PageClient, values: dict[str, Any], words: str):
    with pytest.raises(AssertionError, match=words):
        client.fire("extras_generate", **values)


def test_nothing_chosen_is_said(client: PageClient, picture: Path):
    with pytest.raises(AssertionError, match="choose an upscaler"):
        client.fire("extras_generate", extras_image=uploaded(client, picture), extras_upscaler_1="None")


def test_png_info_shows_record_models_and_changes(client: PageClient, picture: Path):
    answer = client.fire("pnginfo_image", "change", pnginfo_image=uploaded(client, picture), txt2img_steps=20)[-1]
    assert "a &lt;b&gt;fox&lt;/b&gt;" in answer["pnginfo_html_info"]
    assert "<b>fox" not in answer["pnginfo_html_info"]
    assert "Not here" in answer["pnginfo_html_info"]
    assert answer["pnginfo_generation_info"] == RECORD
    changes = answer["pnginfo_changes"]
    assert '<th scope="row">Sampling steps</th><td>20</td><td>9</td>' in changes
    assert '<th scope="row">Height</th><td>512</td><td>96</td>' in changes


def test_a_picture_is_made_again_and_compared(page: tuple[str, FakeManager], client: PageClient, picture: Path):
    file = uploaded(client, picture)
    answer = client.fire("pnginfo_reproduce", pnginfo_image=file, pnginfo_generation_info=RECORD)[-1]
    request = page[1].seen[-1]
    assert (request.seed, request.steps, request.width, request.height) == (7, 9, 64, 96)
    assert "Different" in answer["pnginfo_verdict"]
    assert "Checkpoint “gone” is missing." in answer["pnginfo_verdict"]


def test_a_picture_made_from_another_is_not_tried(page: tuple[str, FakeManager], client: PageClient, picture: Path):
    seen = len(page[1].seen)
    record = f"{RECORD}, Denoising strength: 0.5"
    answer = client.fire("pnginfo_reproduce", pnginfo_image=uploaded(client, picture), pnginfo_generation_info=record)[
        -1
    ]
    assert "made from another picture" in answer["pnginfo_verdict"]
    assert len(page[1].seen) == seen


def test_tabs_without_an_engine_say_what_to_do_instead(client: PageClient):
    shown = {props.get("elem_id"): str(props.get("value")) for props in client.props.values()}
    assert "models/Stable-diffusion" in shown["modelmerger_empty"]
    assert "kohya-ss" in shown["train_empty"]


def test_texts_of_a_file_cannot_be_html(tmp_path: Path):
    texts = PngInfo()
    texts.add_text("<script>key</script>", "<img src=x onerror=alert(1)>")
    Image.new("RGB", (8, 8)).save(tmp_path / "odd.png", pnginfo=texts)
    found, chunks = read_picture(str(tmp_path / "odd.png"))
    shown = info_html(found, chunks, ())
    assert "<script" not in shown
    assert "<img" not in shown
    assert "&lt;img" in shown


def test_values_are_shown_as_people_write_them():
    assert [words_of(value) for value in (None, True, 7.0, 7.5, ["a", "b"], "", [])] == [
        "–",
        "on",
        "7",
        "7.5",
        "a, b",
        "–",
        "–",
    ]
