"""The ControlNet units of one job: maps made once, networks found for each pass, results finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from pipelines.adapters.control_load import ControlCache
from pipelines.adapters.control_units import ControlRunner, ControlUnit
from pipelines.adapters.controlnet import HALF
from pipelines.checkpoints.model import LoadedModel
from pipelines.control.finish import finished
from pipelines.control.inputs import ControlSource
from pipelines.control.maps import MapMaker, UnitMaps, shuffle_seed, unit_maps
from pipelines.control.plan import UnitPlan
from pipelines.control.runs import PassFacts, unit_runs
from pipelines.inpaint import hide_masked, stack_conditioning
from pipelines.latents.vae import encode
from schema.controlnet import HiresOption

MASKED_CHANNELS = 4
"""Channels of a map that carries a mask."""


@dataclass(frozen=True, kw_only=True)
class ControlPlan:
    """The units of a job with the options that concern them.

    Attributes:
        size, hires_size: (width, height) of both passes, multiples of 8; None without a second pass.
        seed, subseed: Of the first picture.
        inpaint_blur: `control_net_inpaint_blur_sigma`.
        ignore_masks: `controlnet_ignore_noninpaint_mask`.
        shows_maps: Whether maps are appended to the results (not `control_net_no_detectmap`).
        maps_folder: Folder in the pictures' one that maps are saved to, or empty (`control_net_detectmap_autosaving`).
        cache_size: `control_net_model_cache_size`.
    """

    units: tuple[UnitPlan, ...]
    size: tuple[int, int]
    hires_size: tuple[int, int] | None = None
    seed: int = 0
    subseed: int = 0
    inpaint_blur: int = 7
    ignore_masks: bool = False
    shows_maps: bool = True
    maps_folder: str = ""
    cache_size: int = 2


@dataclass(kw_only=True)
class ControlTools:
    """What outlives a job: loaded networks and remembered maps."""

    networks: ControlCache
    maps: MapMaker


@dataclass(kw_only=True)
class ControlSession:
    """The units of one job at work."""

    plan: ControlPlan
    tools: ControlTools
    source: ControlSource | None = None
    maps: dict[int, UnitMaps] = field(default_factory=dict[int, UnitMaps])

    def prepare(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Makes every unit's maps.

        Raises:
            InvalidRequest: If a unit has no picture.
            WebuiError: If a preprocessor cannot run.
        """
        plan = self.plan
        for unit in plan.units:
            self.maps[unit.number] = unit_maps(
                unit,
                self.tools.maps,
                size=plan.size,
                hires_size=plan.hires_size,
                source=self.source,
                seed=shuffle_seed(plan.seed, plan.subseed),
                ignore_masks=plan.ignore_masks,
                say=say,
            )

    def runner(
        self, model: LoadedModel, seeds: Sequence[int], *, is_hires: bool, weights_key: object = None
    ) -> ControlRunner | None:
        """The units that act in a pass, their networks loaded; None for none.

        Args:
            seeds: Of the pass's pictures.
            weights_key: What the model's weights are changed by.

        Raises:
            CheckpointError: If a control model cannot be used with `model`.
            InvalidRequest: If a unit's fields do not fit its model.
        """
        facts = PassFacts(
            model=model,
            seeds=seeds,
            is_hires=is_hires,
            runtime=self.tools.maps.runtime,
            repaints=self._repaints,
        )
        self.tools.networks.limit = self.plan.cache_size
        runs: list[ControlUnit] = []
        for unit in self.plan.units:
            if not unit.acts or not self._acts_in(unit, is_hires=is_hires):
                continue
            file = unit.file if "Reference" not in unit.preprocessor.types else None
            network = self.tools.networks.use(file, model, weights_key=weights_key) if file else None
            runs += unit_runs(unit, self.maps[unit.number], network, facts)
        return ControlRunner(runs) if runs else None

    def start(self, model: LoadedModel, noise: Tensor) -> Tensor:
        """The noise (B, 4, h, w) txt2img starts from; a LaMa unit's filled picture shines through it.

        That is sqrt(a)·latents + sqrt(1 - a)·noise, with a the last of the model's alphas_cumprod.

        Source: sd-webui-controlnet scripts/controlnet.py, Script.controlnet_main_entry (inpaint_only+lama).
        """
        for unit in self.plan.units:
            if unit.acts and unit.preprocessor.name == "inpaint_only+lama" and not self._repaints:
                hint = self.maps[unit.number].hint(is_hires=False)[:, :3]
                latents = encode(model.vae, hint * 2 - 1, generator=torch.Generator().manual_seed(0)).to(noise)
                alpha = model.alphas_cumprod[-1].to(noise)
                noise = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        return noise

    def image_conditioning(self, model: LoadedModel, given: Tensor | None, *, is_hires: bool) -> Tensor | None:
        """What an inpainting checkpoint sees: an acting unit's masked picture, else what is `given` (B, 5, h, w).

        Source: sd-webui-controlnet scripts/hook.py, UnetHook.hook (inpaint model).
        """
        if given is None or not model.is_inpaint:
            return given
        for unit in self.plan.units:
            hint = self.maps[unit.number].hint(is_hires=is_hires)
            if unit.acts and unit.file is not None and hint.shape[1] == MASKED_CHANNELS:
                mask = (hint[:, 3:] > HALF).float()
                hidden = hide_masked(hint[:, :3] * 2 - 1, mask, 1.0)
                latents = encode(model.vae, hidden, generator=torch.Generator().manual_seed(0))
                return stack_conditioning(mask, latents).expand(given.shape[0], -1, -1, -1)
        return given

    def finish(self, pictures: Sequence[Image.Image], *, is_hires: bool) -> list[Image.Image]:
        """Decoded pictures as the units leave them."""
        done: list[Image.Image] = []
        for picture in pictures:
            for unit in self.plan.units:
                if unit.acts:
                    picture = finished(
                        picture,
                        unit,
                        self.maps[unit.number],
                        is_hires=is_hires,
                        blur=self.plan.inpaint_blur,
                        repaints=self._repaints,
                    )
            done.append(picture)
        return done

    def shown_maps(self) -> list[tuple[UnitPlan, Image.Image]]:
        """The maps that belong to the results, by unit; of a unit with two passes the hires one first."""
        if not self.plan.shows_maps:
            return []
        return [
            (unit, picture)
            for unit in self.plan.units
            if unit.shows_map and unit.preprocessor.returns_image
            for picture in self.maps[unit.number].pictures()
        ]

    def _acts_in(self, unit: UnitPlan, *, is_hires: bool) -> bool:
        if self.plan.hires_size is None or unit.hr_option is HiresOption.BOTH:
            return True
        return (unit.hr_option is HiresOption.HIGH_RES_ONLY) == is_hires

    @property
    def _repaints(self) -> bool:
        return self.source is not None and self.source.inpaint is not None
