"""The checkpoint list: order, names, look-up, hashes, and files that are no checkpoints."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.checkpoints.detect import CONV_IN, detect_header
from pipelines.checkpoints.files import TensorHeader
from pipelines.checkpoints.hashes import HashCache, HashCancelled, old_hash
from pipelines.checkpoints.model import CheckpointInfo, Family, Prediction
from pipelines.checkpoints.scan import CheckpointList
from pipelines.checkpoints.vaes import VaeList
from schema.errors import CheckpointError, CheckpointNotFound

CASES = json.loads((Path(__file__).parents[1] / "data" / "pure" / "hashes.json").read_text())["cases"]
SD1_KEYS = {
    CONV_IN: torch.zeros(32, 4, 3, 3),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": torch.zeros(8),
}


def checkpoint(path: Path, tag: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(SD1_KEYS | {"tag": torch.tensor([tag])}, path)
    return path


@pytest.mark.parametrize("case", [case for case in CASES if case["input"]["op"] == "checkpoint"], ids=lambda c: c["id"])
def test_hashes_are_those_of_the_reference(tmp_path, case):
    length, k = case["input"]["length"], case["input"]["k"]
    path = tmp_path / "x.ckpt"
    path.write_bytes(bytes((i * k + (i >> 8)) % 256 for i in range(length)))
    digest = HashCache().sha256(path)
    info = CheckpointInfo(path=path, name="x.ckpt", sha256=digest)
    output = {"old_hash": old_hash(path), "sha256": digest, "short": info.short_hash}
    assert output == case["output"]


def test_old_hash_of_a_missing_file_says_so(tmp_path):
    assert old_hash(tmp_path / "x") == "NOFILE"


def test_order_is_natural_per_folder_and_earlier_roots_come_first(tmp_path):
    for name in ("b/model 10", "b/model 2", "z", "A/x"):
        checkpoint(tmp_path / "models" / f"{name}.safetensors")
    checkpoint(tmp_path / "extra" / "last.safetensors")
    checkpoint(tmp_path / "models" / "z.vae.safetensors")
    single = checkpoint(tmp_path / "single.safetensors")
    listed = CheckpointList([tmp_path / "extra", tmp_path / "models", tmp_path / "missing"], extra=single)
    assert [info.name for info in listed] == [
        "single.safetensors",
        "last.safetensors",
        "z.safetensors",
        "A/x.safetensors",
        "b/model 2.safetensors",
        "b/model 10.safetensors",
    ]


def test_symbolic_links_are_followed_once(tmp_path):
    checkpoint(tmp_path / "elsewhere" / "far.safetensors")
    root = tmp_path / "models"
    checkpoint(root / "near.safetensors")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    assert [info.name for info in CheckpointList([root])] == ["near.safetensors", "link/far.safetensors"]


def test_every_id_of_the_reference_finds_the_checkpoint(tmp_path):
    path = checkpoint(tmp_path / "sub" / "my model.safetensors")
    checkpoint(tmp_path / "other.safetensors", tag=1)
    listed = CheckpointList([tmp_path])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    info = listed.hashed(listed.get("my model"))
    assert info.title == f"sub/my model.safetensors [{digest[:10]}]"
    names = [info.title, info.name, "my model", "sub_my model", digest, digest[:10], f"my model [{digest[:10]}]"]
    names += [old_hash(path), f"{info.name} [{old_hash(path)}]", "y mod", "my model.safetensors [0000000000]"]
    assert [listed.find(name) for name in names] == [info] * len(names)


def test_shortest_title_wins_and_a_missing_name_is_refused_with_a_hint(tmp_path):
    for name in ("photo-long-name", "photo"):
        checkpoint(tmp_path / f"{name}.safetensors")
    listed = CheckpointList([tmp_path])
    assert listed.get("phot").name == "photo.safetensors"
    assert listed.find("") is None
    with pytest.raises(CheckpointNotFound, match=r"Closest: 'photo\.safetensors'"):
        listed.get("photos.safetensor")


def test_garbage_is_listed_with_its_problem_and_takes_nothing_down(tmp_path):
    good = checkpoint(tmp_path / "good.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-3])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model_index.json").write_text("{")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(4, 8)}, tmp_path / "lora.safetensors")
    problems = {info.name: info.problem for info in CheckpointList([tmp_path])}
    assert problems.pop("good.safetensors") is None
    assert "truncated" in problems.pop("cut.safetensors")
    assert "LoRA" in problems.pop("lora.safetensors")
    assert problems.keys() == {"empty.ckpt", "dangling.safetensors", "folder"}
    assert all(problems.values())


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "LoRA"),
        ("down_blocks.0.attentions.0.to_q.lora_A.weight", "LoRA"),
        ("encoder.down.0.block.0.conv1.weight", "no Stable Diffusion checkpoint"),
        ("decoder.up.0.block.0.conv1.weight", "VAE"),
        ("first_stage_model.decoder.up.0.block.0.conv1.weight", "VAE"),
        ("decoder.up_blocks.0.resnets.0.conv1.weight", "VAE"),
        ("model.0.weight.RDB1.conv1", "upscaler"),
        ("conv_first.weight", "upscaler"),
        ("control_model.input_blocks.0.0.weight", "ControlNet"),
        ("controlnet_cond_embedding.conv_in.weight", "ControlNet"),
        ("string_to_param.*", "embedding"),
        ("emb_params", "embedding"),
        ("model.diffusion_model.x_embedder.proj.weight", "Stable Diffusion 3"),
        ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux"),
        ("down_blocks.0.resnets.0.conv1.weight", "UNet alone"),
    ],
)
def test_other_kinds_of_files_are_named(key, kind):
    with pytest.raises(CheckpointError, match=kind):
        detect_header({key: TensorHeader(shape=(1,), dtype="F16")}, "file")


def header(*keys: str, channels: int = 4) -> dict[str, TensorHeader]:
    tensors = {key: TensorHeader(shape=(1,), dtype="F16") for key in keys}
    return tensors | {CONV_IN: TensorHeader(shape=(320, channels, 3, 3), dtype="F16")}


@pytest.mark.parametrize(
    ("tensors", "family", "prediction"),
    [
        (header("cond_stage_model.transformer.text_model.x"), Family.SD1, Prediction.EPS),
        (header("cond_stage_model.transformer.embeddings.x", channels=9), Family.SD1, Prediction.EPS),
        (header("cond_stage_model.model.x"), Family.SD2, None),
        (header("cond_stage_model.model.x", channels=9), Family.SD2, Prediction.EPS),
        (header("conditioner.embedders.1.model.ln_final.weight"), Family.SDXL, Prediction.EPS),
        (header("conditioner.embedders.1.model.ln_final.weight", "v_pred"), Family.SDXL, Prediction.V),
        (
            header("conditioner.embedders.0.model.ln_final.weight", "model.diffusion_model.label_emb.0.0.weight"),
            Family.SDXL_REFINER,
            Prediction.EPS,
        ),
        (header("conditioner.embedders.0.model.ln_final.weight"), Family.SD2, None),
    ],
)
def test_family_and_prediction_are_told_from_key_names(tensors, family, prediction):
    found = detect_header(tensors, "file")
    assert (found.family, found.prediction, found.in_channels) == (family, prediction, tensors[CONV_IN].shape[1])


@pytest.mark.parametrize(("keys", "why"), [(("depth_model.x",), "depth"), ((), "no text encoder")])
def test_checkpoints_that_cannot_run_say_why(keys, why):
    with pytest.raises(CheckpointError, match=why):
        detect_header(header(*keys), "file")


def test_a_depth_model_is_refused_by_name_before_its_channels():
    with pytest.raises(CheckpointError, match="depth"):
        detect_header(header("depth_model.x", channels=5), "file")


def test_hash_is_remembered_until_the_file_changes(tmp_path):
    path = checkpoint(tmp_path / "a.safetensors")
    first = HashCache(tmp_path / "cache.json").sha256(path)
    cache = HashCache(tmp_path / "cache.json")
    assert cache.known(path) == first
    assert CheckpointList([tmp_path], hashes=cache).titles == [f"a.safetensors [{first[:10]}]"]
    checkpoint(path, tag=123456)
    path.write_bytes(path.read_bytes() + b" ")
    assert cache.known(path) is None
    assert cache.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest() != first


def test_damaged_hash_cache_starts_anew(tmp_path):
    (tmp_path / "cache.json").write_text("{ nonsense")
    path = checkpoint(tmp_path / "a.safetensors")
    cache = HashCache(tmp_path / "cache.json")
    assert cache.known(path) is None
    cache.sha256(path)
    assert HashCache(tmp_path / "cache.json").known(path) == cache.known(path)
    assert not list(tmp_path.glob("*.tmp"))


def test_background_hashing_reports_progress_and_titles_appear(tmp_path):
    sizes = [checkpoint(tmp_path / f"{i}.safetensors", tag=i).stat().st_size for i in range(3)]
    listed = CheckpointList([tmp_path])
    seen = []
    listed.hash_all(threading.Event(), lambda *progress: seen.append(progress))
    assert seen[-1] == ("2.safetensors", sum(sizes), sum(sizes))
    assert all("[" in title for title in listed.titles)


def test_cancelled_hashing_stops(tmp_path):
    path = checkpoint(tmp_path / "a.safetensors")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(HashCancelled):
        HashCache().sha256(path, cancel=cancel)
    listed = CheckpointList([tmp_path])
    listed.hash_all(cancel)
    assert listed.titles == ["a.safetensors"]


@pytest.fixture
def vaes(tmp_path):
    for name in ("ckpt/model.vae.pt", "ckpt/model.ckpt", "vae/fine.safetensors", "vae/model.vae.pt", "vae/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return VaeList([tmp_path / "ckpt"], [tmp_path / "vae"])


def test_vae_list_holds_files_by_name_and_later_folders_win(vaes, tmp_path):
    assert vaes.choices == ["Automatic", "None", "fine.safetensors", "model.vae.pt"]
    assert vaes.files["model.vae.pt"] == tmp_path / "vae" / "model.vae.pt"


@pytest.mark.parametrize(
    ("stem", "arguments", "chosen"),
    [
        ("model", {}, "model.vae.pt"),
        ("mod", {}, "model.vae.pt"),
        ("other", {}, None),
        ("model", {"setting": "None"}, None),
        ("model", {"setting": "fine.safetensors"}, "fine.safetensors"),
        ("model", {"setting": "fine.safetensors", "setting_overrides": False}, "model.vae.pt"),
        ("other", {"setting": "fine.safetensors", "setting_overrides": False}, "fine.safetensors"),
        ("model", {"preferred": "fine.safetensors"}, "fine.safetensors"),
        ("model", {"preferred": "None"}, None),
        ("other", {"setting": "gone.pt"}, None),
        ("model", {"forced": Path("/x/forced.pt"), "setting": "None"}, "forced.pt"),
    ],
)
def test_vae_is_chosen_as_in_the_reference(vaes, stem, arguments, chosen):
    info = CheckpointInfo(path=Path(f"/m/{stem}.safetensors"), name=f"{stem}.safetensors")
    path = vaes.choose(info, **arguments)
    assert (path.name if path else None) == chosen
