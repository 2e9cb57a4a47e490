"""Control networks from every kind of file, and what they add at each call, against diffusers' own computation."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pipelines.adapters.control_files import ControlFileList
from pipelines.adapters.control_load import ControlCache, load_control
from pipelines.adapters.control_units import ControlRunner, ControlWindow, UnitForce
from pipelines.adapters.control_weights import layer_weights
from pipelines.adapters.controlnet import ControlNetUnitRun, T2IAdapterUnitRun
from pipelines.checkpoints.libraries import ControlNetModel
from pipelines.checkpoints.model import Family
from pipelines.sampling.predict import DiffusersUNet
from pipelines.sampling.types import ConditioningBatch, StepInfo
from schema.controlnet import ControlMode
from schema.errors import CheckpointError
from tests.tiny.builders import tiny_model
from tests.tiny.control_builders import (
    authors_t2i_weights,
    ldm_control_weights,
    save_ldm_controlnet,
    tiny_controlnet,
    tiny_t2i_adapter,
    tiny_union,
)

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def sd1():
    return tiny_model()


@pytest.fixture(scope="module")
def xl():
    return tiny_model(Family.SDXL)


def call(model, *, rows=2, size=8):
    """`(x, timestep, conditioning)` of a call with one positive and one negative row of one picture."""
    generator = torch.Generator().manual_seed(5)
    width = int(model.unet.config["cross_attention_dim"])
    is_xl = model.family is Family.SDXL
    conditioning = ConditioningBatch(
        cross_attention=torch.randn(rows, 77, width, generator=generator),
        pooled=torch.randn(rows, 32, generator=generator) if is_xl else None,
        time_ids=torch.tensor([[64.0, 64, 0, 0, 64, 64]] * rows) if is_xl else None,
        images=(0,) * rows,
        is_uncond=tuple(row % 2 == 1 for row in range(rows)),
    )
    return torch.randn(rows, 4, size, size, generator=generator), torch.full((rows,), 400.0), conditioning


def direct(network, model, hint, *, scale=1.0):
    """The network's outputs by diffusers alone."""
    x, timestep, conditioning = call(model)
    added = None
    if conditioning.pooled is not None:
        added = {"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids}
    down, mid = network(
        x,
        timestep,
        conditioning.cross_attention,
        hint.expand(2, -1, -1, -1),
        conditioning_scale=scale,
        added_cond_kwargs=added,
        return_dict=False,
    )
    return [*down, mid]


def saved(network, folder, name="toy"):
    network.save_pretrained(folder / name)
    return listed(folder, name)


def listed(folder, name):
    return ControlFileList([folder]).get(name)


def run_of(network, model, tmp_path, hint, **force):
    loaded = load_control(saved(network, tmp_path), model)
    layers = len(loaded.module.controlnet_down_blocks) + 1
    force = {"scales": (1.0,) * layers} | force
    return ControlNetUnitRun(loaded, hint, UnitForce(**force))


def largest_difference(first, second):
    return max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True))


@pytest.fixture
def hint():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("family", [Family.SD1, Family.SD2, Family.SDXL])
def test_balanced_residuals_equal_diffusers(family, tmp_path, hint):
    model = tiny_model(family)
    network = tiny_controlnet(model)
    weight = 0.7
    layers = len(network.controlnet_down_blocks) + 1
    run = run_of(network, model, tmp_path, hint, scales=layer_weights(ControlMode.BALANCED, weight, layers))
    made = run.residuals(*call(model))
    wanted = direct(network, model, hint, scale=weight)
    assert largest_difference([*made.down, made.mid], wanted) <= TOLERANCE
    assert max(float(part.abs().max()) for part in wanted) > 0.01


@pytest.mark.parametrize("mode", list(ControlMode))
@pytest.mark.parametrize("family", [Family.SD1, Family.SDXL])
def test_every_control_mode_scales_layers_and_rows(mode, family, tmp_path, hint):
    model = tiny_model(family)
    network = tiny_controlnet(model)
    layers = len(network.controlnet_down_blocks) + 1
    scales = layer_weights(mode, 0.8, layers)
    run = run_of(network, model, tmp_path, hint, scales=scales, cond_only=mode is ControlMode.CONTROL)
    made = run.residuals(*call(model))
    mark = torch.tensor([1.0, 0.0 if mode is ControlMode.CONTROL else 1.0]).view(2, 1, 1, 1)
    wanted = [part * scale * mark for part, scale in zip(direct(network, model, hint), scales, strict=True)]
    assert largest_difference([*made.down, made.mid], wanted) <= TOLERANCE


