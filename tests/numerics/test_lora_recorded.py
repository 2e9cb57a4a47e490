"""LoRA maths, layer names and hashes against recorded cases."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from pipelines.adapters.extra_networks import LoraSpec
from pipelines.adapters.key_maps import UNetShape, layers_by_key, ldm_path, split_key
from pipelines.adapters.lora_files import LoraLibrary, lora_hash
from pipelines.adapters.lora_math import module_delta
from pipelines.checkpoints.libraries import CLIPTextConfig, CLIPTextModel, UNet2DConditionModel
from pipelines.checkpoints.model import Family
from tests.numerics.recorded import recorded_cases
from tests.tiny.builders import tiny_model

HASHES = [case for case in recorded_cases("hashes") if case.values[0]["op"] == "lora_safetensors"]


@pytest.mark.parametrize(("given", "expected"), recorded_cases("lora_math"))
def test_deltas_are_as_recorded(given, expected):
    parts = {name: torch.tensor(value) for name, value in given["weights"].items()}
    multiplier = given["te" if "transformer" in given["key"][:20] else "unet"]
    weight = torch.tensor(given["orig_weight"])
    delta = module_delta(parts, weight, multiplier=multiplier, dyn=given["dyn"])
    assert delta is not None
    assert_close(delta.weight, torch.tensor(expected["delta"]), rtol=1e-5, atol=1e-6)
    if expected["bias_delta"] is None:
        assert delta.bias is None
    else:
        assert_close(delta.bias, torch.tensor(expected["bias_delta"]), rtol=1e-5, atol=1e-6)


def test_unknown_tensors_are_no_delta():
    assert module_delta({"mystery": torch.ones(2)}, torch.ones(2, 2), multiplier=1.0) is None


def full_size_paths():
    """Layer paths of Stable Diffusion 1's networks, built without memory for their weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        text = CLIPTextModel(
            CLIPTextConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=32, num_attention_heads=1)
        )
    return unet, text


TEXT_NAMES = {
    "mlp.fc1": "mlp_c_fc",
    "mlp.fc2": "mlp_c_proj",
    "self_attn.out_proj": "attn_out_proj",
    "self_attn.q_proj": "attn_q_proj",
    "self_attn.k_proj": "attn_k_proj",
    "self_attn.v_proj": "attn_v_proj",
}


def reference_name(key: str, layer, *, is_sd2: bool) -> str:
    """The reference program's name of a layer we found, in its LDM terms."""
    if key.startswith("lora_unet_"):
        return "diffusion_model_" + ldm_path(layer.path, UNetShape()).replace(".", "_")
    path = layer.path.removeprefix("text_model.")
    _, _, number, inside = path.split(".", 3)
    if key.startswith("lora_te2_") or (is_sd2 and key.startswith("lora_te_")):
        prefix = "1_" if key.startswith("lora_te2_") else ""
        return f"{prefix}model_transformer_resblocks_{number}_{TEXT_NAMES[inside]}"
    # The reference program replaces `lora_te1_` only where the name as it is leads nowhere.
    prefix = "transformer" if key.startswith("lora_te_") else "lora_te1"
    return f"{prefix}_text_model_encoder_layers_{number}_{inside.replace('.', '_')}"


@pytest.fixture(scope="module")
def full_size_layers():
    model = tiny_model(Family.SDXL)
    unet, text = full_size_paths()
    model.unet, model.text_encoders = unet, (text, text)
    return layers_by_key(model)


@pytest.mark.parametrize(("given", "expected"), recorded_cases("lora_keys"))
def test_layer_names_lead_to_the_recorded_layers(given, expected, full_size_layers):
    layer = full_size_layers.get(given["key"])
    if expected == given["key"] and not given["key"].startswith(("lora_te1_", "lora_unet_input_blocks")):
        # A name the reference program does not know.
        assert layer is None
        return
    assert layer is not None
    found = reference_name(given["key"], layer, is_sd2=given["is_sd2"])
    if expected.startswith("lora_unet_"):
        # Names that are LDM's already.
        expected = expected.replace("lora_unet_", "diffusion_model_")
    assert found == expected


