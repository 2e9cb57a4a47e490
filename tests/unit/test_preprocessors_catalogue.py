"""The list of preprocessors against the extension's."""

import pytest

from preprocessors.base import RESOLUTION, Parameter
from preprocessors.catalogue import ALL_TYPES, CONTROL_TYPES, PREPROCESSORS, default_for, offered_for, preprocessor
from schema.errors import UnknownName
from tools.preprocessor_table import END, PAGE, START, with_tables

# API name, label, sliders as (label, minimum, maximum, default). Source: the extension's own registration, 1.1.455.
EXTENSION = """
none|none|
canny|canny|Low Threshold 1 255 100;High Threshold 1 255 200
invert|invert (from white bg & black line)|
depth|depth_midas|
depth_zoe|depth_zoe|
depth_anything|depth_anything|
depth_anything_v2|depth_anything_v2|
depth_hand_refiner|depth_hand_refiner|
depth_leres|depth_leres|Remove Near % 0 100 0;Remove Background % 0 100 0
depth_leres++|depth_leres++|Remove Near % 0 100 0;Remove Background % 0 100 0
normal_bae|normal_bae|
normal_map|normal_midas|Normal Background Threshold 0 1 0.4
normal_dsine|normal_dsine|Fov 0 360 60;Iterations 1 20 5
openpose_full|openpose_full|
openpose|openpose|
openpose_hand|openpose_hand|
openpose_face|openpose_face|
openpose_faceonly|openpose_faceonly|
dw_openpose_full|dw_openpose_full|
animal_openpose|animal_openpose|
densepose|densepose (pruple bg & purple torso)|
densepose_parula|densepose_parula (black bg & blue torso)|
mlsd|mlsd|MLSD Value Threshold 0.01 2 0.1;MLSD Distance Threshold 0.01 20 0.1
lineart_standard|lineart_standard (from white bg & black line)|
lineart|lineart_realistic|
lineart_coarse|lineart_coarse|
lineart_anime|lineart_anime|
lineart_anime_denoise|lineart_anime_denoise|
pidinet|softedge_pidinet|
pidinet_safe|softedge_pidisafe|
hed|softedge_hed|
hed_safe|softedge_hedsafe|
softedge_teed|softedge_teed|Safe Steps 0 10 2
softedge_anyline|softedge_anyline|Safe Steps 0 10 2
pidinet_scribble|scribble_pidinet|
scribble_hed|scribble_hed|
scribble_xdog|scribble_xdog|XDoG Threshold 1 64 32
oneformer_ade20k|seg_ofade20k|
segmentation|seg_ufade20k|
oneformer_coco|seg_ofcoco|
anime_face_segment|seg_anime_face|
mobile_sam|mobile_sam|
shuffle|shuffle|
tile_resample|tile_resample|Down Sampling Rate 1 8 1
tile_colorfix|tile_colorfix|Variation 3 32 8
tile_colorfix+sharp|tile_colorfix+sharp|Variation 3 32 8;Sharpness 0 2 1
blur_gaussian|blur_gaussian|Sigma 0.01 64 9
inpaint_only|inpaint_only|
inpaint|inpaint_global_harmonious|
inpaint_only+lama|inpaint_only+lama|
reference_only|reference_only|Style Fidelity (only for Balanced mode) 0 1 0.5
reference_adain|reference_adain|Style Fidelity (only for Balanced mode) 0 1 0.5
reference_adain+attn|reference_adain+attn|Style Fidelity (only for Balanced mode) 0 1 0.5
recolor_luminance|recolor_luminance|Gamma Correction 0.1 2 1
recolor_intensity|recolor_intensity|Gamma Correction 0.1 2 1
revision_clipvision|revision_clipvision|Noise Augmentation 0 1 0
revision_ignore_prompt|revision_ignore_prompt|Noise Augmentation 0 1 0
clip_vision|t2ia_style_clipvision|
pidinet_sketch|t2ia_sketch_pidi|
color|t2ia_color_grid|
ip-adapter-auto|ip-adapter-auto|
ip-adapter_clip_sd15|ip-adapter_clip_h|
ip-adapter_clip_sdxl|ip-adapter_clip_g|
ip-adapter_clip_sdxl_plus_vith|ip-adapter_clip_sdxl_plus_vith|
ip-adapter_face_id|ip-adapter_face_id|
ip-adapter_face_id_plus|ip-adapter_face_id_plus|
ip-adapter_pulid|ip-adapter_pulid|
instant_id_face_keypoints|instant_id_face_keypoints|
instant_id_face_embedding|instant_id_face_embedding|
threshold|threshold|Binarization Threshold 0 255 127
mediapipe_face|mediapipe_face|Max Faces 1 10 1;Min Face Confidence 0.01 1 0.5
facexlib|facexlib|
"""
ROWS = [line.split("|") for line in EXTENSION.strip().splitlines()]

DEFAULTS = {
    "All": "none",
    "Canny": "canny",
    "Depth": "depth",
    "IP-Adapter": "ip-adapter-auto",
    "Inpaint": "inpaint_only",
    "InstructP2P": "none",
    "Lineart": "lineart_standard",
    "MLSD": "mlsd",
    "NormalMap": "normal_bae",
    "OpenPose": "openpose_full",
    "Recolor": "recolor_luminance",
    "Reference": "reference_only",
    "Revision": "revision_clipvision",
    "Scribble": "pidinet_scribble",
    "Segmentation": "oneformer_ade20k",
    "Shuffle": "shuffle",
    "SoftEdge": "pidinet",
    "SparseCtrl": "pidinet_scribble",
    "T2I-Adapter": "clip_vision",
    "Tile": "tile_resample",
}


