"""Trains the model that ships with the program: one command, resumable after any stop.

    nice -n 19 python -m tools.scene_model.train all --out DIR --hours 8 --workers 2

The stages, in order: vae, text, oracle, latents, unet, decoder, control, depth, pose, export, evaluate. Each keeps its
checkpoint in DIR and goes on from it; a finished stage returns at once. Run a single stage with more --hours to train
it further. The stage control trains one ControlNet, or with no --kind all three, each for the hours given:

    python -m tools.scene_model.train control --out DIR --hours 0.5 --kind canny
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools.scene_model.conditions import KINDS
from tools.scene_model.evaluate import evaluate, markdown_table
from tools.scene_model.export import export, export_control, export_map
from tools.scene_model.latents import LatentPlan, cache_latents
from tools.scene_model.networks import SHIPPED
from tools.scene_model.oracle import OraclePlan, load_oracle, train_oracle
from tools.scene_model.sample import SamplingOptions, load_exported_painter
from tools.scene_model.team import run_team
from tools.scene_model.train_control import ControlPlan, control_file, train_control
from tools.scene_model.train_maps import KINDS as MAP_KINDS
from tools.scene_model.train_maps import MapPlan, map_file, train_map
from tools.scene_model.train_text import TextPlan, train_text
from tools.scene_model.train_unet import UnetPlan, train_unet
from tools.scene_model.train_vae import VaePlan, train_vae

# Share of the hours each stage gets in "all"; the rest of the stages take minutes.
_SHARES = {
    "vae": 0.12,
    "text": 0.02,
    "oracle": 0.02,
    "unet": 0.5,
    "decoder": 0.12,
    "control": 0.04,
    "depth": 0.03,
    "pose": 0.03,
}
_MAP_FILES = {"depth": "depth_mini.safetensors", "pose": "openpose_mini.safetensors"}
_SCENES_PER_HOUR = 12_000


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the command line asks for; `budget_s` is the stage's time over all runs, `kinds` the ControlNets'."""

    folder: Path
    budget_s: float
    kinds: tuple[str, ...]
    workers: int
    scenes: int
    port: int


def _run_vae(job: Job) -> None:
    run_team(job.workers, train_vae, VaePlan(folder=job.folder, budget_s=job.budget_s), port=job.port)


def _run_decoder(job: Job) -> None:
    plan = VaePlan(folder=job.folder, budget_s=job.budget_s, muon_lr=0.005, adam_lr=3e-4, is_decoder_only=True)
    run_team(job.workers, train_vae, plan, port=job.port)


def _run_text(job: Job) -> None:
    run_team(1, train_text, TextPlan(folder=job.folder, budget_s=job.budget_s))


def _run_oracle(job: Job) -> None:
    run_team(1, train_oracle, OraclePlan(folder=job.folder, budget_s=job.budget_s))


def _run_latents(job: Job) -> None:
    run_team(job.workers, cache_latents, LatentPlan(folder=job.folder, scenes=job.scenes), port=job.port)


def _run_unet(job: Job) -> None:
    run_team(job.workers, train_unet, UnetPlan(folder=job.folder, budget_s=job.budget_s), port=job.port)


def _run_control(job: Job) -> None:
    for kind in job.kinds:
        start = None if kind == "canny" else "canny"
        plan = ControlPlan(folder=job.folder, kind=kind, budget_s=job.budget_s, start_from=start)
        run_team(job.workers, train_control, plan, port=job.port)


def _run_depth(job: Job) -> None:
    run_team(job.workers, train_map, MapPlan(folder=job.folder, kind="depth", budget_s=job.budget_s), port=job.port)


def _run_pose(job: Job) -> None:
    run_team(job.workers, train_map, MapPlan(folder=job.folder, kind="pose", budget_s=job.budget_s), port=job.port)


def _run_export(job: Job) -> None:
    sizes = {job.folder / "mini": export(job.folder, job.folder / "mini", SHIPPED)}
    for kind in job.kinds:
        if control_file(job.folder, kind).exists():
            target = job.folder / "ControlNet" / f"mini-{kind}"
            sizes[target] = export_control(job.folder, kind, target, SHIPPED)
    for kind in MAP_KINDS:
        if map_file(job.folder, kind).exists():
            target = job.folder / "ControlNetPreprocessor" / "mini" / _MAP_FILES[kind]
            sizes[target] = export_map(job.folder, kind, target)
    for target, size in sizes.items():
        print(f"{target}: {size / 2**20:.1f} MiB", flush=True)


def _run_evaluate(job: Job) -> None:
    painter = load_exported_painter(job.folder / "mini")
    result = evaluate(painter, load_oracle(job.folder), SamplingOptions(), limit=60)
    print(markdown_table({name: scores for name, scores in result.items() if isinstance(scores, dict)}), flush=True)


STAGES: dict[str, Callable[[Job], None]] = {
    "vae": _run_vae,
    "text": _run_text,
    "oracle": _run_oracle,
    "latents": _run_latents,
    "unet": _run_unet,
    "decoder": _run_decoder,
    "control": _run_control,
    "depth": _run_depth,
    "pose": _run_pose,
    "export": _run_export,
    "evaluate": _run_evaluate,
}


def main() -> None:
    """Runs one stage, or all of them in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*STAGES, "all"])
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, latents and the result")
    parser.add_argument("--hours", type=float, default=8.0, help="time of the stage, or of all, over all runs")
    parser.add_argument("--workers", type=int, default=2, help="one-thread processes; one for each free core")
    parser.add_argument("--scenes", type=int, help="number of cached scenes (default: by the hours)")
    parser.add_argument("--kind", choices=KINDS, help="the ControlNet to train or export (default: all)")
    parser.add_argument("--port", type=int, default=29611, help="where the workers of a stage meet")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    scenes = arguments.scenes or max(2000, int(arguments.hours * _SCENES_PER_HOUR))
    is_all = arguments.stage == "all"
    for name in STAGES if is_all else (arguments.stage,):
        budget_s = arguments.hours * 3600 * (_SHARES.get(name, 0.0) if is_all else 1.0)
        job = Job(
            folder=arguments.out,
            budget_s=budget_s,
            kinds=(arguments.kind,) if arguments.kind else KINDS,
            workers=arguments.workers,
            scenes=scenes,
            port=arguments.port,
        )
        print(f"stage {name}", flush=True)
        STAGES[name](job)


if __name__ == "__main__":
    main()
