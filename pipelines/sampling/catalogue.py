"""The samplers and schedules a user can choose, in A1111's order and under its names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from torch import Tensor

from pipelines.registry import Registry
from pipelines.sampling import dpm_solver, samplers, sigmas, timestep_samplers, unipc
from pipelines.sampling.sigmas import ScheduleInput
from schema.errors import UnknownName

AUTOMATIC = "Automatic"


class SamplerKind(Enum):
    """What a sampler runs over."""

    SIGMAS = "sigmas"
    """The schedule's noise levels."""
    SIGMA_RANGE = "sigma range"
    """From the highest level to the lowest, choosing its own levels; schedules only matter in img2img."""
    TIMESTEPS = "timesteps"
    """Integer timesteps; schedules are ignored."""


@dataclass(frozen=True, kw_only=True)
class SamplerSpec:
    """One sampler.

    Attributes:
        name: A1111's label.
        run: The update rule; its parameters differ by kind and by `takes`.
        takes: Which of eta, s_churn, s_tmin, s_tmax, s_noise may reach `run`. (A1111 withholds s_noise from some
            samplers that have it.)
        second_order: Two evaluations per step, which prompt schedules and the refiner count.
        discard_next_to_last_sigma: Ask the schedule for one level more and drop the last but one.
        uses_ensd: Whether A1111 writes the eta noise seed delta to the infotext.
        brownian: Noise comes from a Brownian path.
        default_schedule: Name of the schedule "Automatic" means; None is the model's own.
        is_lcm: Ask the network as a latent consistency model.
    """

    name: str
    aliases: tuple[str, ...]
    run: Callable[..., Tensor]
    source: str
    kind: SamplerKind = SamplerKind.SIGMAS
    takes: frozenset[str] = frozenset()
    second_order: bool = False
    discard_next_to_last_sigma: bool = False
    uses_ensd: bool = False
    brownian: bool = False
    default_schedule: str | None = None
    is_lcm: bool = False

    def calls(self, steps: int) -> int:
        """Evaluations that prompt schedules and the refiner expect of `steps` steps."""
        return steps * 2 if self.second_order else steps


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """One schedule.

    Attributes:
        name: A1111's label.
        key: A1111's name in the API and in old files.
        other_names: Further names it answers to.
        sigmas: The rule; None for "Automatic".
        default_rho: Value of rho when none is set; None where the rule has none.
        needs_model: Whether the rule reads the model's own noise levels.
    """

    name: str
    key: str
    source: str
    sigmas: Callable[[ScheduleInput], Tensor] | None
    other_names: tuple[str, ...] = ()
    default_rho: float | None = None
    needs_model: bool = False

    @property
    def aliases(self) -> tuple[str, ...]:
        """Names beside the label."""
        return (self.key, *self.other_names)


_CHURN = frozenset({"s_churn", "s_tmin", "s_tmax", "s_noise"})
_ETA = frozenset({"eta"})
_ETA_NOISE = frozenset({"eta", "s_noise"})

