"""Prompts encoded by toy text encoders of the real classes."""

import base64
import json
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file
from torch.testing import assert_close

from pipelines.checkpoints.model import Family
from pipelines.conditioning.embeddings import Embedding, EmbeddingIndex, EmbeddingLibrary
from pipelines.conditioning.encode import PromptCache, encode_prompts
from pipelines.conditioning.options import EncodeOptions
from pipelines.conditioning.prompt_schedule import StepCounts
from pipelines.conditioning.text_encoders import text_widths
from pipelines.conditioning.tokenizer import tokenize
from tests.tiny.builders import TEXT_WIDTH, tiny_model

START, END = 49406, 49407


@pytest.fixture(scope="module")
def sd1():
    model = tiny_model(Family.SD1)
    # A fresh layer norm has a mean of zero; trained ones do not, and "Original" emphasis divides by it.
    model.text_encoders[0].final_layer_norm.bias.data.fill_(0.25)
    return model


@pytest.fixture(scope="module")
def sdxl():
    return tiny_model(Family.SDXL)


def encode(model, prompt="a cat", negative="", *, steps=10, old_rule=False, embeddings=None, cache=None, **options):
    return encode_prompts(
        model,
        [prompt],
        [negative],
        width=64,
        height=96,
        counts=StepCounts(base=steps, old_rule=old_rule),
        options=EncodeOptions(**options),
        embeddings=embeddings,
        cache=cache,
    )


def only(encoded):
    """The conditioning of a prompt without schedule."""
    ((part,),) = encoded.batch.cond
    (entry,) = part.schedule
    return entry.conditioning


def ids(model, text, *, pad):
    tokens = tokenize(model.tokenizers[0], [text])[0]
    return torch.tensor([[START, *tokens, END, *[pad] * (75 - len(tokens))]])


def hidden(encoder, tokens):
    return getattr(encoder, "text_model", encoder)(input_ids=tokens, output_hidden_states=True)


def test_sd1_reads_the_normed_last_layer(sd1):
    expected = sd1.text_encoders[0](input_ids=ids(sd1, "a cat", pad=END)).last_hidden_state[0]
    conditioning = only(encode(sd1))
    assert_close(conditioning.cross_attention, expected)
    assert conditioning.pooled is None and conditioning.time_ids is None
    assert conditioning.cross_attention.shape == (77, TEXT_WIDTH)


@pytest.mark.parametrize("clip_skip", [2, 3])
def test_sd1_clip_skip_norms_an_earlier_layer(sd1, clip_skip):
    encoder = sd1.text_encoders[0]
    layer = hidden(encoder, ids(sd1, "a cat", pad=END)).hidden_states[-clip_skip]
    expected = encoder.final_layer_norm(layer)[0]
    assert_close(only(encode(sd1, clip_skip=clip_skip)).cross_attention, expected)


def test_clip_skip_beyond_the_encoder_reads_its_first_layer(sd1):
    first = hidden(sd1.text_encoders[0], ids(sd1, "a cat", pad=END)).hidden_states[0]
    expected = sd1.text_encoders[0].final_layer_norm(first)[0]
    assert_close(only(encode(sd1, clip_skip=12)).cross_attention, expected)


def test_sd2_pads_with_zero_and_ignores_clip_skip():
    model = tiny_model(Family.SD2)
    expected = model.text_encoders[0](input_ids=ids(model, "a cat", pad=0)).last_hidden_state[0]
    assert_close(only(encode(model, clip_skip=2)).cross_attention, expected)


def test_sdxl_joins_both_encoders_last_layer_but_one_without_norm(sdxl):
    small, large = sdxl.text_encoders
    left = hidden(small, ids(sdxl, "a cat", pad=END)).hidden_states[-2][0]
    right = hidden(large, ids(sdxl, "a cat", pad=0)).hidden_states[-2][0]
    conditioning = only(encode(sdxl, clip_skip=2))
    assert_close(conditioning.cross_attention, torch.cat([left, right], dim=-1))
    assert_close(conditioning.pooled, large(input_ids=ids(sdxl, "a cat", pad=0)).text_embeds[0])
    assert conditioning.time_ids.tolist() == [96, 64, 0, 0, 96, 64]


def test_sdxl_clip_skip_acts_on_clip_l_when_asked_for(sdxl):
    small = sdxl.text_encoders[0]
    states = hidden(small, ids(sdxl, "a cat", pad=END)).hidden_states
    for clip_skip in (1, 3):
        conditioning = only(encode(sdxl, clip_skip=clip_skip, sdxl_clip_l_skip=True))
        assert_close(conditioning.cross_attention[:, :TEXT_WIDTH], states[-clip_skip][0])


