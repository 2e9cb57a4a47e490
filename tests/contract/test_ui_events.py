"""The page's events over HTTP, on a manager that needs no engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI

from schema.fields import fields_of
from schema.settings import NOT_SHOWN, Settings
from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from tests.contract.ui_client import PageClient, served
from ui.app import mount_page
from ui.img2img import build_img2img
from ui.inpaint import build_inpaint
from ui.txt2img import build_txt2img

A1111_ELEMENTS = [
    "quicksettings",
    "setting_sd_model_checkpoint",
    "tab_txt2img",
    "txt2img_prompt",
    "txt2img_neg_prompt",
    "txt2img_generate",
    "txt2img_interrupt",
    "txt2img_skip",
    "txt2img_gallery",
    "txt2img_results",
    "txt2img_seed",
    "txt2img_steps",
    "txt2img_sampling",
    "txt2img_scheduler",
    "txt2img_width",
    "txt2img_height",
    "txt2img_cfg_scale",
    "txt2img_batch_count",
    "txt2img_batch_size",
    "txt2img_hr",
    "txt2img_hr_upscaler",
    "txt2img_styles",
    "mode_img2img",
    "img2img_image",
    "img2img_sketch",
    "img2maskimg",
    "inpaint_sketch",
    "img_inpaint_base",
    "img_inpaint_mask",
    "img2img_batch_input_dir",
    "html_info_txt2img",
    "pnginfo_image",
    "pnginfo_generation_info",
    "hires_prompt",
    "hr_sampler",
    "hr_checkpoint",
]


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


def shown_settings(settings: Settings) -> dict[str, object]:
    """What the components of the Settings tab hold for settings that differ from the page's start."""
    changed = {name: getattr(settings, name) for name in Settings.model_fields}
    return {f"setting_{name}": value for name, value in changed.items() if value != getattr(Settings(), name)}


def test_generate_reads_every_field_by_name(page: tuple[str, FakeManager], client: PageClient) -> None:
    client.fire("txt2img_generate", txt2img_prompt="a cat", txt2img_width=192, txt2img_seed=7, txt2img_steps=2)
    request = page[1].seen[-1]
    assert (request.prompt, request.width, request.height, request.seed) == ("a cat", 192, 512, 7)


def test_a_finished_job_shows_its_picture_and_its_record(client: PageClient) -> None:
    answers = client.fire("txt2img_generate", txt2img_prompt="a dog", txt2img_seed=11, txt2img_steps=2)
    gallery = [answer for answer in answers if answer.get("txt2img_gallery")]
    assert gallery, "no answer held a picture"
    assert any("Seed</span> 11" in str(answer.get("html_info_txt2img")) for answer in answers)


def test_every_declared_field_is_on_its_tab(page: tuple[str, FakeManager]) -> None:
    with gr.Blocks():
        browser = gr.BrowserState("")
        txt2img, img2img, inpaint = (build(page[1], browser) for build in (build_txt2img, build_img2img, build_inpaint))
    assert txt2img.form.unrendered == set()
    assert inpaint.tab.form.unrendered == set()
    soft = {name for name in img2img.tab.form.names if name.startswith("soft_inpainting.")}
    assert img2img.tab.form.unrendered == soft