def test_two_units_add_up_and_reach_the_unet(sd1, tmp_path, hint):
    first, second = tiny_controlnet(sd1, seed=1), tiny_controlnet(sd1, seed=2)
    runs = [run_of(first, sd1, tmp_path / "a", hint), run_of(second, sd1, tmp_path / "b", 1 - hint)]
    x, timestep, conditioning = call(sd1)
    output = DiffusersUNet(sd1.unet, control=ControlRunner(runs))(x, timestep, conditioning, None)
    sums = [a + b for a, b in zip(direct(first, sd1, hint), direct(second, sd1, 1 - hint), strict=True)]
    wanted = sd1.unet(
        x,
        timestep,
        conditioning.cross_attention,
        down_block_additional_residuals=tuple(sums[:-1]),
        mid_block_additional_residual=sums[-1],
    ).sample
    assert float((output - wanted).abs().max()) <= TOLERANCE
    assert not torch.allclose(output, DiffusersUNet(sd1.unet)(x, timestep, conditioning, None))


def test_region_limits_where_a_unit_acts(sd1, tmp_path, hint):
    region = torch.zeros(1, 1, 64, 64)
    region[..., :32] = 1
    run = run_of(tiny_controlnet(sd1), sd1, tmp_path, hint, region=region)
    made = run.residuals(*call(sd1))
    assert float(made.down[0][..., :4].abs().max()) > 0 and float(made.down[0][..., 4:].abs().max()) == 0


def test_shuffle_networks_are_averaged_over_the_picture(sd1, tmp_path, hint):
    network = tiny_controlnet(sd1)
    save_ldm_controlnet(network, tmp_path / "control_v11e_sd15_shuffle.safetensors")
    loaded = load_control(listed(tmp_path, "shuffle"), sd1)
    assert loaded.pools
    layers = len(network.controlnet_down_blocks) + 1
    made = ControlNetUnitRun(loaded, hint, UnitForce(scales=(1.0,) * layers)).residuals(*call(sd1))
    wanted = [part.mean(dim=(2, 3), keepdim=True) for part in direct(network, sd1, hint)]
    assert largest_difference([*made.down, made.mid], wanted) <= TOLERANCE


def test_masked_pixels_of_a_map_are_minus_one(sd1, tmp_path, hint):
    network = tiny_controlnet(sd1)
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:40, :] = 1
    made = run_of(network, sd1, tmp_path, torch.cat([hint, mask], dim=1)).residuals(*call(sd1))
    wanted = direct(network, sd1, torch.where(mask > 0.5, -torch.ones(()), hint))
    assert largest_difference([*made.down, made.mid], wanted) <= TOLERANCE


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("prefix", ["control_model.", ""])
@pytest.mark.parametrize("family", [Family.SD1, Family.SDXL])
def test_single_files_hold_the_same_network(ending, prefix, family, tmp_path):
    model = tiny_model(family)
    network = tiny_controlnet(model)
    save_ldm_controlnet(network, tmp_path / f"toy{ending}", prefix=prefix)
    loaded = load_control(listed(tmp_path, "toy"), model)
    assert isinstance(loaded.module, ControlNetModel)
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.module.state_dict()[name]), name


def test_single_file_with_diffusers_names_needs_no_configuration(sd1, tmp_path):
    network = tiny_controlnet(sd1)
    save_file(network.state_dict(), tmp_path / "toy.safetensors")
    loaded = load_control(listed(tmp_path, "toy"), sd1)
    assert torch.equal(loaded.module.conv_in.weight, network.conv_in.weight)


