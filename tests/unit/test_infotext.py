"""Infotexts: quoting, parsing of everything that has been written, pasting, writing, and both ways round."""

import json
import random
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from pipelines.conditioning.prompts import parse_attention
from schema.infotext import (
    DEFAULTS,
    format_infotext,
    order_parameters,
    parse_infotext,
    quote,
    request_parameters,
    unquote,
)
from schema.infotext_compat import old_first_pass_size, parse_version
from schema.paste import NameResolver, to_request_values
from schema.record import GenerationRecord, write_record
from schema.requests import (
    LATENT_UPSCALE_MODES,
    SAME_SAMPLER,
    SAME_SCHEDULE,
    Img2ImgRequest,
    SoftInpainting,
    Txt2ImgRequest,
)
from schema.settings import Settings
from schema.styles import Style, extract_styles
from schema.version import INFOTEXT_VERSION, VERSION

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"


def recorded(name: str) -> dict:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


def cases(name: str) -> list:
    return [pytest.param(case["input"], case["output"], id=case["id"]) for case in recorded(name)["cases"]]


NAMES = recorded("sampler_names")


def uses_emphasis(prompt: str) -> bool:
    return any(part.weight != 1.0 and part.text != "BREAK" for part in parse_attention(prompt))


def resolve_sampler(sampler: str | None, schedule: str | None) -> tuple[str, str]:
    """The recorded tables, looked up as the page does."""
    schedules, name = NAMES["schedulers"], sampler or NAMES["samplers"][0]["name"]
    chosen = next((entry for entry in schedules if schedule in (entry["label"], entry["name"])), schedules[0])
    for entry in schedules:
        for alias in (entry["label"], entry["name"], *(entry["aliases"] or [])):
            if name.endswith(f" {alias}"):
                name, chosen = name.removesuffix(f" {alias}"), entry
                break
    found = next((entry for entry in NAMES["samplers"] if entry["name"] == name), NAMES["samplers"][0])
    is_default = found["options"].get("scheduler") == chosen["name"]
    return found["name"], "Automatic" if is_default else chosen["label"]


def parsed_case(given: dict):
    settings = Settings().overridden(given.get("settings") or {}, restricted=True)
    styles = [
        Style(name=name, prompt=texts[0], negative_prompt=texts[1])
        for name, texts in (given.get("styles") or {}).items()
    ]
    parsed = parse_infotext(
        given["text"],
        settings=settings,
        extract_styles=partial(extract_styles, styles),
        uses_emphasis=uses_emphasis,
        skip_fields=given.get("skip_fields"),
    )
    return parsed, settings


@pytest.mark.parametrize(("given", "expected"), cases("infotext_parse"))
def test_infotext_is_parsed_as_recorded(given, expected):
    assert parsed_case(given)[0].fields == expected["fields"]


@pytest.mark.parametrize(("given", "expected"), cases("infotext_parse"))
def test_infotext_sets_controls_as_recorded(given, expected):
    parsed, settings = parsed_case(given)
    pasted = to_request_values(parsed, Txt2ImgRequest, settings=settings, names=NameResolver(sampler=resolve_sampler))
    assert {
        "sampler": pasted.values["sampler_name"],
        "scheduler": pasted.values["scheduler"],
        "hr_sampler": pasted.values["hr_sampler_name"] or SAME_SAMPLER,
        "hr_scheduler": pasted.values["hr_scheduler"] or SAME_SCHEDULE,
        "enable_hr": pasted.values["enable_hr"],
        "enable_extra_seed": pasted.switches["extra_seed"],
        "override_settings": [list(override) for override in pasted.overrides],
    } == expected["derived"]


@pytest.mark.parametrize(("given", "expected"), cases("infotext_quote"))
def test_quoting_and_versions_are_as_recorded(given, expected):
    match given["op"]:
        case "quote":
            assert quote(given["value"]) == expected
        case "unquote":
            assert unquote(given["value"]) == expected
        case _:
            version = parse_version(given["value"])
            assert (None if version is None else str(version)) == (expected and expected["parsed"])