def test_variation_and_refiner_count_only_while_their_groups_are_open(
    page: tuple[str, FakeManager], client: PageClient
) -> None:
    client.fire("txt2img_generate", txt2img_prompt="x", txt2img_subseed_strength=0.5, txt2img_steps=1)
    assert page[1].seen[-1].subseed_strength == 0
    client.fire(
        "txt2img_generate",
        txt2img_prompt="x",
        txt2img_subseed_strength=0.5,
        txt2img_subseed_show=True,
        txt2img_steps=1,
    )
    assert page[1].seen[-1].subseed_strength == 0.5
    assert page[1].seen[-1].refiner_switch_at is None


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("txt2img_steps", 0, "Sampling steps must be at least 1, not 0."),
        ("txt2img_steps", 10_000, "Sampling steps must be at most 1000, not 10000."),
        ("txt2img_width", 7, "Width must be at least 8, not 7."),
        ("txt2img_height", 20_000, "Height must be at most 8192, not 20000."),
    ],
)
def test_a_value_out_of_bounds_is_named_in_one_sentence(client: PageClient, field: str, value: int, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        client.fire("txt2img_generate", txt2img_prompt="x", **{field: value})


def test_an_error_of_the_engine_is_shown_as_it_is_worded(client: PageClient) -> None:
    with pytest.raises(AssertionError, match="The prompt 'refuse' is refused"):
        client.fire("txt2img_generate", txt2img_prompt="refuse")


def test_an_error_while_sampling_is_shown_in_the_panel(client: PageClient) -> None:
    answers = client.fire("txt2img_generate", txt2img_prompt="break", txt2img_steps=1)
    assert any("breaks while sampling" in str(answer.get("html_log_txt2img")) for answer in answers)


def test_paste_fills_fields_by_name_and_opens_their_groups(client: PageClient) -> None:
    text = (
        "a fox\nNegative prompt: blurry\nSteps: 31, Sampler: Euler a, Schedule type: Karras, CFG scale: 3.5, Seed: 9, "
        "Size: 640x896, Variation seed: 4, Variation seed strength: 0.25, Clip skip: 2, Version: v1.10.1"
    )
    answer = client.fire("paste", txt2img_prompt=text)[-1]
    assert answer["txt2img_prompt"] == "a fox"
    assert answer["txt2img_neg_prompt"] == "blurry"
    assert (answer["txt2img_steps"], answer["txt2img_width"], answer["txt2img_height"]) == (31, 640, 896)
    assert (answer["txt2img_sampling"], answer["txt2img_scheduler"]) == ("Euler a", "Karras")
    assert answer["txt2img_subseed_show"] is True
    assert answer["txt2img_override_settings"]["value"] == ["Clip skip: 2"]


def test_override_chips_become_the_options_they_name(page: tuple[str, FakeManager], client: PageClient) -> None:
    client.fire("txt2img_generate", txt2img_prompt="x", txt2img_steps=1, txt2img_override_settings=["Clip skip: 2"])
    assert page[1].seen[-1].override_settings == {"CLIP_stop_at_last_layers": "2"}


def test_settings_are_applied_and_kept(page: tuple[str, FakeManager], client: PageClient) -> None:
    answer = client.fire("settings_submit", setting_jpeg_quality=55)[-1]
    assert "Quality for saved" in answer["settings_result"]
    store = page[1].settings
    assert store.settings.jpeg_quality == 55
    assert SettingsStore(store.path).settings.jpeg_quality == 55


def test_every_setting_that_is_not_hidden_is_on_the_page(client: PageClient) -> None:
    shown = {props.get("elem_id") for props in client.props.values()}
    visible = [f for f in fields_of(Settings) if f.control.kind != "hidden" and f.name not in NOT_SHOWN]
    assert {f"setting_{field.name}" for field in visible} <= shown
    assert not {f"setting_{name}" for name in NOT_SHOWN} & shown


def test_apply_without_a_change_changes_nothing(page: tuple[str, FakeManager], client: PageClient) -> None:
    before = page[1].settings.settings
    assert "Nothing was changed" in client.fire("settings_submit", **shown_settings(before))[-1]["settings_result"]
    assert page[1].settings.settings == before


def test_the_elements_that_others_look_for_have_a1111s_names(client: PageClient) -> None:
    shown = {props.get("elem_id") for props in client.props.values()}
    assert set(A1111_ELEMENTS) - shown == set()


def test_no_event_of_the_page_is_in_gradios_public_api(client: PageClient) -> None:
    named = client.http.get("/gradio_api/info").json()
    assert named["named_endpoints"] == {}
    assert named["unnamed_endpoints"] == {}


def test_the_page_asks_no_other_host_for_anything(client: PageClient) -> None:
    for path in ("/", "/theme.css", "/config"):
        text = client.http.get(path).text
        assert "fonts.googleapis" not in text
        assert "fonts.gstatic" not in text


def test_files_outside_the_outputs_are_not_served(page: tuple[str, FakeManager], client: PageClient) -> None:
    settings_file = Path(page[1].settings.path)
    client.fire("settings_submit", setting_jpeg_quality=60)
    assert settings_file.exists()
    answer = client.http.get(f"/gradio_api/file={settings_file}")
    assert answer.status_code in (403, 404)
