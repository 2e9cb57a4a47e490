"""Captions and tokens: everything a caption says is in the vocabulary, and the tokenizer is CLIP's."""

from __future__ import annotations

import numpy as np
import torch

from tools.scene_model.captions import evaluation_caption, write_caption
from tools.scene_model.spec import SceneSpec, Subject, held_out_specs, sample_spec
from tools.scene_model.tokens import UNKNOWN, compact_vocabulary, load_tokenizer, with_unknown_words


def test_tokenizer_gives_the_known_clip_ids() -> None:
    assert load_tokenizer()("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_every_caption_consists_of_known_tokens() -> None:
    rng, vocabulary = np.random.default_rng(4), compact_vocabulary()
    for _ in range(800):
        caption = write_caption(sample_spec(rng), rng)
        assert UNKNOWN not in vocabulary.encode(caption), caption


def test_caption_names_color_subject_and_background() -> None:
    spec = SceneSpec(
        subject=Subject(name="ball", color="red"), background="plain", style="toon", background_color="blue"
    )
    rng = np.random.default_rng(0)
    captions = [write_caption(spec, rng) for _ in range(50)]
    assert all("red ball" in caption for caption in captions)
    assert sum("blue background" in caption for caption in captions) > 40
    assert len(set(captions)) > 20


def test_captions_come_as_tags_and_as_phrases() -> None:
    spec = SceneSpec(subject=Subject(name="ball", color="red"), background="beach", style="photo")
    rng = np.random.default_rng(0)
    captions = {write_caption(spec, rng) for _ in range(400)}
    assert "red ball, beach, photo" in captions
    assert any("red ball on a beach" in caption for caption in captions)


def test_evaluation_captions_are_all_different() -> None:
    captions = [evaluation_caption(spec, index) for index, spec in enumerate(held_out_specs())]
    assert len(set(captions)) == len(captions)
    assert not any(UNKNOWN in compact_vocabulary().encode(caption) for caption in captions)


def test_batches_begin_end_and_are_padded_to_77() -> None:
    vocabulary = compact_vocabulary()
    batch = vocabulary.encode_batch(["red ball", ""])
    assert batch.shape == (2, 77)
    assert batch[:, 0].tolist() == [vocabulary.begin] * 2
    assert batch[0, 3].item() == batch[1, 1].item() == vocabulary.end


def test_unknown_words_are_strewn_in_without_losing_any() -> None:
    tokens = [3, 4, 5]
    mixed = with_unknown_words(tokens, np.random.default_rng(1), share=1.0)
    assert [token for token in mixed if token != UNKNOWN] == tokens
    assert len(mixed) > 3


def test_full_table_holds_trained_rows_and_the_unknown_row() -> None:
    vocabulary = compact_vocabulary()
    compact = torch.arange(vocabulary.size, dtype=torch.float32)[:, None].repeat(1, 2)
    full = vocabulary.expand_table(compact)
    assert full.shape == (49408, 2)
    assert full[vocabulary.clip_ids[5], 0].item() == 6.0
    zebra = load_tokenizer()("zebra")["input_ids"][1]
    assert full[zebra, 0].item() == 0.0
