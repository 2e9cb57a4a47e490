"""The model cache: what is loaded stays loaded, and a checkpoint that fails never takes its place."""

import dataclasses

import pytest
import torch

from pipelines.checkpoints.cache import ModelCache
from pipelines.checkpoints.load import load_checkpoint
from pipelines.checkpoints.model import CheckpointInfo, Family
from pipelines.device import choose_device
from schema.errors import CheckpointError
from tests.tiny.builders import ldm_vae_weights, save_folder, save_single_file, tiny_model

POLICY = choose_device("cpu", precision="full")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    one = save_single_file(tiny_model(seed=1), folder / "one.safetensors")
    two = save_folder(tiny_model(seed=2), folder / "two")
    torch.save(ldm_vae_weights(tiny_model(seed=3).vae), folder / "other.vae.pt")
    (folder / "cut.safetensors").write_bytes(one.read_bytes()[:-9])
    return {path.name: CheckpointInfo(path=path, name=path.name) for path in (one, two, folder / "cut.safetensors")}


@pytest.fixture
def loads():
    return []


@pytest.fixture
def load(loads):
    def counted(info, policy, vae_path):
        loads.append(info.name)
        return load_checkpoint(info, policy, vae_path=vae_path)

    return counted


def test_model_in_use_is_loaded_once(files, loads, load):
    cache = ModelCache(POLICY, load=load)
    assert cache.current is None
    model = cache.use(files["one.safetensors"])
    assert cache.use(files["one.safetensors"]) is model is cache.current
    assert loads == ["one.safetensors"]


def test_limit_keeps_the_last_used(files, loads, load):
    cache = ModelCache(POLICY, load=load, limit=2)
    for name in ("one.safetensors", "two", "one.safetensors", "two"):
        cache.use(files[name])
    assert loads == ["one.safetensors", "two"]
    single = ModelCache(POLICY, load=load, limit=1)
    for name in ("one.safetensors", "two", "one.safetensors"):
        assert single.use(files[name]) is single.current
    assert loads[2:] == ["one.safetensors", "two", "one.safetensors"]


def test_damaged_checkpoint_leaves_the_model_in_use(files, load):
    cache = ModelCache(POLICY, load=load)
    model = cache.use(files["two"])
    with pytest.raises(CheckpointError, match="truncated"):
        cache.use(files["cut.safetensors"])
    assert cache.current is model
    assert cache.use(files["two"]) is model


def test_load_that_fails_late_without_memory_for_two_brings_the_old_model_back(files, loads, load):
    def failing(info, policy, vae_path):
        if info.name == "one.safetensors":
            raise RuntimeError("out of memory")
        return load(info, policy, vae_path)

    cache = ModelCache(POLICY, load=failing, free=lambda device: 0)
    model = cache.use(files["two"])
    weights = model.unet.state_dict()
    with pytest.raises(CheckpointError, match="out of memory"):
        cache.use(files["one.safetensors"])
    assert cache.current is not None
    assert cache.current.checkpoint == files["two"]
    assert all(torch.equal(value, weights[name]) for name, value in cache.current.unet.state_dict().items())
    assert loads == ["two", "two"]


def test_changing_only_the_vae_loads_only_the_vae(files, loads, load):
    cache = ModelCache(POLICY, load=load)
    info = files["one.safetensors"]
    model = cache.use(info)
    own, vae_path = model.vae, info.path.with_name("other.vae.pt")
    assert cache.use(info, vae_path=vae_path) is model
    assert model.vae_path == vae_path
    assert not torch.equal(model.vae.decoder.conv_in.weight, own.decoder.conv_in.weight)
    cache.use(info)
    assert torch.equal(model.vae.decoder.conv_in.weight, own.decoder.conv_in.weight)
    assert loads == ["one.safetensors"]


def test_unload_and_reload(files, loads, load):
    cache = ModelCache(POLICY, load=load)
    assert cache.reload() is None
    cache.use(files["two"])
    cache.unload()
    assert cache.current is None
    model = cache.reload()
    assert model is cache.current
    assert (model.checkpoint, model.family, loads) == (files["two"], Family.SD1, ["two", "two"])


def test_a_hash_learned_later_reaches_the_loaded_model(files, load):
    cache = ModelCache(POLICY, load=load)
    cache.use(files["two"])
    hashed = dataclasses.replace(files["two"], sha256="ab" * 32)
    assert cache.use(hashed).checkpoint.short_hash == "ab" * 5
