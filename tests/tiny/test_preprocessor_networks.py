"""Preprocessors with networks: true architectures with random weights, read from files at their places."""

import dataclasses
import functools
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipelines.checkpoints.files import read_state_dict
from preprocessors import depth, inpaint, lineart, mini, mlsd, normal, onnx_pose, openpose, segmentation, softedge
from preprocessors.anime_face import AnimeFaceNet
from preprocessors.catalogue import PREPROCESSORS, default_for, preprocessor
from preprocessors.depth_anything import Size, converted, depth_anything_network
from preprocessors.geometry import at_resolution
from preprocessors.manga_line import MangaLine
from preprocessors.mini_networks import MiniDepth, MiniPose, pose_targets
from preprocessors.onnx_pose import OnnxNetwork
from preprocessors.poses import Poses
from preprocessors.providers import provider, quiet
from preprocessors.weights import Runtime, WeightFile, WeightStore, loading
from schema.errors import CheckpointError, DownloadError, WeightsMissing

TINY_DINO = Size(hidden=48, layers=4, heads=2, taps=(1, 2, 3, 4), necks=(8, 16, 24, 24), fused=8)
TINY_SWIN = {"embed_dim": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 4], "window_size": 4, "image_size": 64}
TINY_CONVNEXT = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 16, 24]}
ZOE_SETTINGS = {"midas_model_type": "DPT_BEiT_B_384", "img_size": [64, 96]}


def aux(module, name, *arguments, **named):
    return lambda: getattr(provider(f"controlnet_aux.{module}"), name)(*arguments, **named)


def plain_instance_norm():
    return functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False)


def bae():
    settings = types.SimpleNamespace(
        mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
    )
    return provider("controlnet_aux.normalbae.nets.NNET").NNET(settings)


def zoe():
    settings = provider("controlnet_aux.zoe.zoedepth.utils.config").get_config("zoedepth", "infer", **ZOE_SETTINGS)
    return provider("controlnet_aux.zoe.zoedepth.models.zoedepth.zoedepth_v1").ZoeDepth.build_from_config(settings)


def merger():
    networks = provider("controlnet_aux.leres.pix2pix.models.networks")
    return networks.UnetGenerator(2, 1, 10, 64, norm_layer=networks.get_norm_layer(norm_type="none"))


def oneformer():
    library = provider("transformers")
    backbone = library.SwinConfig(**TINY_SWIN, out_features=["stage1", "stage2", "stage3", "stage4"])
    settings = library.OneFormerConfig(backbone_config=backbone, num_queries=5, num_labels=133, is_training=False)
    return library.OneFormerForUniversalSegmentation(settings)


def upernet():
    library = provider("transformers")
    backbone = library.ConvNextConfig(**TINY_CONVNEXT, out_features=["stage1", "stage2", "stage3", "stage4"])
    return library.UperNetForSemanticSegmentation(
        library.UperNetConfig(backbone_config=backbone, num_labels=150, auxiliary_in_channels=16)
    )


def mobile_sam():
    return provider("controlnet_aux.segment_anything.build_sam").sam_model_registry["vit_t"](checkpoint=None)


def midas():
    network = aux("midas.midas.dpt_depth", "DPTDepthModel", path=None, backbone="vitb_rn50_384", non_negative=True)()
    # Keeps the last ReLU of random weights from cutting everything off.
    nn.init.constant_(network.scratch.output_conv[4].bias, 50)
    return network


def straight_liner():
    network = aux("mlsd.models.mbv2_mlsd_large", "MobileV2_MLSD_Large")()
    nn.init.normal_(network.block23.conv3.weight, std=0.3)
    return network


def manga_line():
    network = MangaLine()
    # Random weights make a black page; these are scaled until it has shades.
    last = network.conv15.model[2]
    with torch.inference_mode():
        page = network.eval()(torch.rand(1, 1, 64, 64) * 255)
    scale = 40 / float(page.std())
    network.load_state_dict(
        network.state_dict()
        | {
            "conv15.model.2.weight": last.weight * scale,
            "conv15.model.2.bias": (last.bias - page.mean()) * scale + 128,
        }
    )
    return network