SAMPLERS = Registry(
    "Sampler",
    (
        SamplerSpec(
            name="DPM++ 2M",
            aliases=("k_dpmpp_2m",),
            run=samplers.dpmpp_2m,
            default_schedule="Karras",
            source="Lu et al. 2022b, algorithm 2",
        ),
        SamplerSpec(
            name="DPM++ SDE",
            aliases=("k_dpmpp_sde",),
            run=samplers.dpmpp_sde,
            takes=_ETA_NOISE,
            default_schedule="Karras",
            second_order=True,
            brownian=True,
            source="Lu et al. 2022b, section 6",
        ),
        SamplerSpec(
            name="DPM++ 2M SDE",
            aliases=("k_dpmpp_2m_sde",),
            run=samplers.dpmpp_2m_sde,
            takes=_ETA_NOISE,
            default_schedule="Exponential",
            brownian=True,
            source="Lu et al. 2022b, section 6",
        ),
        SamplerSpec(
            name="DPM++ 2M SDE Heun",
            aliases=("k_dpmpp_2m_sde_heun",),
            run=partial(samplers.dpmpp_2m_sde, solver_type="heun"),
            takes=_ETA_NOISE,
            default_schedule="Exponential",
            brownian=True,
            source="Lu et al. 2022b, section 6",
        ),
        SamplerSpec(
            name="DPM++ 2S a",
            aliases=("k_dpmpp_2s_a",),
            run=samplers.dpmpp_2s_ancestral,
            takes=_ETA_NOISE,
            default_schedule="Karras",
            second_order=True,
            uses_ensd=True,
            source="Lu et al. 2022b, algorithm 1",
        ),
        SamplerSpec(
            name="DPM++ 3M SDE",
            aliases=("k_dpmpp_3m_sde",),
            run=samplers.dpmpp_3m_sde,
            takes=_ETA_NOISE,
            default_schedule="Exponential",
            discard_next_to_last_sigma=True,
            brownian=True,
            source="Lu et al. 2022b, extended to order 3",
        ),
        SamplerSpec(
            name="Euler a",
            aliases=("k_euler_a", "k_euler_ancestral"),
            run=samplers.euler_ancestral,
            takes=_ETA,
            uses_ensd=True,
            source="Karras et al. 2022 with the DDPM posterior",
        ),
        SamplerSpec(
            name="Euler",
            aliases=("k_euler",),
            run=samplers.euler,
            takes=_CHURN,
            source="Karras et al. 2022, algorithm 2",
        ),
        SamplerSpec(name="LMS", aliases=("k_lms",), run=samplers.lms, source="Adams-Bashforth, order 4"),
        SamplerSpec(
            name="Heun",
            aliases=("k_heun",),
            run=samplers.heun,
            takes=_CHURN,
            second_order=True,
            source="Karras et al. 2022, algorithm 2",
        ),
        SamplerSpec(
            name="DPM2",
            aliases=("k_dpm_2",),
            run=samplers.dpm2,
            takes=_CHURN,
            default_schedule="Karras",
            discard_next_to_last_sigma=True,
            second_order=True,
            source="Lu et al. 2022, DPM-Solver-2",
        ),
        SamplerSpec(
            name="DPM2 a",
            aliases=("k_dpm_2_a",),
            run=samplers.dpm2_ancestral,
            takes=_ETA_NOISE,
            default_schedule="Karras",
            discard_next_to_last_sigma=True,
            second_order=True,
            uses_ensd=True,
            source="Lu et al. 2022, DPM-Solver-2, with the DDPM posterior",
        ),
        SamplerSpec(
            name="DPM fast",
            aliases=("k_dpm_fast",),
            run=dpm_solver.dpm_fast,
            kind=SamplerKind.SIGMA_RANGE,
            takes=_ETA_NOISE,
            uses_ensd=True,
            source="Lu et al. 2022, section 3.4",
        ),
        SamplerSpec(
            name="DPM adaptive",
            aliases=("k_dpm_ad",),
            run=dpm_solver.dpm_adaptive,
            kind=SamplerKind.SIGMA_RANGE,
            takes=_ETA,
            uses_ensd=True,
            source="Lu et al. 2022, appendix C",
        ),
        SamplerSpec(
            name="Restart",
            aliases=("restart",),
            run=samplers.restart,
            default_schedule="Karras",
            second_order=True,
            source="Xu et al. 2023",
        ),
        SamplerSpec(
            name="DDIM",
            aliases=("ddim",),
            run=timestep_samplers.ddim,
            kind=SamplerKind.TIMESTEPS,
            takes=_ETA,
            source="Song et al. 2020",
        ),
        SamplerSpec(
            name="DDIM CFG++",
            aliases=("ddim_cfgpp",),
            run=timestep_samplers.ddim,
            kind=SamplerKind.TIMESTEPS,
            takes=_ETA,
            source="Chung et al. 2024 (CFG++), algorithm 2",
        ),
        SamplerSpec(
            name="PLMS",
            aliases=("plms",),
            run=timestep_samplers.plms,
            kind=SamplerKind.TIMESTEPS,
            source="Liu et al. 2022 (PNDM)",
        ),
        SamplerSpec(
            name="UniPC",
            aliases=("unipc",),
            run=unipc.unipc,
            kind=SamplerKind.TIMESTEPS,
            source="Zhao et al. 2023",
        ),
        SamplerSpec(name="LCM", aliases=("k_lcm",), run=samplers.lcm, is_lcm=True, source="Luo et al. 2023"),
    ),
)
"""Samplers in display order; the first is the default."""

