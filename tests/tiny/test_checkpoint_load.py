"""Toy checkpoints in every layout load offline with exactly the weights that were saved."""

import json
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.checkpoints.alphas import training_alphas
from pipelines.checkpoints.layout import family_config
from pipelines.checkpoints.libraries import UNet2DConditionModel
from pipelines.checkpoints.load import load_checkpoint
from pipelines.checkpoints.model import CheckpointInfo, Family, LoadedModel, Prediction
from pipelines.checkpoints.shapes import fit_unet_config
from pipelines.device import DevicePolicy, choose_device
from schema.errors import CheckpointError
from tests.tiny.builders import ldm_unet_weights, ldm_vae_weights, save_folder, save_single_file, tiny_model

POLICY = choose_device("cpu", precision="full")
CASES = [
    (Family.SD1, 4),
    (Family.SD1, 8),
    (Family.SD1, 9),
    (Family.SD2, 9),
    (Family.SDXL, 4),
    (Family.SDXL, 9),
    (Family.SDXL_REFINER, 4),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(path, **kwargs) -> LoadedModel:
    return load_checkpoint(CheckpointInfo(path=path, name=path.name), POLICY, **kwargs)


def assert_same_weights(loaded: LoadedModel, saved: LoadedModel) -> None:
    pairs = [(loaded.unet, saved.unet), (loaded.vae, saved.vae)]
    pairs += list(zip(loaded.text_encoders, saved.text_encoders, strict=True))
    for mine, theirs in pairs:
        mine, theirs = mine.state_dict(), theirs.state_dict()
        assert mine.keys() == theirs.keys()
        for name in mine:
            assert torch.equal(mine[name], theirs[name]), name


@pytest.mark.parametrize("ending", [".safetensors", ".ckpt"])
@pytest.mark.parametrize(("family", "in_channels"), CASES)
def test_single_file_loads_with_every_weight_equal(tmp_path, family, in_channels, ending):
    saved = tiny_model(family, in_channels=in_channels)
    loaded = load(save_single_file(saved, tmp_path / f"toy{ending}"))
    assert_same_weights(loaded, saved)
    assert (loaded.family, loaded.unet_in_channels) == (family, in_channels)
    assert loaded.prediction is Prediction.EPS
    assert torch.equal(loaded.alphas_cumprod, saved.alphas_cumprod)
    assert len(loaded.tokenizers) == len(loaded.text_encoders)


@pytest.mark.parametrize(("family", "in_channels"), CASES)
def test_folder_loads_with_every_weight_equal(tmp_path, family, in_channels):
    saved = tiny_model(family, in_channels=in_channels, prediction=Prediction.V)
    loaded = load(save_folder(saved, tmp_path / "toy"))
    assert_same_weights(loaded, saved)
    assert (loaded.family, loaded.prediction, loaded.native_size) == (family, Prediction.V, 64)


def test_loaded_sd1_runs_like_the_saved_one(tmp_path):
    saved = tiny_model()
    loaded = load(save_single_file(saved, tmp_path / "toy.safetensors"))
    ids = torch.tensor([[49406, 320, 1125, 49407]])
    text = [model.text_encoders[0](ids).last_hidden_state for model in (saved, loaded)]
    assert torch.equal(*text)
    x = torch.ones(1, 4, 8, 8)
    noise = [model.unet(x, torch.tensor(10.0), text[0]).sample for model in (saved, loaded)]
    assert torch.equal(*noise)


def test_half_precision_file_is_converted_and_keeps_its_rounded_noise_table(tmp_path):
    saved = tiny_model()
    path = save_single_file(saved, tmp_path / "toy.safetensors", dtype=torch.float16)
    weights = load_file(path) | {"alphas_cumprod": saved.alphas_cumprod.half()}
    save_file(weights, path)
    loaded = load(path)
    assert loaded.unet.dtype == loaded.vae.dtype == torch.float32
    assert torch.equal(loaded.alphas_cumprod, saved.alphas_cumprod.half().float())


def test_sdxl_computes_its_noise_table_whatever_the_file_says(tmp_path):
    saved = tiny_model(Family.SDXL)
    path = save_single_file(saved, tmp_path / "toy.safetensors")
    save_file(load_file(path) | {"alphas_cumprod": torch.zeros(1000)}, path)
    assert torch.equal(load(path).alphas_cumprod, saved.alphas_cumprod)


def test_noise_table_is_that_of_the_reference():
    cases = json.loads((Path(__file__).parents[1] / "data" / "pure" / "model_schedule.json").read_text())["cases"]
    tables = [case for case in cases if case["input"].get("model") == "sd15" and case["input"]["op"] == "tables"]
    for case in tables:
        assert training_alphas()[case["input"]["indexes"]].tolist() == case["output"]["alphas_cumprod"]
    assert tables


def test_sd2_prediction_is_probed_by_running_the_unet_once(tmp_path):
    saved = tiny_model(Family.SD2)
    assert load(save_single_file(saved, tmp_path / "eps.safetensors")).prediction is Prediction.EPS
    saved.unet.conv_out.bias -= 5.0
    loaded = load(save_single_file(saved, tmp_path / "v.safetensors"))
    assert (loaded.prediction, loaded.native_size) == (Prediction.V, 768)


@pytest.mark.parametrize(("text", "prediction"), [("parameterization: v", Prediction.V), ("x: 1", Prediction.EPS)])
def test_yaml_beside_the_checkpoint_states_the_prediction(tmp_path, text, prediction):
    path = save_single_file(tiny_model(), tmp_path / "toy.safetensors")
    path.with_suffix(".yaml").write_text(f"model:\n  params:\n    {text}\n")
    assert load(path).prediction is prediction


def test_old_text_encoder_names_load(tmp_path):
    saved = tiny_model()
    path = save_single_file(saved, tmp_path / "toy.safetensors")
    renamed = {name.replace("transformer.text_model.", "transformer."): w for name, w in load_file(path).items()}
    save_file(renamed, path)
    assert_same_weights(load(path), saved)


def test_turbo_naming_of_sd2_loads(tmp_path):
    saved = tiny_model(Family.SD2)
    path = save_single_file(saved, tmp_path / "toy.safetensors")
    renamed = {name.replace("cond_stage_model.", "conditioner.embedders.0."): w for name, w in load_file(path).items()}
    save_file(renamed, path)
    loaded = load(path)
    assert loaded.family is Family.SD2
    assert_same_weights(loaded, saved)


def test_checkpoint_without_vae_says_so_and_loads_with_one(tmp_path):
    saved = tiny_model()
    path = save_single_file(saved, tmp_path / "toy.safetensors")
    save_file({name: w for name, w in load_file(path).items() if not name.startswith("first_stage_model.")}, path)
    with pytest.raises(CheckpointError, match="has no VAE"):
        load(path)
    vae_path = tmp_path / "own.safetensors"
    save_file(ldm_vae_weights(saved.vae), vae_path)
    assert_same_weights(load(path, vae_path=vae_path), saved)


def test_checkpoint_with_a_missing_tensor_names_it(tmp_path):
    path = save_single_file(tiny_model(), tmp_path / "toy.safetensors")
    weights = load_file(path)
    del weights["model.diffusion_model.time_embed.2.weight"]
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors are missing.*time_embedding"):
        load(path)


@pytest.mark.parametrize("style", ["vae.pt", "prefixed", "diffusers", "old diffusers"])
def test_vae_files_of_every_style_replace_the_own_vae(tmp_path, style):
    path = save_single_file(tiny_model(), tmp_path / "toy.safetensors")
    other = tiny_model(seed=1).vae
    weights = ldm_vae_weights(other)
    vae_path = tmp_path / "other.safetensors"
    if style == "vae.pt":
        vae_path = tmp_path / "other.vae.pt"
        extra = {"loss.logvar": torch.zeros(1), "model_ema.decay": torch.zeros(1)}
        torch.save({"state_dict": weights | extra}, vae_path)
    elif style == "prefixed":
        save_file({f"first_stage_model.{name}": w for name, w in weights.items()}, vae_path)
    else:
        weights = other.state_dict()
        if style == "old diffusers":
            old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
            for new, name in old.items():
                weights = {key.replace(new, name): w for key, w in weights.items()}
        save_file(weights, vae_path)
    loaded = load(path, vae_path=vae_path)
    assert loaded.vae_path == vae_path
    for name, value in other.state_dict().items():
        assert torch.equal(loaded.vae.state_dict()[name], value), name


def test_a_file_that_is_no_vae_is_refused_as_one(tmp_path):
    path = save_single_file(tiny_model(), tmp_path / "toy.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "no.safetensors")
    with pytest.raises(CheckpointError, match="is no VAE"):
        load(path, vae_path=tmp_path / "no.safetensors")


def test_bfloat16_policy_loads_networks_in_bfloat16_and_the_vae_in_float32(tmp_path):
    path = save_folder(tiny_model(), tmp_path / "toy")
    policy = DevicePolicy(device=torch.device("cpu"), dtype=torch.bfloat16, vae_dtype=torch.float32, channels_last=True)
    loaded = load_checkpoint(CheckpointInfo(path=path, name="toy"), policy)
    assert (loaded.unet.dtype, loaded.text_encoders[0].dtype, loaded.vae.dtype) == (
        torch.bfloat16,
        torch.bfloat16,
        torch.float32,
    )
    assert loaded.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("variant", ["fp16", "sharded", "bin"])
def test_folder_with_fp16_sharded_or_pickled_weights_loads(tmp_path, variant):
    saved = tiny_model()
    path = save_folder(saved, tmp_path / "toy")
    weights_path = path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(weights_path)
    weights_path.unlink()
    if variant == "fp16":
        save_file(weights, path / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    elif variant == "bin":
        torch.save(weights, path / "unet" / "diffusion_pytorch_model.bin")
    else:
        names = sorted(weights)
        halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
        for file, part in halves.items():
            save_file({name: weights[name] for name in part}, path / "unet" / file)
        index = {"weight_map": {name: file for file, part in halves.items() for name in part}}
        (path / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert_same_weights(load(path), saved)


@pytest.mark.parametrize("family", list(Family))
def test_shapes_of_the_published_models_give_the_configurations_we_ship(family):
    """The configuration derived from a full-size UNet's tensors is the shipped one."""
    config = family_config(family, "unet")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    weights = {k.removeprefix("model.diffusion_model."): w for k, w in ldm_unet_weights(unet).items()}
    fitted = fit_unet_config(config, weights, pooled_size=1280)
    with torch.device("meta"):
        again = UNet2DConditionModel.from_config(fitted)
    shapes = {name: value.shape for name, value in unet.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes
    for key in ("attention_head_dim", "addition_time_embed_dim", "projection_class_embeddings_input_dim"):
        assert fitted.get(key) == config.get(key)
