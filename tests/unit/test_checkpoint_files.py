"""Weight files are read whole or refused with the reason; pickles can build tensors and nothing else."""

import collections
import os
import pickle
import zipfile

import numpy
import pytest
import torch
from safetensors.torch import save_file

from pipelines.checkpoints.files import read_header, read_pickle, read_state_dict
from schema.errors import CheckpointError, UnsafePickle

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}


class RunsAProgram:
    def __reduce__(self):
        return os.system, ("touch /tmp/must-not-exist",)


class Evaluates:
    def __reduce__(self):
        return eval, ("1 + 1",)


def assert_read(path):
    read = read_state_dict(path)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)
    header = read_header(path)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in header.tensors.items()} == {
        "a.weight": ((2, 3), "F32"),
        "b": ((4,), "F16"),
    }


def test_safetensors_are_read_with_their_metadata(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(WEIGHTS, path, metadata={"ss_output_name": "x"})
    assert_read(path)
    assert read_header(path).metadata == {"ss_output_name": "x"}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_pickles_of_both_formats_are_read_with_and_without_wrapper(tmp_path, zipped, wrapped):
    path = tmp_path / "model.ckpt"
    content = {"state_dict": WEIGHTS, "epoch": 3} if wrapped else WEIGHTS
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_read(path)


def test_parameters_ordered_dicts_and_numpy_values_are_read(tmp_path):
    path = tmp_path / "model.pt"
    content = collections.OrderedDict(
        weight=torch.nn.Parameter(torch.ones(2)), array=numpy.arange(3), scalar=numpy.float64(1.5), names={"x"}
    )
    torch.save(content, path)
    read = read_pickle(path)
    assert torch.equal(read["weight"], torch.ones(2))
    assert read["array"].tolist() == [0, 1, 2]
    assert (read["scalar"], read["names"]) == (1.5, {"x"})


def test_embedding_with_a_parameter_dict_is_read_as_plain_mapping(tmp_path):
    path = tmp_path / "style.pt"
    vectors = torch.nn.ParameterDict({"*": torch.nn.Parameter(torch.ones(2, 768))})
    torch.save({"string_to_param": vectors, "name": "style"}, path)
    read = read_pickle(path)
    assert read["name"] == "style"
    assert torch.equal(read["string_to_param"]["*"], torch.ones(2, 768))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("payload", "named"), [(RunsAProgram(), "system"), (Evaluates(), "eval")])
def test_pickle_that_runs_code_is_refused_and_nothing_is_run(tmp_path, payload, named, zipped):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": WEIGHTS, "extra": payload}, path, _use_new_zipfile_serialization=zipped)
    for read in (read_state_dict, read_header, read_pickle):
        with pytest.raises(UnsafePickle, match=named):
            read(path)
    assert not os.path.exists("/tmp/must-not-exist")


def test_plain_pickle_that_runs_code_is_refused(tmp_path):
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(RunsAProgram(), protocol=2))
    with pytest.raises(UnsafePickle, match="system"):
        read_state_dict(path)


def test_archive_with_code_in_it_is_refused(tmp_path):
    path = tmp_path / "script.pt"
    torch.save(WEIGHTS, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("script/code/__torch__.py", "import os")
    with pytest.raises(UnsafePickle, match="code"):
        read_state_dict(path)


def test_training_callbacks_are_passed_over(tmp_path):
    path = tmp_path / "trained.ckpt"
    torch.save({"state_dict": WEIGHTS}, path)
    # What pickle writes for the class pytorch_lightning's ModelCheckpoint, without having the package.
    callback = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    body = members[name].removesuffix(b".")
    members[name] = body + b"X\x09\x00\x00\x00callbacks" + callback + b")\x81s."
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    assert_read(path)


@pytest.mark.parametrize("keep", [0, 5, 40, 0.5, -1])
def test_truncated_safetensors_are_refused(tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_file(WEIGHTS, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    for read in (read_header, read_state_dict):
        with pytest.raises(CheckpointError, match=r"truncated|damaged|empty"):
            read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 100,
        (10).to_bytes(8, "little") + b"not json!!",
        (2).to_bytes(8, "little") + b"[]",
        (11).to_bytes(8, "little") + b'{"a": {}}  ',
        (2**62).to_bytes(8, "little") + b"{}",
    ],
)
def test_garbage_safetensors_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02garbage", b"PK\x03\x04 no zip", b"\x80\x02N."])
def test_garbage_pickles_are_refused(tmp_path, content):
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    for read in (read_header, read_state_dict):
        with pytest.raises(CheckpointError):
            read(path)


def test_truncated_zip_pickle_is_refused(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError):
        read_state_dict(path)


def test_missing_file_is_named(tmp_path):
    for ending in ("safetensors", "ckpt"):
        with pytest.raises(CheckpointError, match="nowhere"):
            read_state_dict(tmp_path / f"nowhere.{ending}")