@pytest.mark.parametrize(("given", "expected"), cases("infotext_write"))
def test_record_is_written_as_recorded(given, expected):
    job = {**recorded("infotext_write")["base_job"], **given["p"]}
    options = next(entry["options"] for entry in NAMES["samplers"] if entry["name"] == job["sampler_name"])
    default_eta = 0.0 if options.get("default_eta_is_0") else 1.0
    record = GenerationRecord(
        prompts=given["prompts"],
        negative_prompts=job["all_negative_prompts"],
        seeds=given["seeds"],
        subseeds=given["subseeds"],
        main_prompt=job["main_prompt"],
        main_negative_prompt=job["main_negative_prompt"],
        steps=job["steps"],
        sampler=job["sampler_name"],
        scheduler=job["scheduler"],
        cfg_scale=job["cfg_scale"],
        image_cfg_scale=job.get("image_cfg_scale"),
        width=job["width"],
        height=job["height"],
        restores_faces=job["restore_faces"],
        model_hash=job["sd_model_hash"],
        model_name=job["sd_model_name"],
        vae_hash=job["sd_vae_hash"],
        vae_name=job["sd_vae_name"],
        subseed_strength=job["subseed_strength"],
        seed_resize_from_w=job["seed_resize_from_w"],
        seed_resize_from_h=job["seed_resize_from_h"],
        uses_mask_conditioning=job["is_using_inpainting_conditioning"],
        eta=default_eta if job["eta"] is None else job["eta"],
        uses_ensd=options.get("uses_ensd", False),
        token_merging_ratio=job["tmr"],
        token_merging_ratio_hr=job["tmr_hr"],
        init_image_hash=job.get("init_img_hash"),
        tiling=job["tiling"],
        user=job["user"],
        extra=job["extra_generation_params"],
    )
    call = given["call"]
    index = call.get("index", call.get("position_in_batch", 0) + call.get("iteration", 0) * job["batch_size"])
    text = write_record(
        record,
        index,
        settings=Settings().overridden(given["settings"]),
        main=call.get("use_main_prompt", False),
        version="v1.10.1",
    )
    assert text == expected


def test_grid_is_described_with_the_main_prompt_and_the_first_seed():
    record = GenerationRecord(
        prompts=["a", "b"],
        negative_prompts=["", ""],
        seeds=[5, 6],
        subseeds=[1, 2],
        main_prompt="main",
        steps=1,
        sampler="Euler",
        cfg_scale=7.0,
        width=8,
        height=8,
        extra={"Per picture": ["x", "y"], "Computed": lambda index: index * 10, "Short list": ["only one"]},
    )
    settings = Settings(add_version_to_infotext=False)
    assert write_record(record, 1, settings=settings, main=True).startswith("main\nSteps: 1, Sampler: Euler, ")
    assert ", Seed: 5, " in write_record(record, 1, settings=settings, main=True)
    assert write_record(record, 1, settings=settings).endswith("Seed: 6, Size: 8x8, Per picture: y, Computed: 10")


def test_extra_parameter_takes_the_place_of_a_fixed_one():
    ordered = order_parameters({"Sampler": "Euler", "Steps": 2}, {"Zebra": 1, "Steps": 3, "Seed": 4})
    assert format_infotext("p", "", ordered) == "p\nSteps: 3, Sampler: Euler, Seed: 4, Zebra: 1"


def test_absent_keys_are_filled_in_and_told_apart_from_written_ones():
    parsed = parse_infotext("a\nSteps: 3, Seed: 4, Size: 8x8")
    assert parsed.written == {"Steps", "Seed", "Size-1", "Size-2"}
    assert all(parsed.fields[key] == value for key, value in DEFAULTS.items())


def test_long_line_without_pairs_is_read_at_once():
    text = "word " * 200_000
    assert parse_infotext(text).fields["Prompt"] == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "a\nSteps: 1, Seed: 2, First pass size: 0x0, Size: 0x0",
        "a\nSteps: 1, Seed: 2, First pass size-1: x, First pass size-2: y, Size-1: z",
        f"a\nSteps: 1, Seed: 2, First pass size: 0x0, Size: {'9' * 5000}x{'9' * 5000}",
        "a\nSteps: 1, Seed: 2, Size: 8x8, Version: ..,",
        'a\nSteps: 1, Seed: 2, CFG scale: 3, X Y: "' + "\\" * 99,
        "a\x00b\nSteps: nan, Seed: inf, CFG scale: nan, Size: -1x-1, Denoising strength: 7",
        "\ud800\nSteps: 1, Seed: 2, CFG scale: \udfff",
    ],
)
def test_damaged_text_is_read_and_pasted_without_an_error(text: str):
    settings = Settings(use_old_hires_fix_width_height=True)
    parsed = parse_infotext(text, settings=settings)
    values = to_request_values(parsed, Txt2ImgRequest, settings=settings).values
    Txt2ImgRequest(**values)


def test_values_that_cannot_be_used_are_named_and_left_out():
    text = "a\nSteps: 99999, Sampler: Euler, CFG scale: seven, Seed: 1, Size: 64x64, Wildcard: x, Clip skip: 99"
    pasted = to_request_values(parse_infotext(text), Img2ImgRequest, settings=Settings())
    assert "steps" not in pasted.values and "cfg_scale" not in pasted.values
    assert (pasted.values["seed"], pasted.values["width"], pasted.unused) == (1, 64, ("Wildcard",))
    for name in ("Steps: 99999", "CFG scale: seven", "CLIP_stop_at_last_layers", "Wildcard"):
        assert any(name in note for note in pasted.notes), name


