"""The ControlNet extension's requests: its routes, every form of a unit, and wrong ones."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from tests.tiny.builders import tiny_model
from tests.tiny.control_builders import tiny_controlnet

SMALL = {"prompt": "a cat", "seed": 5, "steps": 2, "width": 64, "height": 64, "sampler_name": "Euler"}


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def drawing(size=(64, 64)):
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = (220, 80, 40)
    return Image.fromarray(pixels)


def half_mask(size=(64, 64)):
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0], size[1] // 2))
    return mask


PICTURE, MASK = encoded(drawing()), encoded(half_mask())
DATA_URL = f"data:image/png;base64,{PICTURE}"
UNIT = {"module": "canny", "model": "toy_canny", "image": PICTURE, "processor_res": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    tiny_controlnet(tiny_model()).save_pretrained(folder / "toy_canny")
    return folder


@pytest.fixture(scope="module")
def client(make_client, make_manager, folder):
    return make_client(make_manager("--controlnet-dir", str(folder), "--offline"))


@pytest.fixture(scope="module")
def plain(client):
    return generate(client, [])["images"][0]


def generate(client, args, *, title="ControlNet", route="txt2img", status=200, **values):
    body = SMALL | values | {"alwayson_scripts": {title: {"args": args}}}
    answer = client.post(f"/sdapi/v1/{route}", json=body)
    assert answer.status_code == status, answer.text[:500]
    return answer.json()


def infotext(answer):
    return json.loads(answer["info"])["infotexts"][0]


ACCEPTED = {
    "plain": [UNIT],
    "enabled in words": [UNIT | {"enabled": True}],
    "enabled as null": [UNIT | {"enabled": None}],
    "data url": [UNIT | {"image": DATA_URL}],
    "input_image": [{key: value for key, value in UNIT.items() if key != "image"} | {"input_image": PICTURE}],
    "image and mask in one object": [UNIT | {"image": {"image": PICTURE, "mask": MASK}}],
    "image object without mask": [UNIT | {"image": {"image": PICTURE, "mask": None}}],
    "image object with an empty mask": [UNIT | {"image": {"image": PICTURE, "mask": ""}}],
    "image and mask in a list": [UNIT | {"image": [PICTURE, MASK]}],
    "a list of one object": [UNIT | {"image": [{"image": PICTURE}]}],
    "several inputs": [UNIT | {"image": [{"image": PICTURE}, {"image": PICTURE, "mask": MASK}]}],
    "mask": [UNIT | {"mask": MASK}],
    "mask_image": [UNIT | {"mask_image": MASK}],
    "inpaint": [UNIT | {"module": "inpaint_only", "mask": MASK}],
    "lowvram": [UNIT | {"lowvram": True}],
    "low_vram": [UNIT | {"low_vram": True}],
    "guidance": [UNIT | {"guidance": 0.5}],
    "window": [UNIT | {"guidance_start": 0.0, "guidance_end": 0.4}],
    "resize mode 0": [UNIT | {"resize_mode": 0}],
    "resize mode 1": [UNIT | {"resize_mode": 1}],
    "resize mode 2": [UNIT | {"resize_mode": 2}],
    "resize mode 3": [UNIT | {"resize_mode": 3}],
    "resize mode in words": [UNIT | {"resize_mode": "Resize and Fill"}],
    "resize mode in lower case": [UNIT | {"resize_mode": "just resize"}],
    "inner fit": [UNIT | {"resize_mode": "Inner Fit (Scale to Fit)"}],
    "scale to fit": [UNIT | {"resize_mode": "Scale to Fit (Inner Fit)"}],
    "outer fit": [UNIT | {"resize_mode": "Outer Fit (Shrink to Fit)"}],
    "envelope": [UNIT | {"resize_mode": "Envelope (Outer Fit)"}],
    "resize mode by member name": [UNIT | {"resize_mode": "ResizeMode.OUTER_FIT"}],
    "control mode 0": [UNIT | {"control_mode": 0}],
    "control mode 1": [UNIT | {"control_mode": 1}],
    "control mode 2": [UNIT | {"control_mode": 2}],
    "control mode in words": [UNIT | {"control_mode": "ControlNet is more important"}],
    "control mode by member name": [UNIT | {"control_mode": "ControlMode.PROMPT"}],
    "hires option": [UNIT | {"hr_option": "Low res only"}],
    "hires option 2": [UNIT | {"hr_option": 2}],
    "pixel perfect": [UNIT | {"pixel_perfect": True}],
    "sliders out of bounds": [UNIT | {"processor_res": 5, "threshold_a": -100, "threshold_b": 9999}],
    "label of a module": [UNIT | {"module": "invert (from white bg & black line)"}],
    "module in capitals": [UNIT | {"module": "CANNY"}],
    "no module": [UNIT | {"module": None}],
    "empty module": [UNIT | {"module": ""}],
    "model in capitals": [UNIT | {"model": "TOY_CANNY"}],
    "model with another hash": [UNIT | {"model": "toy_canny [00000000]"}],
    "part of a model's name": [UNIT | {"model": "canny"}],
    "weight 0": [UNIT | {"weight": 0}],
    "weight 2": [UNIT | {"weight": 2.0}],
    "advanced weighting": [UNIT | {"advanced_weighting": [0.5] * 5}],
    "region": [UNIT | {"effective_region_mask": MASK}],
    "empty region": [UNIT | {"effective_region_mask": ""}],
    "union type": [UNIT | {"union_control_type": "Hard Edge"}],
    "pulid mode": [UNIT | {"pulid_mode": "Fidelity"}],
    "null for everything": [UNIT | dict.fromkeys(("weight", "resize_mode", "mask", "advanced_weighting", "guidance"))],
    "unknown keys": [UNIT | {"is_ui": True, "animatediff_batch": False, "invert_image": False}],
    "reference without a model": [{"module": "reference_only", "image": PICTURE}],
    "two units": [UNIT, UNIT | {"weight": 0.3}],
    "five units": [UNIT] * 5,
    "null among units": [None, UNIT],
    "a disabled unit with nonsense in it": [{"enabled": False, "module": "nope", "model": "nope"}],
    "an empty unit": [{}],
    "no units": [],
    "a list of values": [[True, "canny", "toy_canny", 1.0, PICTURE, "Just Resize", False, 64]],
    "values one after the other": [True, "canny", "toy_canny", 1.0, PICTURE, 0, False, 64, 100, 200, 0, 1, False, 0],
    "two flags in front": [False, False, UNIT],
    "one object for all": UNIT,
}


@pytest.mark.parametrize("form", ACCEPTED)
def test_unit_is_understood(client, plain, form):
    answer = generate(client, ACCEPTED[form])
    assert "error" not in answer
    silent = form in ("weight 0", "a disabled unit with nonsense in it", "an empty unit", "no units")
    assert (np.asarray(decoded(answer["images"][0])) == np.asarray(decoded(plain))).all() == silent, form


REFUSED = {
    "weight": (UNIT | {"weight": 3}, "weight"),
    "negative weight": (UNIT | {"weight": -0.1}, "weight"),
    "weight in words": (UNIT | {"weight": "much"}, "weight"),
    "start": (UNIT | {"guidance_start": 1.5}, "guidance_start"),
    "end": (UNIT | {"guidance_end": -0.5}, "guidance_end"),
    "start after end": (UNIT | {"guidance_start": 0.9, "guidance_end": 0.1}, "guidance_end"),
    "resize mode": (UNIT | {"resize_mode": "stretch"}, "resize_mode"),
    "resize mode number": (UNIT | {"resize_mode": 7}, "resize_mode"),
    "control mode": (UNIT | {"control_mode": "both"}, "control_mode"),
    "control mode flag": (UNIT | {"control_mode": True}, "control_mode"),
    "hires option": (UNIT | {"hr_option": "never"}, "hr_option"),
    "union type": (UNIT | {"union_control_type": "Cats"}, "union_control_type"),
    "module": (UNIT | {"module": "cany"}, "module"),
    "module number": (UNIT | {"module": 4}, "module"),
    "model": (UNIT | {"model": "nope"}, "model"),
    "no model": (UNIT | {"model": "None"}, "model"),
    "unavailable module": (UNIT | {"module": "densepose"}, "module"),
    "image that is a path": (UNIT | {"image": "/etc/passwd"}, "image"),
    "image that is a file address": (UNIT | {"image": "file:///etc/passwd"}, "image"),
    "image that is no picture": (UNIT | {"image": base64.b64encode(b"nothing").decode()}, "image"),
    "image that is a number": (UNIT | {"image": 5}, "image"),
    "image list of three": (UNIT | {"image": [PICTURE, MASK, MASK]}, "image"),
    "mask of another size": (UNIT | {"mask": encoded(half_mask((32, 32)))}, "mask"),
    "two masks": (UNIT | {"mask": MASK, "mask_image": MASK}, "mask"),
    "mask inside and outside": (UNIT | {"image": {"image": PICTURE, "mask": MASK}, "mask": MASK}, "mask"),
    "advanced weighting": (UNIT | {"advanced_weighting": [1, 2]}, "advanced_weighting"),
    "advanced weighting in words": (UNIT | {"advanced_weighting": ["a"]}, "advanced_weighting"),
    "processor_res": (UNIT | {"processor_res": "big"}, "processor_res"),
    "threshold": (UNIT | {"threshold_a": "low"}, "threshold_a"),
    "enabled": (UNIT | {"enabled": "perhaps"}, "enabled"),
    "output folder": (UNIT | {"output_dir": "../../etc"}, "output_dir"),
    "no image": ({"module": "canny", "model": "toy_canny"}, "image"),
    "text for a unit": ("canny", "args.0"),
    "number for a unit": (5, "args.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_unit_is_refused_with_the_field_named(client, case):
    unit, field = REFUSED[case]
    answer = generate(client, [unit], status=422)
    assert field in json.dumps(answer), answer


def test_refused_unit_changes_nothing_for_the_next_request(client, plain):
    generate(client, [UNIT | {"weight": 3}], status=422)
    assert generate(client, [])["images"][0] == plain


def test_title_of_the_script_is_matched_in_any_case(client):
    first = generate(client, [UNIT])["images"]
    assert generate(client, [UNIT], title="controlnet")["images"] == first
    assert generate(client, [UNIT], title="CONTROLNET")["images"] == first


def test_answer_has_one_map_per_unit_after_the_pictures(client):
    answer = generate(client, [UNIT, UNIT], batch_size=2)
    grid = json.loads(answer["info"])["index_of_first_image"]
    assert len(answer["images"]) == grid + 2 + 2
    assert generate(client, [UNIT | {"save_detected_map": False}])["images"][1:] == []


def test_record_numbers_enabled_units(client):
    text = infotext(generate(client, [{"enabled": False}, UNIT]))
    assert 'ControlNet 0: "Module: canny, Model: toy_canny [' in text and "ControlNet 1" not in text


def test_img2img_takes_its_own_picture(client):
    unit = {key: value for key, value in UNIT.items() if key != "image"}
    answer = generate(client, [unit], route="img2img", init_images=[PICTURE])
    assert len(answer["images"]) == 2


def test_infotext_of_a_request_brings_its_units(client):
    answer = generate(client, [UNIT])
    body = {"infotext": infotext(answer), "init_images": [PICTURE], "width": 64, "height": 64, "steps": 2}
    again = client.post("/sdapi/v1/img2img", json=body).json()
    assert "ControlNet 0" in infotext(again)


def test_scripts_list_names_it(client):
    lists = client.get("/sdapi/v1/scripts").json()
    assert "controlnet" in lists["txt2img"] and "controlnet" in lists["img2img"]


# ---- /controlnet ----


def test_version_and_settings(client):
    assert client.get("/controlnet/version").json() == {"version": 3}
    assert client.get("/controlnet/settings").json() == {"control_net_unit_count": 3}


def test_model_list_has_names_with_hashes_and_finds_new_files(client, folder):
    (name,) = [name for name in client.get("/controlnet/model_list").json()["model_list"] if "toy" in name]
    assert name.startswith("toy_canny [") and len(name) == len("toy_canny [00000000]")
    tiny_controlnet(tiny_model()).save_pretrained(folder / "toy_depth")
    old = client.get("/controlnet/model_list?update=false").json()["model_list"]
    new = client.get("/controlnet/model_list?update=true").json()["model_list"]
    assert not any("toy_depth" in name for name in old) and any("toy_depth" in name for name in new)


def test_module_list_has_details_of_every_module(client):
    answer = client.get("/controlnet/module_list").json()
    assert list(answer["module_detail"]) == answer["module_list"]
    canny = answer["module_detail"]["canny"]
    assert canny["model_free"] is False
    assert [slider["name"] for slider in canny["sliders"]][1:] == ["Low Threshold", "High Threshold"]
    assert canny["sliders"][1] | {"step": 1} == {"name": "Low Threshold", "value": 100, "min": 1, "max": 255, "step": 1}
    assert answer["module_detail"]["none"]["sliders"] == []
    assert answer["module_detail"]["reference_only"]["model_free"] is True
    aliases = client.get("/controlnet/module_list?alias_names=true").json()["module_list"]
    assert "invert (from white bg & black line)" in aliases and len(aliases) == len(answer["module_list"])


def test_control_types_offer_modules_and_models(client):
    types = client.get("/controlnet/control_types").json()["control_types"]
    assert list(types)[0] == "All" and len(types) == 21
    assert types["Canny"]["default_option"] == "canny" and types["Canny"]["default_model"].startswith("toy_canny [")
    assert types["Canny"]["module_list"][0] == "none" and types["Canny"]["model_list"][0] == "None"
    assert types["Tile"]["model_list"] == ["None"]
    assert all(
        sorted(entry) == ["default_model", "default_option", "model_list", "module_list"] for entry in types.values()
    )


def test_detect_answers_with_maps_at_the_preprocessors_size(client):
    body = {
        "controlnet_module": "canny",
        "controlnet_input_images": [PICTURE, PICTURE],
        "controlnet_processor_res": 128,
    }
    answer = client.post("/controlnet/detect", json=body).json()
    assert sorted(answer) == ["images", "info"] and answer["info"] == "Success"
    assert [decoded(image).size for image in answer["images"]] == [(128, 128)] * 2


def test_detect_uses_a_mask_where_one_is_needed(client):
    body = {"controlnet_module": "inpaint", "controlnet_input_images": [PICTURE], "controlnet_masks": [MASK]}
    assert len(client.post("/controlnet/detect", json=body).json()["images"]) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"controlnet_module": "nope", "controlnet_input_images": [PICTURE]}, "Module not available"),
        ({"controlnet_module": "clip_vision", "controlnet_input_images": [PICTURE]}, "Module not supported"),
        ({"controlnet_module": "revision_clipvision", "controlnet_input_images": [PICTURE]}, "Module not supported"),
        ({"controlnet_module": "ip-adapter-auto", "controlnet_input_images": [PICTURE]}, "Module not supported"),
        ({"controlnet_module": "canny"}, "No image selected"),
        ({"controlnet_module": "inpaint", "controlnet_input_images": [PICTURE]}, "requires `controlnet_masks` param"),
        ({"controlnet_module": "canny", "controlnet_input_images": ["/etc/passwd"]}, "picture"),
        ({"controlnet_module": "canny", "controlnet_input_images": "x"}, "controlnet_input_images"),
        ({"controlnet_module": "densepose", "controlnet_input_images": [PICTURE]}, "cannot run here"),
        ({"controlnet_module": "depth", "controlnet_input_images": [PICTURE]}, "Weights are missing"),
    ],
)
def test_detect_refuses(client, body, words):
    answer = client.post("/controlnet/detect", json=body)
    assert answer.status_code == 422 and words in answer.text


def test_poses_are_drawn_from_json(client):
    points = [value for x in range(18) for value in (10 + 2 * x, 10 + 3 * x, 1)]
    pose = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 64, "canvas_height": 96}
    answer = client.post("/controlnet/render_openpose_json", json=[pose, pose]).json()
    assert answer["info"] == "Success" and len(answer["images"]) == 2
    assert decoded(answer["images"][0]).size == (64, 96)
    assert np.asarray(decoded(answer["images"][0])).max() > 100


def test_no_poses_and_wrong_poses_are_told(client):
    assert client.post("/controlnet/render_openpose_json", json=[]).json() == {"info": "No pose data detected."}
    for wrong in ([5], ["{"], [{"people": 3}], {"people": []}):
        answer = client.post("/controlnet/render_openpose_json", json=wrong)
        assert answer.status_code == 422, wrong
