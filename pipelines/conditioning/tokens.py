"""A prompt as chunks of tokens, and the token count the user sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.conditioning.chunks import ChunkedPrompt, cut_into_chunks, padded_token_count
from pipelines.conditioning.embeddings import EmbeddingIndex
from pipelines.conditioning.emphasis import Emphasis
from pipelines.conditioning.old_emphasis import bracket_factors, cut_old
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.prompt_schedule import StepCounts, prompt_schedule
from pipelines.conditioning.prompts import WeightedText, parse_attention, split_and
from pipelines.conditioning.tokenizer import tokenize
from schema.errors import PromptError

if TYPE_CHECKING:
    from transformers import CLIPTokenizer


def cut_prompt(
    text: str, tokenizer: CLIPTokenizer, embeddings: EmbeddingIndex, options: EncodeOptions
) -> ChunkedPrompt:
    """The chunks of a text without schedules.

    Raises:
        PromptError: If a weight is malformed.
    """
    is_parsed = options.emphasis != Emphasis.NONE
    if options.old_emphasis:
        factors = bracket_factors(tokenizer) if is_parsed else {}
        return cut_old(tokenize(tokenizer, [text])[0], embeddings, factors)
    pieces = parse_attention(text) if is_parsed else [WeightedText(text=text)]
    tokens = tokenize(tokenizer, [piece.text for piece in pieces])
    return cut_into_chunks(pieces, tokens, embeddings, comma_backtrack=options.comma_backtrack)


def count_tokens(
    prompt: str,
    tokenizer: CLIPTokenizer,
    embeddings: EmbeddingIndex | None = None,
    *,
    steps: int = 20,
    options: EncodeOptions | None = None,
) -> tuple[int, int]:
    """Tokens of the longest text `prompt` becomes during `steps`, and the room in the chunks they fill.

    A prompt that cannot be parsed is counted as plain text.

    Args:
        prompt: Without `<lora:…>` tags and comments.

    Source: A1111 modules/ui.py, update_token_counter.
    """
    options = options or EncodeOptions()
    embeddings = embeddings or EmbeddingIndex()
    texts = {text for part in split_and(prompt) for _, text in prompt_schedule(part.text, StepCounts(base=steps))}
    try:
        count = max(cut_prompt(text, tokenizer, embeddings, options).token_count for text in texts)
    except PromptError:
        count = len(tokenize(tokenizer, [prompt])[0])
    return count, padded_token_count(count)
