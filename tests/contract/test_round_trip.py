"""Every control of every tab: changed, generated with, read from the picture by PNG Info, sent back, the same."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from PIL import Image

from pipelines.manager import PipelineManager
from tests.contract.ui_client import PageClient, served
from ui.app import mount_page
from ui.form import Form
from ui.img2img import build_img2img
from ui.inpaint import build_inpaint
from ui.txt2img import build_txt2img

STYLES = "name,prompt,negative_prompt\nInk drawing,ink drawing,photo\n"

NOT_IN_THE_RECORD = {
    "n_iter": "a record is of one picture, not of the batches it was made among",
    "batch_size": "a record is of one picture, not of the batch it was made in",
    "resize_mode": "A1111 does not write how the source picture was fitted, and its paste has no key for it",
    "image_cfg_scale": "written for models that edit pictures only; another model has no such scale",
}
"""Fields that A1111's record does not carry, with the reason."""

ONLY_WITH_A_MASK = {
    "mask_blur",
    "inpainting_mask_invert",
    "inpainting_fill",
    "inpaint_full_res",
    "inpaint_full_res_padding",
}
"""Fields that img2img shows for its folders of masks alone; the inpaint tab's test covers them."""

HASH = re.compile(r" \[[0-9a-f]{10}\]$")

COMMON: dict[str, Any] = {
    "prompt": "a red (cat:1.2), sitting\non a [chair|stool]",
    "negative_prompt": 'blurry, text: "quoted"',
    "styles": ["Ink drawing"],
    "sampler_name": "Euler a",
    "scheduler": "Karras",
    "steps": 3,
    "width": 96,
    "height": 64,
    "cfg_scale": 5.5,
    "seed": 123456789,
    "subseed": 77,
    "subseed_strength": 0.25,
    "seed_resize_from_w": 64,
    "seed_resize_from_h": 96,
    "refiner_switch_at": 0.6,
    "tiling": True,
    "denoising_strength": 0.55,
}
HIRES: dict[str, Any] = {
    "enable_hr": True,
    "hr_upscaler": "Latent (nearest)",
    "hr_second_pass_steps": 2,
    "hr_scale": 1.5,
    "hr_sampler_name": "Heun",
    "hr_scheduler": "Exponential",
    "hr_cfg": 3.5,
    "hr_prompt": "a blue cat, larger",
    "hr_negative_prompt": "noise, grain",
}
TO_A_SIZE: dict[str, Any] = {"hr_resize_x": 128, "hr_resize_y": 96}
"""In place of `hr_scale`, which A1111 does not write then."""

MASK: dict[str, Any] = {
    "mask_blur": 2,
    "inpainting_mask_invert": 1,
    "inpainting_fill": 2,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 16,
    "soft_inpainting.enabled": True,
    "soft_inpainting.schedule_bias": 1.5,
    "soft_inpainting.preservation_strength": 0.75,
    "soft_inpainting.transition_contrast_boost": 3.0,
    "soft_inpainting.mask_influence": 0.25,
    "soft_inpainting.difference_threshold": 1.5,
    "soft_inpainting.difference_contrast": 3.0,
}
SWITCHES = {"enable": True, "subseed_show": True}
"""Checkboxes that are no field of the request: Refiner and Extra."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """The page on the toy engine.

    Attributes:
        forms: Tab to its form, for the names of its controls.
    """

    client: PageClient
    manager: PipelineManager
    forms: Mapping[str, Form[Any]]


@pytest.fixture(scope="module")
def page(make_manager: Callable[..., PipelineManager]) -> Iterator[Served]:
    manager = make_manager()
    manager.paths.styles_file.write_text(STYLES)
    manager.refresh("styles")
    app = FastAPI()
    mount_page(app, manager)
    with gr.Blocks():
        gr.HTML("")
        browser = gr.BrowserState("")
        txt2img = build_txt2img(manager, browser)
        img2img, inpaint = build_img2img(manager, browser), build_inpaint(manager, browser)
    forms = {"txt2img": txt2img.form, "img2img": img2img.tab.form, "inpaint": inpaint.tab.form}
    with served(app) as url:
        yield Served(client=PageClient(url, "round-trip"), manager=manager, forms=forms)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def source(client: PageClient) -> dict[str, Any]:
    """An editor's value: a picture with its left half painted over."""
    picture = Image.effect_noise((96, 64), 60).convert("RGB")
    layer = Image.new("RGBA", picture.size)
    layer.paste((217, 72, 28, 255), (0, 0, 48, 64))
    files = {"picture": client.upload("picture.png", png(picture)), "layer": client.upload("layer.png", png(layer))}
    return files | {"width": 96, "height": 64}


