"""The REST routes: A1111's request and response shapes, its defaults, and the errors of bad requests."""

import base64
import io
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SMALL = {"prompt": "a cat", "seed": 5, "steps": 2, "width": 64, "height": 64}
GOLDENS = Path(__file__).parents[1] / "data" / "api"


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def picture(size=(64, 48), color=(200, 30, 60)):
    return Image.new("RGB", size, color)


def post(client, path, body):
    return client.post(f"/sdapi/v1/{path}", json=body)


def test_txt2img_answers_with_pictures_parameters_and_info(client):
    answer = post(client, "txt2img", SMALL).json()
    assert sorted(answer) == ["images", "info", "parameters"]
    image, info = decoded(answer["images"][0]), json.loads(answer["info"])
    assert image.size == (64, 64)
    assert image.info["parameters"] == info["infotexts"][0]
    assert info["all_seeds"] == [5]
    assert answer["parameters"]["steps"] == 2


def test_info_has_every_key_of_a1111(client):
    recorded = json.loads((GOLDENS / "txt2img_info.json").read_text())
    info = json.loads(post(client, "txt2img", SMALL).json()["info"])
    assert list(info) == list(recorded)
    for key, value in recorded.items():
        if value is not None and info[key] is not None:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            assert isinstance(info[key], int | float if number else type(value)), key


def test_parameters_echo_every_key_of_a1111(client):
    recorded = json.loads((GOLDENS / "txt2img_parameters.json").read_text())
    echo = post(client, "txt2img", SMALL).json()["parameters"]
    assert set(recorded) <= set(echo)


def test_api_defaults_differ_from_the_page_as_in_a1111(client):
    properties = client.get("/openapi.json").json()["components"]["schemas"]
    txt2img, img2img = properties["Txt2ImgBody"]["properties"], properties["Img2ImgBody"]["properties"]
    assert [txt2img[name]["default"] for name in ("steps", "sampler_index", "denoising_strength", "cfg_scale")] == [
        50,
        "Euler",
        0.75,
        7.0,
    ]
    assert [
        img2img[name]["default"] for name in ("inpainting_fill", "inpaint_full_res", "inpaint_full_res_padding")
    ] == [
        0,
        True,
        0,
    ]


