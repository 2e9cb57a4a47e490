"""IP-Adapters: files, the picture's tokens, and what the UNet makes of them, against diffusers' own processors."""

import base64

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save, save_file

from pipelines.adapters.clip_vision import build_clip_vision, clip_pixels, embed_pictures
from pipelines.adapters.control_files import ControlFileList
from pipelines.adapters.control_load import load_control
from pipelines.adapters.control_units import ControlRunner, UnitForce
from pipelines.adapters.ip_adapter import IPAdapterRun, cross_attentions
from pipelines.checkpoints.libraries import CLIPVisionConfig, CLIPVisionModelWithProjection
from pipelines.checkpoints.model import Family
from pipelines.sampling.predict import DiffusersUNet
from schema.controlnet import ControlNetUnit
from schema.errors import CheckpointError, WebuiError
from schema.requests import Txt2ImgRequest
from tests.tiny.builders import tiny_model
from tests.tiny.test_control_networks import call

WIDTH, SUMMARY, TOKENS = 32, 24, 4


@pytest.fixture(scope="module")
def sd1():
    return tiny_model()


def tiny_encoder():
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        patch_size=56,
        image_size=224,
        num_hidden_layers=2,
        num_attention_heads=16,
        intermediate_size=64,
        projection_dim=SUMMARY,
        hidden_act="gelu",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return CLIPVisionModelWithProjection(config).requires_grad_(False).eval()


def adapter_weights(model, *, plus=False):
    """An IP-Adapter's tensors in its authors' names, for `model`."""
    generator = torch.Generator().manual_seed(2)

    def random(*shape):
        return 0.3 * torch.randn(shape, generator=generator)

    text = int(model.unet.config["cross_attention_dim"])
    if plus:
        projection = {
            "proj.0.weight": random(WIDTH, WIDTH),
            "proj.0.bias": random(WIDTH),
            "proj.2.weight": random(text, WIDTH),
            "proj.2.bias": random(text),
            "proj.3.weight": torch.ones(text),
            "proj.3.bias": torch.zeros(text),
        }
    else:
        projection = {
            "proj.weight": random(TOKENS * text, SUMMARY),
            "proj.bias": random(TOKENS * text),
            "norm.weight": torch.ones(text),
            "norm.bias": torch.zeros(text),
        }
    layers = {}
    for place, attention in enumerate(cross_attentions(model.unet)):
        for letter in "kv":
            layers[f"{2 * place + 1}.to_{letter}_ip.weight"] = random(*attention.to_k.weight.shape)
    return {"image_proj": projection, "ip_adapter": layers}


def flat(weights):
    return {f"{outer}.{name}": value for outer, inner in weights.items() for name, value in inner.items()}


def loaded(model, folder, weights, name="ip-adapter_toy.bin"):
    torch.save(weights, folder / name)
    return load_control(ControlFileList([folder]).get("ip-adapter_toy"), model)


def test_pickle_and_safetensors_hold_the_same_adapter(sd1, tmp_path):
    weights = adapter_weights(sd1)
    first = loaded(sd1, tmp_path, weights).module
    (tmp_path / "other").mkdir()
    save_file(flat(weights), tmp_path / "other" / "toy.safetensors")
    second = load_control(ControlFileList([tmp_path / "other"]).get("toy"), sd1).module
    assert first.image_width == SUMMARY and not first.uses_hidden_states
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("weight", [0.6, 1.0])
def test_unet_answers_as_with_diffusers_processors(sd1, tmp_path, weight):
    weights = adapter_weights(sd1)
    adapter = loaded(sd1, tmp_path, weights).module
    embedding = torch.randn(1, SUMMARY, generator=torch.Generator().manual_seed(4))
    cond, uncond = adapter.tokens(embedding), adapter.tokens(torch.zeros_like(embedding))
    run = IPAdapterRun(adapter, sd1.unet, cond, uncond, [weight], UnitForce(scales=()))
    runner = ControlRunner([run])
    x, timestep, conditioning = call(sd1)
    plain = DiffusersUNet(sd1.unet)(x, timestep, conditioning, None)
    with runner.installed():
        output = DiffusersUNet(sd1.unet, control=runner, change=runner.adjusted)(x, timestep, conditioning, None)
    assert torch.equal(DiffusersUNet(sd1.unet)(x, timestep, conditioning, None), plain)
    other = tiny_model()
    other.unet._load_ip_adapter_weights([weights], low_cpu_mem_usage=False)
    for processor in other.unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [weight]
    both = torch.cat([embedding, torch.zeros_like(embedding)])[:, None]
    wanted = other.unet(x, timestep, conditioning.cross_attention, added_cond_kwargs={"image_embeds": [both]}).sample
    assert float((output - wanted).abs().max()) <= 1e-5
    assert float((output - plain).abs().max()) > 1e-3