def there_and_back(page: Served, tab: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """What the tab's fields are sent back as, after a picture was made with `values` and read by PNG Info."""
    client, form = page.client, page.forms[tab]
    ids = {name: component.elem_id for name, component in form.components.items()}
    switches = {f"{tab}_{name}": value for name, value in SWITCHES.items()}
    shown = {ids[name]: value for name, value in values.items()}
    known = set(page.manager.jobs())
    client.fire(f"{tab}_generate", **shown, **switches, **more)
    job = next(job for job in page.manager.jobs() if job not in known)
    assert job.result is not None and job.error is None, job.error
    made = job.result.images[0].path
    assert made is not None
    file = client.upload("made.png", made.read_bytes())
    read = client.fire("pnginfo_image", "change", pnginfo_image=file)[-1]
    record = read["pnginfo_generation_info"]
    answer = client.fire(f"pnginfo_send_to_{tab}", pnginfo_image=file, pnginfo_generation_info=record)[-1]
    for name in SWITCHES:
        assert answer[f"{tab}_{name}"] is True, name
    return {name: plain(answer[ids[name]]) for name in ids}


def plain(answer: Any) -> Any:
    value = answer.get("value") if isinstance(answer, dict) and answer.get("__type__") == "update" else answer
    # A checkpoint's title gets its hash at the end, once its first use has made that known.
    return HASH.sub("", value) if isinstance(value, str) else value


def check(page: Served, tab: str, variants: list[dict[str, Any]], not_here: set[str], **more: Any) -> None:
    """Every field of `tab` is either changed by one of `variants` and comes back, or is named as not recorded."""
    form = page.forms[tab]
    changed = {
        name
        for values in variants
        for name, value in values.items()
        if value != form[name].value  # type: ignore[attr-defined]
    }
    assert changed | NOT_IN_THE_RECORD.keys() | not_here >= form.components.keys()
    for values in variants:
        back = there_and_back(page, tab, values, **more)
        assert {name: back[name] for name in values} == values


def other_checkpoint(page: Served) -> str:
    titles = page.manager.choices("checkpoints")
    return next(HASH.sub("", title) for title in titles if title.startswith("other"))


def test_every_field_of_txt2img_comes_back_from_its_picture(page: Served) -> None:
    other = other_checkpoint(page)
    values = COMMON | HIRES | {"refiner_checkpoint": other, "hr_checkpoint_name": other}
    to_a_size = {name: value for name, value in values.items() if name != "hr_scale"} | TO_A_SIZE
    check(page, "txt2img", [values, to_a_size], set())


def test_every_field_of_img2img_comes_back_from_its_picture(page: Served) -> None:
    values = COMMON | {"refiner_checkpoint": other_checkpoint(page)}
    check(page, "img2img", [values], ONLY_WITH_A_MASK, img2img_image=source(page.client))


def test_every_field_of_inpaint_comes_back_from_its_picture(page: Served) -> None:
    values = COMMON | MASK | {"refiner_checkpoint": other_checkpoint(page)}
    check(page, "inpaint", [values], set(), img2maskimg=source(page.client))


def test_every_reason_names_a_field(page: Served) -> None:
    names = {name for form in page.forms.values() for name in form.components}
    assert NOT_IN_THE_RECORD.keys() | ONLY_WITH_A_MASK <= names
