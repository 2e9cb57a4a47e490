"""ComfyUI's embedded graph read as a generation record: what sampled the picture, from which prompts and models.

A graph may compute anything; what is not found along the links from the sampler is left out rather than guessed.

Source: ComfyUI's API format ("prompt"): node id → class_type and inputs; an input is a value or [node id, output].
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from schema.infotext import format_infotext

_log = logging.getLogger(__name__)

LARGEST_TEXT = 8 << 20

SAMPLERS: Mapping[str, str] = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpm_adaptive": "DPM adaptive",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_heun": "DPM++ 2M SDE Heun",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "lcm": "LCM",
    "ddim": "DDIM",
    "uni_pc": "UniPC",
    "uni_pc_bh2": "UniPC",
}
"""ComfyUI's names → A1111's; `_gpu` at the end only says where noise comes from."""

SCHEDULES: Mapping[str, str] = {
    "normal": "Normal",
    "karras": "Karras",
    "exponential": "Exponential",
    "sgm_uniform": "SGM Uniform",
    "simple": "Simple",
    "ddim_uniform": "DDIM",
    "beta": "Beta",
    "kl_optimal": "KL Optimal",
}

Inputs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Node:
    kind: str
    inputs: Inputs


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The nodes by id, and walks along their links."""

    nodes: Mapping[str, _Node]

    def source(self, value: object) -> str | None:
        """The id of the node that `value` links to, or None where it is no link."""
        if isinstance(value, list):
            items = cast(list[object], value)
            if len(items) == 2 and str(items[0]) in self.nodes:
                return str(items[0])
        return None

    def upstream(self, start: str) -> Iterator[tuple[str, _Node]]:
        """`start` and every node it depends on, nearest first, each once."""
        waiting, seen = [start], {start}
        while waiting:
            name = waiting.pop(0)
            node = self.nodes[name]
            yield name, node
            for value in node.inputs.values():
                source = self.source(value)
                if source is not None and source not in seen:
                    seen.add(source)
                    waiting.append(source)

    def value(self, node: _Node, *keys: str) -> Any:
        """The first of the inputs `keys` that `node` has, followed to the node that holds it."""
        for key in keys:
            found, seen = node.inputs.get(key), set[str]()
            while (source := self.source(found)) is not None and source not in seen:
                seen.add(source)
                held = self.nodes[source].inputs
                found = next((held[name] for name in (key, *_HELD_IN) if name in held), None)
            if found is not None and not isinstance(found, list | dict):
                return found
        return None

    def nearest(self, start: str, *keys: str) -> Any:
        """The first value of one of `keys` at or above `start`."""
        for _, node in self.upstream(start):
            found = self.value(node, *keys)
            if found is not None:
                return found
        return None

    def texts(self, value: object, side: str, seen: set[str]) -> list[str]:
        """Prompts that lead to a conditioning; `side` is the input to follow where there are two."""
        source = self.source(value)
        if source is None or source in seen:
            return []
        seen.add(source)
        node = self.nodes[source]
        own = [self.value(node, key) for key in _TEXT_INPUTS if key in node.inputs]
        if texts := list(dict.fromkeys(text.strip() for text in own if isinstance(text, str) and text.strip())):
            return texts
        links = [node.inputs[side]] if side in node.inputs else _conditionings(node)
        return [text for link in links for text in self.texts(link, side, seen)]


_HELD_IN = ("value", "string", "text", "seed", "int", "float", "number", "Value", "Text")
"""Inputs in which primitive nodes keep what they hand on."""

_TEXT_INPUTS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt")


def _conditionings(node: _Node) -> list[object]:
    return [value for key, value in node.inputs.items() if key.startswith(("conditioning", "positive", "guider"))]


def comfyui_infotext(items: Mapping[str, str], size: tuple[int, int]) -> str | None:
    """The record of a picture whose texts hold a ComfyUI graph under "prompt"; None where nothing sampled it.

    Args:
        size: Of the picture, where the graph does not tell the size it was sampled at.
    """
    graph = _graph(items.get("prompt", ""))
    if graph is None:
        return None
    sampler = _first_sampler(graph)
    if sampler is None:
        return None
    try:
        return _record(graph, sampler, size)
    except (TypeError, ValueError, RecursionError) as error:
        _log.warning("The picture's ComfyUI graph could not be read: %s", error)
        return None


