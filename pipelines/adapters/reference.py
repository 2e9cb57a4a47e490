"""Reference units: the UNet looks at another picture through its own self-attention and feature statistics.

Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook (reference_only, reference_adain).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, cast

import torch
from torch import Tensor, nn

from pipelines.adapters.control_units import UnchangedUNet, UnitForce
from pipelines.checkpoints.libraries import UNet2DConditionModel
from pipelines.sampling.types import ConditioningBatch, ControlResiduals

_SMALLEST_VARIANCE = 1e-6
_NO_FIDELITY = 1e-5
_CALL_STRIDE = 1_000_003
"""Keeps the noises of the calls of neighbouring seeds apart."""


class _Turn(Enum):
    """What the hooks do with what passes by."""

    IDLE = auto()
    WRITE = auto()
    READ = auto()


@dataclass(kw_only=True)
class _Session:
    """What all hooks of one unit share.

    Attributes:
        fidelity: Share of the estimate in which negative prompts do not see the reference.
        negative: Rows of the call under way that are negative prompts.
    """

    fidelity: float
    turn: _Turn = _Turn.IDLE
    negative: list[int] = field(default_factory=list[int])

    def mixed(self, with_reference: Tensor, without: Callable[[list[int]], Tensor]) -> Tensor:
        """f·(negative rows without the reference) + (1 - f)·(all rows with it)."""
        rows, share = self.negative, self.fidelity
        if not rows or share <= _NO_FIDELITY:
            return with_reference
        kept = with_reference.clone()
        kept[rows] = without(rows)
        return share * kept + (1 - share) * with_reference


class _ReferenceAttention:
    """A self-attention processor that remembers its input in one call and attends to it in the next."""

    def __init__(self, inner: Any, session: _Session) -> None:
        self._inner, self._session = inner, session
        self._bank: Tensor | None = None

    def __call__(self, attn: nn.Module, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        session = self._session
        if session.turn is _Turn.WRITE:
            self._bank = hidden_states.detach().clone()
        if session.turn is not _Turn.READ or self._bank is None:
            return self._inner(attn, hidden_states, *args, **kwargs)
        both = torch.cat([hidden_states, self._bank.to(hidden_states)], dim=1)
        self._bank = None
        seen = self._inner(attn, hidden_states, encoder_hidden_states=both)
        return session.mixed(seen, lambda rows: self._inner(attn, hidden_states[rows]))


class _ReferenceStatistics:
    """A forward hook that gives features the mean and variance they had for the reference (AdaIN).

    Source: Huang & Belongie 2017, "Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization", eq. 8.
    """

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._bank: tuple[Tensor, Tensor] | None = None

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        features: Tensor = output[0] if isinstance(output, tuple) else output
        session = self._session
        if session.turn is _Turn.WRITE:
            variance, mean = torch.var_mean(features, dim=(2, 3), keepdim=True, correction=0)
            self._bank = variance, mean
        if session.turn is not _Turn.READ or self._bank is None:
            return output
        changed = session.mixed(self._moved(features, *self._bank), lambda rows: features[rows])
        self._bank = None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    def _moved(self, features: Tensor, variance: Tensor, mean: Tensor) -> Tensor:
        own_variance, own_mean = torch.var_mean(features, dim=(2, 3), keepdim=True, correction=0)
        own = own_variance.clamp(min=_SMALLEST_VARIANCE).sqrt()
        wanted = (variance + _SMALLEST_VARIANCE).clamp(min=_SMALLEST_VARIANCE).sqrt()
        return (features - own_mean) / own * wanted + mean


class ReferenceRun(UnchangedUNet):
    """A reference picture in one pass.

    Args:
        latents: (1, 4, h, w), the encoded picture, scaled.
        seeds: Of the batch's pictures; the reference's noise follows from them, so that batches equal singles.
        weight: Layers whose rank is below it take part, 0 to 1.
        fidelity: Style fidelity after the control mode's rule (`style_fidelity`).
        attends: Through self-attention ("reference_only").
        normalizes: Through feature statistics ("reference_adain").
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        latents: Tensor,
        alphas_cumprod: Tensor,
        force: UnitForce,
        *,
        seeds: Sequence[int],
        weight: float,
        fidelity: float,
        attends: bool,
        normalizes: bool,
    ) -> None:
        self.force = force
        self._unet, self._latents, self._alphas, self._seeds = unet, latents, alphas_cumprod, tuple(seeds)
        self._weight, self._attends, self._normalizes = weight, attends, normalizes
        self._session = _Session(fidelity=fidelity)

    def installed(self) -> AbstractContextManager[None]:
        """The UNet with hooks on the layers that take part; taken off again on exit."""
        return self._installed()

    @contextmanager
    def _installed(self) -> Generator[None]:
        with ExitStack() as stack:
            if self._attends:
                for attention in attention_layers(self._unet, self._weight):
                    stack.enter_context(_processor(attention, _ReferenceAttention(attention.processor, self._session)))
            if self._normalizes:
                for module in statistics_layers(self._unet, self._weight):
                    handle = module.register_forward_hook(_ReferenceStatistics(self._session))
                    stack.callback(handle.remove)
            yield

    def residuals(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> ControlResiduals | None:
        """Nothing; shows the reference to the UNet first, with noise of the same level."""
        session = self._session
        session.turn = _Turn.WRITE
        noisy = self._noisy(x, timestep, conditioning)
        dtype = self._unet.dtype
        arguments: dict[str, Any] = {}
        if conditioning.pooled is not None and conditioning.time_ids is not None:
            arguments["added_cond_kwargs"] = {
                "text_embeds": conditioning.pooled.to(x.device, dtype),
                "time_ids": conditioning.time_ids.to(x.device, torch.float32),
            }
        time = timestep.to(dtype) if dtype is torch.float16 else timestep.float()
        self._unet(
            noisy.to(dtype),
            time.to(x.device),
            encoder_hidden_states=conditioning.cross_attention.to(x.device, dtype),
            return_dict=False,
            **arguments,
        )
        session.negative = [row for row, is_uncond in enumerate(conditioning.is_uncond) if is_uncond]
        session.turn = _Turn.READ
        return None

    def adjusted(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch, output: Tensor) -> Tensor:
        """`output` itself; the hooks rest until the next call."""
        self._session.turn = _Turn.IDLE
        return output

    def _noisy(self, x: Tensor, timestep: Tensor, conditioning: ConditioningBatch) -> Tensor:
        """(N, 4 or 9, h, w): the reference at each row's noise level; an inpainting UNet sees it unmasked."""
        place = timestep.float().round().long().clamp(0, len(self._alphas) - 1)
        alpha = self._alphas.to(x.device)[place].view(-1, 1, 1, 1).to(x)
        clean = self._latents.to(x)
        noise = torch.stack([self._noise(image, conditioning.call) for image in conditioning.images]).to(x)
        noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        if int(self._unet.config["in_channels"]) == 9:
            mask = torch.zeros_like(noisy[:, :1])
            noisy = torch.cat([noisy, mask, clean.expand(noisy.shape[0], -1, -1, -1)], dim=1)
        return noisy

    def _noise(self, image: int, call: int) -> Tensor:
        generator = torch.Generator().manual_seed((self._seeds[image] * _CALL_STRIDE + call) % 2**63)
        return torch.randn(self._latents.shape[1:], generator=generator)


def style_fidelity(slider: float, *, is_sdxl: bool, control_wins: bool, prompt_wins: bool) -> float:
    """The share used, 0 to 1: the slider's (cubed for SDXL), 1 where the control wins, 0 where the prompt does."""
    if control_wins:
        return 1.0
    if prompt_wins:
        return 0.0
    share = min(max(slider, 0.0), 1.0)
    return share**3 if is_sdxl else share


def attention_layers(unet: UNet2DConditionModel, weight: float) -> list[Any]:
    """The self-attentions that take part: of N, sorted by width, widest first, those with index / N < `weight`."""
    from diffusers.models.attention import BasicTransformerBlock

    blocks = [module for module in _in_webui_order(unet) if isinstance(module, BasicTransformerBlock)]
    ranked = sorted(blocks, key=lambda block: -int(cast(Any, block.norm1).normalized_shape[0]))
    return [block.attn1 for rank, block in enumerate(ranked) if weight > rank / len(ranked)]


def statistics_layers(unet: UNet2DConditionModel, weight: float) -> list[nn.Module]:
    """The blocks whose statistics take part: the middle, deep encoder and early decoder ones first.

    Encoder blocks below the first level count from 1 down, the first two thirds of the decoder's from 0 up.
    """
    encoder = [_outputs(level) for level in list(unet.down_blocks)[1:]]
    inner = [module for level in encoder for module in level]
    decoder = [module for level in unet.up_blocks for module in _outputs(level)]
    decoder = decoder[: len(decoder) * 2 // 3]
    ranks: list[tuple[nn.Module, float]] = [(cast(nn.Module, unet.mid_block), 0.0)]
    ranks += [(module, 1 - place / len(inner)) for place, module in enumerate(inner)]
    ranks += [(module, place / len(decoder)) for place, module in enumerate(decoder)]
    return [module for module, rank in ranks if weight > rank]


def _outputs(level: Any) -> list[nn.Module]:
    """The last module of each of a level's blocks, as the LDM layout counts blocks."""
    attentions = list(getattr(level, "attentions", None) or ())
    modules: list[nn.Module] = list(attentions or level.resnets)
    upsamplers = getattr(level, "upsamplers", None)
    return [*modules[:-1], upsamplers[0]] if upsamplers else modules


def _in_webui_order(unet: UNet2DConditionModel) -> list[nn.Module]:
    """All modules, encoder first, then the middle, then the decoder; diffusers lists the middle last."""
    parts = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    return [module for part in parts for module in part.modules()]


@contextmanager
def _processor(attention: Any, processor: Any) -> Generator[None]:
    before = attention.processor
    attention.processor = processor
    try:
        yield
    finally:
        attention.processor = before
