"""A manager over toy models in a temporary installation."""

import pytest

from pipelines.manager import PipelineManager
from schema.flags import parse_flags
from schema.paths import Paths
from schema.store import SettingsStore
from tests.tiny.builders import save_folder, save_single_file, tiny_model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A folder with toy checkpoints: `toy` and `other` (SD1), `paint.safetensors` (9 channels)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_folder(tiny_model(), folder / "toy")
    save_folder(tiny_model(seed=1), folder / "other")
    save_single_file(tiny_model(in_channels=9), folder / "paint.safetensors")
    return folder


@pytest.fixture(scope="session")
def make_manager(checkpoints, tmp_path_factory):
    """Makes a manager in float32 with an empty data folder; closed at the end of the session."""
    made = []

    def make(*arguments, **settings):
        data = tmp_path_factory.mktemp("data")
        flags, _ = parse_flags(
            ["--data-dir", str(data), "--ckpt-dir", str(checkpoints), "--precision", "full", "--device", "cpu"]
            + ["--ckpt", str(checkpoints / "toy"), *arguments],
            {},
        )
        paths = Paths.from_flags(flags)
        store = SettingsStore(paths.settings_file, paths.ui_config_file)
        if settings:
            store.update(settings, restricted=True)
        manager = PipelineManager(flags=flags, paths=paths, store=store)
        made.append(manager)
        return manager

    yield make
    for manager in made:
        manager.close()


@pytest.fixture(scope="session")
def manager(make_manager):
    """A shared manager for tests that change no setting."""
    return make_manager()
