"""Randomness of a batch: one generator per picture, so picture k of a batch equals that picture alone."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor

from pipelines.sampling.brownian import BrownianPath
from pipelines.sampling.philox import PhiloxGenerator


class NoiseSource(StrEnum):
    """Where normal draws come from, under A1111's names (`randn_source`)."""

    GPU = "GPU"
    CPU = "CPU"
    NV = "NV"


class ImageGenerator:
    """Successive normal draws of one seed.

    Args:
        seed: Any integer; taken modulo 2^64.
        source: CPU and NV give the same values on every machine; GPU those of the device's own generator.
        device: Where the values are wanted.
    """

    def __init__(self, seed: int, source: NoiseSource, device: torch.device) -> None:
        seed %= 1 << 64
        self._device = device
        self._philox = PhiloxGenerator(seed) if source is NoiseSource.NV else None
        # MPS has no per-seed generator that repeats across machines; A1111 uses the CPU's there too.
        own = source is NoiseSource.GPU and device.type != "mps"
        self._draw_device = device if own else torch.device("cpu")
        self._torch = torch.Generator(self._draw_device).manual_seed(seed if seed < 1 << 63 else seed - (1 << 64))

    def randn(self, shape: Sequence[int]) -> Tensor:
        """Standard normal values, float32 on the wanted device."""
        if self._philox is not None:
            return self._philox.randn(tuple(shape)).to(self._device)
        values = torch.randn(tuple(shape), device=self._draw_device, generator=self._torch, dtype=torch.float32)
        return values.to(self._device)


def slerp(weight: float, low: Tensor, high: Tensor) -> Tensor:
    """Spherical interpolation from `low` (weight 0) to `high` (1), both (C, H, W), as A1111 does it.

    Angles are taken along image rows (axis 1), one per channel and column. Nearly parallel inputs (mean cosine above
    0.9995) are mixed linearly with the weights swapped. Both are A1111's quirks, kept because seeds depend on them;
    opposite or zero vectors give NaN.

    Source: A1111 modules/rng.py, slerp; Shoemake 1985.
    """
    low_unit = low / torch.norm(low, dim=1, keepdim=True)
    high_unit = high / torch.norm(high, dim=1, keepdim=True)
    cosine = (low_unit * high_unit).sum(1)
    if cosine.mean() > 0.9995:
        return low * weight + high * (1 - weight)
    angle = torch.acos(cosine)
    sine = torch.sin(angle)
    low_share = (torch.sin((1.0 - weight) * angle) / sine).unsqueeze(1)
    high_share = (torch.sin(weight * angle) / sine).unsqueeze(1)
    return low_share * low + high_share * high


def paste_centred(canvas: Tensor, patch: Tensor) -> Tensor:
    """`canvas` (C, H, W) with `patch` (C, h, w) over its middle; a larger patch is cropped about its own middle.

    Offsets round towards minus infinity, so an odd excess leaves one row or column of the canvas free.

    Source: A1111 modules/rng.py, ImageRNG.first.
    """
    result = canvas.clone()
    target: list[slice] = []
    source: list[slice] = []
    for axis in (1, 2):
        offset = (canvas.shape[axis] - patch.shape[axis]) // 2
        length = patch.shape[axis] if offset >= 0 else patch.shape[axis] + 2 * offset
        target.append(slice(max(offset, 0), max(offset, 0) + length))
        source.append(slice(max(-offset, 0), max(-offset, 0) + length))
    result[:, target[0], target[1]] = patch[:, source[0], source[1]]
    return result