NETWORKS = {
    softedge.HED: aux("hed", "ControlNetHED_Apache2"),
    softedge.PIDINET: aux("pidi.model", "pidinet"),
    softedge.TEED: aux("teed.ted", "TED"),
    softedge.MTEED: aux("teed.ted", "TED"),
    lineart.REALISTIC: aux("lineart", "Generator", 3, 1, 3),
    lineart.COARSE: aux("lineart", "Generator", 3, 1, 3),
    lineart.ANIME: lambda: aux("lineart_anime", "UnetGenerator", 3, 1, 8, 64, norm_layer=plain_instance_norm())(),
    lineart.MANGA: manga_line,
    mlsd.MLSD: straight_liner,
    depth.MIDAS: midas,
    depth.ZOE: zoe,
    depth.LERES: aux("leres.leres.multi_depth_model_woauxi", "RelDepthModel", backbone="resnext101"),
    depth.MERGE: merger,
    normal.BAE: bae,
    segmentation.ONEFORMER_COCO: oneformer,
    segmentation.UPERNET: upernet,
    segmentation.ANIME: AnimeFaceNet,
    segmentation.MOBILE_SAM: mobile_sam,
    inpaint.LAMA: lambda: provider("spandrel.architectures.LaMa.__arch.LaMa").LaMa(in_nc=4, out_nc=3),
    openpose.BODY: aux("open_pose.model", "bodypose_model"),
    openpose.HAND: aux("open_pose.model", "handpose_model"),
    openpose.FACE: aux("open_pose.face", "FaceNet"),
    mini.DEPTH: MiniDepth,
    mini.POSE: MiniPose,
}

# How published files name what they hold, where that is not the network's own state dict.
IN_FILE = {
    softedge.PIDINET: lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    lineart.ANIME: lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    normal.BAE: lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    depth.LERES: lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
    openpose.BODY: lambda tensors: {name.partition(".")[2]: tensor for name, tensor in tensors.items()},
    openpose.HAND: lambda tensors: {name.partition(".")[2]: tensor for name, tensor in tensors.items()},
    inpaint.LAMA: lambda tensors: {
        "loss.weight": torch.zeros(1),
        **{f"generator.{name}": tensor for name, tensor in tensors.items()},
    },
}


@functools.cache
def tensors_of(file: WeightFile):
    """What `file` would hold: random weights of the true architecture."""
    torch.manual_seed(0)
    with quiet():
        tensors = NETWORKS[file]().state_dict()
    return IN_FILE.get(file, dict)(tensors)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """A runtime whose files exist in their places; what they hold is made when they are read."""
    root = tmp_path_factory.mktemp("annotators")
    places = {root / file.place: file for file in NETWORKS}
    for path in places:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return Runtime(weights=WeightStore(roots=(root,), read=lambda path: tensors_of(places[path])), keep=1)


@pytest.fixture(scope="module")
def scene():
    y, x = np.mgrid[:64, :80]
    image = np.stack([x * 3, y * 3, 255 - x * 2], axis=2).clip(0, 255).astype(np.uint8)
    image[16:48, 24:40] = (240, 200, 20)
    return image


@pytest.fixture(autouse=True)
def small_pictures_for_large_networks(monkeypatch):
    monkeypatch.setattr(depth, "ZOE_SETTINGS", ZOE_SETTINGS)
    monkeypatch.setattr(segmentation, "SWIN_LARGE", TINY_SWIN)
    monkeypatch.setattr(segmentation, "CONVNEXT_SMALL", TINY_CONVNEXT)
    monkeypatch.setattr(segmentation, "UPERNET_SIDE", 64)
    monkeypatch.setattr(segmentation, "SAM_POINTS_PER_SIDE", 2)


SMOOTH = [
    "hed",
    "pidinet",
    "scribble_hed",
    "pidinet_scribble",
    "lineart",
    "lineart_coarse",
    "lineart_anime",
    "lineart_anime_denoise",
    "depth",
    "depth_zoe",
    "depth_leres",
    "normal_bae",
    "segmentation",
    "anime_face_segment",
    "depth_mini",
]
OTHERS = [
    "softedge_anyline",
    "hed_safe",
    "pidinet_safe",
    "pidinet_sketch",
    "normal_map",
    "softedge_teed",
    "mlsd",
    "mobile_sam",
    "openpose_mini",
]


@pytest.mark.parametrize("name", SMOOTH + OTHERS)
def test_it_runs_with_weights_of_its_true_architecture(name, runtime, scene):
    entry = preprocessor(name)
    assert entry.weights
    made = entry(scene, runtime=runtime, resolution=64)
    assert made.image.shape == (64, 80, 3) and made.image.dtype == np.uint8
    again = entry(scene, runtime=runtime, resolution=64)
    assert np.array_equal(made.image, again.image)
    if name in SMOOTH:
        assert len(np.unique(made.image)) > 1