def test_every_unet_layer_has_an_ldm_name_of_its_own():
    unet, _ = full_size_paths()
    paths = [path for path, module in unet.named_modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    names = [ldm_path(path, UNetShape()) for path in paths]
    assert None not in names and len(set(names)) == len(names)
    assert ldm_path("up_blocks.0.upsamplers.0.conv", UNetShape()) == "output_blocks.2.1.conv"
    assert ldm_path("up_blocks.1.upsamplers.0.conv", UNetShape()) == "output_blocks.5.2.conv"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lora_unet_conv_in.lora_down.weight", ("lora_unet_conv_in", "lora_down.weight")),
        ("lora_unet_conv_in.alpha", ("lora_unet_conv_in", "alpha")),
        ("lora_unet_conv_in.hada_w1_a", ("lora_unet_conv_in", "hada_w1_a")),
        ("oft_unet_conv_in.oft_blocks", ("lora_unet_conv_in", "oft_blocks")),
        (
            "unet.mid_block.attentions.0.proj_in.lora_A.weight",
            ("lora_unet_mid_block_attentions_0_proj_in", "lora_A.weight"),
        ),
        ("unet.conv_in.lora.up.weight", ("lora_unet_conv_in", "lora_up.weight")),
        ("unet.a.attn1.processor.to_q_lora.down.weight", ("lora_unet_a_attn1_to_q", "lora_down.weight")),
        ("unet.a.attn1.processor.to_out_lora.up.weight", ("lora_unet_a_attn1_to_out_0", "lora_up.weight")),
        ("text_encoder.text_model.x.lora_linear_layer.up.weight", ("lora_te1_text_model_x", "lora_up.weight")),
        ("text_encoder_2.text_model.x.lora_B.weight", ("lora_te2_text_model_x", "lora_B.weight")),
        ("bundle_emb.style.string_to_param.*", ("bundle_emb", "style.string_to_param.*")),
    ],
)
def test_tensor_names_are_split_into_layer_and_rest(name, expected):
    assert split_key(name) == expected


@pytest.mark.parametrize(("given", "expected"), HASHES)
def test_hashes_skip_the_header_as_recorded(given, expected, tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    path.write_bytes(bytes.fromhex(given["hex"]))
    assert lora_hash(path) == expected["addnet_sha256"]
    library = LoraLibrary([tmp_path])
    assert library.short_hash(library.find("lora")) == expected["short12"]


def save(path: Path, **metadata: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"lora_unet_conv_in.alpha": torch.tensor(1.0)}, path, metadata=metadata or None)


def test_files_are_found_by_name_and_alias(tmp_path: Path):
    save(tmp_path / "sub" / "file name.safetensors", ss_output_name="trained as")
    library = LoraLibrary([tmp_path])
    assert library.find("trained as") is library.find("file name") is library.files[0]
    assert library.find("other") is None


def test_an_alias_of_two_files_counts_for_neither(tmp_path: Path):
    save(tmp_path / "a.safetensors", ss_output_name="same")
    save(tmp_path / "b.safetensors", ss_output_name="same")
    library = LoraLibrary([tmp_path])
    assert library.find("same") is None
    assert library.find("a").name == "a" and library.find("b").name == "b"


def test_new_files_are_found_without_a_refresh(tmp_path: Path):
    library = LoraLibrary([tmp_path])
    library.scan()
    save(tmp_path / "new.safetensors")
    assert library.find("new") is not None


def test_missing_loras_are_a_comment_and_the_others_stay(tmp_path: Path):
    save(tmp_path / "a.safetensors")
    active, comments = LoraLibrary([tmp_path]).resolve(
        [LoraSpec(name="gone"), LoraSpec(name="a"), LoraSpec(name="lost")]
    )
    assert [lora.spec.name for lora in active] == ["a"]
    assert comments == ("Networks not found: gone, lost",)


def test_hashes_are_written_under_the_names_of_the_prompt(tmp_path: Path):
    save(tmp_path / "a.safetensors", ss_output_name="al,ias", sshs_model_hash="0123456789abcdef")
    library = LoraLibrary([tmp_path])
    active, _ = library.resolve([LoraSpec(name="al,ias"), LoraSpec(name="a")])
    assert library.hashes_infotext(active) == "alias: 0123456789ab, a: 0123456789ab"
    assert library.hashes_infotext(()) == ""


def test_a_damaged_file_is_listed_as_a_problem(tmp_path: Path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    library = LoraLibrary([tmp_path])
    library.scan()
    assert [path.name for path in library.problems] == ["broken.safetensors"] and library.files == []