def test_names_that_are_not_installed_are_reported():
    text = "a\nSteps: 2, Sampler: Eular, Seed: 1, Refiner: gone [123], Denoising strength: 1, Hires upscaler: Gone 4x"
    names = NameResolver(
        sampler=lambda sampler, schedule: ("Euler", "Automatic"),
        checkpoint=lambda name: None,
        choices=lambda name: ["Latent"] if name == "hires_upscalers" else None,
    )
    pasted = to_request_values(parse_infotext(text), Txt2ImgRequest, settings=Settings(), names=names)
    assert "hr_upscaler" not in pasted.values and "refiner_checkpoint" not in pasted.values
    assert pasted.values["sampler_name"] == "Euler"
    assert all(any(word in note for note in pasted.notes) for word in ("Eular", "gone [123]", "Gone 4x"))


def test_loras_are_called_as_the_local_file_of_the_same_hash():
    text = '<lora:a:1> <lora:b:0.5>\nSteps: 1, Seed: 2, Lora hashes: "a: 123, b: 456", Size: 8x8'
    names = NameResolver(lora={"123": "mine"}.get)
    pasted = to_request_values(parse_infotext(text), Txt2ImgRequest, settings=Settings(), names=names)
    assert pasted.values["prompt"] == "<lora:mine:1> <lora:b:0.5>" and not pasted.notes


def test_fields_of_the_additional_networks_extension_become_tags():
    network = "AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: x(abc), AddNet Weight A 1: 0.5"
    text = f"a\nSteps: 1, Seed: 2, {network}"
    pasted = to_request_values(parse_infotext(text), Txt2ImgRequest, settings=Settings())
    assert pasted.values["prompt"] == "a\n<lora:x:0.5>" and not pasted.notes


def test_pasted_model_is_taken_over_only_when_asked_for():
    parsed = parse_infotext("a\nSteps: 1, Seed: 2, Model hash: abcdef, CFG scale: 3")
    loaded = Settings(sd_model_checkpoint="other")
    assert to_request_values(parsed, Txt2ImgRequest, settings=loaded).override_settings == {}
    asked = loaded.overridden({"disable_weights_auto_swap": False})
    pasted = to_request_values(parsed, Txt2ImgRequest, settings=asked)
    assert pasted.override_settings == {"sd_model_checkpoint": "abcdef"}


def test_our_version_switches_on_nothing_of_old_releases():
    version = parse_version(INFOTEXT_VERSION)
    assert version is not None and version >= parse_version("v1.10.1") and VERSION in INFOTEXT_VERSION
    text = f"[a]\nSteps: 1, Sampler: DDIM, Refiner: x, Seed: 1, Version: {INFOTEXT_VERSION}"
    fields = parse_infotext(text).fields
    assert "Downcast alphas_cumprod" not in fields and "Old prompt editing timelines" not in fields


def test_version_is_that_of_the_project():
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    assert f'version = "{VERSION}"' in project.read_text(encoding="utf-8")


def test_old_first_pass_covers_about_512_pixels_squared():
    assert old_first_pass_size(1024, 1024) == (512, 512)
    assert old_first_pass_size(2048, 1024) == (768, 384)
    assert old_first_pass_size(0, 0) == (0, 0)


def test_hires_parameters_stand_in_the_order_of_a1111():
    request = Txt2ImgRequest(
        prompt="a",
        enable_hr=True,
        hr_resize_x=112,
        hr_second_pass_steps=3,
        hr_upscaler="Lanczos",
        hr_sampler_name="Heun",
        hr_prompt="b",
        denoising_strength=0.6,
    )
    assert list(request_parameters(request, {"Seed": 7, "Tiling": None}).items()) == [
        ("Steps", 20),
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Automatic"),
        ("CFG scale", 7.0),
        ("Seed", 7),
        ("Size", "512x512"),
        ("Denoising strength", 0.6),
        ("Hires sampler", "Heun"),
        ("Hires prompt", "b"),
        ("Hires resize", "112x0"),
        ("Hires steps", 3),
        ("Hires upscaler", "Lanczos"),
    ]


def test_inpainting_writes_only_what_is_not_the_default():
    mask = Image.new("L", (8, 8))
    plain = request_parameters(Img2ImgRequest(mask=mask, mask_blur=4))
    assert list(plain)[-2:] == ["Denoising strength", "Mask blur"]
    request = Img2ImgRequest(mask=mask, mask_blur=4, inpaint_full_res=True, inpainting_fill=0, inpainting_mask_invert=1)
    assert list(request_parameters(request))[-5:] == [
        "Mask mode",
        "Mask blur",
        "Inpaint area",
        "Masked area padding",
        "Masked content",
    ]