APART = [
    "openpose",
    "openpose_hand",
    "openpose_face",
    "openpose_faceonly",
    "openpose_full",
    "dw_openpose_full",
    "animal_openpose",
    "depth_leres++",
    "depth_anything",
    "depth_anything_v2",
    "oneformer_ade20k",
    "oneformer_coco",
    "inpaint_only+lama",
]


def test_every_network_is_run_by_these_tests():
    """The large ones in tests of their own; CLIP's encoders belong to the engine."""
    wanted = {entry.name for entry in PREPROCESSORS if entry.weights and entry.returns_image and not entry.unavailable}
    assert wanted == {*SMOOTH, *OTHERS, *APART}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("softedge_teed", {"a": 0}),
        ("softedge_anyline", {"a": 9}),
        ("mlsd", {"a": 1.5}),
        ("mlsd", {"b": 12}),
        ("normal_map", {"a": 0.9}),
        ("depth_leres", {"a": 60}),
        ("depth_leres", {"b": 60}),
    ],
)
def test_sliders_change_the_map(name, values, runtime, scene):
    entry = preprocessor(name)
    usual = entry(scene, runtime=runtime, resolution=64).image
    assert (usual != entry(scene, runtime=runtime, resolution=64, **values).image).any()


def test_safe_maps_have_three_shades(runtime, scene):
    for name in ("hed_safe", "pidinet_safe"):
        assert set(np.unique(preprocessor(name)(scene, runtime=runtime, resolution=64).image)) <= {0, 127, 255}
    shades = np.unique(preprocessor("softedge_teed")(scene, runtime=runtime, resolution=64, a=4).image)
    assert set(shades) <= {0, 63, 127, 191, 255}


def detector(module, name, *arguments):
    return getattr(provider(f"controlnet_aux.{module}"), name)(*arguments)


LIBRARY = {
    "hed": (lambda net: detector("hed", "HEDdetector", net), {}),
    "hed_safe": (lambda net: detector("hed", "HEDdetector", net), {"safe": True}),
    "scribble_hed": (lambda net: detector("hed", "HEDdetector", net), {"scribble": True}),
    "pidinet": (lambda net: detector("pidi", "PidiNetDetector", net), {}),
    "pidinet_safe": (lambda net: detector("pidi", "PidiNetDetector", net), {"safe": True}),
    "pidinet_sketch": (lambda net: detector("pidi", "PidiNetDetector", net), {"apply_filter": True}),
    "lineart": (lambda net: detector("lineart", "LineartDetector", net, net), {}),
    "lineart_anime": (lambda net: detector("lineart_anime", "LineartAnimeDetector", net), {}),
    "mlsd": (lambda net: detector("mlsd", "MLSDdetector", net), {}),
    "depth": (lambda net: detector("midas", "MidasDetector", net), {}),
    "normal_bae": (lambda net: detector("normalbae", "NormalBaeDetector", net), {}),
}


@pytest.mark.parametrize("name", LIBRARY)
def test_maps_are_those_of_the_librarys_own_detectors(name, runtime):
    """The same network behind controlnet_aux's pre- and post-processing, at a size that it does not round."""
    picture = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    made = preprocessor(name)(picture, runtime=runtime, resolution=64).image
    make, options = LIBRARY[name]
    (network,) = runtime._networks.values()
    with quiet():
        theirs = make(network)(picture, detect_resolution=64, image_resolution=64, output_type="np", **options)
    assert np.abs(made.astype(int) - theirs.reshape(made.shape).astype(int)).max() <= 1


@pytest.mark.parametrize(("near", "background"), [(0, 0), (30, 0), (0, 30), (20, 45.5)])
def test_leres_cuts_as_the_library(near, background, runtime):
    picture = np.random.default_rng(3).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    made = preprocessor("depth_leres")(picture, runtime=runtime, resolution=64, a=near, b=background).image
    (network,) = runtime._networks.values()
    theirs = detector("leres", "LeresDetector", network, None)(
        picture, thr_a=near, thr_b=background, detect_resolution=64, image_resolution=64, output_type="np"
    )
    differing = np.abs(made.astype(int) - theirs.astype(int)) > 1
    # Theirs goes through 16 bits first: a pixel at a threshold may fall to the other side.
    assert differing.mean() < 0.01


@pytest.mark.parametrize("name", ["scribble_hed", "pidinet_scribble", "pidinet_sketch"])
def test_strokes_are_black_and_white(name, runtime, scene):
    assert set(np.unique(preprocessor(name)(scene, runtime=runtime, resolution=64).image)) <= {0, 255}