def test_difference_file_is_added_to_the_base_unet(sd1, tmp_path):
    network = tiny_controlnet(sd1)
    base = sd1.unet.state_dict()
    difference = {
        name: value - base[name] if name in base else value for name, value in network.state_dict().items()
    } | {"difference": torch.zeros(1)}
    save_file(difference, tmp_path / "toy.safetensors")
    loaded = load_control(listed(tmp_path, "toy"), sd1)
    assert loaded.is_bound
    for name, value in network.state_dict().items():
        assert torch.allclose(value, loaded.module.state_dict()[name], atol=1e-6), name


def test_control_lora_is_base_weights_plus_low_rank_products(sd1, tmp_path):
    network = tiny_controlnet(sd1)
    base = tiny_controlnet(sd1)
    base.load_state_dict(sd1.unet.state_dict(), strict=False)
    layer = "input_blocks.1.0.in_layers.2"
    file = {
        name: value
        for name, value in ldm_control_weights(network).items()
        if name.startswith(("zero_convs", "input_hint_block", "middle_block_out"))
    }
    shape = ldm_control_weights(base)[f"{layer}.weight"].shape
    generator = torch.Generator().manual_seed(3)
    up, down = torch.randn(shape[0], 2, generator=generator), torch.randn(2, *shape[1:], generator=generator)
    save_file(
        file | {f"{layer}.up": up, f"{layer}.down": down, "lora_controlnet": torch.zeros(1)},
        tmp_path / "toy.safetensors",
    )
    loaded = load_control(listed(tmp_path, "toy"), sd1)
    conv = "down_blocks.0.resnets.0.conv1.weight"
    wanted = sd1.unet.state_dict()[conv] + (up @ down.flatten(1)).reshape(shape)
    assert torch.allclose(loaded.module.state_dict()[conv], wanted, atol=1e-5)
    other = "down_blocks.1.resnets.0.conv1.weight"
    assert torch.equal(loaded.module.state_dict()[other], sd1.unet.state_dict()[other])


def test_union_network_is_told_its_kind_of_map(xl, tmp_path, hint):
    network = tiny_union(xl)
    loaded = load_control(saved(network, tmp_path), xl)
    layers = len(network.controlnet_down_blocks) + 1
    x, timestep, conditioning = call(xl)
    kinds = torch.zeros(2, 6)
    kinds[:, 3] = 1
    down, mid = network(
        x,
        timestep,
        conditioning.cross_attention,
        [hint.expand(2, -1, -1, -1)],
        control_type=kinds,
        control_type_idx=[3],
        added_cond_kwargs={"text_embeds": conditioning.pooled, "time_ids": conditioning.time_ids},
        return_dict=False,
    )
    force = UnitForce(scales=(1.0,) * layers)
    made = ControlNetUnitRun(loaded, hint, force, union_type=3).residuals(x, timestep, conditioning)
    assert largest_difference([*made.down, made.mid], [*down, mid]) <= TOLERANCE
    other = ControlNetUnitRun(loaded, hint, force, union_type=1).residuals(x, timestep, conditioning)
    assert largest_difference([*made.down, made.mid], [*other.down, other.mid]) > 1e-4


@pytest.mark.parametrize(("kind", "channels"), [("full_adapter", 3), ("full_adapter", 1), ("light_adapter", 3)])
def test_t2i_adapter_features_equal_diffusers(sd1, kind, channels, tmp_path, hint):
    adapter = tiny_t2i_adapter(sd1, kind=kind, channels=channels)
    save_file(adapter.state_dict(), tmp_path / "t2iadapter_toy.safetensors")
    loaded = load_control(listed(tmp_path, "t2iadapter_toy"), sd1)
    wanted = [part * 0.5 for part in adapter(hint[:, :channels])]
    force = UnitForce(scales=(0.5,) * len(wanted))
    made = T2IAdapterUnitRun(loaded, hint, force).residuals(*call(sd1))
    assert not made.down and made.mid is None
    assert largest_difference([part[:1] for part in made.inner], wanted) <= TOLERANCE


def test_t2i_adapter_in_its_authors_names_is_the_same(sd1, tmp_path):
    adapter = tiny_t2i_adapter(sd1)
    torch.save(authors_t2i_weights(adapter), tmp_path / "toy.pth")
    loaded = load_control(listed(tmp_path, "toy"), sd1)
    for name, value in adapter.state_dict().items():
        assert torch.equal(value, loaded.module.state_dict()[name]), name


