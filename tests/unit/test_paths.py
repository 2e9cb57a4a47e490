"""Folders of an installation, and the check of paths that users and requests name."""

import os
from pathlib import Path

import pytest

from schema.errors import ForbiddenPath
from schema.flags import parse_flags
from schema.paths import PROGRAM_DIR, Paths, contained, is_reserved_name


def layout(line: str) -> Paths:
    return Paths.from_flags(parse_flags(line.split(), {})[0])


def test_folders_are_named_as_in_a1111():
    paths = layout("")
    assert paths.data_dir == PROGRAM_DIR
    assert paths.checkpoints == (PROGRAM_DIR / "models" / "Stable-diffusion",)
    assert paths.vae == (PROGRAM_DIR / "models" / "VAE",)
    assert paths.loras[0] == PROGRAM_DIR / "models" / "Lora"
    assert paths.controlnet == (PROGRAM_DIR / "models" / "ControlNet",)
    assert paths.embeddings == (PROGRAM_DIR / "embeddings",)
    assert paths.outputs == PROGRAM_DIR / "outputs"
    assert paths.settings_file == PROGRAM_DIR / "config.json"


def test_data_dir_moves_everything_but_the_shipped_model_stays_listed(tmp_path: Path):
    paths = layout(f"--data-dir {tmp_path}")
    assert paths.checkpoints == (
        tmp_path / "models" / "Stable-diffusion",
        PROGRAM_DIR / "models" / "Stable-diffusion",
    )
    assert paths.outputs == tmp_path / "outputs"
    assert paths.cache == tmp_path / "cache"


def test_more_folders_come_after_the_usual_one(tmp_path: Path):
    paths = layout(f"--models-dir {tmp_path}/m --ckpt-dir {tmp_path}/a --ckpt-dir {tmp_path}/b --lora-dir {tmp_path}/l")
    assert paths.checkpoints[:3] == (tmp_path / "m" / "Stable-diffusion", tmp_path / "a", tmp_path / "b")
    assert paths.loras[-1] == tmp_path / "l"
    assert paths.outputs == PROGRAM_DIR / "outputs"


def test_relative_path_is_taken_from_the_first_root(tmp_path: Path):
    assert contained("a/b.png", [tmp_path]) == tmp_path.resolve() / "a" / "b.png"


def test_absolute_path_inside_any_root_is_allowed(tmp_path: Path):
    other = tmp_path / "other"
    assert contained(other / "x.png", [tmp_path / "first", other]) == other.resolve() / "x.png"
    assert contained(other, [other]) == other.resolve()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "", "a\x00b", "a\nb", "//host/share"])
def test_path_outside_the_roots_is_refused(tmp_path: Path, path: str):
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(ForbiddenPath):
        contained(path, [root])


def test_folder_whose_name_begins_like_a_root_is_not_inside_it(tmp_path: Path):
    with pytest.raises(ForbiddenPath):
        contained(tmp_path / "outputs-secret" / "x", [tmp_path / "outputs"])


def test_symbolic_link_cannot_lead_out(tmp_path: Path):
    root, secret = tmp_path / "root", tmp_path / "secret"
    root.mkdir()
    secret.mkdir()
    (root / "link").symlink_to(secret)
    with pytest.raises(ForbiddenPath):
        contained("link/key.txt", [root])


def test_root_that_is_itself_a_link_works(tmp_path: Path):
    real = tmp_path / "disk"
    real.mkdir()
    (tmp_path / "models").symlink_to(real)
    assert contained("a.safetensors", [tmp_path / "models"]) == real.resolve() / "a.safetensors"


def test_pipe_is_neither_file_nor_folder(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ForbiddenPath, match="neither"):
        contained("pipe", [tmp_path])


@pytest.mark.parametrize("name", ["NUL", "con.png", "Com1.txt", "lpt9", "aux.tar.gz"])
def test_device_names_are_refused_on_every_system(tmp_path: Path, name: str):
    assert is_reserved_name(name, windows=False)
    with pytest.raises(ForbiddenPath, match="reserved"):
        contained(f"sub/{name}", [tmp_path])


@pytest.mark.parametrize("name", ["console.png", "nullify", "com10", "a.con"])
def test_names_that_only_resemble_devices_are_allowed(name: str):
    assert not is_reserved_name(name, windows=True)


def test_streams_and_trailing_dots_are_reserved_on_windows_only():
    assert is_reserved_name("a.png:hidden", windows=True) and is_reserved_name("a.png.", windows=True)
    assert not is_reserved_name("12:30.png", windows=False)


def test_no_roots_means_nothing_is_allowed():
    with pytest.raises(ForbiddenPath):
        contained("a", [])
