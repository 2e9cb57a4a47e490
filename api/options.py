"""GET and POST options, cmd-flags: the settings as a flat map of A1111's keys."""

from typing import Any

from fastapi import APIRouter

from pipelines.manager import PipelineManager


def options_routes(manager: PipelineManager) -> APIRouter:
    """The routes that read and change settings."""
    router = APIRouter()

    @router.get("/sdapi/v1/options")
    def get_options() -> dict[str, Any]:
        return manager.options()

    @router.post("/sdapi/v1/options")
    def set_options(options: dict[str, Any]) -> None:
        manager.set_options(options)

    @router.get("/sdapi/v1/cmd-flags")
    def cmd_flags() -> dict[str, Any]:
        return manager.public_flags()

    _ = get_options, set_options, cmd_flags
    return router
