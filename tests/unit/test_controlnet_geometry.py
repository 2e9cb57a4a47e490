"""Sizes, resizing rules and layer weights of control maps."""

import numpy as np
import pytest

from pipelines.adapters.control_files import ControlFileList
from pipelines.adapters.control_weights import layer_weights
from pipelines.checkpoints.model import Family
from pipelines.control.choices import control_types, default_model, guessed_family, models_for
from pipelines.control.geometry import fit_map, pixel_perfect_resolution, resized_map, target_size
from pipelines.control.thinning import thinned
from schema.controlnet import ControlMode, UnitResizeMode
from schema.errors import InvalidRequest, UnknownName

CROP, FILL, STRETCH = UnitResizeMode.INNER_FIT, UnitResizeMode.OUTER_FIT, UnitResizeMode.RESIZE


@pytest.mark.parametrize(
    ("image", "target", "crop", "fill"),
    [((1024, 768), (512, 512), 512, 384), ((720, 1280), (512, 768), 512, 432), ((512, 512), (768, 512), 768, 512)],
)
def test_pixel_perfect_resolution_is_that_of_the_extension(image, target, crop, fill):
    """Image and target are (height, width); the numbers were computed by the extension's own code."""
    arguments = (image[1], image[0], target[1], target[0])
    assert pixel_perfect_resolution(*arguments, CROP) == pixel_perfect_resolution(*arguments, STRETCH) == crop
    assert pixel_perfect_resolution(*arguments, FILL) == fill


def test_target_is_rounded_down_to_multiples_of_eight():
    assert target_size(519, 512) == (512, 512) and target_size(8, 15) == (8, 8)


def test_map_of_the_right_size_is_untouched():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3)).astype(np.uint8)
    assert all(np.array_equal(fit_map(pixels, 48, 32, mode), pixels) for mode in UnitResizeMode)


def test_crop_cuts_the_middle_and_fill_puts_the_picture_into_it():
    pixels = np.full((40, 80, 3), 90, np.uint8)
    pixels[:, :20] = 10
    cropped = fit_map(pixels, 40, 40, CROP)
    assert cropped.shape == (40, 40, 3) and (cropped == 90).all()
    filled = fit_map(pixels, 80, 80, FILL)
    assert (filled[:20] == 90).all() and (filled[60:] == 90).all()
    assert np.array_equal(filled[20:60], pixels)


def test_filled_border_has_the_median_of_the_four_border_lines_and_counts_as_masked():
    pixels = np.zeros((8, 16, 4), np.uint8)
    pixels[..., 1] = 7
    pixels[3:5, 6:9] = 255
    pixels[..., 3] = 0
    filled = fit_map(pixels, 16, 16, FILL)
    assert (filled[:4, :, 1] == 7).all() and (filled[:4, :, 3] == 255).all() and (filled[4:12, :, 3] == 0).all()


def test_labels_keep_their_colours():
    colors = np.array([[0, 0, 0], [10, 200, 30], [250, 20, 90], [80, 80, 80]], np.uint8)
    pixels = colors[np.random.default_rng(1).integers(0, 4, (32, 32))]
    for size in (20, 50):
        made = resized_map(pixels, size, size)
        assert {tuple(color) for color in made.reshape(-1, 3)} <= {tuple(color) for color in colors}


def test_black_and_white_maps_stay_black_and_white():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[10:40, 12:50] = 255
    for size in (40, 100):
        made = resized_map(pixels, size, size)
        assert set(np.unique(made)) == {0, 255}
        assert abs((made > 0).mean() - (pixels > 0).mean()) < 0.03


def test_one_pixel_lines_stay_one_pixel_wide():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[30, 4:60] = pixels[8:56, 20] = 255
    for size in (40, 128):
        lines = resized_map(pixels, size, size)[:, :, 0]
        assert set(np.unique(lines)) == {0, 255}
        column = lines[:, int(size * 0.7)]
        assert (column > 0).sum() == 1


def test_photographs_are_averaged_when_shrunk_and_interpolated_when_grown():
    pixels = np.random.default_rng(2).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    small = resized_map(pixels, 32, 32)
    means = pixels.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 1
    assert resized_map(pixels, 128, 100).shape == (100, 128, 3)


