"""Whole jobs on toy models: stages, batches, interruption, output, and what a user is told."""

import threading

import numpy as np
import pytest
from PIL import Image

from pipelines.output.metadata import read_infotext
from schema.errors import CheckpointNotFound, InvalidRequest, UnknownName, WebuiError
from schema.infotext import parse_infotext
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from schema.results import JobState

SMALL = {"width": 64, "height": 64, "steps": 3, "seed": 7, "sampler_name": "Euler a"}


def run(manager, request, **options):
    job = manager.submit(request, **options)
    assert job.wait(120)
    if job.exception:
        raise job.exception
    return job.result


def pixels(result):
    return [np.asarray(image.image) for image in result.images if not image.is_grid]


def gradient(width=96, height=64):
    ramp = np.linspace(0, 255, width, dtype=np.uint8)[None].repeat(height, 0)
    return Image.fromarray(np.stack([ramp, ramp[:, ::-1], np.full_like(ramp, 90)], axis=-1))


def disc(width=96, height=64):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray((((x - width / 2) ** 2 + (y - height / 2) ** 2 < 300) * 255).astype(np.uint8))


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM++ 2M", "DDIM", "Euler"])
def test_a_batch_of_four_equals_four_single_pictures(manager, sampler):
    request = Txt2ImgRequest(
        prompt="a (red:1.3) cat", negative_prompt="blurry", batch_size=4, **SMALL | {"sampler_name": sampler}
    )
    batch = pixels(run(manager, request, save=False))
    singles = [
        pixels(run(manager, request.model_copy(update={"batch_size": 1, "seed": 7 + k}), save=False))[0]
        for k in range(4)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(batch, singles, strict=True))
    assert len({picture.tobytes() for picture in batch}) == 4


def test_batch_count_continues_the_seeds(manager):
    counted = run(manager, Txt2ImgRequest(prompt="x", n_iter=3, **SMALL), save=False)
    batched = run(manager, Txt2ImgRequest(prompt="x", batch_size=3, **SMALL), save=False)
    assert counted.info["all_seeds"] == [7, 8, 9]
    assert all(np.array_equal(a, b) for a, b in zip(pixels(counted), pixels(batched), strict=True))


def test_the_saved_file_reproduces_its_pixels_from_its_infotext(manager):
    first = run(
        manager, Txt2ImgRequest(prompt="a cat, (hat:1.2)", negative_prompt="dog", enable_hr=True, hr_scale=1.5, **SMALL)
    )
    path = first.images[0].path
    infotext, _ = read_infotext(Image.open(path))
    assert infotext == first.images[0].infotext
    pasted = manager.paste(infotext, Txt2ImgRequest)
    again = run(manager, Txt2ImgRequest(**pasted.values, override_settings=pasted.override_settings))
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(again.images[0].path)))
    assert path != again.images[0].path


@pytest.mark.parametrize("upscaler", ["Latent", "Latent (nearest-exact)", "Lanczos", "None"])
def test_hires_gives_the_larger_size_and_its_record(manager, upscaler):
    request = Txt2ImgRequest(
        prompt="x", enable_hr=True, hr_scale=2, hr_upscaler=upscaler, denoising_strength=0.5, **SMALL
    )
    result = run(manager, request, save=False)
    assert result.images[0].image.size == (128, 128)
    fields = parse_infotext(result.images[0].infotext).fields
    assert (fields["Hires upscaler"], fields["Hires upscale"], fields["Denoising strength"]) == (upscaler, "2.0", "0.5")


def test_hires_batch_equals_singles(manager):
    request = Txt2ImgRequest(prompt="x", enable_hr=True, hr_upscaler="Lanczos", batch_size=2, **SMALL)
    batch = pixels(run(manager, request, save=False))
    second = pixels(run(manager, request.model_copy(update={"batch_size": 1, "seed": 8}), save=False))[0]
    assert np.array_equal(batch[1], second)


def test_upscale_this_picture_starts_from_the_given_first_pass(manager):
    request = Txt2ImgRequest(prompt="x", enable_hr=True, hr_upscaler="Lanczos", **SMALL)
    whole = run(manager, request, save=False)
    first = run(manager, request.model_copy(update={"enable_hr": False}), save=False).images[0].image
    later = run(manager, request.model_copy(update={"firstpass_image": first}), save=False)
    assert np.array_equal(pixels(whole)[0], pixels(later)[0])