def test_all_of_the_extensions_and_two_of_our_own():
    assert len(ROWS) == 72
    ours = {entry.name for entry in PREPROCESSORS}
    assert ours == {name for name, _, _ in ROWS} | {"depth_mini", "openpose_mini"}


@pytest.mark.parametrize(("name", "label", "sliders"), ROWS, ids=[row[0] for row in ROWS])
def test_label_and_sliders_are_the_extensions(name, label, sliders):
    entry = preprocessor(name)
    assert entry.name == name and entry.label == label and preprocessor(label.upper()) is entry
    found = [f"{s.label} {s.minimum:g} {s.maximum:g} {s.default:g}" for s in entry.sliders]
    assert ";".join(found) == sliders
    assert all(slider.step > 0 for slider in entry.sliders)


def test_names_and_labels_lead_to_one_entry_each():
    names = [name.casefold() for entry in PREPROCESSORS for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownName, match="Closest: 'canny'"):
        preprocessor("cany")


def test_only_the_shipped_ones_are_ours_and_say_so():
    minis = [entry for entry in PREPROCESSORS if entry.is_mini]
    assert [entry.label for entry in minis] == ["OpenPose (shipped, simple figures)", "Depth (shipped, simple scenes)"]


@pytest.mark.parametrize(("control_type", "name"), DEFAULTS.items())
def test_default_of_each_control_type(control_type, name):
    assert default_for(control_type).name == name


def test_twenty_control_types_and_all():
    assert CONTROL_TYPES[0] == ALL_TYPES and len(CONTROL_TYPES) == 21
    assert set(CONTROL_TYPES) == {*DEFAULTS, "Instant-ID"}
    assert {tag for entry in PREPROCESSORS for tag in entry.types} <= set(CONTROL_TYPES)


def test_each_type_offers_none_first_and_its_own():
    assert [entry.name for entry in offered_for("Canny")] == ["none", "canny", "invert"]
    assert offered_for(ALL_TYPES) == PREPROCESSORS
    assert all(offered_for(control_type)[0].name == "none" for control_type in CONTROL_TYPES)


def test_order_is_by_priority_then_label_descending():
    labels = [entry.label for entry in offered_for("Depth")]
    assert labels[:4] == ["none", "depth_midas", "depth_zoe", "depth_leres++"] and labels[-1].startswith("Depth (ship")


def test_values_out_of_bounds_become_defaults():
    """As the extension settles enabled units; -1 is what clients send for "not given"."""
    canny = preprocessor("canny")
    assert canny.settled(resolution=-1, a=-1, b=-1) == (512, 100, 200)
    assert canny.settled(resolution=768, a=0.5, b=255) == (768, 100, 255)
    assert canny.settled(resolution=9999, a=300, b=1) == (512, 100, 1)
    assert preprocessor("inpaint_only").settled(resolution=-1, a=-1, b=-1) == (0.5, 0.5, 0.5)
    assert preprocessor("softedge_anyline").settled() == (1280, 2, 0.5)


def test_a_slider_keeps_what_it_allows():
    slider = Parameter(label="x", minimum=0, maximum=1, default=0.25, step=0.01)
    assert [slider.settled(value) for value in (None, -0.1, 0, 0.6, 1, 1.1)] == [0.25, 0.25, 0, 0.6, 1, 0.25]
    assert (RESOLUTION.minimum, RESOLUTION.maximum, RESOLUTION.default, RESOLUTION.step) == (64, 2048, 512, 8)


def test_flags_that_the_engine_reads():
    def named(condition):
        return {entry.name for entry in PREPROCESSORS if condition(entry)}

    assert named(lambda entry: entry.requires_mask) == {"inpaint", "inpaint_only", "inpaint_only+lama"}
    assert named(lambda entry: entry.soft_weights_in_hires) == {"canny", "mlsd"}
    assert named(lambda entry: entry.model_free) == {
        "reference_only",
        "reference_adain",
        "reference_adain+attn",
        "revision_clipvision",
        "revision_ignore_prompt",
    }
    assert "shuffle" in named(lambda entry: entry.is_seeded)
    without_picture = named(lambda entry: not entry.returns_image)
    assert {"ip-adapter-auto", "clip_vision", "revision_clipvision"} <= without_picture
    assert "instant_id_face_keypoints" not in without_picture


def test_reasons_are_sentences():
    for entry in PREPROCESSORS:
        for text in (entry.unavailable, entry.note):
            assert not text or (text.endswith(".") and len(text) < 200)


def test_files_have_a_place_an_address_and_a_licence():
    files = {file for entry in PREPROCESSORS for file in entry.weights}
    assert len({file.place for file in files}) == len(files)
    for file in files:
        assert file.licence and "/" not in file.folder
        assert file.url.startswith("https://huggingface.co/") == (file.folder != "mini")


def test_the_documented_tables_are_the_catalogues():
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(START) == page.count(END) == 1
    assert page == with_tables(page), "run: python -m tools.preprocessor_table"
