"""Plots and lists of prompts on toy models: real runs, a failing one among them, and what is left behind."""

import numpy as np

from schema.infotext import parse_infotext
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from tests.tiny.test_generation import SMALL, gradient, pixels, run

NOTHING = ("Nothing", "", [])


def args(x=NOTHING, y=NOTHING, z=NOTHING, *, legend=False, images=False, planes=False):
    return [*x, *y, *z, legend, images, planes]


def test_a_plot_of_three_axes_draws_all_cells_but_the_failing_ones_and_leaves_no_trace(manager):
    plain = Txt2ImgRequest(prompt="a cat", **SMALL)
    before, settings = run(manager, plain, save=False), manager.settings.settings
    request = plain.model_copy(
        update={
            "script_name": "x/y/z plot",
            "script_args": args(
                ("Size", "64x64, 8192x8192, 64x32", None),
                ("Clip skip", "1-2", []),
                ("Checkpoint name", "", ["other", "toy"]),
                images=True,
                planes=True,
            ),
        }
    )
    result = run(manager, request)
    # Two of the three sizes can be made, for two clip skips and two checkpoints.
    assert len([note for note in result.notes if "8192x8192" in note]) == 4
    assert [image.is_grid for image in result.images] == [True] * 3 + [False] * 8
    whole, first, _ = (image.image for image in result.images[:3])
    assert (whole.size, first.size) == ((2 * 3 * 64, 2 * 64), (3 * 64, 2 * 64))
    fields = [parse_infotext(image.infotext).fields for image in result.images[3:]]
    assert [(each["Model"], each["Clip skip"], each["Size-2"]) for each in fields] == [
        (model, skip, size) for model in ("other", "toy") for skip in ("1", "2") for size in ("64", "32")
    ]
    assert len({picture.tobytes() for picture in pixels(result)}) == 8
    assert np.array_equal(np.asarray(first)[:64, :64], pixels(result)[0])
    # Settings, model and picture are as before.
    assert manager.settings.settings == settings
    assert np.array_equal(pixels(run(manager, plain, save=False))[0], pixels(before)[0])


def test_a_saved_sheet_can_be_pasted_back(manager):
    request = Txt2ImgRequest(
        prompt="a cat",
        script_name="X/Y/Z plot",
        script_args=args(("CFG Scale", "3-7 [2]", []), ("Sampler", "", ["Euler", "LMS"]), legend=True),
        **SMALL,
    )
    (sheet,) = run(manager, request).images
    assert sheet.path is not None and sheet.path.stem.startswith("xyz_grid")
    pasted = manager.paste_script(sheet.infotext, "txt2img")
    values = pasted.values
    assert (values["x_type"], values["x_values"], values["y_chosen"]) == ("CFG Scale", "3-7 [2]", ["Euler", "LMS"])
    assert not any("Script" in note or "X Type" in note for note in manager.paste(sheet.infotext, Txt2ImgRequest).notes)


def test_progress_counts_the_runs_of_the_whole_plot(manager):
    job = manager.submit(
        Txt2ImgRequest(script_name="X/Y/Z plot", script_args=args(("CFG Scale", "3, 5, 7", [])), **SMALL), save=False
    )
    assert job.wait(120)
    assert (job.progress().job_no, job.progress().job_count) == (3, 3)


def test_plots_work_on_pictures_too(manager):
    request = Img2ImgRequest(
        init_images=[gradient(64, 64)],
        script_name="X/Y/Z plot",
        script_args=args(("Denoising", "0.3, 0.9", []), images=True),
        **SMALL,
    )
    sheet, *pictures = run(manager, request, save=False).images
    assert sheet.image.size == (128, 64) and len(pictures) == 2
    assert not np.array_equal(*(np.asarray(picture.image) for picture in pictures))


def test_each_line_of_a_list_makes_its_picture(manager):
    text = "a dog\n--prompt a cat --width 32 --cfg_scale 3"
    request = Txt2ImgRequest(
        prompt="photo", script_name="prompts from file or textbox", script_args=[False, False, "start", text], **SMALL
    )
    result = run(manager, request, save=False)
    assert [image.prompt for image in result.images] == ["a dog photo", "a cat photo"]
    assert [image.image.size for image in result.images] == [(64, 64), (32, 64)]
