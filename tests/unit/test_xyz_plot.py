"""X/Y/Z plot: the grammar of values, the axes, the order of runs, the sheets, and their records."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines.registry import Registry
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES
from pipelines.scripts.arguments import Kind, Place
from pipelines.scripts.axes import AXES, axes_for
from pipelines.scripts.axis_values import join_csv, numbers, orders, resolved, split_csv, whole_numbers
from pipelines.scripts.base import GridStyle, Script, ScriptServices, Variation, kind_of, read_arguments
from pipelines.scripts.catalogue import SCRIPTS
from pipelines.scripts.grid_labels import Label, label_grid
from pipelines.scripts.paste import script_of
from pipelines.scripts.plot_axes import LETTERS, read_axis, run_order
from pipelines.scripts.plot_grid import Legend, draw_plot
from pipelines.scripts.plot_run import add_to_record
from pipelines.upscalers.resample import RESAMPLERS
from schema.errors import InvalidRequest, WebuiError
from schema.infotext import parse_infotext
from schema.requests import GenerationRequest, Img2ImgRequest, Txt2ImgRequest
from schema.results import GeneratedImage, GenerationResult

RECORDED = Path(__file__).parents[1] / "data" / "api" / "script-info.json"
LISTS = {
    "checkpoints": ["toy", "photo/real-v5.safetensors [0123456789]", "photo/real-v6.safetensors [abcdef0123]"],
    "samplers": SAMPLERS.names,
    "schedules": SCHEDULES.names,
    "hires_upscalers": ["Latent", "Lanczos"],
    "vaes": ["Automatic", "None", "clear.vae.pt"],
    "styles": ["Ink drawing", "Soft light", "a,b"],
}
SMALL = {"width": 64, "height": 48, "seed": 100, "subseed": 7, "steps": 4, "prompt": "a red cat, blue sky"}


def place(kind: Kind = "txt2img", **changes: Any) -> Place:
    return Place(kind=kind, lists=lambda name: LISTS.get(name, []), **changes)


def plot_args(kind: Kind = "txt2img", **given: Any) -> dict[str, Any]:
    """Values of the script, by name; `x=("Steps", "1-3")` sets type and text."""
    values = read_arguments(SCRIPTS.get("X/Y/Z plot"), ["Nothing"], kind)
    for name, value in given.items():
        if name in LETTERS:
            values |= {f"{name}_type": value[0]}
            values |= {f"{name}_chosen" if isinstance(value[1], tuple) else f"{name}_values": value[1]}
        else:
            values[name] = value
    return values


class Engine:
    """Answers with plain pictures in the colour of the CFG scale; fails for the prompt words in `fails`."""

    def __init__(self, *, fails: str = "", interrupt_at: int = -1, shown: bool = True) -> None:
        self.fails, self.interrupt_at = fails, interrupt_at
        self.requests: list[GenerationRequest] = []
        self.saved: list[tuple[str, bool, str]] = []
        self.jobs, self.shown = 0, shown

    def generate(self, request: GenerationRequest, variation: Variation = Variation()) -> GenerationResult:  # noqa: B008
        self.requests.append(request)
        if self.fails and self.fails in request.prompt:
            raise InvalidRequest(f"'{self.fails}' cannot be painted.")
        image = Image.new("RGB", (request.width, request.height), (int(request.cfg_scale), request.steps, 0))
        infotext = f"{request.prompt}\nSteps: {request.steps}, Sampler: Euler, Seed: {request.seed}, Version: v1"
        made = GeneratedImage(
            image=image, infotext=infotext, seed=request.seed, subseed=7, prompt=request.prompt, negative_prompt=""
        )
        return GenerationResult(images=(made,), interrupted=len(self.requests) == self.interrupt_at)

    def save(self, picture: GeneratedImage, *, basename: str = "", grid: bool = False) -> GeneratedImage:
        self.saved.append((basename, grid, picture.infotext))
        return picture

    def expect(self, jobs: int) -> None:
        self.jobs = jobs

    def run(self, request: GenerationRequest, values: dict[str, Any], script: str = "X/Y/Z plot") -> GenerationResult:
        services = ScriptServices(
            generate=self.generate,
            upscalers=Registry("Upscaler", RESAMPLERS),
            save=self.save,
            expect_jobs=self.expect,
            grid=GridStyle(shown=self.shown),
            place=place(kind_of(request)),
        )
        return SCRIPTS.get(script).run(request, values, services)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7", [7]),
        ("-1", [-1]),
        (" 3 , 5 ,, 8", [3, 5, 8]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("1 - 5", [1, 2, 3, 4, 5]),
        ("1-5 (+2)", [1, 3, 5]),
        ("1-5(+2)", [1, 3, 5]),
        ("1-6 (+2)", [1, 3, 5]),
        ("10-5 (-3)", [10, 7]),
        ("5-1 (-2)", [5, 3, 1]),
        ("5-1", [5, 4, 3, 2, 1]),
        ("-3--1", [-3, -2, -1]),
        ("1-10 [5]", [1, 3, 5, 7, 10]),
        ("10-1[4]", [10, 7, 4, 1]),
        ("3-3", [3]),
        ("1-3, 10, 20-30 (+5)", [1, 2, 3, 10, 20, 25, 30]),
    ],
)
def test_whole_numbers_come_as_lists_ranges_steps_and_counts(text: str, values: list[int]):
    assert whole_numbers(split_csv(text)) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7.5, .25, 2.", [7.5, 0.25, 2.0]),
        ("1-3 (+0.5)", [1.0, 1.5, 2.0, 2.5, 3.0]),
        ("0.1-0.5 (+0.1)", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("1-0 (-0.25)", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("0.0-1.0 [6]", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ("1-3", [1.0, 2.0, 3.0]),
        ("0-1 [1]", [0.0]),
    ],
)
def test_numbers_come_as_lists_ranges_steps_and_counts(text: str, values: list[float]):
    assert numbers(split_csv(text)) == values


@pytest.mark.parametrize("text", ["many", "1.5", "1-", "1-5 (+0)", "1-5 (-1)", "1-9 [0]", "1-999999999", "5 (+1)"])
def test_what_is_no_whole_number_is_refused_by_its_text(text: str):
    with pytest.raises(InvalidRequest, match=text.split()[0].replace("+", r"\+")):
        whole_numbers([text])


def test_quotes_keep_commas_and_come_back():
    assert split_csv('cat, "dog, big" , "x ""y"""') == ["cat", "dog, big", 'x "y"']
    assert split_csv(join_csv(["cat", "dog, big", 'x "y"'])) == ["cat", "dog, big", 'x "y"']