class ImageNoise:
    """All the noise of one batch of pictures.

    Args:
        seeds: One per picture.
        shape: (C, h, w) of a picture's latents.
        subseeds: Variation seeds; missing ones count as 0. Used when `subseed_strength` is not 0.
        subseed_strength: Share of the variation noise, 0 to 1.
        source: Where draws come from.
        ensd: "Eta noise seed delta": after the initial noise, generators start anew from seed + ensd unless it is 0.
        seed_resize_from: (width, height) in pixels of the picture whose composition to keep, or None.
        device: Where the noise is wanted.

    Source: A1111 modules/rng.py, ImageRNG.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        *,
        shape: tuple[int, int, int],
        subseeds: Sequence[int] = (),
        subseed_strength: float = 0.0,
        source: NoiseSource = NoiseSource.GPU,
        ensd: int = 0,
        seed_resize_from: tuple[int, int] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.seeds = tuple(seeds)
        self.shape = shape
        self.source = source
        self._subseeds = tuple(subseeds)
        self._subseed_strength = subseed_strength
        self._ensd = ensd
        self._device = device or torch.device("cpu")
        self._small_shape = self._drawn_shape(seed_resize_from)
        self._generators = [self._generator(seed) for seed in self.seeds]

    def initial(self) -> Tensor:
        """The noise a picture starts from, (B, C, h, w) float32; call it once, before any other draw."""
        noise = torch.stack([self._initial_of(index) for index in range(len(self.seeds))])
        if self._ensd:
            self._generators = [self._generator(seed + self._ensd) for seed in self.seeds]
        return noise

    def next(self, images: Sequence[int] | None = None) -> Tensor:
        """The next draw of each picture's generator (of `images` only, when given), (B, C, h, w) float32."""
        chosen = range(len(self.seeds)) if images is None else images
        return torch.stack([self._generators[index].randn(self.shape) for index in chosen])

    def per_step(self, sigma: Tensor, sigma_next: Tensor, images: Sequence[int] | None = None) -> Tensor:
        """`next` as a `StepNoise`: the noise levels do not matter."""
        return self.next(images)

    def brownian(self, sigma_min: float, sigma_max: float) -> BrownianNoise:
        """Noise from one Brownian path per picture over [sigma_min, sigma_max], seeded by the picture's seed alone."""
        return BrownianNoise(self.seeds, self.shape, sigma_min, sigma_max, source=self.source, device=self._device)

    def _drawn_shape(self, resize_from: tuple[int, int] | None) -> tuple[int, int, int]:
        if resize_from is None or resize_from[0] <= 0 or resize_from[1] <= 0:
            return self.shape
        width, height = resize_from
        return self.shape[0], height // 8, width // 8

    def _generator(self, seed: int) -> ImageGenerator:
        return ImageGenerator(seed, self.source, self._device)

    def _initial_of(self, index: int) -> Tensor:
        seed, generator = self.seeds[index], self._generators[index]
        resized = self._small_shape != self.shape
        noise = self._generator(seed).randn(self._small_shape) if resized else generator.randn(self.shape)
        if self._subseed_strength:
            subseed = self._subseeds[index] if index < len(self._subseeds) else 0
            noise = slerp(self._subseed_strength, noise, self._generator(subseed).randn(self._small_shape))
        return paste_centred(generator.randn(self.shape), noise) if resized else noise


class BrownianNoise:
    """A `StepNoise` whose draws are increments of Brownian paths, so that they agree across step sizes.

    Source: k-diffusion BrownianTreeNoiseSampler; A1111 modules/sd_samplers_common.py, create_noise_sampler.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int, int],
        sigma_min: float,
        sigma_max: float,
        *,
        source: NoiseSource,
        device: torch.device,
    ) -> None:
        def draw(seed: int) -> Tensor:
            return ImageGenerator(seed, source, device).randn(shape)

        self._paths = [BrownianPath(sigma_min, sigma_max, entropy=seed % (1 << 64), draw=draw) for seed in seeds]

    def __call__(self, sigma: Tensor, sigma_next: Tensor, images: Sequence[int] | None = None) -> Tensor:
        """The paths' increments from `sigma` to `sigma_next`, scaled to unit variance."""
        low, high = sorted((float(sigma), float(sigma_next)))
        sign = 1 if float(sigma) < float(sigma_next) else -1
        chosen = range(len(self._paths)) if images is None else images
        increments = torch.stack([self._paths[index].increment(low, high) for index in chosen]) * sign
        return increments / (sigma_next - sigma).abs().sqrt().to(increments)