SCHEDULES = Registry(
    "Schedule",
    (
        ScheduleSpec(name=AUTOMATIC, key="automatic", sigmas=None, source="the sampler's default"),
        ScheduleSpec(
            name="Uniform", key="uniform", sigmas=sigmas.uniform, needs_model=True, source="k-diffusion's default"
        ),
        ScheduleSpec(
            name="Karras", key="karras", sigmas=sigmas.karras, default_rho=7.0, source="Karras et al. 2022, eq. 5"
        ),
        ScheduleSpec(name="Exponential", key="exponential", sigmas=sigmas.exponential, source="k-diffusion"),
        ScheduleSpec(
            name="Polyexponential",
            key="polyexponential",
            sigmas=sigmas.polyexponential,
            default_rho=1.0,
            source="k-diffusion",
        ),
        ScheduleSpec(
            name="SGM Uniform",
            key="sgm_uniform",
            other_names=("SGMUniform",),
            sigmas=sigmas.sgm_uniform,
            needs_model=True,
            source="Stability generative-models",
        ),
        ScheduleSpec(name="KL Optimal", key="kl_optimal", sigmas=sigmas.kl_optimal, source="Sabour et al. 2024"),
        ScheduleSpec(
            name="Align Your Steps", key="align_your_steps", sigmas=sigmas.align_your_steps, source="Sabour et al. 2024"
        ),
        ScheduleSpec(
            name="Simple", key="simple", sigmas=sigmas.simple, needs_model=True, source="A1111 sd_schedulers.py"
        ),
        ScheduleSpec(
            name="Normal", key="normal", sigmas=sigmas.normal, needs_model=True, source="A1111 sd_schedulers.py"
        ),
        ScheduleSpec(name="DDIM", key="ddim", sigmas=sigmas.ddim, needs_model=True, source="Song et al. 2020"),
        ScheduleSpec(name="Beta", key="beta", sigmas=sigmas.beta, needs_model=True, source="Lee et al. 2024"),
    ),
)
"""Schedules in display order."""


@dataclass(frozen=True, kw_only=True)
class ResolvedNames:
    """A sampler and a schedule found for what a user wrote.

    Attributes:
        substitutions: One sentence per name that was not taken as written.
    """

    sampler: SamplerSpec
    schedule: ScheduleSpec
    substitutions: tuple[str, ...] = ()


def resolve_sampler_and_schedule(
    sampler_name: str | None,
    scheduler: str | None,
    *,
    default_becomes_automatic: bool = True,
    match_loosely: bool = False,
    strict: bool = False,
) -> ResolvedNames:
    """The sampler and schedule meant by names from a request, an infotext or an old combined name.

    Names match exactly, as in A1111: "euler a" or "k_euler_a" is unknown and gives the first sampler. A schedule's
    name at the end of the sampler's ("DPM++ 2M Karras") counts as the schedule and wins over `scheduler`.

    Args:
        default_becomes_automatic: Whether a schedule that is the sampler's default is given as "Automatic" (for
            controls; a job keeps it).
        match_loosely: Also accept aliases and any case before falling back to the first sampler.
        strict: Refuse an unknown name instead of falling back.

    Raises:
        UnknownName: If `strict` and a name is unknown.

    Source: A1111 modules/sd_samplers.py, get_sampler_and_scheduler.
    """
    notes: list[str] = []
    schedule = _find_schedule(scheduler, match_loosely, strict, notes)
    name = sampler_name or SAMPLERS.names[0]
    for candidate in SCHEDULES:
        for ending in (candidate.name, candidate.key, *candidate.other_names):
            if name.endswith(f" {ending}"):
                schedule, name = candidate, name.removesuffix(f" {ending}")
                break
    sampler = next((each for each in SAMPLERS if each.name == name), None)
    if sampler is None:
        if strict:
            raise UnknownName("Sampler", name, SAMPLERS.names)
        sampler = (SAMPLERS.find(name) if match_loosely else None) or next(iter(SAMPLERS))
        notes.append(f"Sampler '{name}' is not installed; {sampler.name} was used.")
    if default_becomes_automatic and schedule.name == sampler.default_schedule:
        schedule = SCHEDULES.get(AUTOMATIC)
    return ResolvedNames(sampler=sampler, schedule=schedule, substitutions=tuple(notes))


def _find_schedule(name: str | None, match_loosely: bool, strict: bool, notes: list[str]) -> ScheduleSpec:
    """The schedule with exactly this label or key (loosely: any name in any case), else Automatic with a note."""
    if not name:
        return SCHEDULES.get(AUTOMATIC)
    exact = next((each for each in SCHEDULES if name in (each.name, each.key)), None)
    if exact is not None:
        return exact
    if strict:
        raise UnknownName("Schedule type", name, SCHEDULES.names)
    found = (SCHEDULES.find(name) if match_loosely else None) or SCHEDULES.get(AUTOMATIC)
    notes.append(f"Schedule type '{name}' is not installed; {found.name} was used.")
    return found
