"""Keeps loaded models: the one in use and, if wanted, some more on the CPU."""

from __future__ import annotations

import gc
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from pipelines.checkpoints.detect import detect
from pipelines.checkpoints.files import read_header
from pipelines.checkpoints.layout import weight_files
from pipelines.checkpoints.load import load_checkpoint, load_vae, move_model
from pipelines.checkpoints.model import CheckpointInfo, LoadedModel
from pipelines.device import DevicePolicy, empty_cache
from schema.errors import CheckpointError

logger = logging.getLogger(__name__)

_Key = tuple[Path, int]
Loader = Callable[[CheckpointInfo, DevicePolicy, Path | None], LoadedModel]
FreeBytes = Callable[[torch.device], int]


def _load(info: CheckpointInfo, policy: DevicePolicy, vae_path: Path | None) -> LoadedModel:
    return load_checkpoint(info, policy, vae_path=vae_path)


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


class ModelCache:
    """The model in use, and up to `limit - 1` others, least recently used dropped first.

    A checkpoint that cannot be loaded never takes the place of the one in use. Where memory does not hold both, the
    old one is dropped first and loaded again if the new one fails.

    Args:
        limit: Option `sd_checkpoints_limit`: how many models stay loaded.
        keep_on_cpu: Option `sd_checkpoints_keep_in_cpu`: models not in use wait on the CPU.
        load: How a model is loaded; tests replace it.
        free: How much memory is left on a device; tests replace it.

    Source: A1111 modules/sd_models.py, reuse_model_from_already_loaded and reload_model_weights.
    """

    def __init__(
        self,
        policy: DevicePolicy,
        *,
        limit: int = 1,
        keep_on_cpu: bool = True,
        load: Loader = _load,
        free: FreeBytes = free_bytes,
    ) -> None:
        self.policy = policy
        self.limit = max(1, limit)
        self.keep_on_cpu = keep_on_cpu
        self._load = load
        self._free = free
        self._lock = threading.RLock()
        self._models: OrderedDict[_Key, LoadedModel] = OrderedDict()
        self._current: _Key | None = None
        self._last: tuple[CheckpointInfo, Path | None] | None = None

    @property
    def current(self) -> LoadedModel | None:
        """The model in use, or None before the first and after `unload`."""
        return self._models.get(self._current) if self._current else None

    def use(self, info: CheckpointInfo, *, vae_path: Path | None = None) -> LoadedModel:
        """The checkpoint's model, on the device; loaded if it is not there yet, only its VAE if just that differs.

        Args:
            vae_path: VAE file to use instead of the checkpoint's own.

        Raises:
            CheckpointError: If it cannot be loaded; the model in use stays in use.
        """
        with self._lock:
            key = _key(info)
            model = self._models.get(key)
            if model is None:
                model = self._load_new(info, vae_path)
            elif model.vae_path != vae_path:
                model.vae = load_vae(model, self.policy, vae_path)
                model.vae_path = vae_path
            if key != self._current:
                self._park(self.current)
                self._current = key
                move_model(model, self.policy.device)
            # The list may have learned the checkpoint's hash since it was loaded.
            model.checkpoint = info
            self._models[key] = model
            self._models.move_to_end(key)
            self._last = (info, vae_path)
            self._drop_beyond(self.limit)
            return model

    def unload(self) -> None:
        """Drops every model and gives their memory back."""
        with self._lock:
            self._models.clear()
            self._current = None
            self._collect()

    def reload(self) -> LoadedModel | None:
        """The last model in use, loaded again from its file; None if there was none.

        Raises:
            CheckpointError: If it cannot be loaded any more.
        """
        with self._lock:
            if self._last is None:
                return None
            self.unload()
            info, vae_path = self._last
            return self.use(info, vae_path=vae_path)

    def _load_new(self, info: CheckpointInfo, vae_path: Path | None) -> LoadedModel:
        # Damaged and wrong files are told by their header, before anything is moved for them.
        detect(info.path)
        in_use = self._last if self.current else None
        self._park(self.current)
        needed = _bytes_needed(info.path, self.policy)
        if self._models and self._free(self.policy.device) < needed:
            logger.info("Dropping loaded models: %s needs %d MiB.", info.name, needed >> 20)
            self.unload()
        try:
            model = self._load(info, self.policy, vae_path)
        except (CheckpointError, OSError, RuntimeError, MemoryError) as error:
            self._restore(in_use)
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"'{info.name}' cannot be loaded: {error}.") from error
        return model

    def _restore(self, in_use: tuple[CheckpointInfo, Path | None] | None) -> None:
        model = self.current
        if model is not None:
            move_model(model, self.policy.device)
        elif in_use is not None:
            info, vae_path = in_use
            self.use(info, vae_path=vae_path)

    def _park(self, model: LoadedModel | None) -> None:
        """Moves a model that waits off the accelerator, if waiting models shall be on the CPU."""
        if model is not None and self.keep_on_cpu and self.policy.device.type != "cpu":
            move_model(model, torch.device("cpu"))
            empty_cache(self.policy.device)

    def _drop_beyond(self, count: int) -> None:
        dropped = False
        while len(self._models) > count:
            oldest = next(key for key in self._models if key != self._current)
            del self._models[oldest]
            dropped = True
        if dropped:
            self._collect()

    def _collect(self) -> None:
        # Networks refer to themselves in circles; without this their memory comes back at some later time.
        gc.collect()
        empty_cache(self.policy.device)


def _key(info: CheckpointInfo) -> _Key:
    try:
        return info.path, info.path.stat().st_mtime_ns
    except OSError as error:
        raise CheckpointError(f"'{info.name}' cannot be opened: {error.strerror or error}.") from error


def _bytes_needed(path: Path, policy: DevicePolicy) -> int:
    """What the checkpoint's networks will take on the device, roughly: their number of values in the policy's dtype."""
    if path.is_dir():
        parts = [part for part in path.iterdir() if part.name in ("unet", "vae", "text_encoder", "text_encoder_2")]
        files = [file for part in parts for file in weight_files(part)]
    else:
        files = [path]
    shapes = [tensor.shape for file in files for tensor in read_header(file).tensors.values()]
    return sum(math.prod(shape) for shape in shapes) * policy.dtype.itemsize
