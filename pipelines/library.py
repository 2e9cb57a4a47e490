"""Everything that lies in folders and is chosen by name: checkpoints, VAEs, LoRAs, embeddings, upscalers, styles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.adapters.control_files import ControlFileList
from pipelines.adapters.lora_files import LoraLibrary
from pipelines.checkpoints.hashes import HashCache
from pipelines.checkpoints.load import native_size
from pipelines.checkpoints.model import CheckpointInfo, LoadedModel
from pipelines.checkpoints.scan import CheckpointList
from pipelines.checkpoints.vaes import VaeList
from pipelines.conditioning.embeddings import EmbeddingLibrary
from pipelines.conditioning.text_encoders import text_widths
from pipelines.device import DevicePolicy
from pipelines.faces.catalogue import find_detector, scan_restorers
from pipelines.faces.retinaface import FaceDetector
from pipelines.registry import Registry
from pipelines.upscalers.base import Upscaler
from pipelines.upscalers.catalogue import scan_upscalers
from schema.errors import CheckpointError
from schema.paths import Paths
from schema.settings import Settings
from schema.styles import StyleLibrary

DEFAULT_SIZE = 512
"""Side in pixels offered for a checkpoint that cannot tell its own."""


class Library:
    """The files of one installation, by name; `refresh` looks again.

    Args:
        checkpoint: A single file or folder listed first (flag `--ckpt`); in use unless the settings name another.
        vae: VAE file used with every checkpoint (flag `--vae-path`).
    """

    def __init__(
        self,
        paths: Paths,
        policy: DevicePolicy,
        settings: Settings,
        *,
        checkpoint: Path | None = None,
        vae: Path | None = None,
    ) -> None:
        self._paths, self._policy, self._settings = paths, policy, settings
        self._forced_vae = vae
        self.models_folder = paths.models_dir
        self._preferred = checkpoint.absolute() if checkpoint else None
        self.hashes = HashCache(paths.cache / "hashes.json")
        self.checkpoints = CheckpointList(paths.checkpoints, extra=checkpoint, hashes=self.hashes)
        self.vaes = VaeList(paths.checkpoints, paths.vae)
        self.loras = LoraLibrary(paths.loras)
        self.embeddings = EmbeddingLibrary(paths.embeddings)
        self.embeddings.scan()
        self.styles = StyleLibrary([paths.styles_file])
        self.upscalers = self._scan_upscalers()
        self.restorers = scan_restorers(paths.faces, device=policy.device)
        further = (Path(settings.control_net_models_path),) if settings.control_net_models_path else ()
        self.controls = ControlFileList((*paths.controlnet, *further))

    def refresh(self, name: str) -> None:
        """Looks again into the folders of list `name`; other names change nothing."""
        match name:
            case "checkpoints" | "hires_checkpoints":
                self.checkpoints.refresh()
            case "vaes":
                self.vaes.refresh()
            case "loras":
                self.loras.scan()
            case "embeddings":
                self.embeddings.scan()
            case "upscalers" | "hires_upscalers":
                self.upscalers = self._scan_upscalers()
            case "styles":
                self.styles.reload()
            case "controlnet_models":
                self.controls.refresh()
            case _:
                pass

    def current_checkpoint(self, settings: Settings) -> CheckpointInfo | None:
        """The checkpoint that `settings` select; the one given at start, or the first usable one, where that is gone.

        Source: A1111 modules/sd_models.py, select_checkpoint.
        """
        chosen = self.checkpoints.find(settings.sd_model_checkpoint) if settings.sd_model_checkpoint else None
        if chosen is None and self._preferred is not None:
            chosen = next((info for info in self.checkpoints if info.path == self._preferred), None)
        return chosen or self.checkpoints.first()

    def native_size(self, info: CheckpointInfo) -> int:
        """Side in pixels that `info` was trained at, read from its header; 512 where it cannot be read."""
        try:
            return native_size(info.path)
        except CheckpointError:
            return DEFAULT_SIZE

    def hashed(self, info: CheckpointInfo) -> CheckpointInfo:
        """`info` with its hash."""
        return self.checkpoints.hashed(info)

    def choose_vae(self, checkpoint: CheckpointInfo, settings: Settings) -> Path | None:
        """The VAE file to load with `checkpoint`, or None for its own."""
        return self.vaes.choose(
            checkpoint,
            setting=settings.sd_vae,
            setting_overrides=settings.sd_vae_overrides_per_model_preferences,
            forced=self._forced_vae,
        )

    def embedding_listing(self, model: LoadedModel | None) -> dict[str, Any]:
        """Embeddings that `model` can use and those it skips, as `/sdapi/v1/embeddings` answers."""
        fitting, skipped = self.embeddings.for_widths(text_widths(model)) if model else (self.embeddings.embeddings, [])
        return {"loaded": _described(fitting), "skipped": _described(skipped)}

    def face_detector(self) -> FaceDetector | None:
        """What finds faces, where its weights are there."""
        return find_detector(self._paths.faces, device=self._policy.device)

    def upscaler_listing(self) -> list[dict[str, Any]]:
        """The upscalers as `/sdapi/v1/upscalers` answers."""
        return [
            {
                "name": upscaler.name,
                "model_name": None,
                "model_path": str(path) if (path := getattr(upscaler, "path", None)) else None,
                "model_url": None,
                "scale": upscaler.scale,
            }
            for upscaler in self.upscalers
        ]

    def _scan_upscalers(self) -> Registry[Upscaler]:
        return scan_upscalers(
            self._paths.upscalers,
            device=self._policy.device,
            half=self._policy.device.type == "cuda",
            tile=self._settings.ESRGAN_tile,
            overlap=self._settings.ESRGAN_tile_overlap,
        )


def _described(embeddings: Any) -> dict[str, Any]:
    return {
        embedding.name: {
            "step": getattr(embedding, "step", None),
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": sum(embedding.widths),
            "vectors": embedding.vector_count,
        }
        for embedding in embeddings
    }