def test_mask_is_binary_after_resizing():
    pixels = np.random.default_rng(3).integers(0, 255, (30, 30, 4)).astype(np.uint8)
    assert set(np.unique(resized_map(pixels, 50, 50)[:, :, 3])) <= {0, 255}


def test_thick_line_is_thinned_to_one_pixel():
    lines = np.zeros((20, 40), np.uint8)
    lines[8:13, 5:35] = 255
    thin = thinned(lines, prune=False)
    assert ((thin > 0).sum(axis=0)[12:28] == 1).all()


def test_soft_weights_are_those_of_the_extension():
    """The thirteen numbers as the extension computes them; SDXL takes the first ten."""
    numbers = (0.09941, 0.1205, 0.14606, 0.17705, 0.2146, 0.26012, 0.3153, 0.38218, 0.46325, 0.56152, 0.68062, 0.825, 1)
    assert layer_weights(ControlMode.PROMPT, 1.0, 13) == pytest.approx(numbers, abs=6e-6)
    assert layer_weights(ControlMode.CONTROL, 1.0, 10) == pytest.approx(numbers[:10], abs=6e-6)
    assert layer_weights(ControlMode.CONTROL, 0.5, 13)[-1] == 0.5
    assert layer_weights(ControlMode.BALANCED, 0.7, 13) == (0.7,) * 13
    assert layer_weights(ControlMode.BALANCED, 1.0, 13, always_soft=True) == layer_weights(ControlMode.PROMPT, 1.0, 13)
    assert layer_weights(ControlMode.PROMPT, 2.0, 4, is_t2i=True) == (0.5, 1.24, 1.65, 2.0)


def test_advanced_weights_replace_all_others_and_must_be_as_many_as_layers():
    assert layer_weights(ControlMode.PROMPT, 0.5, 3, advanced=[1, 2, 3]) == (1, 2, 3)
    with pytest.raises(InvalidRequest, match="3 layers, 2 numbers"):
        layer_weights(ControlMode.PROMPT, 0.5, 3, advanced=[1, 2])


MODELS = [
    "control_sd15_canny [1]",
    "control_v11p_sd15_canny [2]",
    "sdxl_union_promax [3]",
    "ip-adapter-plus_sd15 [4]",
    "t2iadapter_depth_sd14v1 [5]",
    "control_v11p_sd15_seg [6]",
    "bdsqlsz_xl_softedge [7]",
]


def test_control_types_choose_models_by_name_and_family():
    assert models_for("Canny", MODELS) == [*MODELS[:2], MODELS[2]]
    assert models_for("Canny", MODELS, Family.SD1) == MODELS[:2]
    assert models_for("Segmentation", MODELS, Family.SDXL) == [MODELS[2]]
    assert models_for("T2I-Adapter", MODELS) == [MODELS[4]]
    assert default_model(models_for("Canny", MODELS, Family.SD1)) == MODELS[1]
    types = control_types(MODELS, Family.SD1)
    assert types["All"].model_list == ("None", *(name for name in MODELS if "xl" not in name))
    assert types["Canny"].default_option == "canny" and types["Tile"].default_model == "None"
    assert types["SparseCtrl"].problem and not types["Canny"].problem


def test_family_is_guessed_from_names():
    guesses = {"control_sd15_x": Family.SD1, "x-2.1": Family.SD2, "kohya_xl": Family.SDXL, "canny": None}
    assert {name: guessed_family(name) for name in guesses} == guesses


def test_models_are_found_by_name_stem_part_or_hash(tmp_path):
    for name in ("control_canny.safetensors", "sub/control_canny_small.pth", "notes.txt", "annotators/hed.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    # The hash is of 64 KiB at 1 MiB; smaller files all have the same.
    (tmp_path / "control_canny.safetensors").write_bytes(bytes(0x100000) + b"its own")
    folder = tmp_path / "my_depth"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "diffusion_pytorch_model.safetensors").write_bytes(b"y")
    files = ControlFileList([tmp_path])
    assert [name.split(" [")[0] for name in files.names] == ["control_canny", "control_canny_small", "my_depth"]
    full = files.names[0]
    for name in (full, "control_canny", "CONTROL_CANNY", "control_canny [00000000]", "canny", full.split("[")[1][:8]):
        assert files.get(name).stem == "control_canny", name
    assert files.get("None") is None and files.get("my_depth").path == folder
    with pytest.raises(UnknownName, match="ControlNet model 'nope' is not installed"):
        files.get("nope")