def test_sdxl_pools_the_first_chunk_only(sdxl):
    long = only(encode(sdxl, "a cat BREAK a dog"))
    assert long.cross_attention.shape == (154, 2 * TEXT_WIDTH)
    assert_close(long.pooled, only(encode(sdxl, "a cat")).pooled)


def test_sdxl_empty_negative_prompt_is_zeros_and_positive_is_not(sdxl):
    encoded = encode(sdxl, prompt="", negative="")
    (negative,) = encoded.batch.uncond[0]
    assert not negative.conditioning.cross_attention.any() and not negative.conditioning.pooled.any()
    assert negative.conditioning.time_ids.tolist() == [96, 64, 0, 0, 96, 64]
    assert only(encoded).cross_attention.any()
    (spoken,) = encode(sdxl, negative="blurry").batch.uncond[0]
    assert spoken.conditioning.cross_attention.any()


def test_refiner_reads_openclip_and_is_told_the_aesthetic_score():
    model = tiny_model(Family.SDXL_REFINER)
    encoded = encode(model, negative="blurry", crop=(3, 5))
    assert only(encoded).cross_attention.shape == (77, TEXT_WIDTH)
    assert only(encoded).time_ids.tolist() == [96, 64, 3, 5, 6]
    assert encoded.batch.uncond[0][0].conditioning.time_ids.tolist() == [96, 64, 3, 5, 2.5]


def test_weights_multiply_tokens_and_keep_the_mean(sd1):
    plain = only(encode(sd1, "a cat")).cross_attention
    weighted = only(encode(sd1, "(a cat:1.5)", emphasis="No norm")).cross_attention
    factors = torch.ones(77, 1)
    factors[1:3] = 1.5
    assert_close(weighted, plain * factors)
    restored = only(encode(sd1, "(a cat:1.5)")).cross_attention
    assert_close(restored, weighted * plain.mean() / weighted.mean())
    assert_close(only(encode(sd1, "(a cat:1.5)", emphasis="Ignore")).cross_attention, plain)


def test_emphasis_none_reads_brackets_as_text(sd1):
    literal = only(encode(sd1, r"\(a cat:1.5\)")).cross_attention
    assert_close(only(encode(sd1, "(a cat:1.5)", emphasis="None")).cross_attention, literal)


def test_mean_is_taken_over_all_texts_of_a_schedule(sd1):
    ((part,),) = encode(sd1, "(a cat:1.5) [in a box|]", steps=4).batch.cond
    texts = ["a cat in a box", "a cat ", "a cat in a box", "a cat "]
    z = torch.cat([sd1.text_encoders[0](input_ids=ids(sd1, text, pad=END)).last_hidden_state for text in texts])
    factors = torch.ones(77, 1)
    factors[1:3] = 1.5
    weighted = z * factors
    expected = weighted * (z.mean() / weighted.mean())
    assert [entry.until for entry in part.schedule] == [1, 2, 3, 4]
    for entry, text in zip(part.schedule, expected, strict=True):
        assert_close(entry.conditioning.cross_attention, text)


def test_shorter_texts_of_a_schedule_are_filled_with_empty_chunks(sd1):
    ((part,),) = encode(sd1, "[a cat:a cat BREAK a dog:0.5]").batch.cond
    short, long = (entry.conditioning.cross_attention for entry in part.schedule)
    assert short.shape == long.shape == (154, TEXT_WIDTH)
    empty = sd1.text_encoders[0](input_ids=ids(sd1, "", pad=END)).last_hidden_state[0]
    assert_close(short[77:], empty)


def test_and_makes_weighted_parts_of_positive_prompts_only(sd1):
    encoded = encode(sd1, "a cat AND a dog:0.5", negative="x AND y")
    ((first, second),) = encoded.batch.cond
    assert (first.weight, second.weight) == (1.0, 0.5)
    assert_close(first.schedule[0].conditioning.cross_attention, only(encode(sd1, "a cat")).cross_attention)
    (negative,) = encoded.batch.uncond[0]
    assert_close(negative.conditioning.cross_attention, only(encode(sd1, "x and y")).cross_attention)


