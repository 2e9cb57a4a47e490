"""The list of VAE files, and which of them a checkpoint uses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipelines.checkpoints.model import CheckpointInfo
from pipelines.checkpoints.scan import natural_key, walk_models

logger = logging.getLogger(__name__)

AUTOMATIC = "Automatic"
NONE = "None"


class VaeList:
    """VAE files by file name.

    Args:
        checkpoint_roots: Folders in which `*.vae.*` files beside checkpoints count.
        vae_roots: Folders in which every weight file counts; of equal names the later wins.

    Source: A1111 modules/sd_vae.py, refresh_vae_list.
    """

    def __init__(self, checkpoint_roots: Sequence[Path], vae_roots: Sequence[Path]) -> None:
        self._checkpoint_roots = tuple(root.absolute() for root in checkpoint_roots)
        self._vae_roots = tuple(root.absolute() for root in vae_roots)
        self.files: dict[str, Path] = {}
        self.refresh()

    def refresh(self) -> None:
        """Searches the folders again."""
        found: dict[str, Path] = {}
        for root in self._checkpoint_roots:
            for path in walk_models(root, (".vae.ckpt", ".vae.pt", ".vae.safetensors")):
                if path.is_file():
                    found[path.name] = path
        for root in self._vae_roots:
            for path in walk_models(root, (".ckpt", ".pt", ".safetensors")):
                if path.is_file():
                    found[path.name] = path
        self.files = {name: found[name] for name in sorted(found, key=natural_key)}

    @property
    def choices(self) -> list[str]:
        """What the SD VAE dropdown shows."""
        return [AUTOMATIC, NONE, *self.files]

    def choose(
        self,
        checkpoint: CheckpointInfo,
        *,
        setting: str = AUTOMATIC,
        setting_overrides: bool = True,
        preferred: str | None = None,
        forced: Path | None = None,
    ) -> Path | None:
        """The VAE file to load with `checkpoint`, or None for its own.

        Args:
            setting: Option `sd_vae`: Automatic, None or a file name. A name that is not there counts as None.
            setting_overrides: Option `sd_vae_overrides_per_model_preferences`: a setting other than Automatic goes
                before what the checkpoint prefers.
            preferred: The VAE named in the checkpoint's user metadata.
            forced: Flag `--vae-path`.

        Source: A1111 modules/sd_vae.py, resolve_vae. "Beside" a checkpoint is, as there, every known VAE whose file
        name starts with the checkpoint's stem.
        """
        if forced is not None:
            return forced
        if setting_overrides and setting != AUTOMATIC:
            return self._named(setting)
        if preferred == NONE:
            return None
        if preferred in self.files:
            return self.files[preferred]
        beside = next((path for name, path in self.files.items() if name.startswith(checkpoint.stem)), None)
        return beside or self._named(setting)

    def _named(self, setting: str) -> Path | None:
        if setting not in (AUTOMATIC, NONE) and setting not in self.files:
            logger.warning("VAE '%s' is not installed; the checkpoint's own is used.", setting)
        return self.files.get(setting)