def _graph(text: str) -> _Graph | None:
    if not text.lstrip().startswith("{") or len(text) > LARGEST_TEXT:
        return None
    try:
        entries: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    nodes: dict[str, _Node] = {}
    for name, entry in cast(dict[str, Any], entries).items():
        inputs = cast(dict[str, Any], entry).get("inputs") if isinstance(entry, dict) else None
        if isinstance(inputs, dict):
            kind = str(cast(dict[str, Any], entry).get("class_type", ""))
            nodes[name] = _Node(kind=kind, inputs=cast(dict[str, Any], inputs))
    return _Graph(nodes=nodes) if nodes else None


def _first_sampler(graph: _Graph) -> str | None:
    """The sampler that began the picture: the last one on the way up from what was saved."""
    ends = [name for name, node in graph.nodes.items() if node.kind.startswith(("SaveImage", "PreviewImage"))]
    for end in ends or list(graph.nodes):
        found = [name for name, node in graph.upstream(end) if _is_sampler(node)]
        if found:
            return found[-1]
    return None


def _is_sampler(node: _Node) -> bool:
    return "Sampler" in node.kind and any(key in node.inputs for key in ("latent_image", "samples", "latent"))


def _record(graph: _Graph, name: str, size: tuple[int, int]) -> str:
    node = graph.nodes[name]
    guider = graph.nodes.get(graph.source(node.inputs.get("guider")) or "", node)
    prompts = graph.texts(guider.inputs.get("positive", guider.inputs.get("conditioning")), "positive", set())
    negative = graph.texts(guider.inputs.get("negative"), "negative", set())
    above = [each for _, each in graph.upstream(name)]
    prompts += [tag for each in above if (tag := _lora_tag(graph, each))]
    latent = next((each for each in above if {"width", "height"} <= each.inputs.keys() and "Latent" in each.kind), None)
    width, height = (graph.value(latent, "width"), graph.value(latent, "height")) if latent else size
    checkpoint = graph.nearest(name, "ckpt_name", "unet_name")
    layer = graph.nearest(name, "stop_at_clip_layer")
    denoise = graph.nearest(name, "denoise")
    fields: dict[str, object] = {
        "Steps": graph.nearest(name, "steps"),
        "Sampler": _named(SAMPLERS, graph.nearest(name, "sampler_name")),
        "Schedule type": _named(SCHEDULES, graph.nearest(name, "scheduler")),
        "CFG scale": graph.nearest(name, "cfg"),
        "Seed": graph.nearest(name, "seed", "noise_seed"),
        "Size": f"{width}x{height}",
        "Model": PurePosixPath(str(checkpoint).replace("\\", "/")).stem if checkpoint else None,
        "VAE": graph.nearest(_decoder(graph, name) or name, "vae_name"),
        "Denoising strength": denoise if denoise is not None and float(denoise) < 1 else None,
        "Clip skip": -int(layer) if layer is not None and int(layer) < -1 else None,
        "RNG": "CPU",
        "Version": "ComfyUI",
    }
    return format_infotext(", ".join(prompts), ", ".join(negative), fields)


def _decoder(graph: _Graph, sampler: str) -> str | None:
    """The node that turned the latents into a picture: it names the VAE."""
    decoders = [name for name, node in graph.nodes.items() if node.kind.startswith("VAEDecode")]
    return next((name for name in decoders if any(above == sampler for above, _ in graph.upstream(name))), None)


def _lora_tag(graph: _Graph, node: _Node) -> str | None:
    file = graph.value(node, "lora_name")
    if not isinstance(file, str) or "Lora" not in node.kind:
        return None
    strength = graph.value(node, "strength_model", "strength")
    return f"<lora:{PurePosixPath(file.replace(chr(92), '/')).stem}:{strength if strength is not None else 1}>"


def _named(names: Mapping[str, str], value: object) -> str | None:
    """A1111's name for ComfyUI's `value`; an unknown one as it is."""
    if value is None:
        return None
    text = str(value).removesuffix("_gpu")
    return names.get(text, text)
