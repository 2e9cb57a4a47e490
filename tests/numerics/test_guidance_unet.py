"""A diffusers UNet answers through our adapter as Stability's would in A1111."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipelines.checkpoints.libraries import UNet2DConditionModel
from pipelines.sampling.predict import DiffusersUNet, resize_after_upsampling
from pipelines.sampling.types import ConditioningBatch, ControlResiduals


def tiny_unet(**changed: Any) -> UNet2DConditionModel:
    """A UNet of three resolutions with random weights."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": 4,
        "block_out_channels": (8, 8, 16),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 8,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**settings, **changed}).eval()


def inputs(rows: int = 2, height: int = 8, width: int = 8, **changed: Any) -> tuple[Tensor, Tensor, ConditioningBatch]:
    """Latents, fractional timesteps and text states."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 4, height, width, generator=generator)
    text = torch.randn(rows, 5, 8, generator=generator)
    return x, torch.full((rows,), 433.25), ConditioningBatch(cross_attention=text, **changed)


def test_the_adapter_asks_the_unet_at_the_fractional_timestep():
    unet = tiny_unet()
    x, t, conditioning = inputs()
    with torch.no_grad():
        expected = unet(x, t, encoder_hidden_states=conditioning.cross_attention).sample
        assert torch.equal(DiffusersUNet(unet)(x, t, conditioning, None), expected)
        assert not torch.equal(DiffusersUNet(unet)(x, t.floor(), conditioning, None), expected)


def test_half_precision_stays_inside_the_adapter():
    x, t, conditioning = inputs()
    unet = tiny_unet()
    with torch.no_grad():
        exact = DiffusersUNet(unet)(x, t, conditioning, None)
        rough = DiffusersUNet(unet.to(torch.bfloat16))(x, t, conditioning, None)
    assert rough.dtype is torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.05)


def test_image_conditioning_follows_the_latents():
    unet = tiny_unet(in_channels=9)
    x, t, conditioning = inputs()
    extra = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = unet(torch.cat([x, extra], 1), t, encoder_hidden_states=conditioning.cross_attention).sample
        assert torch.equal(DiffusersUNet(unet)(x, t, conditioning, extra), expected)


def test_sdxl_gets_its_pooled_text_and_sizes():
    unet = tiny_unet(
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 + 6 * 4
    )
    pooled, sizes = torch.randn(2, 6), torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * 2)
    x, t, conditioning = inputs(pooled=pooled, time_ids=sizes)
    with torch.no_grad():
        expected = unet(
            x,
            t,
            encoder_hidden_states=conditioning.cross_attention,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
        ).sample
        assert torch.equal(DiffusersUNet(unet)(x, t, conditioning, None), expected)


def test_control_residuals_reach_the_unet():
    unet = tiny_unet()
    x, t, conditioning = inputs()
    sizes = [(8, 8), (8, 8), (8, 4), (8, 4), (8, 2), (16, 2)]

    def control(x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals:
        down = tuple(torch.full((2, channels, side, side), 0.3) for channels, side in sizes)
        return ControlResiduals(down=down, mid=torch.full((2, 16, 2, 2), 0.3))

    with torch.no_grad():
        plain = DiffusersUNet(unet)(x, t, conditioning, None)
        assert not torch.equal(DiffusersUNet(unet, control=control)(x, t, conditioning, None), plain)
        silent = DiffusersUNet(unet, control=lambda x, timestep, conditioning: None)
        assert torch.equal(silent(x, t, conditioning, None), plain)


@pytest.mark.parametrize("size", [(5, 7), (6, 5)])
def test_odd_sizes_are_fitted_after_the_upsampling_convolution(size: tuple[int, int]):
    network = tiny_unet()
    upsample = network.up_blocks[0].upsamplers[0]
    features = torch.randn(1, 16, 3, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        before = upsample(features, output_size=size)
        with resize_after_upsampling(network):
            fitted = upsample(features, output_size=size)
            again = upsample(features, size)
            whole = upsample(features)
        doubled = upsample.conv(functional.interpolate(features, scale_factor=2.0, mode="nearest"))
        assert torch.equal(fitted, functional.interpolate(doubled, size=size, mode="nearest"))
        assert torch.equal(again, fitted)
        assert torch.equal(whole, doubled)
        assert not torch.equal(fitted, before)
        assert torch.equal(upsample(features, output_size=size), before)


def test_the_fit_changes_nothing_at_multiples_of_eight_and_is_undone_on_errors():
    unet = tiny_unet()
    x, t, conditioning = inputs()
    with torch.no_grad():
        plain = unet(x, t, encoder_hidden_states=conditioning.cross_attention).sample
        with resize_after_upsampling(unet):
            assert torch.equal(unet(x, t, encoder_hidden_states=conditioning.cross_attention).sample, plain)
        with pytest.raises(ValueError, match="stop"), resize_after_upsampling(unet):
            raise ValueError("stop")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def test_odd_latents_pass_through_the_adapter():
    unet = tiny_unet()
    x, t, conditioning = inputs(height=10, width=13)
    with torch.no_grad():
        ours = DiffusersUNet(unet)(x, t, conditioning, None)
        theirs = unet(x, t, encoder_hidden_states=conditioning.cross_attention).sample
    assert ours.shape == x.shape
    assert not torch.equal(ours, theirs)
