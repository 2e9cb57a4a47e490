"""Model files that cannot be used: listed with the reason, refused when chosen, and the model in use stays."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.tiny.builders import save_single_file, tiny_model
from tools.chaos.outcome import Outcome, judge
from tools.chaos.toys import Toys, post_json, told


def truncated_safetensors(toys: Toys) -> Outcome:
    """A checkpoint that was not copied to its end."""
    path = save_single_file(tiny_model(), toys.checkpoints / "truncated.safetensors")
    size = path.stat().st_size
    os.truncate(path, size // 2)
    names = [path.name, "truncated", str(size), "again"]
    return _choose(toys, path, "half of a .safetensors checkpoint", names)


class _RunsCommand:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def pickle_with_a_command(toys: Toys) -> Outcome:
    """A checkpoint whose unpickling would run a command."""
    path, proof = toys.checkpoints / "command.ckpt", toys.checkpoints.parent / "the-command-ran"
    torch.save({"state_dict": {"weight": torch.ones(1)}, "extra": _RunsCommand(f"touch '{proof}'")}, path)
    outcome = _choose(toys, path, "a .ckpt that calls os.system", [path.name, "system", "not opened", ".safetensors"])
    if not proof.exists():
        return outcome
    return Outcome(given=outcome.given, sentence=outcome.sentence, problems=(*outcome.problems, "the command ran"))


def lora_as_checkpoint(toys: Toys) -> Outcome:
    """A LoRA in the folder of checkpoints, chosen as one."""
    path, name = toys.checkpoints / "style.safetensors", "lora_unet_mid_block_attentions_0_proj_in"
    save_file({f"{name}.lora_down.weight": torch.ones(4, 32), f"{name}.lora_up.weight": torch.ones(32, 4)}, path)
    return _choose(toys, path, "a LoRA chosen as checkpoint", [path.name, "LoRA", "models/Lora"])


def _choose(toys: Toys, path: Path, given: str, names: list[str]) -> Outcome:
    """Looks into the folder again and chooses `path`, as the page's dropdown and refresh button do."""
    toys.client.post("/sdapi/v1/refresh-checkpoints")
    answer = post_json(toys.client, "/sdapi/v1/options", {"sd_model_checkpoint": path.name})
    listed = dict(toys.manager.problem_files()).get(path.name, "")
    in_use = toys.manager.model_status().title
    problems = [
        "" if answer.status_code == 422 else f"status {answer.status_code}",
        "" if listed == told(answer) else f"the list says otherwise: {listed!r}",
        "" if in_use.startswith("toy") else f"the model in use became {in_use!r}",
        toys.still_works(),
    ]
    return judge(given, told(answer), names=names, problems=problems)