def test_segments_have_the_palettes_colours(runtime, scene):
    from preprocessors.palettes import ANIME_FACE, ade20k_palette, coco_palette

    assert ade20k_palette().shape == (150, 3) and coco_palette().shape == (133, 3)
    for name, palette in (("segmentation", ade20k_palette()), ("anime_face_segment", ANIME_FACE)):
        made = preprocessor(name)(scene, runtime=runtime, resolution=64).image
        assert {tuple(color) for color in made.reshape(-1, 3)} <= {tuple(color) for color in palette}


def test_oneformer_colours_classes(runtime, scene):
    from preprocessors.palettes import coco_palette

    run = segmentation.oneformer(segmentation.ONEFORMER_COCO, coco_palette, queries=5, side=64, longest=128)
    entry = dataclasses.replace(preprocessor("oneformer_coco"), run=run)
    made = entry(scene, runtime=runtime, resolution=64).image
    assert made.shape == (64, 80, 3)
    assert {tuple(color) for color in made.reshape(-1, 3)} <= {tuple(color) for color in coco_palette()}


@pytest.mark.parametrize("make", [oneformer, upernet])
def test_segmentation_files_load_under_their_published_names(make, tmp_path):
    """The library writes the names of the published files, which differ from those inside its networks."""
    network = make()
    with quiet():
        network.save_pretrained(tmp_path)
        tensors = read_state_dict(tmp_path / "model.safetensors")
        again = segmentation._from_library(type(network), network.config, tensors)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor.float(), again.state_dict()[name].float()), name
    tensors.pop(min(name for name in tensors if "norm" in name))
    with quiet(), pytest.raises(RuntimeError, match="1 tensors are missing"):
        segmentation._from_library(type(network), network.config, tensors)


def test_sam_finds_objects_in_colours_of_the_seed(runtime, scene, monkeypatch):
    mask = np.zeros((64, 128), bool)
    mask[10:20, 10:20] = True
    found = [{"segmentation": mask, "area": 100}, {"segmentation": np.ones((64, 128), bool), "area": 8192}]
    module = provider("controlnet_aux.segment_anything.automatic_mask_generator")
    monkeypatch.setattr(module.SamAutomaticMaskGenerator, "generate", lambda self, pixels: found)
    first, again, other = (
        preprocessor("mobile_sam")(scene, runtime=runtime, resolution=64, seed=seed).image for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and (first != other).any()
    assert len(np.unique(first.reshape(-1, 3), axis=0)) == 2 and (first[15, 15] != first[30, 30]).any()


def test_lama_fills_only_the_mask(runtime, scene):
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 20:60] = 255
    made = preprocessor("inpaint_only+lama")(scene, runtime=runtime, mask=mask)
    assert np.array_equal(made.image[mask == 0], scene[mask == 0])
    assert (made.image[mask == 255] != scene[mask == 255]).mean() > 0.5
    assert np.array_equal(made.mask, mask)


@pytest.mark.parametrize("name", ["depth_anything", "depth_anything_v2"])
def test_depth_anything_reads_published_names(name, scene):
    network = depth_anything_network(TINY_DINO).float()
    file = preprocessor(name).weights[0]
    tensors = published_names(network.state_dict())
    assert converted(tensors).keys() == network.state_dict().keys()
    store = WeightStore(roots=(Path(),), read=lambda path: tensors)
    runtime = Runtime(weights=store)
    object.__setattr__(store, "find", lambda wanted: Path(wanted.name))
    entry = dataclasses.replace(preprocessor(name), run=depth.depth_anything(file, TINY_DINO))
    made = entry(scene, runtime=runtime, resolution=64).image
    assert made.shape == (64, 80, 3) and len(np.unique(made)) > 5