def test_region_of_nothing_equals_no_adapter(sd1, tmp_path):
    adapter = loaded(sd1, tmp_path, adapter_weights(sd1)).module
    tokens = adapter.tokens(torch.ones(1, SUMMARY))
    force = UnitForce(scales=(), region=torch.zeros(1, 1, 64, 64))
    runner = ControlRunner([IPAdapterRun(adapter, sd1.unet, tokens, tokens, [1.0], force)])
    x, timestep, conditioning = call(sd1)
    with runner.installed():
        output = DiffusersUNet(sd1.unet, control=runner, change=runner.adjusted)(x, timestep, conditioning, None)
    assert torch.equal(output, DiffusersUNet(sd1.unet)(x, timestep, conditioning, None))


def test_other_family_and_face_adapters_are_refused(sd1, tmp_path):
    with pytest.raises(CheckpointError, match="another family"):
        loaded(tiny_model(Family.SDXL), tmp_path, adapter_weights(sd1))
    face = adapter_weights(sd1, plus=True)
    del face["image_proj"]["proj.3.weight"]
    with pytest.raises(CheckpointError, match="faces"):
        loaded(sd1, tmp_path, face)


def test_encoder_is_rebuilt_from_its_tensors():
    encoder = tiny_encoder()
    again = build_clip_vision(encoder.state_dict())
    pixels = clip_pixels(Image.fromarray(np.arange(300 * 240 * 3, dtype=np.uint8).reshape(240, 300, 3)))
    assert pixels.shape == (1, 3, 224, 224)
    first, second = embed_pictures(encoder, pixels), embed_pictures(again, pixels)
    assert torch.equal(first.summary, second.summary) and torch.equal(first.hidden, second.hidden)


@pytest.mark.parametrize("plus", [False, True])
def test_picture_reaches_the_result_and_the_model_is_restored(plus, make_manager, tmp_path):
    model = tiny_model()
    torch.save(adapter_weights(model, plus=plus), tmp_path / "ip-adapter_toy.bin")
    (tmp_path / "weights" / "clip_vision").mkdir(parents=True)
    torch.save(tiny_encoder().state_dict(), tmp_path / "weights" / "clip_vision" / "clip_h.pth")
    manager = make_manager(
        *("--controlnet-dir", str(tmp_path)),
        *("--controlnet-preprocessor-models-dir", str(tmp_path / "weights")),
        "--offline",
    )
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 64, 3)).astype(np.uint8))

    def made(*units):
        small = {"prompt": "a cat", "seed": 1, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}
        job = manager.submit(Txt2ImgRequest(**small, controlnet=list(units)), save=False)
        job.wait()
        if job.exception:
            raise job.exception
        return job.result.images

    unit = ControlNetUnit(enabled=True, module="ip-adapter_clip_h", model="ip-adapter_toy", image=picture)
    plain, with_picture, after = made(), made(unit), made()
    assert len(with_picture) == 1
    assert not np.array_equal(np.asarray(plain[0].image), np.asarray(with_picture[0].image))
    assert np.array_equal(np.asarray(plain[0].image), np.asarray(after[0].image))
    given = base64.b64encode(save({"cond": torch.ones(1, 4, 32)})).decode()
    made(unit.model_copy(update={"ipadapter_input": [given]}))
    with pytest.raises(WebuiError, match="ipadapter_input"):
        made(unit.model_copy(update={"ipadapter_input": [base64.b64encode(b"\x80\x04N.").decode()]}))
    with pytest.raises(WebuiError, match="Choose an IP-Adapter preprocessor|Choose"):
        made(unit.model_copy(update={"module": "canny"}))
