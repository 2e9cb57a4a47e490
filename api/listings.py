"""The lists clients fill their dropdowns from, and the routes that refresh them."""

from typing import Any

from fastapi import APIRouter

from api.script_info import script_infos
from pipelines.manager import PipelineManager
from pipelines.memory import memory_report
from pipelines.sampling.catalogue import SAMPLERS, SCHEDULES, SamplerSpec
from schema.requests import LATENT_UPSCALE_MODES

_ALWAYS_ON_TITLES = ("controlnet", "extra options", "refiner", "sampler", "seed")


def listing_routes(manager: PipelineManager) -> APIRouter:
    """Samplers, schedules, models, networks, styles, scripts."""
    router = APIRouter()
    _add_fixed_lists(router)
    _add_model_lists(router, manager)
    _add_model_actions(router, manager)
    _add_script_lists(router, manager)
    return router


def _add_fixed_lists(router: APIRouter) -> None:
    @router.get("/sdapi/v1/samplers")
    def samplers() -> list[dict[str, Any]]:
        return [
            {"name": spec.name, "aliases": list(spec.aliases), "options": _sampler_options(spec)} for spec in SAMPLERS
        ]

    @router.get("/sdapi/v1/schedulers")
    def schedulers() -> list[dict[str, Any]]:
        return [
            {
                "name": spec.key,
                "label": spec.name,
                "aliases": list(spec.other_names) or None,
                "default_rho": -1.0 if spec.default_rho is None else spec.default_rho,
                "need_inner_model": spec.needs_model,
            }
            for spec in SCHEDULES
        ]

    @router.get("/sdapi/v1/latent-upscale-modes")
    def latent_upscale_modes() -> list[dict[str, str]]:
        return [{"name": name} for name in LATENT_UPSCALE_MODES]

    @router.get("/sdapi/v1/memory")
    def memory() -> dict[str, Any]:
        return memory_report()

    @router.get("/sdapi/v1/face-restorers")
    def face_restorers() -> list[dict[str, Any]]:
        return [{"name": name, "cmd_dir": None} for name in ("CodeFormer", "GFPGAN")]

    @router.get("/sdapi/v1/hypernetworks")
    def hypernetworks() -> list[dict[str, Any]]:
        return []

    @router.get("/sdapi/v1/extensions")
    def extensions() -> list[dict[str, Any]]:
        return []

    _ = samplers, schedulers, latent_upscale_modes, memory, face_restorers, hypernetworks, extensions


def _add_model_lists(router: APIRouter, manager: PipelineManager) -> None:
    @router.get("/sdapi/v1/sd-models")
    def sd_models() -> list[dict[str, Any]]:
        return [
            {
                "title": info.title,
                "model_name": info.model_name,
                "hash": info.short_hash,
                "sha256": info.sha256,
                "filename": str(info.path),
                "config": None,
            }
            for info in manager.library.checkpoints.usable()
        ]

    @router.get("/sdapi/v1/sd-vae")
    def sd_vae() -> list[dict[str, str]]:
        return [{"model_name": path.name, "filename": str(path)} for path in manager.library.vaes.files.values()]

    @router.get("/sdapi/v1/upscalers")
    def upscalers() -> list[dict[str, Any]]:
        return manager.library.upscaler_listing()

    @router.get("/sdapi/v1/realesrgan-models")
    def realesrgan_models() -> list[dict[str, Any]]:
        return []

    @router.get("/sdapi/v1/prompt-styles")
    def prompt_styles() -> list[dict[str, Any]]:
        return [
            {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
            for style in manager.library.styles.styles.values()
        ]

    @router.get("/sdapi/v1/loras")
    def loras() -> list[dict[str, Any]]:
        return [
            {"name": file.name, "alias": file.alias, "path": str(file.path), "metadata": dict(file.metadata)}
            for file in manager.library.loras.files
        ]

    @router.get("/sdapi/v1/embeddings")
    def embeddings() -> dict[str, Any]:
        return manager.embedding_listing()

    _ = sd_models, sd_vae, upscalers, realesrgan_models, prompt_styles, loras, embeddings


def _add_model_actions(router: APIRouter, manager: PipelineManager) -> None:
    @router.post("/sdapi/v1/refresh-checkpoints")
    def refresh_checkpoints() -> None:
        manager.refresh("checkpoints")

    @router.post("/sdapi/v1/refresh-vae")
    def refresh_vae() -> None:
        manager.refresh("vaes")

    @router.post("/sdapi/v1/refresh-loras")
    def refresh_loras() -> None:
        manager.refresh("loras")

    @router.post("/sdapi/v1/refresh-embeddings")
    def refresh_embeddings() -> None:
        manager.refresh("embeddings")

    @router.post("/sdapi/v1/unload-checkpoint")
    def unload_checkpoint() -> dict[str, Any]:
        manager.unload_checkpoint()
        return {}

    @router.post("/sdapi/v1/reload-checkpoint")
    def reload_checkpoint() -> dict[str, Any]:
        manager.reload_checkpoint()
        return {}

    _ = refresh_checkpoints, refresh_vae, refresh_loras, refresh_embeddings, unload_checkpoint, reload_checkpoint


def _sampler_options(spec: SamplerSpec) -> dict[str, str]:
    """The flags of a sampler under A1111's names."""
    default = SCHEDULES.get(spec.default_schedule).key if spec.default_schedule else None
    options: dict[str, str | None] = {
        "scheduler": default,
        "discard_next_to_last_sigma": "True" if spec.discard_next_to_last_sigma else None,
        "uses_ensd": "True" if spec.uses_ensd else None,
        "second_order": "True" if spec.second_order else None,
        "brownian_noise": "True" if spec.brownian else None,
    }
    return {key: value for key, value in options.items() if value is not None}


def _add_script_lists(router: APIRouter, manager: PipelineManager) -> None:
    @router.get("/sdapi/v1/scripts")
    def scripts() -> dict[str, list[str]]:
        titles = {kind: [s.name.lower() for s in manager.scripts(kind)] for kind in ("txt2img", "img2img")}
        return {
            "txt2img": [*titles["txt2img"], *_ALWAYS_ON_TITLES],
            "img2img": [*titles["img2img"], "soft inpainting", *_ALWAYS_ON_TITLES],
        }

    @router.get("/sdapi/v1/script-info")
    def script_info() -> list[dict[str, Any]]:
        return script_infos(manager)

    _ = scripts, script_info