def published_names(tensors):
    """The inverse of what the preprocessor does, as the authors' files name things."""
    made = {}
    for name, tensor in tensors.items():
        if ".attention.k_proj." in name or ".attention.v_proj." in name:
            continue
        if ".attention.q_proj." in name:
            parts = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, tensor = name.replace(".attention.q_proj.", ".attn.qkv."), torch.cat(parts)
        for old, new in (
            ("backbone.embeddings.position_embeddings", "pretrained.pos_embed"),
            ("backbone.embeddings.patch_embeddings.projection.", "pretrained.patch_embed.proj."),
            ("backbone.embeddings.", "pretrained."),
            ("backbone.encoder.layer.", "pretrained.blocks."),
            ("backbone.layernorm.", "pretrained.norm."),
            (".layer_scale1.lambda1", ".ls1.gamma"),
            (".layer_scale2.lambda1", ".ls2.gamma"),
            (".attention.o_proj.", ".attn.proj."),
            ("head.conv1.", "depth_head.scratch.output_conv1."),
            ("head.conv2.", "depth_head.scratch.output_conv2.0."),
            ("head.conv3.", "depth_head.scratch.output_conv2.2."),
            *((f"neck.convs.{index}.", f"depth_head.scratch.layer{index + 1}_rn.") for index in range(4)),
            *(
                (f"neck.fusion_stage.layers.{index}.", f"depth_head.scratch.refinenet{4 - index}.")
                for index in range(4)
            ),
            *(
                (f"neck.reassemble_stage.layers.{index}.{ours}.", f"depth_head.{theirs}.{index}.")
                for index in range(4)
                for ours, theirs in (("projection", "projects"), ("resize", "resize_layers"))
            ),
            *(
                (f"residual_layer{unit}.convolution{conv}.", f"resConfUnit{unit}.conv{conv}.")
                for unit in (1, 2)
                for conv in (1, 2)
            ),
        ):
            name = name.replace(old, new)
        made[name.replace(".projection.", ".out_conv.")] = tensor
    return made


def test_boosted_depth_merges_two_estimates(runtime, scene, monkeypatch):
    """On networks of a few weights: the real ones need a minute; that their files load is tested apart."""
    boosting = provider("controlnet_aux.leres.leres.depthmap")
    monkeypatch.setattr(boosting, "pix2pixsize", 64)
    monkeypatch.setattr(boosting, "generatemask", lambda size: np.ones((64, 64), np.float32))

    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def depth_model(self, picture):
            return picture.mean(1, keepdim=True)

    class Mean(nn.Module):
        def forward(self, pair):
            return pair.mean(1, keepdim=True)

    small = Runtime(weights=runtime.weights)
    small.kept("leres", Slope)
    small.kept("leres merge", Mean)
    entry = preprocessor("depth_leres++")
    made = entry(scene, runtime=small, resolution=256).image
    assert made.shape == (256, 320, 3) and len(np.unique(made)) > 20
    brightness = at_resolution(scene, 256).astype(float).mean(axis=2)
    assert np.corrcoef(brightness.ravel(), made[:, :, 0].ravel())[0, 1] < -0.8, "bright is far, and far is dark"
    assert (entry(scene, runtime=small, resolution=256, a=50).image != made).any()
    assert (entry(scene, runtime=small, resolution=256, b=50).image != made).any()


def test_small_pictures_are_not_boosted(runtime, scene):
    class Slope(nn.Module):
        def depth_model(self, picture):
            return picture.mean(1, keepdim=True)

    small = Runtime(weights=runtime.weights)
    small.kept("leres", Slope)
    plain = preprocessor("depth_leres")(scene, runtime=small, resolution=64).image
    assert np.array_equal(preprocessor("depth_leres++")(scene, runtime=small, resolution=64).image, plain)


def test_the_merging_networks_file_loads(runtime):
    from preprocessors.boosted_depth import MERGE, _merging_network

    assert len(runtime.network("leres merge", [MERGE], _merging_network).state_dict()) == len(tensors_of(MERGE))


class Answers(nn.Module):
    """A network that gives the same answer to everything, and counts the questions."""

    def __init__(self, *answers):
        super().__init__()
        self.answers, self.asked = list(answers), 0
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, values):
        self.asked += 1
        return self.answers