@pytest.mark.parametrize("only_masked", [False, True])
@pytest.mark.parametrize("checkpoint", ["toy", "paint"])
def test_inpainting_leaves_everything_outside_the_mask_alone(manager, only_masked, checkpoint):
    source = gradient()
    request = Img2ImgRequest(
        prompt="x",
        init_images=[source],
        mask=disc(),
        mask_blur=0,
        inpaint_full_res=only_masked,
        inpaint_full_res_padding=8,
        denoising_strength=1,
        override_settings={"sd_model_checkpoint": checkpoint},
        **SMALL | {"width": 96},
    )
    result = run(manager, request, save=False)
    before, after = np.asarray(source).astype(int), np.asarray(result.images[0].image).astype(int)
    outside = np.asarray(disc()) == 0
    assert np.abs(before - after)[outside].max() == 0
    assert np.abs(before - after)[~outside].mean() > 5
    assert ("Conditional mask weight" in result.images[0].infotext) == (checkpoint == "paint")


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_img2img_makes_the_asked_size_in_every_resize_mode(manager, mode):
    request = Img2ImgRequest(
        prompt="x", init_images=[gradient(100, 60)], resize_mode=mode, denoising_strength=0.4, **SMALL
    )
    assert run(manager, request, save=False).images[0].image.size == (64, 64)


def test_soft_inpainting_changes_the_picture_gradually(manager):
    request = Img2ImgRequest(
        prompt="x", init_images=[gradient()], mask=disc(), soft_inpainting={"enabled": True}, **SMALL | {"width": 96}
    )
    result = run(manager, request, save=False)
    assert "Soft inpainting enabled: True" in result.images[0].infotext
    assert result.images[0].image.size == (96, 64)


def test_weights_and_hires_checkpoints_are_used(manager):
    request = Txt2ImgRequest(prompt="x", enable_hr=True, **SMALL)
    same = run(manager, request, save=False)
    other = run(manager, request.model_copy(update={"hr_checkpoint_name": "other"}), save=False)
    assert not np.array_equal(pixels(same)[0], pixels(other)[0])
    assert "Hires checkpoint: other" in other.images[0].infotext


def test_the_refiner_takes_over_at_its_share(manager):
    plain = run(manager, Txt2ImgRequest(prompt="x", **SMALL | {"steps": 8}), save=False)
    refined = run(
        manager,
        Txt2ImgRequest(prompt="x", refiner_checkpoint="other", refiner_switch_at=0.5, **SMALL | {"steps": 8}),
        save=False,
    )
    assert not np.array_equal(pixels(plain)[0], pixels(refined)[0])
    assert "Refiner: other" in refined.images[0].infotext
    assert "Refiner switch at: 0.5" in refined.images[0].infotext


def test_interrupting_keeps_the_finished_pictures(manager):
    stopped = threading.Event()
    job = manager.submit(Txt2ImgRequest(prompt="x", n_iter=50, **SMALL), save=False)
    seen = 0
    while not job.finished:
        seen = job.wait_change(seen, 5)
        if len(job.progress().images) >= 2 and not stopped.is_set():
            stopped.set()
            job.interrupt()
    assert job.state is JobState.DONE
    assert 2 <= len(job.result.images) < 50
    assert job.result.interrupted
    alone = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    assert np.array_equal(pixels(job.result)[0], pixels(alone)[0])


def test_interrupted_pictures_are_shown_but_not_saved(make_manager):
    manager = make_manager()
    job = manager.submit(Txt2ImgRequest(prompt="x", **SMALL | {"steps": 400}))
    seen = 0
    while job.progress().step < 2:
        seen = job.wait_change(seen, 5)
    job.interrupt()
    assert job.wait(60)
    assert [image.path for image in job.result.images] == [None]


def test_skipping_goes_on_with_the_next_batch(manager):
    job = manager.submit(Txt2ImgRequest(prompt="x", n_iter=2, **SMALL | {"steps": 60}), save=False)
    seen, skipped = 0, False
    while not job.finished:
        seen = job.wait_change(seen, 5)
        if not skipped and job.progress().step >= 2:
            job.skip()
            skipped = True
    assert [image.seed for image in job.result.images if not image.is_grid] == [7, 8]
    whole = run(manager, Txt2ImgRequest(prompt="x", **SMALL | {"steps": 60, "seed": 8}), save=False)
    assert np.array_equal(pixels(job.result)[1], pixels(whole)[0])


def test_two_generates_at_once_are_both_delivered(manager):
    jobs = [manager.submit(Txt2ImgRequest(prompt=text, **SMALL), save=False) for text in ("a", "b")]
    assert all(job.wait(60) for job in jobs)
    assert [len(job.result.images) for job in jobs] == [1, 1]


