"""The prompt language against recorded cases, and what must hold for every prompt."""

import pytest

from pipelines.adapters.extra_networks import LoraSpec, extract_networks, lora_specs
from pipelines.conditioning.prompt_schedule import StepCounts, prompt_schedule
from pipelines.conditioning.prompts import parse_attention, remove_comments, split_and
from schema.errors import PromptError
from tests.numerics.recorded import recorded_cases


@pytest.mark.parametrize(("prompt", "expected"), recorded_cases("prompt_attention"))
def test_attention_is_read_as_recorded(prompt, expected):
    if "raises" in expected:
        with pytest.raises(PromptError):
            parse_attention(prompt)
    else:
        assert [[piece.text, piece.weight] for piece in parse_attention(prompt)] == expected["tokens"]


@pytest.mark.parametrize(("prompt", "expected"), recorded_cases("prompt_schedule"))
def test_schedules_are_resolved_as_recorded(prompt, expected):
    for case in expected:
        counts = StepCounts(base=case["base_steps"], hires=case["hires_steps"], old_rule=case["old"])
        assert [list(entry) for entry in prompt_schedule(prompt, counts)] == case["schedule"], counts


@pytest.mark.parametrize(("prompts", "expected"), recorded_cases("multicond"))
def test_and_splits_as_recorded(prompts, expected):
    flat: list[str] = []
    indexes = []
    for prompt in prompts:
        parts = split_and(prompt)
        flat += [part.text for part in parts if part.text not in flat]
        indexes.append([[flat.index(part.text), part.weight] for part in parts])
    # Texts are counted in the order they are first met.
    assert {"flat": list(dict.fromkeys(flat)), "indexes": indexes} == expected


@pytest.mark.parametrize(("prompt", "expected"), recorded_cases("prompt_comments"))
def test_comments_are_removed_as_recorded(prompt, expected):
    assert remove_comments(prompt) == expected


@pytest.mark.parametrize(("prompt", "expected"), recorded_cases("extra_networks"))
def test_network_tags_are_taken_out_as_recorded(prompt, expected):
    text, found = extract_networks(prompt)
    networks: dict[str, list[dict[str, object]]] = {}
    for tag in found:
        entry = {"items": list(tag.items), "positional": list(tag.positional), "named": dict(tag.named)}
        networks.setdefault(tag.kind, []).append(entry)
    assert {"prompt": text, "networks": networks} == expected


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<lora:x>", LoraSpec(name="x")),
        ("<lyco:x:0.5>", LoraSpec(name="x", te=0.5, unet=0.5)),
        ("<lora:x:0.5:0.7:8>", LoraSpec(name="x", te=0.5, unet=0.7, dyn=8)),
        ("<lora:x:unet=0.7>", LoraSpec(name="x", te=1.0, unet=0.7)),
        ("<lora:x:te=0.5:dyn=4>", LoraSpec(name="x", te=0.5, unet=0.5, dyn=4)),
    ],
)
def test_lora_tags_say_what_to_apply(prompt, expected):
    assert lora_specs(extract_networks(prompt)[1]) == (expected,)


def test_lora_tag_without_number_names_the_tag():
    with pytest.raises(PromptError, match=r"'strong' in <lora:x:strong>"):
        lora_specs(extract_networks("<lora:x:strong>")[1])


def test_other_kinds_of_networks_are_not_loras():
    assert lora_specs(extract_networks("<hypernet:x:1>")[1]) == ()


@pytest.mark.parametrize("prompt", ["[a:b:0.5]]", "[a:b:0.5]: c", "[[a:b:0.5]", "(([a:b:0.5])", ") [a:b:0.5] ("])
def test_complete_groups_count_beside_stray_brackets(prompt):
    texts = [text for _, text in prompt_schedule(prompt, StepCounts(base=10))]
    assert texts == [prompt.replace("[a:b:0.5]", "a"), prompt.replace("[a:b:0.5]", "b")]


@pytest.mark.parametrize("prompt", ["(" * 3000, "[" * 3000 + "a" + "]" * 3000, "[a:" * 1000, "[a|" * 1000 + "]" * 1000])
def test_absurd_nesting_ends_without_error(prompt):
    assert prompt_schedule(prompt, StepCounts(base=3))[-1][0] == 3
    parse_attention(prompt)


@pytest.mark.parametrize("when", ["1e999", "-1e999", "99999999999999999999"])
def test_huge_switch_steps_are_cut_to_the_pass(when):
    assert prompt_schedule(f"[a:b:{when}]", StepCounts(base=5))[-1][0] == 5


def test_the_last_entry_ends_at_the_last_step_of_the_hires_pass():
    counts = StepCounts(base=20, hires=10)
    assert prompt_schedule("[a:b:25]", counts) == ((5, "a"), (10, "b"))
    assert prompt_schedule("[a:b:1.5]", counts) == ((5, "a"), (10, "b"))