def test_every_order_of_words_and_not_too_many():
    assert len(orders(["a", "b", "c"])) == 6
    with pytest.raises(InvalidRequest, match="3,628,800"):
        orders(list("abcdefghij"))


def test_names_are_found_in_any_case_by_other_names_and_by_a_part_that_fits_only_one():
    names = ["Real-v5", "Real-v6", "Toy"]
    assert resolved("Model", "toy", names) == "Toy"
    assert resolved("Model", "v6", names) == "Real-v6"
    assert resolved("Model", "old", names, lambda name: ("Old",) if name == "Toy" else ()) == "Toy"
    with pytest.raises(InvalidRequest, match="could be Real-v5, Real-v6"):
        resolved("Model", "real", names)
    with pytest.raises(InvalidRequest, match=r"'Toi' is not installed. Closest: 'Toy'"):
        resolved("Model", "Toi", names)


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_the_axes_are_a1111s_in_its_order(kind: Kind):
    recorded = next(
        entry
        for entry in json.loads(RECORDED.read_text())
        if entry["name"] == "x/y/z plot" and entry["is_img2img"] == (kind == "img2img")
    )
    assert [axis.name for axis in axes_for(kind)] == recorded["args"][0]["choices"]


GOOD: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "Seed": ("5", {"seed": 5}, {}),
    "Var. seed": ("5", {"subseed": 5}, {}),
    "Var. strength": ("0.5", {"subseed_strength": 0.5}, {}),
    "Steps": ("9", {"steps": 9}, {}),
    "Hires steps": ("3", {"hr_second_pass_steps": 3}, {}),
    "CFG Scale": ("4.5", {"cfg_scale": 4.5}, {}),
    "Image CFG Scale": ("1.5", {"image_cfg_scale": 1.5}, {}),
    "Prompt S/R": ("red", {"prompt": "a red cat, blue sky"}, {}),
    "Prompt order": ("red, blue", {"prompt": "a red cat, blue sky"}, {}),
    "Sampler": ("euler A", {"sampler_name": "Euler a"}, {}),
    "Hires sampler": ("LMS", {"hr_sampler_name": "LMS"}, {}),
    "Checkpoint name": (
        "real-v6",
        {},
        {"sd_model_checkpoint": "photo/real-v6.safetensors [abcdef0123]"},
    ),
    "Negative Guidance minimum sigma": ("2", {"s_min_uncond": 2.0}, {}),
    "Sigma Churn": ("1", {"s_churn": 1.0}, {}),
    "Sigma min": ("1", {"s_tmin": 1.0}, {}),
    "Sigma max": ("1", {"s_tmax": 1.0}, {}),
    "Sigma noise": ("1", {"s_noise": 1.0}, {}),
    "Schedule type": ("karras", {"scheduler": "Karras"}, {}),
    "Schedule min sigma": ("0.1", {}, {"sigma_min": 0.1}),
    "Schedule max sigma": ("10", {}, {"sigma_max": 10.0}),
    "Schedule rho": ("5", {}, {"rho": 5.0}),
    "Beta schedule alpha": ("0.7", {}, {"beta_dist_alpha": 0.7}),
    "Beta schedule beta": ("0.7", {}, {"beta_dist_beta": 0.7}),
    "Eta": ("0.5", {"eta": 0.5}, {}),
    "Clip skip": ("2", {}, {"CLIP_stop_at_last_layers": 2}),
    "Denoising": ("0.4", {"denoising_strength": 0.4}, {}),
    "Initial noise multiplier": ("1.1", {"initial_noise_multiplier": 1.1}, {}),
    "Extra noise": ("0.1", {}, {"img2img_extra_noise": 0.1}),
    "Hires upscaler": ("lanczos", {"hr_upscaler": "Lanczos"}, {}),
    "Cond. Image Mask Weight": ("0.5", {}, {"inpainting_mask_weight": 0.5}),
    "VAE": ("clear.vae", {}, {"sd_vae": "clear.vae.pt"}),
    "Styles": ('"ink drawing,Soft light"', {"styles": ["Ink drawing", "Soft light"]}, {}),
    "UniPC Order": ("9", {}, {"uni_pc_order": 3}),
    "Face restore": ("codeformer", {"restore_faces": True}, {"face_restoration_model": "CodeFormer"}),
    "Token merging ratio": ("0.5", {}, {"token_merging_ratio": 0.5}),
    "Token merging ratio high-res": ("0.5", {}, {"token_merging_ratio_hr": 0.5}),
    "Always discard next-to-last sigma": ("true", {}, {"always_discard_next_to_last_sigma": True}),
    "SGM noise multiplier": ("True", {}, {"sgm_noise_multiplier": True}),
    "Refiner checkpoint": ("toy", {"refiner_checkpoint": "toy", "refiner_switch_at": 0.8}, {}),
    "Refiner switch at": ("0.5", {"refiner_switch_at": 0.5}, {}),
    "RNG source": ("nv", {}, {"randn_source": "NV"}),
    "FP8 mode": ("enable for sdxl", {}, {"fp8_storage": "Enable for SDXL"}),
    "Size": ("512x768", {"width": 512, "height": 768}, {}),
}
"""Axis → a typed value, the fields it sets, and the settings it overrides."""


