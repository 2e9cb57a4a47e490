"""Scripts: what they ask the engine for, and how they put the answers together."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.registry import Registry
from pipelines.scripts.arguments import Place
from pipelines.scripts.base import GridStyle, ScriptServices, Variation, fixed_seed, read_arguments
from pipelines.scripts.catalogue import SCRIPTS
from pipelines.scripts.loopback import loop_strength
from pipelines.scripts.matched_noise import matched_noise
from pipelines.scripts.outpainting import Expansion, border_mask, plan_expansion
from pipelines.scripts.prompt_lines import read_lines, read_options
from pipelines.scripts.prompt_matrix import combinations
from pipelines.upscalers.resample import RESAMPLERS
from schema.errors import InvalidRequest
from schema.requests import GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from schema.results import GeneratedImage, GenerationResult
from tests.numerics.pictures import difference, synthetic


@dataclass
class RecordingEngine:
    """Answers with plain pictures and remembers what it was asked."""

    paint: Callable[[GenerationRequest, int], Image.Image]
    interrupt_at: int = -1
    calls: list[tuple[Any, Variation]] = field(default_factory=list)
    saved: list[tuple[str, bool]] = field(default_factory=list)
    jobs: int = 0

    def generate(self, request: GenerationRequest, variation: Variation = Variation()) -> GenerationResult:  # noqa: B008
        self.calls.append((request, variation))
        prompts = variation.prompts or variation.negative_prompts or (request.prompt,) * request.batch_size
        return GenerationResult(
            images=tuple(self.picture(request, index, prompt) for index, prompt in enumerate(prompts)),
            info={"all_seeds": [request.seed], "infotexts": list(prompts)},
            interrupted=len(self.calls) == self.interrupt_at,
        )

    def picture(self, request: GenerationRequest, index: int, prompt: str) -> GeneratedImage:
        return GeneratedImage(
            image=self.paint(request, index),
            infotext=f"{prompt}, seed {request.seed}",
            seed=request.seed,
            subseed=request.subseed,
            prompt=prompt,
            negative_prompt="",
        )

    def save(self, picture: GeneratedImage, *, basename: str = "", grid: bool = False) -> GeneratedImage:
        self.saved.append((basename, grid))
        return picture

    def expect(self, jobs: int) -> None:
        self.jobs = jobs

    def run(
        self, request: GenerationRequest, *, services: dict[str, Any] | None = None, **grid: Any
    ) -> GenerationResult:
        script = SCRIPTS.get(request.script_name or "")
        given = ScriptServices(
            generate=self.generate,
            upscalers=Registry("Upscaler", RESAMPLERS),
            save=self.save,
            expect_jobs=self.expect,
            grid=GridStyle(**grid),
            **services or {},
        )
        return script.run(request, read_arguments(script, request.script_args), given)


def plain(request: GenerationRequest, index: int) -> Image.Image:
    return Image.new("RGB", (request.width, request.height), (request.seed % 256, index, 0))


def img2img(script: str, *args: Any, **changes: Any) -> Img2ImgRequest:
    values = {"init_images": [synthetic(96, 64)], "width": 96, "height": 64, "seed": 100, "subseed": 7} | changes
    return Img2ImgRequest(script_name=script, script_args=list(args), **values)


def test_scripts_are_found_in_any_case_and_listed_in_order():
    assert [script.title for script in SCRIPTS] == [
        "Loopback",
        "Outpainting mk2",
        "Poor man's outpainting",
        "Prompt matrix",
        "Prompts from file or textbox",
        "SD upscale",
        "X/Y/Z plot",
    ]
    assert SCRIPTS.get("outpainting MK2").is_img2img
    assert [script.title for script in SCRIPTS.where(lambda script: script.is_txt2img)] == [
        "Prompt matrix",
        "Prompts from file or textbox",
        "X/Y/Z plot",
    ]


def test_arguments_are_described_for_the_rest_route():
    overlap, upscaler = SCRIPTS.get("sd upscale").arg_info(lambda _: ["None", "Lanczos"])[1:3]
    assert overlap == {
        "label": "Tile overlap",
        "value": 64,
        "minimum": 0,
        "maximum": 256,
        "step": 16,
        "choices": None,
    }
    assert upscaler["choices"] == ["None", "Lanczos"]


def test_missing_arguments_take_defaults_and_notes_keep_their_place():
    values = read_arguments(SCRIPTS.get("Outpainting mk2"), ["", 32, None, ["right"], 2, 0.1, "more"])
    assert values == {"pixels": 32, "blur": 8, "directions": ("right",), "falloff": 2.0, "color_variation": 0.1}


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("Loopback", ["many"], "'many' is not a number"),
        ("Loopback", [0], "not between 1 and 32"),
        ("Loopback", [2, float("nan")], "not between"),
        ("Loopback", [2, 0.5, "Curved"], "not one of Aggressive, Linear, Lazy"),
        ("Outpainting mk2", ["", 32, 8, ["sideways"]], "left, right, up, down"),
    ],
)
def test_wrong_arguments_are_refused_by_name(script: str, args: list[Any], message: str):
    with pytest.raises(InvalidRequest, match=message):
        read_arguments(SCRIPTS.get(script), args)


def test_choices_may_be_given_by_position_or_in_any_case():
    script = SCRIPTS.get("Poor man's outpainting")
    assert read_arguments(script, [128, 4, 2])["content"] == "latent noise"
    assert read_arguments(script, [128, 4, "ORIGINAL"])["content"] == "original"


def test_img2img_scripts_refuse_a_request_without_picture():
    with pytest.raises(InvalidRequest, match="init_images"):
        RecordingEngine(plain).run(Txt2ImgRequest(script_name="Loopback"))


def test_fixed_seed_keeps_what_was_chosen():
    assert fixed_seed(5) == 5
    assert fixed_seed(-1) >= 0


@pytest.mark.parametrize(
    ("curve", "strengths"),
    [("Linear", [0.8, 0.6, 0.4]), ("Aggressive", [0.8, 0.5171573, 0.4]), ("Lazy", [0.8, 0.6828427, 0.4])],
)
def test_loopback_strength_follows_its_curve(curve: str, strengths: list[float]):
    made = [loop_strength(loop, loops=3, start=0.8, final=0.4, curve=curve) for loop in range(3)]
    np.testing.assert_allclose(made, strengths, atol=1e-6)


def test_loopback_feeds_results_back():
    engine = RecordingEngine(plain)
    result = engine.run(img2img("loopback", 3, 0.4, "Linear", "None", denoising_strength=0.6, inpainting_fill=0))
    requests = [request for request, _ in engine.calls]
    assert [request.seed for request in requests] == [100, 101, 102]
    np.testing.assert_allclose([request.denoising_strength for request in requests], [0.6, 0.5, 0.4])
    assert [request.inpainting_fill for request in requests] == [0, 1, 1]
    assert requests[1].init_images[0].getpixel((0, 0)) == (100, 0, 0)
    assert engine.calls[0][1].infotext == {"Final denoising strength": 0.4, "Denoising curve": "Linear"}
    assert engine.jobs == 3
    assert [image.image.size for image in result.images] == [(288, 64), (96, 64), (96, 64), (96, 64)]
    assert result.images[0].is_grid
    assert result.info["infotexts"] == [result.images[1].infotext] * 4
    assert (result.info["seed"], result.info["index_of_first_image"]) == (100, 0)


def test_loopback_of_several_batches_shows_the_last_of_each():
    engine = RecordingEngine(plain)
    result = engine.run(img2img("loopback", 2, n_iter=2, batch_size=3), shown=False)
    assert [request.seed for request, _ in engine.calls] == [100, 101, 102, 103]
    assert [image.image.getpixel((0, 0))[0] for image in result.images] == [101, 103]
    assert engine.calls[2][0].init_images[0].tobytes() == synthetic(96, 64).tobytes()


def test_interrupted_loopback_keeps_what_was_finished():
    engine = RecordingEngine(plain, interrupt_at=3)
    result = engine.run(img2img("loopback", 4))
    assert result.interrupted
    assert [image.is_grid for image in result.images] == [True, False, False]


def test_prompt_matrix_makes_every_combination():
    parts = ["a cat", " red ,", "big"]
    assert combinations(parts, delimiter=", ", at_start=False) == (
        "a cat",
        "a cat, red ",
        "a cat, big",
        "a cat, red , big",
    )
    assert combinations(["a", "b"], delimiter=" ", at_start=True) == ("a", "b a")


def test_prompt_matrix_runs_once_with_all_prompts():
    engine = RecordingEngine(plain)
    request = Txt2ImgRequest(
        prompt="a cat|red|(big:1.2)",
        seed=9,
        subseed=1,
        width=64,
        height=64,
        batch_size=3,
        script_name="prompt matrix",
        script_args=[True, True, "positive", "comma", 4],
    )
    result = engine.run(request)
    ((asked, variation),) = engine.calls
    assert variation.prompts == ("a cat", "red, a cat", "(big:1.2), a cat", "red, (big:1.2), a cat")
    assert variation.seeds == (9, 10, 11, 12)
    assert (asked.n_iter, asked.do_not_save_grid) == (2, True)
    assert len(result.images) == 5
    assert result.images[0].image.width == 64 * 2 + 48 + 4
    assert result.info["index_of_first_image"] == 1
    assert engine.saved == [("prompt_matrix", True)]


def test_prompt_matrix_of_the_negative_prompt_leaves_the_prompt_alone():
    engine = RecordingEngine(plain)
    request = Txt2ImgRequest(
        prompt="a|b", negative_prompt="c|d", script_name="prompt matrix", script_args=[False, False, "negative"]
    )
    engine.run(request)
    assert engine.calls[0][1].prompts is None
    assert engine.calls[0][1].negative_prompts == ("c", "c, d")


def test_prompt_matrix_refuses_a_flood_of_pictures():
    with pytest.raises(InvalidRequest, match="2048 pictures"):
        RecordingEngine(plain).run(Txt2ImgRequest(prompt="|".join("abcdefghijkl"), script_name="Prompt matrix"))


def test_sd_upscale_repaints_tiles_and_joins_them():
    engine = RecordingEngine(lambda request, index: request.init_images[index])  # type: ignore[attr-defined]
    request = img2img("sd upscale", "", 16, "nearest", 2.0, width=128, height=128, do_not_save_grid=False)
    result = engine.run(request)
    enlarged = synthetic(96, 64).resize((192, 128), Image.Resampling.NEAREST)
    assert [(asked.seed, asked.init_images[0].size) for asked, _ in engine.calls] == [
        (100, (128, 128)),
        (101, (128, 128)),
    ]
    assert engine.calls[0][1].infotext == {"SD upscale overlap": 16, "SD upscale upscaler": "Nearest"}
    assert all(asked.do_not_save_samples and asked.do_not_save_grid for asked, _ in engine.calls)
    assert difference(result.images[0].image, enlarged) <= 1
    assert engine.saved == [("", False)]


def test_sd_upscale_repeats_with_the_next_seed_and_takes_positions():
    engine = RecordingEngine(plain)
    result = engine.run(img2img("sd upscale", "", 0, 0, 2.0, width=48, height=64, n_iter=2, batch_size=2))
    assert [asked.seed for asked, _ in engine.calls] == [100, 101]
    assert [image.seed for image in result.images] == [100, 101]
    assert len(engine.calls[0][0].init_images) == 2


def test_sd_upscale_needs_tiles_larger_than_their_overlap():
    with pytest.raises(InvalidRequest, match="overlap of 64"):
        RecordingEngine(plain).run(img2img("sd upscale", "", 64, width=64, height=64))


@pytest.mark.parametrize(
    ("size", "pixels", "directions", "expected"),
    [
        ((96, 64), 32, ["right"], Expansion(right=32)),
        ((96, 64), 32, ["left", "right"], Expansion(left=48, right=48)),
        ((100, 64), 8, ["left", "up"], Expansion(left=28, up=64)),
        ((512, 512), 128, ["left", "right", "up", "down"], Expansion(left=128, right=128, up=128, down=128)),
    ],
)
def test_expansion_fills_up_to_multiples_of_64(size: Any, pixels: int, directions: list[str], expected: Expansion):
    assert plan_expansion(size, pixels, directions) == expected


def test_border_mask_reaches_into_the_picture_on_expanded_sides_only():
    mask = np.asarray(border_mask((128, 64), Expansion(right=32), 8))
    assert mask[:, :89].max() == 0
    assert mask[:, 89:].min() == 255


def test_outpainting_mk2_generates_beside_the_picture():
    engine = RecordingEngine(plain)
    result = engine.run(img2img("outpainting mk2", "", 32, 4, ["right"]))
    ((asked, _),) = engine.calls
    assert (asked.width, asked.height) == (96, 64)
    assert (asked.mask_blur_x, asked.mask_blur_y, asked.mask_blur) == (16, 0, None)
    assert (asked.inpainting_fill, asked.inpaint_full_res) == (1, False)
    mask, latent_mask = np.asarray(asked.mask), np.asarray(asked.latent_mask)
    assert mask[0].tolist() == [0] * 61 + [255] * 35
    assert latent_mask[0].tolist() == [0] * 57 + [255] * 39
    known = np.asarray(asked.init_images[0])[:, :61]
    assert np.array_equal(known, np.asarray(synthetic(96, 64))[:, 32:93])
    assert result.images[0].image.size == (128, 64)
    left = result.images[0].image.crop((0, 0, 32, 64))
    assert difference(left, synthetic(96, 64).crop((0, 0, 32, 64))) == 0


def test_outpainting_mk2_goes_through_all_directions():
    engine = RecordingEngine(plain)
    result = engine.run(img2img("outpainting mk2", "", 64, 4, ["left", "right", "up", "down"], batch_size=2, width=128))
    assert engine.jobs == len(engine.calls) == 4
    assert [image.image.size for image in result.images] == [(256 * 2, 192), (256, 192), (256, 192)]
    assert [(asked.width, asked.height) for asked, _ in engine.calls[:2]] == [(128, 64), (128, 64)]
    assert all(len(asked.init_images) == 2 for asked, _ in engine.calls)


def test_poor_mans_outpainting_leaves_inner_tiles_alone():
    engine = RecordingEngine(plain)
    request = img2img("poor man's outpainting", 64, 4, "fill", ["left"], width=128, height=128)
    request = request.model_copy(update={"init_images": [synthetic(320, 128)]})
    result = engine.run(request)
    assert result.images[0].image.size == (384, 128)
    assert len(engine.calls) < 5
    asked = engine.calls[0][0]
    assert (asked.mask_blur, asked.inpainting_fill) == (8, 0)
    assert np.asarray(asked.mask)[0].tolist() == [255] * 72 + [0] * 56
    assert np.asarray(asked.latent_mask)[0].tolist() == [255] * 66 + [0] * 62
    right = result.images[0].image.crop((256, 0, 384, 128))
    assert difference(right, synthetic(320, 128).crop((192, 0, 320, 128))) == 0


def test_matched_noise_keeps_the_known_part_and_its_colours():
    image = np.asarray(synthetic(64, 64), dtype=np.float64) / 255
    mask = np.zeros_like(image)
    mask[:, 32:] = 1
    filled = matched_noise(image * (1 - mask), mask)
    assert np.array_equal(filled[:, :32], image[:, :32])
    np.testing.assert_allclose(filled[:, 32:].mean((0, 1)), image[:, :32].mean((0, 1)), atol=0.02)
    assert np.array_equal(filled, matched_noise(image * (1 - mask), mask))


def test_matched_noise_of_a_black_picture_is_finite():
    assert np.isfinite(matched_noise(np.zeros((16, 16, 3)), np.ones((16, 16, 3)))).all()


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ('--prompt "a red ball" --seed 5', {"prompt": "a red ball", "seed": 5}),
        ("--prompt a red ball --steps 30", {"prompt": "a red ball", "steps": 30}),
        ("--negative_prompt no text --cfg_scale 4.5", {"negative_prompt": "no text", "cfg_scale": 4.5}),
        ("--sampler_name 'Euler a' --width 64 --height 32", {"sampler_name": "Euler a", "width": 64, "height": 32}),
        ("--restore_faces true --tiling no", {"restore_faces": True, "tiling": False}),
        ("--subseed 3 --subseed_strength .5 --n_iter 2", {"subseed": 3, "subseed_strength": 0.5, "n_iter": 2}),
    ],
)
def test_a_line_of_options_sets_what_it_names(line: str, options: dict[str, Any]):
    assert read_options(line) == options


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a --dash in a prompt", "does not start with --"),
        ("--colour red", "--colour is unknown"),
        ("--steps many", "--steps cannot be 'many'"),
        ("--seed", "--seed has no value"),
        ('--prompt "a cat', "No closing quotation"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_prompt_with_a_note(line: str, reason: str):
    (read,) = read_lines(line)
    assert read.options == {"prompt": line}
    assert reason in read.notes[0] and read.notes[0].startswith("Line 1: it was taken as a prompt")


def test_every_line_is_a_run_with_its_own_values():
    engine = RecordingEngine(plain)
    text = "a cat\n\n--prompt a dog --steps 9 --n_iter 2\n--negative_prompt text --sampler_name lms --styles Ink"
    script = "Prompts from file or textbox"
    request = Txt2ImgRequest(
        script_name=script, script_args=[False, False, "end", text], prompt="photo", negative_prompt="blur", seed=5
    )
    services = {"place": Place(kind="txt2img", lists=lambda name: ["Ink"] if name == "styles" else [])}
    result = engine.run(request, services=services)
    requests = [call[0] for call in engine.calls]
    assert [each.prompt for each in requests] == ["photo a cat", "photo a dog", "photo"]
    assert [each.negative_prompt for each in requests] == ["blur", "blur", "blur text"]
    assert (requests[1].steps, requests[1].n_iter, engine.jobs) == (9, 2, 4)
    assert (requests[2].sampler_name, requests[2].styles) == ("LMS", ["Ink"])
    assert all(each.do_not_save_grid for each in requests)
    assert len(result.images) == 3 and len(result.info["infotexts"]) == 3


@pytest.mark.parametrize(
    ("iterate", "same", "seed", "expected"),
    [(False, False, 5, [5, 5]), (True, False, 5, [5, 7]), (False, False, -1, [-1, -1])],
)
def test_seeds_of_lines_follow_the_boxes(iterate: bool, same: bool, seed: int, expected: list[int]):
    engine = RecordingEngine(plain)
    script = "Prompts from file or textbox"
    args = [iterate, same, "start", "one\ntwo"]
    engine.run(Txt2ImgRequest(script_name=script, script_args=args, seed=seed, batch_size=2))
    assert [call[0].seed for call in engine.calls] == expected


def test_the_same_random_seed_is_chosen_once():
    engine = RecordingEngine(plain)
    args = [False, True, "start", "one\ntwo"]
    engine.run(Txt2ImgRequest(script_name="Prompts from file or textbox", script_args=args))
    seeds = {call[0].seed for call in engine.calls}
    assert len(seeds) == 1 and -1 not in seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" \n ", "the list of prompts is empty"),
        ("ok\n--steps 0", "line 2: steps cannot be 0"),
        ("--sampler_name nope", "line 1: Sampler 'nope'"),
        ("--sd_model nope", "line 1: Checkpoint 'nope'"),
        ("--sampler_index 99", "line 1: --sampler_index must be between"),
    ],
)
def test_a_line_with_a_wrong_value_is_refused_before_any_run(text: str, message: str):
    engine = RecordingEngine(plain)
    with pytest.raises(InvalidRequest, match=message):
        engine.run(Txt2ImgRequest(script_name="Prompts from file or textbox", script_args=[False, False, 0, text]))
    assert engine.calls == []


def test_folders_named_in_a_line_are_not_used_and_said_so():
    (line,) = read_lines("--prompt x --outpath_samples /etc")
    assert line.notes == ("Line 1: folders are chosen on the Settings page, so --outpath_samples was not used.",)


def test_an_uploaded_file_fills_the_list():
    script = SCRIPTS.get("Prompts from file or textbox")
    assert script.after("file", {"file": " one \r\n\n two"}, Place()) == {"prompts": "one\ntwo"}


def test_every_argument_and_tool_has_a_place_on_the_page():
    for script in SCRIPTS:
        placed = [name for row in script.layout() for name in row]
        declared = [each.name for each in (*script.arguments, *script.tools) if each.name]
        assert sorted(placed) == sorted(declared), script.name