def test_null_means_the_default_for_every_field(client):
    names = client.get("/openapi.json").json()["components"]["schemas"]["Txt2ImgBody"]["properties"]
    answer = post(
        client,
        "txt2img",
        dict.fromkeys(names) | SMALL | {"send_images": True, "save_images": False, "include_init_images": False},
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 1


def test_numbers_are_taken_in_either_form(client):
    answer = post(client, "txt2img", SMALL | {"steps": 2.0, "hr_second_pass_steps": 0.0, "cfg_scale": 7, "seed": "5"})
    assert answer.status_code == 200, answer.text


def test_unknown_keys_are_accepted_and_named(client):
    info = json.loads(post(client, "txt2img", SMALL | {"nosuchfield": 1}).json()["info"])
    assert info["warnings"] == ["Unknown key 'nosuchfield' was not used."]


def test_an_unknown_sampler_is_replaced_as_in_a1111_and_named(client):
    info = json.loads(post(client, "txt2img", SMALL | {"sampler_name": "Eulr a"}).json()["info"])
    assert info["sampler_name"] == "DPM++ 2M"
    assert "Eulr a" in info["warnings"][0]


def test_old_combined_names_and_the_sampler_index_are_understood(client):
    info = json.loads(post(client, "txt2img", SMALL | {"sampler_name": "DPM++ 2M Karras"}).json()["info"])
    assert "Sampler: DPM++ 2M, Schedule type: Karras" in info["infotexts"][0]
    info = json.loads(post(client, "txt2img", SMALL | {"sampler_index": "Heun"}).json()["info"])
    assert info["sampler_name"] == "Heun"


def test_override_of_an_unknown_checkpoint_is_dropped_and_named(client):
    info = json.loads(
        post(client, "txt2img", SMALL | {"override_settings": {"sd_model_checkpoint": "nope"}}).json()["info"]
    )
    assert info["sd_model_name"] == "toy"
    assert "nope" in info["warnings"][0]


def test_infotext_fills_the_fields_that_were_not_sent(client):
    text = "a dog\nNegative prompt: ugly\nSteps: 3, Sampler: Euler a, CFG scale: 5, Seed: 77, Size: 64x96, Clip skip: 2"
    info = json.loads(post(client, "txt2img", {"infotext": text, "steps": 2}).json()["info"])
    assert info["infotexts"][0].startswith("a dog\nNegative prompt: ugly\nSteps: 2, Sampler: Euler a")
    assert (info["seed"], info["width"], info["height"], info["clip_skip"]) == (77, 64, 96, 2)


def test_img2img_takes_base64_and_data_urls_and_hides_what_was_sent(client):
    for source in (encoded(picture()), "data:image/png;base64," + encoded(picture())):
        answer = post(client, "img2img", SMALL | {"init_images": [source]}).json()
        assert decoded(answer["images"][0]).size == (64, 64)
        assert answer["parameters"]["init_images"] is None


def test_soft_inpainting_comes_as_an_always_on_script(client):
    mask = Image.new("L", (64, 48))
    mask.paste(255, (20, 10, 44, 30))
    script = {"soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}
    body = SMALL | {"init_images": [encoded(picture())], "mask": encoded(mask), "alwayson_scripts": script}
    info = json.loads(post(client, "img2img", body).json()["info"])
    assert "Soft inpainting enabled: True" in info["infotexts"][0]


def test_png_info_reads_back_what_txt2img_wrote(client):
    image = post(client, "txt2img", SMALL).json()["images"][0]
    answer = post(client, "png-info", {"image": image}).json()
    assert answer["parameters"]["Prompt"] == "a cat"
    assert answer["parameters"]["Size-1"] == "64"
    assert answer["info"].startswith("a cat\nSteps: 2")


def test_extras_answer_with_the_record_of_what_was_done(client):
    body = {"imageList": [{"data": encoded(picture()), "name": "a.png"}] * 2, "upscaler_1": "Nearest"}
    answer = post(client, "extra-batch-images", body).json()
    record = "Postprocess upscale by: 2.0, Postprocess upscaler: Nearest"
    assert answer["html_info"] == f"<p>{record}</p>"
    images = [decoded(image) for image in answer["images"]]
    assert [(image.size, image.info["postprocessing"]) for image in images] == [((128, 96), record)] * 2


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("txt2img", SMALL | {"steps": "many"}, 422, "steps"),
        ("txt2img", SMALL | {"steps": 0}, 422, "greater than or equal to 1"),
        ("txt2img", SMALL | {"steps": 10_000}, 422, "less than or equal to 1000"),
        ("txt2img", SMALL | {"width": 7, "height": 7}, 422, "greater than or equal to 8"),
        ("txt2img", SMALL | {"width": 20_000}, 422, "less than or equal to 8192"),
        ("txt2img", SMALL | {"batch_size": 0}, 422, "greater than or equal to 1"),
        ("txt2img", SMALL | {"enable_hr": True, "hr_upscaler": "nope"}, 422, "nope"),
        ("txt2img", SMALL | {"script_name": "nope"}, 422, "nope"),
        ("txt2img", SMALL | {"alwayson_scripts": {"nope": {"args": []}}}, 422, "Script 'nope' not found"),
        ("txt2img", SMALL | {"alwayson_scripts": {"prompt matrix": {}}}, 422, "selectable"),
        ("img2img", SMALL, 404, "Init image not found"),
        ("img2img", SMALL | {"init_images": ["zzzz"]}, 422, "picture"),
        ("img2img", SMALL | {"init_images": ["http://127.0.0.1/x.png"]}, 422, "picture"),
        ("img2img", SMALL | {"init_images": ["/etc/passwd"]}, 422, "picture"),
        ("img2img", SMALL | {"init_images": [encoded(picture()), encoded(picture())]}, 422, "batch size"),
        ("extra-single-image", {"image": encoded(picture()), "upscaler_1": "nope"}, 422, "nope"),
        ("extra-single-image", {"image": encoded(picture()), "upscaling_resize": 0}, 422, "upscaling_resize"),
        ("png-info", {"image": "zzzz"}, 422, "picture"),
        ("options", {"CLIP_stop_at_last_layers": "abc"}, 422, "CLIP_stop_at_last_layers"),
        ("options", {"sd_model_checkpoint": "nope"}, 404, "nope"),
    ],
)
def test_a_bad_request_gets_a_clear_answer(client, path, body, status, words):
    answer = post(client, path, body)
    assert (answer.status_code, words in answer.text) == (status, True), answer.text