@pytest.mark.parametrize("name", [axis.name for axis in AXES if axis.name != "Nothing"])
def test_every_axis_sets_what_it_says(name: str):
    text, fields, overrides = GOOD[name]
    kind = AXES.get(name).kinds[-1] if name != "Initial noise multiplier" else "img2img"
    request = (Txt2ImgRequest if kind == "txt2img" else Img2ImgRequest)(**SMALL)
    axis = read_axis("x", plot_args(kind, x=(name, text), csv_mode=True), request, place(kind))
    made = axis.applied(request, 0)
    assert {field: getattr(made, field) for field in fields} == fields
    assert made.override_settings == overrides
    assert all(axis.labels)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Steps", "0", "steps cannot be 0"),
        ("Steps", "", "no values"),
        ("CFG Scale", "seven", "'seven' is neither a number"),
        ("Sampler", "Eulr a", "'Eulr a' is not installed. Closest: 'Euler a'"),
        ("Checkpoint name", "real", "could be photo/real-v5"),
        ("Checkpoint name", "tiy", "Closest: 'toy'"),
        ("VAE", "murky", "VAE 'murky' is not installed"),
        ("Styles", "Oil", "Style 'Oil' is not installed"),
        ("Clip skip", "99", "CLIP_stop_at_last_layers"),
        ("Prompt S/R", "dog, wolf", "did not find 'dog'"),
        ("Prompt order", "red, dog", "did not find 'dog'"),
        ("Size", "512", "like 512x768"),
        ("Size", "4x4", "width cannot be 4"),
        ("Face restore", "perhaps", "CodeFormer, GFPGAN, true or false"),
        ("RNG source", "TPU", "RNG source 'TPU'"),
    ],
)
def test_a_wrong_value_is_named_before_any_picture(name: str, text: str, words: str):
    engine = Engine()
    with pytest.raises(WebuiError, match="X/Y/Z plot, Y values") as caught:
        engine.run(Txt2ImgRequest(**SMALL), plot_args(y=(name, text), csv_mode=True))
    assert words in str(caught.value)
    assert engine.requests == []


