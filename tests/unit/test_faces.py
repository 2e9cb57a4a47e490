"""Face restoration: geometry, blending, decoding of detections, and what is said about missing files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pipelines.dataset_crops import FocalWeights, focal_crop
from pipelines.faces.align import FACE_SIZE, TEMPLATE, Face, Pixels, alignment, put_face, square_mask, take_face
from pipelines.faces.base import restore_faces
from pipelines.faces.catalogue import DETECTOR_FILE, scan_restorers
from pipelines.faces.parsing import soften
from pipelines.faces.restore import NetworkRestorer, to_face_pixels, to_face_tensor
from pipelines.faces.retinaface import anchors, decode_faces
from schema.errors import ImageError, NotFound


def photograph(width: int = 400, height: int = 300) -> Image.Image:
    """A smooth picture, in which a shift by a pixel would show."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [127 + 90 * np.sin(x / 23 + c) * np.cos(y / 31 - c) for c in range(3)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def turned_face(angle: float = 0.3, scale: float = 0.35, shift: tuple[float, float] = (90, 60)) -> Face:
    """A face whose landmarks are the template's, turned, scaled and moved."""
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Face(landmarks=TEMPLATE @ rotation.T + shift)


class KnownFaces:
    """A detector that is told where the faces are."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, pixels: Pixels) -> list[Face]:
        return self.faces


def unchanged(face: Tensor, weight: float) -> Tensor:
    return face


def inverted(face: Tensor, weight: float) -> Tensor:
    return -face


def test_alignment_brings_landmarks_onto_the_template():
    face = turned_face()
    matrix = alignment(face)
    moved = face.landmarks @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(moved - TEMPLATE).max() < 0.01


def test_a_face_without_size_is_refused():
    with pytest.raises(ImageError, match="no size"):
        alignment(Face(landmarks=np.full((5, 2), 40.0)))


def test_a_face_put_back_unchanged_leaves_the_picture_as_it_was():
    image = photograph()
    restorer = NetworkRestorer(name="none", run=unchanged, detector=KnownFaces(turned_face()))
    change = np.abs(np.asarray(restorer.restore(image, 0.5), int) - np.asarray(image, int))
    assert change.max() <= 3
    assert change.mean() < 0.2


def test_only_the_face_is_changed_and_its_middle_entirely():
    image = photograph()
    face = turned_face(angle=0.0, scale=0.25, shift=(100, 80))
    restorer = NetworkRestorer(name="negative", run=inverted, detector=KnownFaces(face))
    after, before = (np.asarray(each, int) for each in (restorer.restore(image, 0.5), image))
    changed = np.argwhere(np.abs(after - before).max(axis=-1) > 0)
    assert changed.min(axis=0).tolist() >= [80, 100]
    assert changed.max(axis=0).tolist() <= [80 + 128, 100 + 128]
    assert np.abs(after[144, 164] - (255 - before[144, 164])).max() <= 3


def test_every_face_is_restored_and_small_ones_are_left_alone():
    image = photograph(600, 300)
    faces = [turned_face(0.0, 0.2, (20, 20)), turned_face(0.0, 0.2, (400, 150)), turned_face(0.0, 0.02, (250, 150))]
    restorer = NetworkRestorer(name="negative", run=inverted, detector=KnownFaces(*faces))
    change = np.abs(np.asarray(restorer.restore(image, 0.5), int) - np.asarray(image, int)).max(axis=-1)
    assert change[71, 71] > 0
    assert change[201, 451] > 0
    assert change[150:162, 250:262].max() == 0


def test_a_picture_without_a_face_is_handed_back_as_it_is():
    image = photograph()
    assert NetworkRestorer(name="none", run=inverted, detector=KnownFaces()).restore(image, 0.5) is image


def test_visibility_mixes_with_the_untouched_picture():
    image = photograph()
    restorer = NetworkRestorer(name="negative", run=inverted, detector=KnownFaces(turned_face(0.0, 0.25, (100, 80))))
    half = np.asarray(restore_faces(restorer, image, visibility=0.5), int)[144, 164]
    assert np.abs(half - 127).max() <= 3


def test_a_face_that_leaves_the_picture_is_cut_off():
    image = photograph()
    restorer = NetworkRestorer(name="negative", run=inverted, detector=KnownFaces(turned_face(0.0, 0.5, (250, 150))))
    result = restorer.restore(image, 0.5)
    assert result.size == image.size
    assert np.asarray(result)[299, 399].tolist() != np.asarray(image)[299, 399].tolist()


def test_what_the_parser_leaves_out_stays_as_it_was():
    pixels = np.asarray(photograph())
    matrix = alignment(turned_face(0.0, 0.25, (100, 80)))
    face = np.zeros((FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
    is_face = np.zeros((FACE_SIZE, FACE_SIZE), dtype=bool)
    is_face[:, :200] = True
    result = put_face(pixels, face, matrix, soften(is_face))
    assert result[144, 120].max() == 0
    assert (result[100:190, 190:220] == pixels[100:190, 190:220]).all()


def test_faces_survive_the_way_to_the_network_and_back():
    face = take_face(np.asarray(photograph()), alignment(turned_face()))
    assert (to_face_pixels(to_face_tensor(face)) == face).all()
    assert square_mask().max() == 1
    assert square_mask()[0].max() < 0.01


def test_detections_are_decoded_and_each_face_is_named_once():
    places = anchors(640, 480)
    wanted = int(np.argmin(np.abs(places - (0.5, 0.5, 128 / 640, 128 / 480)).sum(axis=1)))
    boxes, landmarks = np.zeros((len(places), 4)), np.zeros((len(places), 10))
    scores = np.zeros(len(places))
    landmarks[wanted, 0] = -2.0
    scores[wanted], scores[wanted + 2], scores[0] = 0.99, 0.98, 0.9
    (face,) = decode_faces(boxes, scores, landmarks, size=(640, 480), factors=(2.0, 2.0))
    centre = places[wanted, :2] * (1280, 960)
    assert np.allclose(face.landmarks[2], centre)
    assert np.allclose(face.landmarks[0], centre - (0.2 * 128 * 2, 0))
    assert face.score == 0.99


def test_missing_files_are_named_with_their_address_one_after_the_other(tmp_path: Path):
    restorer = scan_restorers([tmp_path], device=torch.device("cpu")).get("CodeFormer")
    with pytest.raises(NotFound, match=r"codeformer-v0.1.0.pth is missing.*https://.*models/Codeformer"):
        restorer.check()
    (tmp_path / "codeformer_mine.pth").touch()
    with pytest.raises(NotFound, match=DETECTOR_FILE):
        restorer.restore(photograph(), 0.5)
    (tmp_path / DETECTOR_FILE).touch()
    restorer.check()


def test_focal_point_follows_the_faces():
    image = photograph(600, 200)

    def at_the_right(picture: Image.Image) -> list[tuple[float, float]]:
        return [(picture.width - 60.0, 100.0)]

    cropped, explained = focal_crop(image, (200, 200), FocalWeights(entropy=0, corners=0), at_the_right)
    assert cropped.size == (200, 200)
    assert explained.size == (600, 200)
    assert (np.asarray(cropped) == np.asarray(image)[:, 400:]).all()