def test_images_of_a_batch_equal_single_images(sd1):
    prompts = ["a cat", "a dog BREAK a box", "a cat"]
    batch = encode_prompts(sd1, prompts, [""] * 3, width=64, height=64, counts=StepCounts(base=5)).batch
    for prompt, ((entry,),) in zip(prompts, [tuple(p.schedule for p in parts) for parts in batch.cond], strict=True):
        assert_close(entry.conditioning.cross_attention, only(encode(sd1, prompt)).cross_attention)


def vectors(count, seed, width=TEXT_WIDTH):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_embeddings_take_the_place_of_their_names(sd1):
    own = sd1.text_encoders[0].embeddings.token_embedding.weight
    word = tokenize(sd1.tokenizers[0], ["dog"])[0]
    # An embedding that holds the vectors of a word must act like the word.
    index = EmbeddingIndex([Embedding(name="mystyle", tensors=(own[word].clone(),))], sd1.tokenizers[0])
    before = only(encode(sd1, "a mystyle")).cross_attention
    assert_close(
        only(encode(sd1, "a MyStyle", embeddings=index)).cross_attention, only(encode(sd1, "a dog")).cross_attention
    )
    assert_close(only(encode(sd1, "a mystyle")).cross_attention, before)


def test_sdxl_embeddings_reach_both_encoders_and_the_pooled_vector(sdxl):
    pair = (vectors(2, 1), vectors(2, 2))
    index = EmbeddingIndex([Embedding(name="mystyle", tensors=pair)], sdxl.tokenizers[0])
    with_it, without = only(encode(sdxl, "mystyle", embeddings=index)), only(encode(sdxl, "mystyle"))
    changed = (with_it.cross_attention - without.cross_attention).abs().amax(dim=0)
    assert changed[:TEXT_WIDTH].max() > 0 and changed[TEXT_WIDTH:].max() > 0
    assert not torch.equal(with_it.pooled, without.pooled)


def test_infotext_names_embeddings_and_emphasis(sd1):
    index = EmbeddingIndex(
        [
            Embedding(name="my:style", tensors=(vectors(1, 1),), hash="0123456789ab"),
            Embedding(name="other", tensors=(vectors(1, 2),), hash="ba9876543210"),
        ],
        sd1.tokenizers[0],
    )
    encoded = encode(sd1, "(my:style), other", "other", embeddings=index, emphasis="No norm")
    assert encoded.infotext == {
        "TI hashes": "mystyle: 0123456789ab, other: ba9876543210, other: ba9876543210",
        "Emphasis": "No norm",
    }
    assert encode(sd1, "my:style", embeddings=index, ti_hashes=False).infotext == {}


def test_old_scheduling_is_named_where_it_makes_a_difference(sd1):
    assert encode(sd1, "[a:b:1.5]", old_rule=True).infotext == {"Old prompt editing timelines": "True"}
    assert encode(sd1, "[a:b:0.5]", old_rule=True).infotext == {}


def count_calls(model):
    calls = []
    for encoder in model.text_encoders:
        encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def test_repeated_prompts_are_not_encoded_again_and_keep_their_infotext():
    model = tiny_model(Family.SD1, seed=3)
    calls = count_calls(model)
    index = EmbeddingIndex([Embedding(name="mystyle", tensors=(vectors(1, 1),), hash="aa")], model.tokenizers[0])
    cache = PromptCache()
    first = encode(model, "(mystyle)", "bad", embeddings=index, cache=cache, emphasis="Ignore")
    assert len(calls) == 2
    second = encode(model, "(mystyle)", "bad", embeddings=index, cache=cache, emphasis="Ignore")
    assert len(calls) == 2
    assert first.infotext == second.infotext == {"TI hashes": "mystyle: aa", "Emphasis": "Ignore"}


@pytest.mark.parametrize("change", [{"clip_skip": 2}, {"comma_backtrack": 0}, {"steps": 11}, {"emphasis": "No norm"}])
def test_whatever_changes_the_encoding_misses_the_cache(change):
    model = tiny_model(Family.SD1, seed=3)
    calls = count_calls(model)
    cache = PromptCache()
    encode(model, cache=cache)
    encode(model, cache=cache, **change)
    assert len(calls) == 4


def test_a_changed_embedding_file_or_weights_miss_the_cache():
    model = tiny_model(Family.SD1, seed=3)
    calls = count_calls(model)
    cache = PromptCache()
    for digest in ("aa", "bb"):
        index = EmbeddingIndex([Embedding(name="x", tensors=(vectors(1, 1),), hash=digest)], model.tokenizers[0])
        encode(model, embeddings=index, cache=cache)
    assert len(calls) == 4
    for key in ("lora 1", "lora 1", "lora 2"):
        arguments = {"width": 64, "height": 64, "counts": StepCounts(base=10), "cache": cache, "weights_key": key}
        encode_prompts(model, ["a cat"], [""], **arguments)
    assert len(calls) == 8


