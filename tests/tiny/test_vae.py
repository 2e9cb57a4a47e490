"""Encoding and decoding with a toy VAE: posterior noise, NaN retry, tiles, seamless padding."""

import pytest
import torch
from torch import nn

from pipelines.latents.vae import FLOAT32_NOTE, circular_padding, decode, encode, encode_mode
from schema.errors import ImageError
from tests.tiny.builders import tiny_unet, tiny_vae


@pytest.fixture(scope="module")
def vae():
    torch.manual_seed(0)
    return tiny_vae()


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_encode_is_mean_plus_std_times_the_generators_noise_image_after_image(vae, images):
    generator = torch.Generator().manual_seed(7)
    latents = encode(vae, images, generator=generator)
    generator.manual_seed(7)
    for image, latent in zip(images, latents, strict=True):
        posterior = vae.encode(image[None]).latent_dist
        noise = torch.randn(1, 4, 2, 3, generator=generator)
        expected = (posterior.mean + posterior.std * noise) * 0.18215
        torch.testing.assert_close(latent[None], expected)
    assert latents.dtype == torch.float32


def test_encode_without_generator_draws_from_the_global_one(vae, images):
    torch.manual_seed(7)
    first = encode(vae, images)
    assert torch.equal(first, encode(vae, images, generator=torch.Generator().manual_seed(7)))


def test_mode_is_unscaled_and_without_noise(vae, images):
    torch.testing.assert_close(encode_mode(vae, images[:1]), vae.encode(images[:1]).latent_dist.mean)


def test_sides_that_are_no_multiple_of_eight_lose_what_is_over(vae):
    assert encode(vae, torch.zeros(1, 3, 16, 20)).shape == (1, 4, 2, 2)


def test_decode_yields_each_picture_as_decoded_alone(vae):
    latents = torch.randn(3, 4, 4, 6, generator=torch.Generator().manual_seed(2)) * 0.18215
    pictures = list(decode(vae, latents))
    assert [tuple(picture.shape) for picture in pictures] == [(3, 32, 48)] * 3
    for latent, picture in zip(latents, pictures, strict=True):
        torch.testing.assert_close(picture, vae.decode(latent[None] / 0.18215).sample[0])


def test_tiled_decode_has_the_same_size_and_leaves_tiling_off(vae):
    latents = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(2))
    tiled, whole = next(decode(vae, latents, tiled=True)), next(decode(vae, latents))
    assert tiled.shape == whole.shape == (3, 96, 96)
    assert not vae.use_tiling
    assert not torch.equal(tiled, whole)


def overflowing_vae():
    """A VAE whose activations exceed float16's largest value (65504) but not bfloat16's or float32's."""
    torch.manual_seed(0)
    vae = tiny_vae()
    vae.decoder.conv_in.weight *= 1e5
    return vae.half()


def test_nan_in_half_precision_is_retried_in_float32_and_noted_once():
    vae, notes = overflowing_vae(), []
    latents = torch.ones(2, 4, 2, 2)
    pictures = list(decode(vae, latents, on_note=notes.append))
    assert all(torch.isfinite(picture).all() for picture in pictures)
    assert notes == [FLOAT32_NOTE]
    assert vae.dtype == torch.float32


def test_nan_in_float32_is_an_error(vae):
    with pytest.raises(ImageError, match="NaN"):
        next(decode(vae, torch.full((1, 4, 2, 2), torch.nan)))


def test_circular_padding_makes_networks_shift_equivariant_and_is_undone(vae):
    unet = tiny_unet()
    before = {id(layer): layer.padding_mode for layer in vae.modules() if isinstance(layer, nn.Conv2d)}
    latents = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(3))
    with circular_padding(unet, vae):
        picture = next(decode(vae, latents))
        shifted = next(decode(vae, latents.roll(2, dims=3)))
    torch.testing.assert_close(shifted, picture.roll(16, dims=2), atol=1e-4, rtol=1e-4)
    after = {id(layer): layer.padding_mode for layer in vae.modules() if isinstance(layer, nn.Conv2d)}
    assert after == before
    assert not torch.equal(next(decode(vae, latents)), picture)


def test_circular_padding_is_undone_after_an_error(vae):
    with pytest.raises(RuntimeError), circular_padding(vae):
        raise RuntimeError
    assert {layer.padding_mode for layer in vae.modules() if isinstance(layer, nn.Conv2d)} == {"zeros"}