def test_not_a_number_is_refused(client):
    answer = client.post(
        "/sdapi/v1/txt2img",
        content=json.dumps(SMALL)[:-1] + ', "cfg_scale": NaN}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 422
    assert "cfg_scale" in answer.text


def test_progress_when_idle_is_a1111s(client):
    recorded = json.loads((GOLDENS / "progress.json").read_text())
    assert client.get("/sdapi/v1/progress").json() == recorded


def test_progress_interrupt_and_skip_while_running(client):
    answers = []
    body = SMALL | {"steps": 900, "force_task_id": "task(mine)"}
    thread = threading.Thread(target=lambda: answers.append(post(client, "txt2img", body)))
    thread.start()
    seen = {}
    while not seen.get("state", {}).get("sampling_step"):
        seen = client.get("/sdapi/v1/progress").json()
        time.sleep(0.01)
    assert 0 < seen["progress"] < 1
    assert seen["state"]["sampling_steps"] == 900
    assert client.post("/internal/progress", json={"id_task": "task(mine)"}).json()["active"]
    assert client.get("/sdapi/v1/progress?task_id=task(mine)").json()["state"]["job"] == "task(mine)"
    assert client.post("/sdapi/v1/interrupt").json() == {}
    thread.join(60)
    assert answers[0].status_code == 200
    assert len(answers[0].json()["images"]) == 1
    assert client.post("/internal/progress", json={"id_task": "task(mine)"}).json()["completed"]


def test_options_are_a_flat_map_that_can_be_sent_back_whole(make_manager, make_client):
    client = make_client(make_manager())
    options = client.get("/sdapi/v1/options").json()
    assert options["sd_model_checkpoint"].startswith("toy")
    assert {"sd_vae", "CLIP_stop_at_last_layers", "samples_format"} <= set(options)
    assert client.post("/sdapi/v1/options", json=options).json() is None
    assert (
        client.post("/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 2, "no_such_option": 1}).status_code == 200
    )
    assert client.get("/sdapi/v1/options").json()["CLIP_stop_at_last_layers"] == 2


def test_restricted_options_cannot_be_written(make_manager, make_client, tmp_path):
    client = make_client(make_manager())
    before = client.get("/sdapi/v1/options").json()["outdir_txt2img_samples"]
    client.post("/sdapi/v1/options", json={"outdir_txt2img_samples": str(tmp_path)})
    assert client.get("/sdapi/v1/options").json()["outdir_txt2img_samples"] == before
    info = json.loads(
        post(
            client,
            "txt2img",
            SMALL | {"save_images": True, "override_settings": {"outdir_txt2img_samples": str(tmp_path)}},
        ).json()["info"]
    )
    assert "outdir_txt2img_samples" in info["warnings"][0]
    assert not list(tmp_path.iterdir())


def test_choosing_a_checkpoint_loads_it_before_the_answer(make_manager, make_client):
    client = make_client(make_manager())
    assert post(client, "options", {"sd_model_checkpoint": "other"}).status_code == 200
    info = json.loads(post(client, "txt2img", SMALL).json()["info"])
    assert info["sd_model_name"] == "other"


@pytest.mark.parametrize(
    "route",
    [
        "samplers",
        "schedulers",
        "sd-models",
        "sd-vae",
        "upscalers",
        "latent-upscale-modes",
        "prompt-styles",
        "loras",
        "embeddings",
        "hypernetworks",
        "face-restorers",
        "realesrgan-models",
        "extensions",
        "scripts",
        "script-info",
        "memory",
        "cmd-flags",
    ],
)
def test_every_listing_answers(client, route):
    answer = client.get(f"/sdapi/v1/{route}")
    assert answer.status_code == 200
    assert isinstance(answer.json(), list | dict)


def test_samplers_and_schedulers_are_a1111s_in_order(client):
    for route in ("samplers", "schedulers"):
        recorded = json.loads((GOLDENS / f"{route}.json").read_text())
        ours = client.get(f"/sdapi/v1/{route}").json()
        names = [entry["name"] for entry in recorded]
        assert [entry["name"] for entry in ours] == names
    assert [entry["aliases"] for entry in client.get("/sdapi/v1/samplers").json()] == [
        entry["aliases"] for entry in json.loads((GOLDENS / "samplers.json").read_text())
    ]


def test_cmd_flags_hold_no_credentials(make_manager, make_client):
    client = make_client(make_manager("--gradio-auth", "me:secret", "--api-auth", "you:hidden"))
    text = client.get("/sdapi/v1/cmd-flags").text
    assert "secret" not in text and "hidden" not in text


def test_an_unloaded_checkpoint_comes_back_by_itself(client):
    assert client.post("/sdapi/v1/unload-checkpoint").json() == {}
    first = post(client, "txt2img", SMALL).json()["images"][0]
    assert client.post("/sdapi/v1/reload-checkpoint").json() == {}
    second = post(client, "txt2img", SMALL).json()["images"][0]
    assert np.array_equal(np.asarray(decoded(first)), np.asarray(decoded(second)))


def test_unknown_routes_are_404_in_json(client):
    assert client.get("/sdapi/v1/artists").status_code == 404
    assert client.get("/sdapi/v1/artists").json() == {"detail": "Not Found"}


def test_pictures_are_saved_only_when_asked(make_manager, make_client):
    manager = make_manager()
    client = make_client(manager)
    post(client, "txt2img", SMALL)
    assert not list(manager.paths.outputs.rglob("*.png"))
    post(client, "txt2img", SMALL | {"save_images": True})
    assert [path.name for path in manager.paths.outputs.rglob("*.png")] == ["00000-5.png"]