def test_an_axis_of_the_other_page_is_refused():
    with pytest.raises(InvalidRequest, match="not for txt2img"):
        read_axis("x", plot_args(x=("Image CFG Scale", "1")), Txt2ImgRequest(**SMALL), place())


def test_prompt_words_are_replaced_and_reordered():
    engine = Engine()
    values = plot_args(x=("Prompt S/R", "red, green"), y=("Prompt order", "cat, sky"))
    engine.run(Txt2ImgRequest(**SMALL), values)
    assert [request.prompt for request in engine.requests] == [
        "a red cat, blue sky",
        "a green cat, blue sky",
        "a red sky, blue cat",
        "a green sky, blue cat",
    ]


def test_the_costliest_axis_changes_least_often():
    request = Txt2ImgRequest(**SMALL)

    def order(**axes: tuple[str, str]) -> list[tuple[int, int, int]]:
        read = [read_axis(letter, plot_args(csv_mode=True, **axes), request, place()) for letter in LETTERS]
        return list(run_order((read[0], read[1], read[2])))

    checkpoints = ("Checkpoint name", "toy, real-v5")
    cheap = order(x=("Steps", "1,2"), y=("CFG Scale", "1,2"))
    assert cheap == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0)]
    assert order(x=checkpoints, y=("CFG Scale", "1,2")) == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]
    by_vae = order(x=checkpoints, y=("Steps", "1,2"), z=("VAE", "None, Automatic"))
    assert [(x, z) for x, _, z in by_vae] == [(0, 0), (0, 0), (0, 1), (0, 1), (1, 0), (1, 0), (1, 1), (1, 1)]