def stick_figure_maps(height, width):
    """Heatmaps and limb fields, at an eighth of the size, of one person with all 18 points."""
    y, x = np.mgrid[: height // 8, : width // 8]
    points = [(4 + 5 * (index % 6), 4 + 7 * (index // 6)) for index in range(18)]
    heat = np.stack([np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2) for px, py in points] + [np.zeros_like(x)])
    limbs = np.zeros((38, *x.shape))
    order = [(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)]
    order += [(1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17)]
    fields = [12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26]
    for (start, end), field in zip(order, fields, strict=True):
        way = np.subtract(points[end], points[start])
        limbs[field], limbs[field + 1] = way / np.hypot(*way)
    return torch.tensor(limbs[None], dtype=torch.float32), torch.tensor(heat[None], dtype=torch.float32), points


def test_openpose_finds_a_person_in_its_maps(runtime):
    """The body network sees pictures 184 pixels high; limbs point everywhere along the way they lead."""
    limbs, heat, points = stick_figure_maps(184, 280)
    small = Runtime(weights=runtime.weights, keep=5)
    small.kept("openpose body", lambda: Answers(limbs, heat))
    picture = np.zeros((256, 384, 3), np.uint8)
    made = preprocessor("openpose")(picture, runtime=small, resolution=256)
    poses = Poses.from_json(made.poses)
    assert (poses.width, poses.height) == (384, 256) and len(poses.people) == 1
    body = poses.people[0].body
    for found, (x, y) in zip(body, points, strict=True):
        assert found is not None
        assert found[0] * 384 == pytest.approx((x + 0.5) * 8 * 384 / 276, abs=6)
        assert found[1] * 256 == pytest.approx((y + 0.5) * 8 * 256 / 184, abs=6)
    assert made.image.shape == (256, 384, 3) and made.image.any()


def test_openpose_reads_bodies_hands_and_faces(runtime, monkeypatch):
    """Real networks on the boxes around a known body's wrists and nose."""
    body = (
        (100, 40), (100, 80), (70, 80), (50, 120), (40, 160), (130, 80), (150, 120), (160, 160), (80, 170),
        (78, 220), (76, 270), (120, 170), (122, 220), (124, 270), (94, 34), (106, 34), (80, 38), (120, 38),
    )  # fmt: skip
    monkeypatch.setattr(openpose, "_bodies", lambda work, pixels: [body])
    picture = np.random.default_rng(0).integers(0, 256, (320, 256, 3), dtype=np.uint8)
    small = Runtime(weights=runtime.weights, keep=3)
    small.kept("openpose hand", lambda: Shaped(22))
    small.kept("openpose face", lambda: Shaped(71, as_list=True))
    made = {
        name: preprocessor(name)(picture, runtime=small, resolution=256)
        for name in ("openpose_full", "openpose_hand", "openpose_face", "openpose_faceonly")
    }
    person = Poses.from_json(made["openpose_full"].poses).people[0]
    assert len(person.body) == 18 and len(person.left_hand) == 21 and len(person.right_hand) == 21
    assert len(person.face) == 70
    hand_only = Poses.from_json(made["openpose_hand"].poses).people[0]
    assert hand_only.left_hand == person.left_hand and hand_only.face == ()
    face_only = made["openpose_faceonly"].image
    assert set(np.unique(face_only)) == {0, 255} and (face_only != made["openpose_face"].image).any()
    x, y = person.left_hand[9]
    assert abs(x * 256 - 163) < 25 and abs(y * 320 - 173) < 25


class Shaped(nn.Module):
    """Answers heatmaps at an eighth of the input with a peak in the middle of each."""

    def __init__(self, channels, *, as_list=False):
        super().__init__()
        self.channels, self.as_list = channels, as_list
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, values):
        height, width = values.shape[-2] // 8, values.shape[-1] // 8
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        peak = torch.exp(-((x - width / 2) ** 2 + (y - height / 2) ** 2) / (height / 8) ** 2)
        maps = peak.expand(1, self.channels, height, width).contiguous()
        return [maps] if self.as_list else maps


@pytest.mark.parametrize(("file", "part"), [(openpose.BODY, "body"), (openpose.HAND, "hand"), (openpose.FACE, "face")])
def test_openpose_files_load(file, part, runtime):
    work = types.SimpleNamespace(runtime=runtime)
    estimator = openpose._estimator(work, part, file)
    assert sum(tensor.numel() for tensor in estimator.model.state_dict().values()) == sum(
        tensor.numel() for tensor in tensors_of(file).values()
    )


def dwpose_answers(width, height, points):
    """SimCC rows with every point at 40, 30 of the network's input."""
    rows_x, rows_y = np.zeros((1, points, 2 * width), np.float32), np.zeros((1, points, 2 * height), np.float32)
    rows_x[..., 80], rows_y[..., 60] = 0.9, 0.8
    return rows_x, rows_y


def test_dwpose_and_animals_place_points_in_their_boxes(runtime):
    detector = np.zeros((1, 8400, 85), np.float32)
    # Two boxes of 160 by 320 detector pixels: a person, and a horse (class 17).
    for cell, kind in ((80 * 40 + 20, 0), (80 * 40 + 50, 17)):
        detector[0, cell, 2:4] = np.log([20, 40])
        detector[0, cell, 4] = detector[0, cell, 5 + kind] = 1
    small = Runtime(weights=runtime.weights, keep=3)
    small.kept(onnx_pose.DETECTOR.place, lambda: Answers(detector))
    small.kept(onnx_pose.WHOLE_BODY.place, lambda: Answers(*dwpose_answers(288, 384, 133)))
    small.kept(onnx_pose.ANIMALS.place, lambda: Answers(*dwpose_answers(256, 256, 17)))
    picture = np.zeros((320, 320, 3), np.uint8)
    people = preprocessor("dw_openpose_full")(picture, runtime=small, resolution=320)
    poses = Poses.from_json(people.poses)
    # The box's middle is cell 20, 40 of 8 pixels at half size; its height, widened by a quarter, fills 384 rows.
    scale = 160 * 1.25 / 384
    x, y = 80 + (40 - 144) * scale, 160 + (30 - 192) * scale
    assert len(poses.people) == 1
    assert np.allclose(np.array(poses.people[0].body) * 320, (x, y), atol=0.01)
    assert len(poses.people[0].face) == 70 and len(poses.people[0].right_hand) == 21
    animals = preprocessor("animal_openpose")(picture, runtime=small, resolution=320)
    poses = Poses.from_json(animals.poses)
    scale = 200 / 256
    assert not poses.people and len(poses.animals) == 1
    assert np.allclose(
        np.array(poses.animals[0]) * 320, (200 + (40 - 128) * scale, 160 + (30 - 128) * scale), atol=0.01
    )


def field(number, kind, payload):
    """One field of a protocol buffer: kind 0 is a number, 2 is bytes."""
    key = bytes([number << 3 | kind])
    return key + (bytes([payload]) if kind == 0 else bytes([len(payload)]) + payload)


def test_opencv_runs_onnx_files(tmp_path):
    """A file of two nodes, written byte by byte: Relu and Neg of the same input."""

    def value(name):
        sides = b"".join(field(1, 2, field(1, 0, side)) for side in (1, 1, 2, 2))
        return field(1, 2, name) + field(2, 2, field(1, 2, field(1, 0, 1) + field(2, 2, sides)))

    def node(kind, output):
        return field(1, 2, b"x") + field(2, 2, output) + field(3, 2, output) + field(4, 2, kind)

    graph = b"".join(
        [
            field(1, 2, node(b"Relu", b"a")),
            field(1, 2, node(b"Neg", b"b")),
            field(2, 2, b"g"),
            field(11, 2, value(b"x")),
            field(12, 2, value(b"a")),
            field(12, 2, value(b"b")),
        ]
    )
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7])
    (tmp_path / "two.onnx").write_bytes(
        field(1, 0, 8) + bytes([7 << 3 | 2]) + length + graph + field(8, 2, field(2, 0, 13))
    )
    values = np.array([[[[1, -2], [3, -4]]]], np.float32)
    positive, negative = OnnxNetwork(str(tmp_path / "two.onnx"))(values)
    assert np.array_equal(positive, np.maximum(values, 0)) and np.array_equal(negative, -values)
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"broken\.onnx"):
        OnnxNetwork(str(tmp_path / "broken.onnx"))


