"""LoRAs put into the weights of toy models, and taken out again."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from pipelines.adapters.extra_networks import LoraSpec
from pipelines.adapters.key_maps import layers_by_key
from pipelines.adapters.lora import LoraPatcher, patched
from pipelines.adapters.lora_files import LoraLibrary
from pipelines.checkpoints.model import Family
from pipelines.conditioning.embeddings import EmbeddingIndex
from pipelines.conditioning.encode import encode_prompts
from pipelines.conditioning.prompt_schedule import StepCounts
from tests.tiny.builders import TEXT_WIDTH, tiny_model

RANK = 2
LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"
TEXT = "lora_te_text_model_encoder_layers_0_mlp_fc1"


def pair(module, seed=0, scale=0.1):
    """Matrices of a plain LoRA for a layer."""
    random = torch.Generator().manual_seed(seed)
    out_size, in_size, *kernel = module.weight.shape
    down = torch.randn(RANK, in_size, *kernel, generator=random) * scale
    up = torch.randn(out_size, RANK, *[1] * len(kernel), generator=random) * scale
    return {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(1.0)}


def product(parts):
    up, down = parts["lora_up.weight"], parts["lora_down.weight"]
    return (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:]) * 0.5


def write(folder: Path, name: str, layers: dict[str, dict[str, torch.Tensor]]) -> None:
    tensors = {f"{key}.{part}": value.contiguous() for key, parts in layers.items() for part, value in parts.items()}
    save_file(tensors, folder / f"{name}.safetensors")


def active(library: LoraLibrary, *specs: LoraSpec):
    return library.resolve(specs)[0]


def weights_of(model):
    networks = {"unet": model.unet, **{f"te{n}": encoder for n, encoder in enumerate(model.text_encoders)}}
    return {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}


def snapshot(model):
    return {name: value.clone() for name, value in weights_of(model).items()}


def assert_untouched(model, before):
    after = weights_of(model)
    assert after.keys() == before.keys()
    assert all(
        torch.equal(after[name].view(torch.uint8), before[name].view(torch.uint8))
        for name in before
        if before[name].ndim
    )


@pytest.fixture
def model():
    return tiny_model(Family.SD1)


@pytest.fixture
def library(tmp_path: Path, model):
    layers = layers_by_key(model)
    write(tmp_path, "style", {key: pair(layers[key].module) for key in (LINEAR, CONV, TEXT)})
    write(tmp_path, "other", {LINEAR: pair(layers[LINEAR].module, seed=1)})
    return LoraLibrary([tmp_path])


def test_weights_change_inside_the_block_and_are_restored_to_the_byte(model, library):
    layers, before = layers_by_key(model), snapshot(model)
    parts = library.tensors(library.find("style")).layers
    with patched(model, active(library, LoraSpec(name="style", te=0.5, unet=0.8)), library) as comments:
        assert comments == ()
        for key, multiplier in ((LINEAR, 0.8), (CONV, 0.8), (TEXT, 0.5)):
            component = "te0" if key is TEXT else "unet"
            old = before[f"{component}.{layers[key].path}.weight"]
            assert_close(layers[key].module.weight.data, old + multiplier * product(parts[key]))
    assert_untouched(model, before)


def test_weights_are_restored_after_an_exception(model, library):
    before = snapshot(model)
    with pytest.raises(KeyError), patched(model, active(library, LoraSpec(name="style")), library):
        raise KeyError
    assert_untouched(model, before)


def test_networks_add_up_and_may_repeat(model, library):
    layer = layers_by_key(model)[LINEAR]
    old = layer.module.weight.data.clone()
    one, two = (product(library.tensors(library.find(name)).layers[LINEAR]) for name in ("style", "other"))
    specs = (LoraSpec(name="style"), LoraSpec(name="other", unet=2.0), LoraSpec(name="style", unet=0.5))
    with patched(model, active(library, *specs), library):
        assert_close(layer.module.weight.data, old + 1.5 * one + 2 * two)


def test_dyn_keeps_the_first_ranks(model, library):
    layer = layers_by_key(model)[LINEAR]
    old = layer.module.weight.data.clone()
    parts = library.tensors(library.find("style")).layers[LINEAR]
    with patched(model, active(library, LoraSpec(name="style", dyn=1)), library):
        expected = old + 0.5 * parts["lora_up.weight"][:, :1] @ parts["lora_down.weight"][:1]
        assert_close(layer.module.weight.data, expected)


def test_the_same_loras_are_applied_once_and_others_start_from_the_original(model, library):
    before, layer = snapshot(model), layers_by_key(model)[LINEAR]
    patcher = LoraPatcher(model, library)
    wanted = active(library, LoraSpec(name="style"))
    patcher.apply(wanted)
    tensor = layer.module.weight.data
    patcher.apply(wanted)
    assert layer.module.weight.data.data_ptr() == tensor.data_ptr()
    patcher.apply(active(library, LoraSpec(name="other")))
    two = product(library.tensors(library.find("other")).layers[LINEAR])
    assert_close(layer.module.weight.data, before[f"unet.{layer.path}.weight"] + two)
    patcher.apply(())
    assert_untouched(model, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_rounded_after_every_network(model, library, dtype):
    model.unet.to(dtype)
    model.dtype = dtype
    layer, before = layers_by_key(model)[LINEAR], snapshot(model)
    old = layer.module.weight.data.clone()
    compute = torch.float16 if dtype is torch.float16 else torch.float32
    expected = old
    for name in ("style", "other"):
        parts = library.tensors(library.find(name)).layers[LINEAR]
        delta = (parts["lora_up.weight"].to(compute) @ parts["lora_down.weight"].to(compute)) * 0.5
        expected = (expected.to(compute) + delta).to(dtype)
    with patched(model, active(library, LoraSpec(name="style"), LoraSpec(name="other")), library):
        assert torch.equal(layer.module.weight.data, expected)
    assert_untouched(model, before)


def test_a_lora_for_four_channels_fits_an_inpainting_model(tmp_path: Path):
    model = tiny_model(Family.SD1, in_channels=9)
    layer = layers_by_key(model)["lora_unet_conv_in"]
    old = layer.module.weight.data.clone()
    parts = pair(torch.nn.Conv2d(4, old.shape[0], 3))
    write(tmp_path, "four", {"lora_unet_conv_in": parts})
    library = LoraLibrary([tmp_path])
    with patched(model, active(library, LoraSpec(name="four")), library) as comments:
        assert comments == ()
        assert_close(layer.module.weight.data[:, :4], old[:, :4] + product(parts))
        assert torch.equal(layer.module.weight.data[:, 4:], old[:, 4:])


def test_layers_of_another_shape_are_skipped_with_a_comment(tmp_path: Path, model):
    before = snapshot(model)
    layers = layers_by_key(model)
    wrong = pair(torch.nn.Linear(7, 5))
    write(tmp_path, "mixed", {LINEAR: wrong, TEXT: pair(layers[TEXT].module)})
    library = LoraLibrary([tmp_path])
    with patched(model, active(library, LoraSpec(name="mixed")), library) as comments:
        assert comments == ("LoRA mixed: 1 layers have another shape in this model",)
        assert not torch.equal(layers[TEXT].module.weight.data, before[f"te0.{layers[TEXT].path}.weight"])
    assert_untouched(model, before)


def test_a_lora_for_another_kind_of_model_is_a_comment(tmp_path: Path, model):
    write(tmp_path, "alien", {"lora_transformer_x": {"alpha": torch.tensor(1.0)}})
    library = LoraLibrary([tmp_path])
    with patched(model, active(library, LoraSpec(name="alien")), library) as comments:
        assert comments == ("LoRA alien is for another kind of model",)


def test_a_damaged_lora_is_a_comment(tmp_path: Path, model, library):
    wanted = active(library, LoraSpec(name="style"), LoraSpec(name="other"))
    (tmp_path / "style.safetensors").write_bytes(b"nothing")
    with patched(model, wanted, library) as comments:
        assert len(comments) == 1 and comments[0].startswith("LoRA style is left out:")


def test_bias_deltas_are_added_and_made_where_there_was_none(tmp_path: Path, model):
    layers, before = layers_by_key(model), snapshot(model)
    with_bias, without = CONV, LINEAR
    full = {
        key: {
            "diff": torch.zeros_like(layers[key].module.weight),
            "diff_b": torch.ones(layers[key].module.weight.shape[0]),
        }
        for key in (with_bias, without)
    }
    write(tmp_path, "full", full)
    library = LoraLibrary([tmp_path])
    with patched(model, active(library, LoraSpec(name="full", unet=0.5)), library):
        old = before[f"unet.{layers[with_bias].path}.bias"]
        assert_close(layers[with_bias].module.bias.data, old + 0.5)
        assert_close(layers[without].module.bias.data, torch.full((layers[without].module.weight.shape[0],), 0.5))
    assert layers[without].module.bias is None
    assert_untouched(model, before)


@pytest.mark.parametrize("family", list(Family))
def test_every_key_spelling_reaches_the_same_layer(family):
    layers = layers_by_key(tiny_model(family))
    assert layers["lora_unet_down_blocks_0_resnets_0_conv1"] is layers["lora_unet_input_blocks_1_0_in_layers_2"]
    assert layers["lora_unet_mid_block_resnets_1_conv2"] is layers["lora_unet_middle_block_2_out_layers_3"]
    assert (
        layers["lora_te_text_model_encoder_layers_0_mlp_fc1"] is layers["lora_te1_text_model_encoder_layers_0_mlp_fc1"]
    )
    assert ("lora_te2_text_model_encoder_layers_0_mlp_fc1" in layers) == (family is Family.SDXL)


def test_spellings_of_diffusers_and_kohya_change_the_model_alike(tmp_path: Path, model):
    layer = layers_by_key(model)[LINEAR]
    parts = pair(layer.module)
    dotted = f"unet.{layer.path}"
    up, down = parts["lora_up.weight"], parts["lora_down.weight"]
    save_file({f"{dotted}.lora_A.weight": down, f"{dotted}.lora_B.weight": up}, tmp_path / "peft.safetensors")
    save_file({f"{dotted}.lora.down.weight": down, f"{dotted}.lora.up.weight": up}, tmp_path / "old.safetensors")
    library, results = LoraLibrary([tmp_path]), []
    for name in ("peft", "old"):
        with patched(model, active(library, LoraSpec(name=name)), library):
            results.append(layer.module.weight.data.clone())
    assert_close(results[0], layer.module.weight.data + up @ down)
    assert torch.equal(*results)


def test_text_encoder_loras_change_what_prompts_mean(model, library):
    def cross_attention(key):
        counts = StepCounts(base=5)
        encoded = encode_prompts(model, ["a cat"], [""], width=64, height=64, counts=counts, weights_key=key)
        return encoded.batch.cond[0][0].schedule[0].conditioning.cross_attention

    plain = cross_attention(None)
    wanted = active(library, LoraSpec(name="style"))
    with patched(model, wanted, library):
        assert not torch.allclose(cross_attention(wanted), plain)
    assert torch.equal(cross_attention(None), plain)


def test_bundled_embeddings_are_named_after_their_lora(tmp_path: Path, model):
    vector = torch.randn(2, TEXT_WIDTH)
    save_file(
        {"lora_unet_conv_in.alpha": torch.tensor(1.0), "bundle_emb.trigger.string_to_param.*": vector},
        tmp_path / "bundle.safetensors",
    )
    library = LoraLibrary([tmp_path])
    (embedding,) = library.tensors(library.find("bundle")).embeddings
    assert (embedding.name, embedding.hash, embedding.vector_count) == ("trigger", "bundle", 2)
    assert EmbeddingIndex([embedding], model.tokenizers[0]).content_key == {("trigger", "bundle")}
