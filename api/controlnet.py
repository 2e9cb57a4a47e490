"""The ControlNet extension's routes under `/controlnet`."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel, ConfigDict

from pipelines.control.service import DetectedMap, Parameter, Preprocessor
from pipelines.manager import PipelineManager
from schema.controlnet import NO_MODULE
from schema.errors import UnknownName
from schema.images import decode_base64_image, encode_base64_image

API_VERSION = 3
_NOT_SUPPORTED = ("clip_vision", "revision_clipvision", "revision_ignore_prompt", "ip-adapter-auto")
_NO_POSES = "No pose data detected."


class DetectBody(BaseModel):
    """Pictures to run a preprocessor on; unknown keys are ignored, as the extension does."""

    model_config = ConfigDict(allow_inf_nan=False)

    controlnet_module: str = NO_MODULE
    controlnet_input_images: list[str] = []
    controlnet_processor_res: float = -1
    controlnet_threshold_a: float = -1
    controlnet_threshold_b: float = -1
    controlnet_masks: list[str] = []
    low_vram: bool = False


def controlnet_routes(manager: PipelineManager) -> APIRouter:
    """Lists of models, modules and control types, and preprocessing.

    Source: sd-webui-controlnet scripts/api.py, controlnet_api.
    """
    router = APIRouter()
    _add_lists(router, manager)
    _add_detection(router, manager)
    return router


def _add_lists(router: APIRouter, manager: PipelineManager) -> None:
    @router.get("/controlnet/version")
    def version() -> dict[str, int]:
        return {"version": API_VERSION}

    @router.get("/controlnet/settings")
    def settings() -> dict[str, int]:
        return {"control_net_unit_count": manager.settings.settings.control_net_unit_count}

    @router.get("/controlnet/model_list")
    def model_list(update: bool = True) -> dict[str, list[str]]:
        return {"model_list": manager.control.model_names(update=update)}

    @router.get("/controlnet/module_list")
    def module_list(alias_names: bool = False) -> dict[str, Any]:
        entries = {entry.label if alias_names else entry.name: entry for entry in manager.control.preprocessors}
        return {
            "module_list": list(entries),
            "module_detail": {
                name: {"model_free": entry.model_free, "sliders": _sliders(entry)} for name, entry in entries.items()
            },
        }

    @router.get("/controlnet/control_types")
    def control_types() -> dict[str, dict[str, Any]]:
        return {
            "control_types": {
                name: {
                    "module_list": list(choices.module_list),
                    "model_list": list(choices.model_list),
                    "default_option": choices.default_option,
                    "default_model": choices.default_model,
                }
                for name, choices in manager.control.types().items()
            }
        }

    _ = version, settings, model_list, module_list, control_types


def _sliders(entry: Preprocessor) -> list[dict[str, Any]]:
    sliders = [] if entry.resolution is None else [_slider(entry.resolution)]
    return [*sliders, *(_slider(slider) for slider in entry.sliders)]


def _slider(slider: Parameter) -> dict[str, Any]:
    return {
        "name": slider.label,
        "value": slider.default,
        "min": slider.minimum,
        "max": slider.maximum,
        "step": slider.step,
    }


def _add_detection(router: APIRouter, manager: PipelineManager) -> None:
    @router.post("/controlnet/detect")
    def detect(body: DetectBody) -> dict[str, Any]:
        entry = _checked_module(manager, body)
        found = [_detected(manager, body, entry, number) for number in range(len(body.controlnet_input_images))]
        answer: dict[str, Any] = {"info": "Success", "images": [encode_base64_image(each.image) for each in found]}
        if "openpose" in entry.name:
            answer["poses"] = [each.poses for each in found if each.poses is not None]
        return answer

    @router.post("/controlnet/render_openpose_json")
    def render_openpose_json(poses: Annotated[list[Any], Body()]) -> dict[str, Any]:
        if not poses:
            return {"info": _NO_POSES}
        images = manager.control.render_poses([_parsed(pose) for pose in poses])
        return {"images": [encode_base64_image(image) for image in images], "info": "Success"}

    _ = detect, render_openpose_json


def _parsed(pose: Any) -> Any:
    """A pose that may come as the text of its JSON."""
    if not isinstance(pose, str):
        return pose
    try:
        return json.loads(pose)
    except ValueError as error:
        raise HTTPException(422, f"A pose is no JSON: {error}.") from error


def _checked_module(manager: PipelineManager, body: DetectBody) -> Preprocessor:
    try:
        entry = manager.control.preprocessor(body.controlnet_module)
    except UnknownName as error:
        raise HTTPException(422, "Module not available") from error
    if entry.name in _NOT_SUPPORTED or not entry.returns_image:
        raise HTTPException(422, "Module not supported")
    if not body.controlnet_input_images:
        raise HTTPException(422, "No image selected")
    if entry.requires_mask and len(body.controlnet_masks) != len(body.controlnet_input_images):
        raise HTTPException(422, f"Preprocessor {entry.name} requires `controlnet_masks` param.")
    return entry


def _detected(manager: PipelineManager, body: DetectBody, entry: Preprocessor, number: int) -> DetectedMap:
    mask = body.controlnet_masks[number] if entry.requires_mask else None
    return manager.control.detect(
        entry.name,
        decode_base64_image(body.controlnet_input_images[number]),
        mask=decode_base64_image(mask) if mask is not None else None,
        resolution=body.controlnet_processor_res,
        a=body.controlnet_threshold_a,
        b=body.controlnet_threshold_b,
    )