def test_the_cache_forgets_the_oldest():
    cache, encoder = PromptCache(size=2), torch.nn.Linear(1, 1)
    made = []
    for key in "abcab":
        cache.get(encoder, key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "a", "b"]


def test_embedding_files_of_every_format_are_read(tmp_path: Path):
    tensor = vectors(2, 5)
    save_file({"emb_params": tensor}, tmp_path / "diffusers.safetensors")
    save_file({"only": tensor[0].clone()}, tmp_path / "flat.safetensors")
    save_file({"clip_l": vectors(3, 1, 8), "clip_g": vectors(3, 2, 16)}, tmp_path / "xl.safetensors")
    trained = {"string_to_param": {"*": tensor}, "name": "inner", "step": 500, "sd_checkpoint_name": "base"}
    (tmp_path / "sub").mkdir()
    torch.save(trained, tmp_path / "sub" / "trained.pt")
    torch.save({"string_to_param": torch.nn.ParameterDict({"*": tensor})}, tmp_path / "parameters.bin")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    library = EmbeddingLibrary([tmp_path])
    library.scan()
    found = {embedding.name: embedding for embedding in library.embeddings}
    assert set(found) == {"diffusers", "flat", "xl", "trained", "parameters"}
    assert_close(found["trained"].tensors[0], tensor)
    assert_close(found["parameters"].tensors[0], tensor)
    assert (found["trained"].step, found["trained"].trained_on) == (500, "base")
    assert found["flat"].tensors[0].shape == (1, TEXT_WIDTH)
    assert found["xl"].widths == (8, 16)
    assert [path.name for path in library.problems] == ["broken.safetensors"]


def test_embeddings_of_another_width_are_skipped(tmp_path: Path, sd1):
    save_file({"x": vectors(2, 5)}, tmp_path / "fits.safetensors")
    save_file({"x": vectors(2, 5, TEXT_WIDTH + 1)}, tmp_path / "wide.safetensors")
    library = EmbeddingLibrary([tmp_path])
    library.scan()
    fitting, skipped = library.for_widths(text_widths(sd1))
    assert [item.name for item in fitting] == ["fits"]
    assert [item.name for item in skipped] == ["wide"]
    assert [item.name for item in library.index(sd1.tokenizers[0], text_widths(sd1)).embeddings] == ["fits"]


def test_a_changed_file_is_read_again_and_a_removed_one_forgotten(tmp_path: Path):
    path = tmp_path / "style.safetensors"
    library = EmbeddingLibrary([tmp_path])
    save_file({"x": vectors(1, 1)}, path)
    library.scan()
    first = library.embeddings[0]
    library.scan()
    assert library.embeddings[0] is first
    save_file({"x": vectors(2, 2)}, path)
    library.scan()
    assert library.embeddings[0].vector_count == 2 and library.embeddings[0].hash != first.hash
    path.unlink()
    library.scan()
    assert library.embeddings == []


def test_embeddings_in_pictures_are_read(tmp_path: Path):
    tensor = vectors(2, 9)
    content = {"string_to_param": {"*": {"TORCHTENSOR": tensor.tolist()}}, "name": "inside", "step": 7}
    chunk = PngImagePlugin.PngInfo()
    chunk.add_text("sd-ti-embedding", base64.b64encode(json.dumps(content).encode()).decode())
    Image.new("RGB", (8, 8)).save(tmp_path / "card.png", pnginfo=chunk)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    library = EmbeddingLibrary([tmp_path])
    library.scan()
    (embedding,) = library.embeddings
    assert embedding.name == "inside"
    assert_close(embedding.tensors[0], tensor)
    assert library.problems == {}


def test_names_are_found_longest_first():
    model = tiny_model(Family.SD1, seed=3)
    tokenizer = model.tokenizers[0]
    index = EmbeddingIndex(
        [
            Embedding(name="my style", tensors=(vectors(1, 1),)),
            Embedding(name="my style two", tensors=(vectors(1, 2),)),
        ],
        tokenizer,
    )
    (tokens,) = tokenize(tokenizer, ["my style two"])
    found = index.find(tokens, 0)
    assert found is not None and found[0].name == "my style two" and found[1] == len(tokens)
    assert index.find(tokens, 1) is None