def test_our_pose_network_draws_whom_it_sees(runtime, scene, monkeypatch):
    people = torch.ones(1, 18, 3)
    people[0, :, 0] = torch.linspace(60, 260, 18)
    people[0, :, 1] = torch.linspace(40, 220, 18)
    heatmaps, ways, _ = pose_targets(people, 256, 320)
    monkeypatch.setattr(MiniPose, "predict", lambda self, pictures: (heatmaps[None], ways[None]))
    made = preprocessor("openpose_mini")(scene, runtime=runtime, resolution=128)
    (person,) = Poses.from_json(made.poses).people
    assert made.image.shape == (128, 160, 3) and made.image.any()
    for found, (x, y, _) in zip(person.body, people[0].tolist(), strict=True):
        assert found == pytest.approx((x / 320, y / 256), abs=0.005)


def test_networks_come_from_files_on_disk(tmp_path, scene):
    """Safetensors and wrapped pickles through the project's own reader."""
    from safetensors.torch import save_file

    (tmp_path / "mini").mkdir()
    save_file({name: tensor.half() for name, tensor in tensors_of(mini.DEPTH).items()}, tmp_path / mini.DEPTH.place)
    (tmp_path / "pidinet").mkdir()
    torch.save({"state_dict": tensors_of(softedge.PIDINET)}, tmp_path / softedge.PIDINET.place)
    (tmp_path / "normal_bae").mkdir()
    torch.save({"model": {"module.x": torch.zeros(2)}}, tmp_path / normal.BAE.place)
    runtime = Runtime(weights=WeightStore(roots=(tmp_path,), read=read_state_dict))
    assert preprocessor("depth_mini")(scene, runtime=runtime, resolution=64).image.std() > 0
    assert preprocessor("pidinet")(scene, runtime=runtime, resolution=64).image.shape == (64, 80, 3)
    with pytest.raises(CheckpointError, match=r"'scannet\.pt': the file does not hold the expected network"):
        preprocessor("normal_bae")(scene, runtime=runtime, resolution=64)