def test_the_file_name_and_folder_are_as_in_a1111(make_manager):
    manager = make_manager()
    result = run(manager, Txt2ImgRequest(prompt="x", batch_size=2, **SMALL))
    names = [image.path.name for image in result.images if not image.is_grid]
    assert names == ["00000-7.png", "00001-8.png"]
    folder = result.images[-1].path.parent
    assert folder.parent == manager.paths.outputs / "txt2img-images"
    assert result.images[0].is_grid and result.info["index_of_first_image"] == 1
    assert result.images[0].path.name == "grid-0000.png"


def test_a_folder_that_cannot_be_written_keeps_the_picture(make_manager):
    manager = make_manager()
    manager.paths.outputs.mkdir(parents=True)
    (manager.paths.outputs / "txt2img-images").write_text("a file where the folder should be")
    result = run(manager, Txt2ImgRequest(prompt="x", **SMALL))
    assert result.images[0].path is None
    assert "could not be saved" in result.notes[0]
    assert "gallery" in result.notes[0]


def test_styles_and_comments_are_applied(make_manager):
    manager = make_manager()
    manager.paths.styles_file.write_text("name,prompt,negative_prompt\nInk,{prompt} in ink,colour\n", encoding="utf-8")
    manager.refresh("styles")
    result = run(manager, Txt2ImgRequest(prompt="a cat # not a dog", styles=["Ink"], **SMALL), save=False)
    assert result.images[0].prompt == "a cat \n"
    assert result.images[0].negative_prompt == "colour"


def test_overrides_count_for_one_job_only(manager):
    plain = run(manager, Txt2ImgRequest(prompt="a cat", **SMALL), save=False)
    skipped = run(
        manager, Txt2ImgRequest(prompt="a cat", override_settings={"CLIP_stop_at_last_layers": 2}, **SMALL), save=False
    )
    after = run(manager, Txt2ImgRequest(prompt="a cat", **SMALL), save=False)
    assert "Clip skip: 2" in skipped.images[0].infotext
    assert not np.array_equal(pixels(plain)[0], pixels(skipped)[0])
    assert np.array_equal(pixels(plain)[0], pixels(after)[0])


def test_tiling_wraps_round(manager):
    plain = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    tiled = run(manager, Txt2ImgRequest(prompt="x", tiling=True, **SMALL), save=False)
    assert not np.array_equal(pixels(plain)[0], pixels(tiled)[0])
    assert "Tiling: True" in tiled.images[0].infotext
    again = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    assert np.array_equal(pixels(plain)[0], pixels(again)[0])


def test_token_merging_changes_the_picture_and_leaves_the_model_alone(manager):
    plain = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    merged = run(
        manager, Txt2ImgRequest(prompt="x", override_settings={"token_merging_ratio": 0.5}, **SMALL), save=False
    )
    assert "Token merging ratio: 0.5" in merged.images[0].infotext
    assert not np.array_equal(pixels(plain)[0], pixels(merged)[0])
    again = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    assert np.array_equal(pixels(plain)[0], pixels(again)[0])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sampler_name": "Eulr a"}, InvalidRequest, "Eulr a"),
        ({"enable_hr": True, "hr_upscaler": "Nope"}, UnknownName, "Nope"),
        ({"enable_hr": True, "hr_checkpoint_name": "gone"}, CheckpointNotFound, "gone"),
        ({"width": 8192, "height": 8192}, InvalidRequest, "megapixels"),
        ({"script_name": "nope"}, InvalidRequest, "nope"),
    ],
)
def test_a_request_that_cannot_work_is_refused_at_once(manager, change, error, words):
    with pytest.raises(error, match=words):
        manager.submit(Txt2ImgRequest(prompt="x", **SMALL | change))


def test_a_lora_or_broken_file_never_takes_the_model_in_use_away(make_manager, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": 1')
    manager = make_manager("--ckpt-dir", str(tmp_path))
    before = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    assert [name for name, _ in manager.problem_files()] == ["broken.safetensors"]
    with pytest.raises(WebuiError, match=r"broken\.safetensors"):
        manager.load_checkpoint("broken.safetensors")
    after = run(manager, Txt2ImgRequest(prompt="x", **SMALL), save=False)
    assert np.array_equal(pixels(before)[0], pixels(after)[0])


def test_a_missing_lora_is_told_and_the_job_goes_on(manager):
    result = run(manager, Txt2ImgRequest(prompt="x <lora:gone:1>", **SMALL), save=False)
    assert result.notes == ("Networks not found: gone",)
    assert len(result.images) == 1
