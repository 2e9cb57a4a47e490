"""GFPGAN, CodeFormer, RetinaFace and ParseNet: the real architectures with random weights, from files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.faces.catalogue import DETECTOR_FILE, PARSER_FILE, scan_restorers
from pipelines.faces.parsing import ParseNet, ParseNetNetwork
from pipelines.faces.restore import FaceNetwork
from pipelines.faces.retinaface import RetinaFace, RetinaFaceNetwork
from preprocessors.torchvision_ops import ensure_torchvision
from schema.errors import CheckpointError
from tests.numerics.pictures import synthetic

ensure_torchvision()

from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.GFPGAN import GFPGAN  # noqa: E402
from spandrel_extra_arches.architectures.CodeFormer import CodeFormer  # noqa: E402

CPU = torch.device("cpu")


def save(network: nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"params_ema": network.state_dict()}, path)
    return path


def blind_detector() -> RetinaFaceNetwork:
    """A detector with random weights that is sure of no face."""
    network = RetinaFaceNetwork()
    for head in network.ClassHead:
        nn.init.zeros_(head.conv1x1.weight)
        nn.init.zeros_(head.conv1x1.bias)
    return network


def face() -> torch.Tensor:
    return torch.linspace(-1, 1, 3 * 512 * 512).reshape(1, 3, 512, 512)


def test_codeformer_follows_its_weight(tmp_path: Path):
    torch.manual_seed(0)
    run = FaceNetwork(path=save(CodeFormer(n_layers=1), tmp_path / "codeformer.pth"), architecture="CodeFormer")
    faithful, free = run(face(), 1.0), run(face(), 0.0)
    assert faithful.shape == free.shape == (1, 3, 512, 512)
    assert not torch.equal(faithful, free)


def test_gfpgan_gives_the_same_picture_twice(tmp_path: Path):
    torch.manual_seed(0)
    network = GFPGAN(
        out_size=512,
        num_style_feat=512,
        channel_multiplier=2,
        decoder_load_path=None,
        fix_decoder=False,
        num_mlp=8,
        input_is_latent=True,
        different_w=True,
        narrow=1,
        sft_half=True,
    )
    run = FaceNetwork(path=save(network, tmp_path / "GFPGANv1.4.pth"), architecture="GFPGAN")
    first = run(face(), 0.5)
    assert first.shape == (1, 3, 512, 512)
    assert torch.equal(run(face(), 0.5), first)


def test_a_file_with_another_network_is_named(tmp_path: Path):
    path = save(ESRGAN(num_filters=8, num_blocks=1, scale=2), tmp_path / "GFPGAN-not.pth")
    with pytest.raises(CheckpointError, match="is ESRGAN, not GFPGAN"):
        FaceNetwork(path=path, architecture="GFPGAN")(face(), 0.5)


def test_detector_and_parser_are_read_from_their_files(tmp_path: Path):
    torch.manual_seed(0)
    weights = {f"module.{name}": value for name, value in blind_detector().state_dict().items()}
    torch.save(weights, tmp_path / DETECTOR_FILE)
    assert RetinaFace(path=tmp_path / DETECTOR_FILE).detect(np.asarray(synthetic(96, 64))) == []
    torch.save(ParseNetNetwork().state_dict(), tmp_path / PARSER_FILE)
    mask = ParseNet(path=tmp_path / PARSER_FILE).mask(np.asarray(synthetic(512, 512)))
    assert mask.shape == (512, 512)
    assert 0 <= mask.min() <= mask.max() <= 1
    assert mask[:10].max() == 0


def test_a_damaged_detector_is_named(tmp_path: Path):
    torch.save({"body.conv1.weight": torch.zeros(3)}, tmp_path / DETECTOR_FILE)
    with pytest.raises(CheckpointError, match="not RetinaFace"):
        RetinaFace(path=tmp_path / DETECTOR_FILE).detect(np.asarray(synthetic(96, 64)))


def test_an_installation_with_all_files_restores_a_picture(tmp_path: Path):
    torch.save(blind_detector().state_dict(), tmp_path / DETECTOR_FILE)
    (tmp_path / "gfpgan_mine.pth").touch()
    restorer = scan_restorers([tmp_path], device=CPU).get("GFPGAN")
    # Without a face the network is never asked for.
    image = synthetic(64, 64)
    assert restorer.restore(image, 0.5) is image
    restorer.unload()