def test_missing_files_are_listed_with_place_and_address(tmp_path, scene):
    runtime = Runtime(weights=WeightStore(roots=(tmp_path / "ControlNetPreprocessor",), read=read_state_dict))
    with pytest.raises(WeightsMissing) as caught:
        preprocessor("depth_leres++")(scene, runtime=runtime)
    assert "ControlNetPreprocessor/leres/res101.pth (from https://huggingface.co/lllyasviel/Annotators/" in str(
        caught.value
    )
    with pytest.raises(WeightsMissing) as caught:
        runtime.weights.paths(preprocessor("openpose_full").weights)
    assert [place.rpartition("/")[2] for place, _ in caught.value.files] == [
        "body_pose_model.pth",
        "hand_pose_model.pth",
        "facenet.pth",
    ]
    assert caught.value.status == 422


def test_missing_files_are_fetched_into_the_first_folder(tmp_path, scene):
    fetched = []

    def download(file, target):
        fetched.append(file.url)
        target.parent.mkdir(parents=True)
        torch.save(tensors_of(file), target)
        return target

    store = WeightStore(roots=(tmp_path / "own", tmp_path / "other"), read=read_state_dict, download=download)
    runtime = Runtime(weights=store)
    for _ in range(2):
        preprocessor("pidinet")(scene, runtime=runtime, resolution=64)
    assert fetched == ["https://huggingface.co/lllyasviel/Annotators/resolve/main/table5_pidinet.pth"]
    assert (tmp_path / "own" / "pidinet" / "table5_pidinet.pth").is_file()

    def offline(file, target):
        raise DownloadError("no route")

    broken = Runtime(weights=dataclasses.replace(store, download=offline))
    with pytest.raises(DownloadError, match="no route"):
        preprocessor("hed")(scene, runtime=broken)
    with pytest.raises(WeightsMissing, match="mini/depth_mini"):
        preprocessor("depth_mini")(scene, runtime=broken)


def test_files_lie_in_their_folder_or_directly_in_a_root(tmp_path):
    store = WeightStore(roots=(tmp_path / "a", tmp_path / "b"), read=read_state_dict)
    assert store.find(softedge.HED) is None
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "ControlNetHED.pth").touch()
    assert store.find(softedge.HED) == tmp_path / "b" / "ControlNetHED.pth"
    (tmp_path / "a" / "hed").mkdir(parents=True)
    (tmp_path / "a" / "hed" / "ControlNetHED.pth").touch()
    assert store.find(softedge.HED) == tmp_path / "a" / "hed" / "ControlNetHED.pth"


def test_networks_are_kept_up_to_a_number_and_forgotten_on_request(runtime):
    made = []

    def make():
        made.append(nn.Linear(1, 1))
        return made[-1]

    own = Runtime(weights=runtime.weights, keep=2)
    first = own.kept("a", make)
    assert own.kept("a", make) is first and not first.training and not first.weight.requires_grad
    own.kept("b", make)
    own.kept("a", make)
    own.kept("c", make)
    assert len(own) == 2 and own.kept("a", make) is first
    own.clear()
    assert len(own) == 0 and own.kept("a", make) is not first


def test_the_default_is_what_has_its_files(tmp_path):
    store = WeightStore(roots=(tmp_path,), read=read_state_dict)

    def put(*files):
        for file in files:
            (tmp_path / file.place).parent.mkdir(exist_ok=True)
            (tmp_path / file.place).touch()

    assert default_for("Depth").name == "depth" and default_for("Depth", store).name == "depth"
    put(mini.DEPTH, mini.POSE)
    assert default_for("Depth", store).name == "depth_mini" and default_for("OpenPose", store).name == "openpose_mini"
    put(depth.LERES)
    assert default_for("Depth", store).name == "depth_leres"
    put(depth.MIDAS, openpose.BODY)
    assert default_for("Depth", store).name == "depth" and default_for("OpenPose", store).name == "openpose"
    assert default_for("Canny", store).name == "canny" and default_for("SoftEdge", store).name == "pidinet"
    assert default_for("Scribble", store).name == "invert" and default_for("InstructP2P", store).name == "none"


def test_damage_is_told_with_the_files_name():
    with pytest.raises(CheckpointError, match=r"'netG\.pth'"), loading([lineart.ANIME]):
        raise KeyError("x")
