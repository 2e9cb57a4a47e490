"""What infotext says about encoded prompts: the embeddings used and the emphasis mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.conditioning.chunks import ChunkedPrompt
from pipelines.conditioning.embeddings import Embedding
from pipelines.conditioning.emphasis import Emphasis
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.prompt_schedule import StepCounts, prompt_schedule

OLD_TIMELINES = "Old prompt editing timelines"
TI_HASHES = "TI hashes"
EMPHASIS = "Emphasis"


def describe_call(texts: Iterable[str], prompts: Sequence[ChunkedPrompt], options: EncodeOptions) -> dict[str, str]:
    """What one call of a text encoder adds to infotext.

    Source: A1111 modules/sd_hijack_clip.py, TextConditionalModel.forward.
    """
    # A1111's old implementation writes neither.
    if options.old_emphasis:
        return {}
    found: dict[str, str] = {}
    hashes = ", ".join(f"{_plain(embedding.name)}: {embedding.hash}" for embedding in _used(prompts) if embedding.hash)
    if options.ti_hashes and hashes:
        found[TI_HASHES] = hashes
    if options.emphasis != Emphasis.ORIGINAL and any("(" in text or "[" in text for text in texts):
        found[EMPHASIS] = options.emphasis
    return found


def _used(prompts: Sequence[ChunkedPrompt]) -> list[Embedding]:
    """The embeddings in the order the encoder meets them: chunk by chunk, all prompts in each."""
    by_name: dict[str, Embedding] = {}
    for number in range(max((len(prompt.chunks) for prompt in prompts), default=0)):
        for prompt in prompts:
            for chunk in prompt.chunks[number : number + 1]:
                by_name.update({item.embedding.name: item.embedding for item in chunk.insertions})
    return list(by_name.values())


def _plain(name: str) -> str:
    return name.replace(":", "").replace(",", "")


def merged(before: dict[str, str], added: dict[str, str]) -> dict[str, str]:
    """Infotext entries of two encodings; embeddings of the later one come first.

    As in A1111 an embedding that several encoder calls met is named several times.
    """
    result = before | added
    if TI_HASHES in before and TI_HASHES in added:
        result[TI_HASHES] = f"{added[TI_HASHES]}, {before[TI_HASHES]}"
    return result


def old_timelines(texts: Iterable[str], counts: StepCounts) -> dict[str, str]:
    """The entry that says the old scheduling rule was in force, where it makes a difference.

    Source: A1111 modules/processing.py, StableDiffusionProcessing.get_conds_with_caching.
    """
    if not counts.old_rule:
        return {}
    new = StepCounts(base=counts.base, hires=counts.hires)
    differs = any(prompt_schedule(text, counts) != prompt_schedule(text, new) for text in texts)
    return {OLD_TIMELINES: "True"} if differs else {}