def test_a_plot_has_the_sheet_first_then_planes_then_pictures():
    engine = Engine()
    values = plot_args(
        x=("CFG Scale", "10, 20, 30"),
        y=("Steps", "4, 8"),
        z=("Seed", "1, 2"),
        include_lone_images=True,
        include_sub_grids=True,
        draw_legend=False,
    )
    result = engine.run(Txt2ImgRequest(**SMALL), values)
    assert engine.jobs == 12
    assert [image.image.size for image in result.images] == [(384, 96), (192, 96), (192, 96), *[(64, 48)] * 12]
    assert [image.is_grid for image in result.images] == [True] * 3 + [False] * 12
    assert result.images[0].image.getpixel((70, 50)) == (20, 8, 0)
    assert result.info["index_of_first_image"] == 3
    assert result.info["all_seeds"] == [1] * 6 + [2] * 6
    assert [(basename, grid) for basename, grid, _ in engine.saved] == [("xyz_grid", True)] * 3


def test_only_the_sheet_is_shown_and_saved_unless_more_is_asked_for():
    engine = Engine()
    result = engine.run(Txt2ImgRequest(**SMALL), plot_args(x=("Steps", "4, 8"), z=("Seed", "1, 2")))
    assert len(result.images) == 1 and len(engine.saved) == 1


def test_the_sheets_records_name_the_axes():
    engine = Engine()
    values = plot_args(x=("Steps", "4-5"), y=("Sampler", ("Euler", "Euler a")), z=("Seed", "-1, 3"))
    values |= {"include_sub_grids": True}
    whole, plane, _ = engine.run(Txt2ImgRequest(**SMALL), values).images
    fields = parse_infotext(whole.infotext).fields
    assert (fields["Script"], fields["X Type"], fields["X Values"]) == ("X/Y/Z plot", "Steps", "4-5")
    assert (fields["Y Type"], fields["Y Values"]) == ("Sampler", "Euler,Euler a")
    assert (fields["Z Type"], fields["Z Values"]) == ("Seed", "-1, 3")
    seeds = [int(text) for text in fields["Fixed Z Values"].split(", ")]
    assert seeds[0] >= 0 and seeds[1] == 3
    assert {request.seed for request in engine.requests} == set(seeds)
    assert whole.infotext.endswith(", Version: v1")
    assert "Z Type" not in parse_infotext(plane.infotext).fields


def test_fields_go_before_the_version_and_the_user():
    assert add_to_record("x\nSteps: 1, Version: v1.10, User: me", {"Script": "a, b"}) == (
        'x\nSteps: 1, Script: "a, b", Version: v1.10, User: me'
    )
    assert add_to_record("x\nSteps: 1", {"Script": "S"}) == "x\nSteps: 1, Script: S"


@pytest.mark.parametrize("kind", ["txt2img", "img2img"])
def test_a_record_gives_script_and_arguments_back(kind: Kind):
    texts = {
        "Script": "X/Y/Z plot",
        "X Type": "Steps",
        "X Values": "4-5",
        "Y Type": "Sampler",
        "Y Values": "Euler,Euler a",
        "Z Type": "Size",
        "Z Values": "64x48",
    }
    infotext = add_to_record("x\nSteps: 1, Sampler: Euler, Seed: 5, Version: v1", texts)
    pasted = script_of(parse_infotext(infotext).fields, SCRIPTS, place(kind))
    assert pasted.script is not None and pasted.script.name == "X/Y/Z plot"
    expected = {
        "x_type": "Steps",
        "x_values": "4-5",
        "y_type": "Sampler",
        "y_values": "",
        "y_chosen": ["Euler", "Euler a"],
        "z_type": "Size",
        "z_values": "64x48",
    }
    assert {name: pasted.values[name] for name in expected} == expected


def test_records_of_other_scripts_are_known_by_their_keys():
    pasted = script_of({"SD upscale overlap": "32", "SD upscale upscaler": "Lanczos"}, SCRIPTS, place("img2img"))
    assert pasted.script is SCRIPTS.get("SD upscale")
    assert pasted.values == {"overlap": 32, "upscaler": "Lanczos"}
    assert script_of({"Steps": "20"}, SCRIPTS, place()).script is None


