"""Face restoration, Extras and named models in whole jobs on a toy model."""

import numpy as np
import pytest
from PIL import Image

from pipelines.faces.restore import NetworkRestorer
from pipelines.named_models import Presence
from pipelines.registry import Registry
from schema.extras import ExtrasRequest
from schema.infotext import parse_infotext
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from tests.tiny.test_generation import SMALL, gradient, run
from tests.unit.test_faces import KnownFaces, inverted, turned_face


@pytest.fixture
def restoring(manager, monkeypatch):
    """The manager with a GFPGAN that turns a known face negative."""
    face = turned_face(angle=0.0, scale=0.1, shift=(6, 6))
    restorer = NetworkRestorer(name="CodeFormer", run=inverted, detector=KnownFaces(face))
    monkeypatch.setattr(manager.library, "restorers", Registry("Face restorer", (restorer,)))
    return manager


def test_missing_weights_are_noted_and_the_picture_is_made(manager):
    request = Txt2ImgRequest(prompt="x", **SMALL)
    result = run(manager, request.model_copy(update={"restore_faces": True}), save=False)
    plain = run(manager, request, save=False)
    assert any("is missing" in note for note in result.notes)
    assert "Face restoration" not in parse_infotext(result.images[0].infotext).written
    assert np.array_equal(np.asarray(result.images[0].image), np.asarray(plain.images[0].image))


def test_faces_of_generated_pictures_are_restored(restoring):
    request = Txt2ImgRequest(prompt="x", **SMALL)
    plain = run(restoring, request, save=False).images[0]
    restored = run(restoring, request.model_copy(update={"restore_faces": True}), save=False).images[0]
    assert parse_infotext(restored.infotext).get("Face restoration") == "CodeFormer"
    before, after = (np.asarray(each.image, int) for each in (plain, restored))
    assert np.abs(after[30, 30] - (255 - before[30, 30])).max() <= 3
    assert np.array_equal(after[60:], before[60:])


def test_faces_of_img2img_pictures_are_restored(restoring):
    request = Img2ImgRequest(prompt="x", init_images=[gradient(64, 64)], denoising_strength=0.5, **SMALL)
    plain = run(restoring, request, save=False).images[0]
    restored = run(restoring, request.model_copy(update={"restore_faces": True}), save=False).images[0]
    assert not np.array_equal(np.asarray(plain.image), np.asarray(restored.image))


def test_extras_restores_with_the_visibility_asked_for(restoring):
    image = Image.new("RGB", (64, 64), (200, 200, 200))
    request = ExtrasRequest(images=[image], upscaler_1="None", codeformer_visibility=0.5)
    made = run(restoring, request, save=False).images[0]
    assert np.abs(np.asarray(made.image, int)[30, 30] - 127).max() <= 3
    assert made.infotext == "CodeFormer visibility: 0.5, CodeFormer weight: 0.0"


def test_models_of_a_record_are_found_by_hash_then_by_name(manager):
    infotext = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False).images[0].infotext
    (here,) = manager.models_of(infotext)
    assert here.presence is Presence.HERE
    renamed, changed = (
        infotext.replace(f"Model: {here.name}", "Model: other"),
        infotext.replace(f"Model hash: {here.hash}", "Model hash: 0123456789"),
    )
    assert manager.models_of(renamed)[0].local == here.local
    assert manager.models_of(changed)[0].presence is Presence.SAME_NAME
    more = manager.models_of(f'{infotext}, VAE: gone.pt, Hires upscaler: Lanczos, TI hashes: "mine: 0123456789ab"')
    assert [(model.kind, model.presence) for model in more[1:]] == [
        ("VAE", Presence.MISSING),
        ("Embedding", Presence.MISSING),
        ("Upscaler", Presence.HERE),
    ]
