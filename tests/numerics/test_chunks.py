"""Prompts cut into chunks of tokens, against recorded cases."""

import pytest
import torch

from pipelines.conditioning.chunks import SpecialTokens, empty_chunk, padded_token_count
from pipelines.conditioning.embeddings import Embedding, EmbeddingIndex
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.text_encoders import token_rows
from pipelines.conditioning.tokenizer import clip_tokenizer, tokenize
from pipelines.conditioning.tokens import count_tokens, cut_prompt
from schema.errors import PromptError
from tests.numerics.recorded import recorded, recorded_cases

CASES = recorded_cases("prompt_chunks")
CUT = [case for case in CASES if "op" not in case.values[0]]
FORWARD = [case for case in CASES if "op" in case.values[0]]


@pytest.fixture(scope="module")
def embeddings():
    lengths = recorded("prompt_chunks")["embeddings"]
    vectors = [Embedding(name=name, tensors=(torch.zeros(count, 2),)) for name, count in lengths.items()]
    return EmbeddingIndex(vectors, clip_tokenizer())


@pytest.mark.parametrize(("given", "expected"), CUT)
def test_prompts_are_cut_as_recorded(given, expected, embeddings):
    options = EncodeOptions(emphasis=given["emphasis"], comma_backtrack=given["comma_padding_backtrack"])
    cut = cut_prompt(given["text"], clip_tokenizer(), embeddings, options)
    assert cut.token_count == expected["token_count"]
    assert padded_token_count(cut.token_count) == expected["target_count"]
    assert len(cut.chunks) == len(expected["chunks"])
    for chunk, recorded_chunk in zip(cut.chunks, expected["chunks"], strict=True):
        assert list(chunk.tokens) == recorded_chunk["tokens"]
        assert list(chunk.weights) == [value for value, times in recorded_chunk["multipliers"] for _ in range(times)]
        insertions = [[item.offset, item.embedding.name] for item in chunk.insertions]
        assert insertions == recorded_chunk["embeddings"]


@pytest.mark.parametrize(("given", "expected"), FORWARD)
def test_encoders_are_given_the_recorded_ids(given, expected, embeddings):
    special = SpecialTokens()
    pad = special.end if given["pad_token"] == "end" else given["pad_token"]
    prompts = [cut_prompt(text, clip_tokenizer(), embeddings, EncodeOptions()) for text in given["texts"]]
    calls = []
    for index in range(max(len(prompt.chunks) for prompt in prompts)):
        chunks = [prompt.chunks[index] if index < len(prompt.chunks) else empty_chunk(special) for prompt in prompts]
        calls.append(token_rows(chunks, pad).tolist())
    assert calls == expected["encoder_calls"]


def test_an_embedding_too_long_for_a_chunk_is_an_error_that_names_it(embeddings):
    cut = cut_prompt("huge", clip_tokenizer(), embeddings, EncodeOptions())
    with pytest.raises(PromptError, match=r"'huge' has 80 vectors"):
        token_rows(cut.chunks, 0)


def test_the_counter_shows_the_longest_text_of_schedules_and_parts():
    tokenizer = clip_tokenizer()
    assert count_tokens("", tokenizer) == (0, 75)
    assert count_tokens("[cat:a big dog:0.5]", tokenizer) == (3, 75)
    assert count_tokens("cat AND a big dog", tokenizer) == (3, 75)
    assert count_tokens("cat " * 76, tokenizer) == (76, 150)


def test_the_counter_survives_malformed_weights():
    count, room = count_tokens("(a:1.2.3)", clip_tokenizer())
    assert count > 0 and room == 75


@pytest.mark.parametrize(
    ("text", "same_as"),
    [("“Cat”", '"cat"'), ("ＣＡＴ", "cat"), ("cat &amp; dog", "cat & dog"), ("  Cat\n", "cat"), ("ﬁre", "fire")],
)
def test_text_is_repaired_before_it_is_tokenised(text, same_as):
    first, second = tokenize(clip_tokenizer(), [text, same_as])
    assert first == second


def test_padding_token_depends_on_the_encoder():
    assert clip_tokenizer().pad_token_id == 49407
    assert clip_tokenizer("!").pad_token_id == 0
    assert clip_tokenizer("!") is clip_tokenizer("!")


def test_old_emphasis_counts_brackets_and_keeps_75_tokens():
    options = EncodeOptions(old_emphasis=True)
    tokenizer = clip_tokenizer()
    cut = cut_prompt("a ((cat)) [dog]", tokenizer, EmbeddingIndex(), options)
    words = tokenize(tokenizer, ["a", "cat", "dog"])
    assert list(cut.chunks[0].tokens[1:4]) == [ids[0] for ids in words]
    assert cut.chunks[0].weights[1:4] == pytest.approx((1.0, 1.21, 1 / 1.1))
    long = cut_prompt("cat " * 200, tokenizer, EmbeddingIndex(), options)
    assert len(long.chunks) == 1 and len(long.chunks[0].tokens) == 77