WORDS = ["a cat", "(b:1.2)", 'she said "hi"', "x: y, z", "猫 😀", "<lora:x:1>", "[a|b]", "tab\there", "100%", "\\", "d"]
NAMES_OF_FILES = ["model v2", "a: b", "c, d", 'q"uoted', "x [123]"]


def random_text(random_source: random.Random) -> str:
    """A prompt that comes back: no line that looks like another part of the record, no space at line ends."""
    lines = [
        " ".join(random_source.choices(WORDS, k=random_source.randint(1, 4)))
        for _ in range(random_source.randint(0, 3))
    ]
    return "\n".join(lines)


def random_shared(random_source: random.Random) -> dict:
    values = {
        "prompt": random_text(random_source),
        "negative_prompt": random_text(random_source),
        "sampler_name": random_source.choice(["Euler a", "DPM++ 2M", "UniPC"]),
        "scheduler": random_source.choice(["Automatic", "Karras", "SGM Uniform"]),
        "steps": random_source.randint(1, 1000),
        "width": random_source.randint(1, 256) * 8,
        "height": random_source.randint(8, 2048),
        "cfg_scale": random_source.choice([7.0, 1.0, 5.5, 0.1 + 0.2, random_source.uniform(0, 30)]),
        "seed": random_source.choice([0, 1, 2**32 - 1, random_source.getrandbits(63)]),
    }
    if random_source.random() < 0.4:
        values |= {"subseed": random_source.getrandbits(32), "subseed_strength": random_source.uniform(0.01, 1)}
    if random_source.random() < 0.3:
        values |= {"seed_resize_from_w": random_source.randint(1, 999), "seed_resize_from_h": 64}
    if random_source.random() < 0.3:
        values |= {"refiner_checkpoint": random_source.choice(NAMES_OF_FILES), "refiner_switch_at": 0.8}
    if random_source.random() < 0.3:
        values["tiling"] = True
    return values


def random_txt2img(random_source: random.Random) -> Txt2ImgRequest:
    values = random_shared(random_source)
    if random_source.random() < 0.6:
        size = random_source.choice(
            [{"hr_scale": random_source.uniform(1, 4)}, {"hr_resize_x": 640}, {"hr_resize_x": 8, "hr_resize_y": 1024}]
        )
        values |= size | {
            "enable_hr": True,
            "denoising_strength": random_source.random(),
            "hr_upscaler": random_source.choice([*LATENT_UPSCALE_MODES, "Lanczos", "4x: big, one"]),
            "hr_second_pass_steps": random_source.randint(0, 20),
            "hr_checkpoint_name": random_source.choice([None, *NAMES_OF_FILES]),
            "hr_sampler_name": random_source.choice([None, "Heun"]),
            "hr_scheduler": random_source.choice([None, "Exponential"]),
            "hr_cfg": random_source.choice([0.0, 3.5]),
            "hr_prompt": random_source.choice(["", "other, prompt: here", "two\nlines"]),
            "hr_negative_prompt": random_source.choice(["", "ugly"]),
        }
    return Txt2ImgRequest(**values)


def random_img2img(random_source: random.Random) -> Img2ImgRequest:
    values = random_shared(random_source) | {"denoising_strength": random_source.random()}
    if random_source.random() < 0.3:
        values["image_cfg_scale"] = random_source.uniform(0, 3)
    if random_source.random() < 0.6:
        values |= {
            "mask": Image.new("L", (8, 8)),
            "mask_blur": random_source.randint(0, 64),
            "inpainting_mask_invert": random_source.randint(0, 1),
            "inpainting_fill": random_source.randint(0, 3),
            "inpaint_full_res": random_source.random() < 0.5,
        }
        if values["inpaint_full_res"]:
            values["inpaint_full_res_padding"] = random_source.randint(0, 256)
    if random_source.random() < 0.3:
        values["soft_inpainting"] = SoftInpainting(enabled=True, mask_influence=0.25, schedule_bias=3.1)
    return Img2ImgRequest(**values)


@pytest.mark.parametrize("make", [random_txt2img, random_img2img])
def test_request_comes_back_from_its_infotext(make):
    random_source = random.Random(make.__name__)
    for _ in range(500):
        request = make(random_source)
        parameters = request_parameters(request) | {"Model": "m", "Version": INFOTEXT_VERSION}
        text = format_infotext(request.prompt, request.negative_prompt, parameters)
        pasted = to_request_values(parse_infotext(text), type(request), settings=Settings())
        expected = request.model_dump(exclude={"mask", "init_images"})
        back = type(request)(**pasted.values).model_dump(exclude={"mask", "init_images"})
        if isinstance(request, Txt2ImgRequest) and not request.enable_hr:
            # Written for hires fix only, as is everything of the second pass.
            expected.pop("denoising_strength"), back.pop("denoising_strength")
        assert back == expected, text
        assert not pasted.notes