def test_a_failing_cell_says_so_and_the_others_go_on():
    engine = Engine(fails="green")
    values = plot_args(x=("Prompt S/R", "red, green, blue"), y=("CFG Scale", "10, 20"), draw_legend=False)
    result = engine.run(Txt2ImgRequest(**SMALL | {"prompt": "a red cat"}), values)
    assert len(engine.requests) == 6
    sheet = result.images[0].image
    assert sheet.getpixel((1, 1)) == (10, 4, 0) and sheet.getpixel((190, 90)) == (20, 4, 0)
    failed = sheet.crop((64, 0, 128, 48))
    assert (10, 4, 0) not in set(failed.get_flattened_data()) and len(set(failed.get_flattened_data())) > 1
    assert [note for note in result.notes if "failed" in note] == [
        "Picture 2 of 6 (green; CFG Scale: 10.0) failed: 'green' cannot be painted.",
        "Picture 5 of 6 (green; CFG Scale: 20.0) failed: 'green' cannot be painted.",
    ]


def test_a_plot_without_any_picture_tells_why():
    with pytest.raises(InvalidRequest, match=r"no picture could be made. 'cat' cannot be painted"):
        Engine(fails="cat").run(Txt2ImgRequest(**SMALL), plot_args(x=("Steps", "1, 2")))


def test_an_interrupted_plot_draws_what_it_has():
    engine = Engine(interrupt_at=2)
    values = plot_args(x=("CFG Scale", "10, 20, 30"), draw_legend=False, include_lone_images=True)
    result = engine.run(Txt2ImgRequest(**SMALL), values)
    assert result.interrupted and len(engine.requests) == 2
    assert result.images[0].image.size == (192, 48)
    assert len(result.images) == 3


def test_seeds_are_the_same_everywhere_unless_asked_otherwise():
    def seeds(**changes: Any) -> list[int]:
        engine = Engine()
        request = Txt2ImgRequest(**SMALL | {"seed": changes.pop("seed", 100)})
        engine.run(request, plot_args(x=("Steps", "1, 2"), y=("CFG Scale", "1, 2"), **changes))
        return [request.seed for request in engine.requests]

    assert seeds() == [100] * 4
    assert len(set(seeds(seed=-1))) == 1 and seeds(seed=-1)[0] != -1
    assert seeds(seed=-1, no_fixed_seeds=True) == [-1] * 4
    assert seeds(vary_seeds_x=True) == [100, 101, 100, 101]
    assert seeds(vary_seeds_y=True) == [100, 100, 101, 101]
    assert seeds(vary_seeds_x=True, vary_seeds_y=True) == [100, 101, 102, 103]


def test_axes_without_effect_are_noted():
    engine = Engine()
    notes = engine.run(Txt2ImgRequest(**SMALL), plot_args(x=("Hires steps", "1, 2"))).notes
    assert notes == ("X type 'Hires steps': it changes nothing while Hires. fix is off.",)


def test_a_sheet_beyond_the_limit_is_refused_with_its_size():
    script, values = SCRIPTS.get("X/Y/Z plot"), plot_args(x=("Seed", "1-100"))
    with pytest.raises(InvalidRequest, match="100 pictures make a sheet of 26 megapixels"):
        script.check(Txt2ImgRequest(), values, place(max_megapixels=20))


