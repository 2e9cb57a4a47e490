"""POST txt2img, img2img, extras and png-info."""

import base64
import html
import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel

from api.bodies import Img2ImgBody, RouteOptions, Txt2ImgBody, request_values, unknown_keys
from api.scripts import always_on_values
from pipelines.extras_job import RECORDS
from pipelines.jobs import Job
from pipelines.manager import PipelineManager
from pipelines.output.metadata import read_infotext
from schema.errors import WebuiError
from schema.extras import ExtrasBatchRequest, ExtrasSingleRequest
from schema.images import decode_base64_image, encode_base64_image
from schema.infotext import parse_infotext
from schema.requests import Img2ImgRequest, Txt2ImgRequest
from schema.results import GeneratedImage, GenerationResult


class PngInfoBody(BaseModel):
    """A picture whose record is wanted."""

    image: str


def generation_routes(manager: PipelineManager) -> APIRouter:
    """The routes that make pictures or read their records."""
    router = APIRouter()

    @router.post("/sdapi/v1/txt2img")
    def txt2img(body: Annotated[Txt2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        return _generate(manager, body, Txt2ImgRequest)

    @router.post("/sdapi/v1/img2img")
    def img2img(body: Annotated[Img2ImgBody, Body()]) -> dict[str, Any]:  # type: ignore[valid-type]
        if not getattr(body, "init_images", None):
            raise HTTPException(404, "Init image not found")
        return _generate(manager, body, Img2ImgRequest)

    @router.post("/sdapi/v1/extra-single-image")
    def extra_single_image(body: ExtrasSingleRequest) -> dict[str, Any]:
        result = finished(manager.submit(body.batch(), owner="api", save=False))
        return {"html_info": _html(result), "image": encode_base64_image(result.images[0].image)}

    @router.post("/sdapi/v1/extra-batch-images")
    def extra_batch_images(body: ExtrasBatchRequest) -> dict[str, Any]:
        result = finished(manager.submit(body.batch(), owner="api", save=False))
        return {"html_info": _html(result), "images": [encode_base64_image(image.image) for image in result.images]}

    @router.post("/sdapi/v1/png-info")
    def png_info(body: PngInfoBody) -> dict[str, Any]:
        infotext, items = read_infotext(decode_base64_image(body.image))
        fields = parse_infotext(infotext or "", **manager.infotext_context()).fields
        return {"info": infotext or "", "items": items, "parameters": fields}

    _ = txt2img, img2img, extra_single_image, extra_batch_images, png_info
    return router


def _generate(
    manager: PipelineManager, body: RouteOptions, request_type: type[Txt2ImgRequest | Img2ImgRequest]
) -> dict[str, Any]:
    values = request_values(body, request_type)
    values["sampler_name"] = values.get("sampler_name") or body.sampler_index or "Euler"
    notes = [f"Unknown key '{key}' was not used." for key in unknown_keys(body)]
    if body.infotext:
        values, more = _with_infotext(manager, body, request_type, values)
        notes += more
    scripted, more = always_on_values(
        body.alwayson_scripts or {},
        [script.name for kind in ("txt2img", "img2img") for script in manager.scripts(kind)],
    )
    notes += more
    request = request_type(**(values | scripted))
    job = manager.submit(request, owner="api", save=body.save_images, job_id=body.force_task_id, lenient=True)
    result = finished(job)
    images = [_encoded(manager, image) for image in result.images] if body.send_images else []
    info = dict(result.info)
    if warnings := [*notes, *result.notes]:
        info["warnings"] = warnings
    return {"images": images, "parameters": _echo(body), "info": json.dumps(info)}


def _with_infotext(
    manager: PipelineManager, body: RouteOptions, request_type: type[BaseModel], values: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Fills fields that the caller did not send from `body.infotext`; settings become overrides.

    Source: A1111 modules/api/api.py, apply_infotext.
    """
    pasted = manager.paste(body.infotext or "", request_type)
    sent = body.model_fields_set | ({"sampler_name"} if "sampler_index" in body.model_fields_set else set())
    taken = {name: value for name, value in pasted.values.items() if name not in sent}
    overrides = pasted.override_settings | (values.get("override_settings") or {})
    return values | taken | {"override_settings": overrides}, list(pasted.notes)


def finished(job: Job) -> GenerationResult:
    """Waits for `job` and hands back what it delivered.

    Raises:
        WebuiError: What made it fail, when that was something to tell.
        RuntimeError: What made it fail otherwise.
    """
    job.wait()
    if isinstance(job.exception, WebuiError):
        raise job.exception
    if job.exception is not None:
        raise RuntimeError(job.error) from job.exception
    assert job.result is not None
    return job.result


def _encoded(manager: PipelineManager, image: GeneratedImage) -> str:
    return base64.b64encode(manager.encode_image(image)).decode("ascii")


def _echo(body: RouteOptions) -> dict[str, Any]:
    """The request as understood, without the pictures it carried."""
    hidden = set() if body.include_init_images else {"init_images", "mask"}
    return body.model_dump(mode="json", exclude=hidden | set(body.model_extra or {})) | dict.fromkeys(
        hidden & set(type(body).model_fields)
    )


def _html(result: GenerationResult) -> str:
    """The record of the last picture as a paragraph. Source: A1111 modules/postprocessing.py, run_postprocessing."""
    records = result.info.get(RECORDS) or [""]
    record = str(records[-1])
    return f"<p>{html.escape(record)}</p>" if record else ""
