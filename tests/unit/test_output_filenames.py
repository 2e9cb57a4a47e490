"""Names of files and folders from patterns."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from PIL import Image

from pipelines.output.filenames import TOKENS, NameFacts, expand_pattern, folder_parts, next_number, sanitize

DATA = Path(__file__).resolve().parent.parent / "data" / "pure"
RECORDED = json.loads((DATA / "filename.json").read_text(encoding="utf-8"))
SAMPLERS = {
    entry["name"]: entry["options"]
    for entry in json.loads((DATA / "sampler_names.json").read_text(encoding="utf-8"))["samplers"]
}
PICTURE = Image.new("RGB", (48, 32), (1, 2, 3))


def cases(*operations: str) -> list:
    return [
        pytest.param(case["input"], case["output"], id=case["id"])
        for case in RECORDED["cases"]
        if case["input"]["op"] in operations
    ]


def recorded_facts(given: dict) -> NameFacts:
    job = {**RECORDED["base_job"], **given.get("p", {})}
    return NameFacts(
        prompt=given.get("prompt", "a cat"),
        negative_prompt=job["negative_prompt"],
        seed=given.get("seed", 5),
        seeds=tuple(job["all_seeds"]),
        steps=job["steps"],
        cfg_scale=job["cfg_scale"],
        sampler=job["sampler_name"],
        schedule=job["scheduler"],
        default_schedule=SAMPLERS[job["sampler_name"]].get("scheduler"),
        styles=tuple(job["styles"]),
        model_name="my model: v2",
        model_hash=job["sd_model_hash"],
        vae_file=given.get("vae"),
        denoising_strength=job["denoising_strength"],
        batch_size=job["batch_size"],
        n_iter=job["n_iter"],
        batch_index=job["batch_index"],
        iteration=job["iteration"],
        user=job["user"],
        job_started="20240309170542",
        basename=given.get("basename", ""),
        now=datetime(2024, 3, 9, 17, 5, 42, tzinfo=UTC),
        is_archive=given.get("zip", False),
    )


@pytest.mark.parametrize(("given", "expected"), cases("sanitize"))
def test_text_becomes_a_part_of_a_name_as_recorded(given, expected):
    assert sanitize(given["text"], replace_spaces=given["replace_spaces"]) == expected


@pytest.mark.parametrize(("given", "expected"), cases("pattern"))
def test_pattern_is_expanded_as_recorded(given, expected):
    assert expand_pattern(given["pattern"], recorded_facts(given), PICTURE) == expected


@pytest.mark.parametrize(("given", "expected"), cases("next_number"))
def test_next_number_is_as_recorded(given, expected, tmp_path: Path):
    for name in given["files"]:
        (tmp_path / name).touch()
    assert next_number(tmp_path, given["basename"]) == expected


FACTS = NameFacts(
    prompt="photo of a Dog, 8k",
    seed=3,
    seeds=(3, 4),
    batch_size=2,
    batch_index=1,
    n_iter=2,
    styles=("Photo",),
    style_prompts=("photo of {prompt}, 8k",),
    denoising_strength=0.5,
    schedule="Align Your Steps",
    now=datetime(2024, 3, 9, 17, 5, 42, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("x-[batch_number]", "x-2"),
        ("x-[generation_number]", "x-2"),
        ("x-[seed_first]-[seed_last]", "x-3-4"),
        ("x-[denoising]", "x-0.5"),
        ("[prompt_no_styles]", "a Dog"),
        ("[hasprompt<dog|none><cat|nocat><bird>]", "dognocat"),
        ("[scheduler]", "Align your steps"),
        ("[datetime<%Y><Nowhere/Land>]", "2024"),
        ("[prompt_hash<4>][prompt_hash<x>]", hashlib.sha256(b"photo of a Dog, 8k").hexdigest()[:4] + "[prompt_hash]"),
        ("[model_name][steps]", "[model_name][steps]"),
        ("[NONE][Width]x[HEIGHT]", "48x32"),
    ],
)
def test_tokens_say_what_they_are_for(pattern: str, expected: str):
    assert expand_pattern(pattern, FACTS, PICTURE) == expected


def test_token_without_a_value_takes_the_text_before_it_along():
    alone = NameFacts(seed=1)
    pattern = "a-[batch_number]b-[generation_number]c-[seed_last]d-[denoising]e"
    assert expand_pattern(pattern, alone, PICTURE) == "e"


def test_no_value_can_bring_a_folder_into_a_name():
    evil = NameFacts(
        prompt="../../etc/passwd",
        negative_prompt="..\\x",
        seed=1,
        sampler="../a",
        model_name="/b",
        styles=("../c",),
        user="../../d",
        vae_file="/x/..\\..",
    )
    for token in TOKENS:
        text = expand_pattern(
            f"[{token}<../%Y/%m>]" if token in ("datetime", "hasprompt") else f"[{token}]", evil, PICTURE
        )
        assert "/" not in text and "\\" not in text, token


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2024/03", ("2024", "03")),
        (" a b \\c/ ", ("a b", "c")),
        ("../../etc", ("etc",)),
        ("/abs//./x", ("abs", "x")),
        ("C:\\windows", ("windows",)),
        ("...", ()),
    ],
)
def test_folder_pattern_cannot_lead_upwards(text: str, parts: tuple[str, ...]):
    assert folder_parts(text) == parts