def test_the_legend_takes_the_room_that_a1111_gives_it():
    cells = [Image.new("RGB", (96, 64), "navy")] * 12
    texts = {"columns": ("Steps: 4", "Steps: 5", "Steps: 6"), "rows": ("CFG: 1", "CFG: 2")}
    legend = Legend(**texts, titles=("Seed: 1", "Seed: 2"), margin=10)
    sheets = draw_plot(cells, legend, GridStyle())
    # Text is (96 + 64) // 25 = 6 pixels high at most, with 3 between; the left column is three quarters of a cell.
    left, width, height = 72, 96, 64
    top = sheets.planes[0].height - 2 * height - 10
    assert sheets.planes[0].width == left + 3 * width + 2 * 10
    assert 6 <= top <= 6 + 2 * 3
    title = sheets.whole.height - sheets.planes[0].height
    assert sheets.whole.width == 2 * sheets.planes[0].width and title > top
    plane = sheets.planes[0]
    for column in range(3):
        area = plane.crop((left + column * (width + 10), 0, left + column * (width + 10) + width, top))
        assert area.getextrema() != ((255, 255),) * 3, f"no label above column {column}"
    for row in range(2):
        start = top + row * (height + 10)
        assert plane.crop((0, start, left, start + height)).getextrema() != ((255, 255),) * 3
        assert plane.getpixel((left + 1, start + 1)) == (0, 0, 128)
    assert plane.crop((0, 0, left, top)).getextrema() == ((255, 255),) * 3
    assert plane.getpixel((left + width + 5, top + 5)) == (255, 255, 255)


def test_a_legend_of_nothing_takes_no_room():
    cells = [Image.new("RGB", (96, 64), "navy")]
    legend = Legend(columns=("",), rows=("",), titles=("",))
    assert draw_plot(cells, legend, GridStyle()).whole.size == (96, 64)


def test_a_long_word_is_drawn_smaller_instead_of_cut():
    word = "photo-realistic-model-of-the-year-2024-pruned.safetensors"
    sheet = Image.new("RGB", (96, 64), "navy")
    labelled = label_grid(
        sheet, cell=(96, 64), columns=[[Label(text=word)]], rows=[[Label(text="")]], margin=0, style=GridStyle()
    )
    above = labelled.crop((0, 0, 96, labelled.height - 64)).convert("L")
    assert above.crop((1, 0, 95, above.height)).getextrema()[0] < 255
    assert above.crop((0, 0, 1, above.height)).getextrema() == (255, 255)


def page_of(script: Script, kind: Kind = "txt2img", **changes: Any) -> dict[str, Any]:
    defaults = {each.name: [] if each.default is None else each.default for each in script.arguments_for(kind)}
    return defaults | changes


def test_the_page_shows_a_list_or_text_as_the_axis_has_it():
    script = SCRIPTS.get("X/Y/Z plot")
    shown = script.presented(page_of(script, x_type="Steps", y_type="Sampler"), place())
    assert (shown["x_values"].visible, shown["x_chosen"].visible, shown["fill_x"].visible) == (True, False, False)
    assert (shown["y_values"].visible, shown["y_chosen"].visible, shown["fill_y"].visible) == (False, True, True)
    assert shown["y_chosen"].choices == tuple(SAMPLERS.names)
    shown = script.presented(page_of(script, y_type="Sampler", csv_mode=True), place())
    assert (shown["y_values"].visible, shown["y_chosen"].visible, shown["fill_y"].visible) == (True, False, True)


def test_fill_and_swap_change_the_values():
    script = SCRIPTS.get("X/Y/Z plot")
    values = page_of(script, x_type="RNG source", y_type="Steps", y_values="1-3")
    assert script.after("fill_x", values, place()) == {"x_chosen": ["GPU", "CPU", "NV"]}
    assert script.after("fill_x", values | {"csv_mode": True}, place()) == {"x_values": "GPU,CPU,NV"}
    assert script.after("fill_y", values, place()) == {}
    swapped = values | script.after("swap_xy", values, place())
    assert (swapped["x_type"], swapped["x_values"], swapped["y_type"]) == ("Steps", "1-3", "RNG source")


def test_switching_to_text_and_back_keeps_the_chosen():
    script = SCRIPTS.get("X/Y/Z plot")
    values = page_of(script, x_type="RNG source", x_chosen=["GPU", "NV"], csv_mode=True)
    values |= script.after("csv_mode", values, place())
    assert (values["x_values"], values["x_chosen"]) == ("GPU,NV", [])
    values |= script.after("csv_mode", values | {"csv_mode": False}, place())
    values["csv_mode"] = False
    values |= script.after("csv_mode", values, place())
    assert (values["x_values"], values["x_chosen"]) == ("", ["GPU", "NV"])