def test_adapter_and_controlnet_reach_the_unet_together(sd1, tmp_path, hint):
    network, adapter = tiny_controlnet(sd1), tiny_t2i_adapter(sd1)
    save_file(adapter.state_dict(), tmp_path / "adapter.safetensors")
    control = run_of(network, sd1, tmp_path / "nets", hint)
    loaded = load_control(listed(tmp_path, "adapter"), sd1)
    features = adapter(hint)
    t2i = T2IAdapterUnitRun(loaded, hint, UnitForce(scales=(1.0,) * len(features)))
    x, timestep, conditioning = call(sd1)
    output = DiffusersUNet(sd1.unet, control=ControlRunner([control, t2i]))(x, timestep, conditioning, None)
    residuals = direct(network, sd1, hint)
    wanted = sd1.unet(
        x,
        timestep,
        conditioning.cross_attention,
        down_block_additional_residuals=tuple(residuals[:-1]),
        mid_block_additional_residual=residuals[-1],
        down_intrablock_additional_residuals=[part.expand(2, -1, -1, -1) for part in features],
    ).sample
    assert float((output - wanted).abs().max()) <= TOLERANCE


@pytest.mark.parametrize(("start", "end", "acting"), [(0, 1, [0, 1, 2, 3]), (0.25, 0.5, [2, 3]), (0, 0, [0, 1])])
def test_window_sees_the_step_finished_before_the_call(sd1, tmp_path, hint, start, end, acting):
    run = run_of(tiny_controlnet(sd1), sd1, tmp_path, hint, window=ControlWindow(start=start, end=end))
    runner = ControlRunner([run])
    seen = []
    for step in range(4):
        runner.at(StepInfo(call=step, calls=4, step=step, steps=4, sigma=1.0, denoised=None))
        if runner.acting:
            seen.append(step)
    assert seen == acting


def test_wrong_family_is_told_in_a_sentence(sd1, xl, tmp_path):
    save_ldm_controlnet(tiny_controlnet(xl), tmp_path / "xl.safetensors")
    with pytest.raises(CheckpointError, match=r"'xl \[.*\]' was made for .* cannot control 'toy', which is SD1"):
        load_control(listed(tmp_path, "xl"), sd1)


def test_files_that_are_no_control_model_are_named(sd1, tmp_path):
    save_file({"lllite_unet_x.down.0.weight": torch.zeros(1)}, tmp_path / "lite.safetensors")
    save_file({"something": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name, words in (("lite", "LLLite"), ("other", "no ControlNet")):
        with pytest.raises(CheckpointError, match=words):
            load_control(listed(tmp_path, name), sd1)


def test_cache_keeps_a_network_until_another_checkpoint_comes(sd1, xl, tmp_path):
    save_ldm_controlnet(tiny_controlnet(sd1), tmp_path / "a.safetensors")
    save_ldm_controlnet(tiny_controlnet(sd1, seed=1), tmp_path / "b.safetensors")
    cache = ControlCache(limit=1)
    first = cache.use(listed(tmp_path, "a"), sd1)
    assert cache.use(listed(tmp_path, "a"), sd1) is first
    cache.use(listed(tmp_path, "b"), sd1)
    assert len(cache) == 1 and cache.use(listed(tmp_path, "a"), sd1) is not first
    other = replace(sd1, unet=tiny_model(seed=4).unet)
    assert cache.use(listed(tmp_path, "a"), other) is not first and len(cache) == 1
    cache.clear()
    assert len(cache) == 0


def test_low_vram_leaves_the_network_on_the_cpu_and_changes_nothing(sd1, tmp_path, hint):
    network = tiny_controlnet(sd1)
    loaded = load_control(saved(network, tmp_path), sd1)
    force = UnitForce(scales=(1.0,) * (len(network.controlnet_down_blocks) + 1))
    plain = ControlNetUnitRun(loaded, hint, force).residuals(*call(sd1))
    low = ControlNetUnitRun(loaded, hint, force, low_vram=True).residuals(*call(sd1))
    assert largest_difference([*plain.down], [*low.down]) == 0
    assert loaded.module.device.type == "cpu"
