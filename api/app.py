"""The REST application: A1111's routes over one `PipelineManager`."""

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware

from api.controlnet import controlnet_routes
from api.errors import add_error_handlers
from api.generation import generation_routes
from api.listings import listing_routes
from api.options import options_routes
from api.progress import progress_routes
from pipelines.manager import PipelineManager


def build_api(manager: PipelineManager, *, version: str) -> FastAPI:
    """The routes under `/sdapi/v1` and `/internal`, with A1111's shapes and error bodies."""
    app = FastAPI(title="diffusers-webui", version=version)
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    add_error_handlers(app)
    for routes in (generation_routes, progress_routes, options_routes, listing_routes, controlnet_routes):
        app.include_router(routes(manager))
    return app
