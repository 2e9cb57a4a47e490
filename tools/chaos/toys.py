"""A small installation with a toy model, and a client of its REST API."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient
from PIL import Image

from api.app import build_api
from pipelines.manager import PipelineManager
from schema.flags import parse_flags
from schema.paths import Paths
from schema.store import SettingsStore
from tests.tiny.builders import save_folder, tiny_model

SMALL: dict[str, Any] = {"prompt": "a red ball", "steps": 2, "width": 64, "height": 64, "seed": 7}


@dataclass(frozen=True, kw_only=True)
class Toys:
    """The installation.

    Attributes:
        checkpoints: Folder that is searched for checkpoints; the one in use is `toy`.
    """

    checkpoints: Path
    manager: PipelineManager
    client: TestClient

    def ask(self, **changes: Any) -> httpx.Response:
        """The answer to a small txt2img request with `changes`."""
        return post_json(self.client, "/sdapi/v1/txt2img", SMALL | changes)

    def still_works(self) -> str:
        """Why a good request fails now, "" when it makes its picture."""
        answer = self.ask()
        return "" if answer.status_code == 200 and pictures(answer) else f"no picture afterwards: {told(answer)}"


@contextmanager
def installed_toys(folder: Path) -> Generator[Toys]:
    """Makes the installation below `folder` and ends its work in the end."""
    checkpoints = folder / "checkpoints"
    toy = save_toy(checkpoints)
    words = ["--data-dir", str(folder / "data"), "--ckpt-dir", str(checkpoints), "--ckpt", str(toy)]
    flags, _ = parse_flags([*words, "--device", "cpu", "--precision", "full"], {})
    paths = Paths.from_flags(flags)
    manager = PipelineManager(flags=flags, paths=paths, store=SettingsStore(paths.settings_file, paths.ui_config_file))
    client = TestClient(build_api(manager, version="toy"), raise_server_exceptions=False)
    try:
        yield Toys(checkpoints=checkpoints, manager=manager, client=client)
    finally:
        manager.close()


def save_toy(checkpoints: Path) -> Path:
    """Writes the toy model as a diffusers folder and returns its path."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    return save_folder(tiny_model(), checkpoints / "toy")


def post_json(client: TestClient, path: str, body: dict[str, Any]) -> httpx.Response:
    """The answer to `body`, which may hold numbers that JSON has no word for (NaN)."""
    return client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def pictures(answer: httpx.Response) -> list[Image.Image]:
    """The pictures of an answer, each read to its end."""
    opened: list[Image.Image] = [Image.open(io.BytesIO(base64.b64decode(text))) for text in answer.json()["images"]]
    for picture in opened:
        picture.load()
    return opened


def told(answer: httpx.Response) -> str:
    """What an error answer says."""
    body = answer.json()
    detail = body.get("detail", "")
    if isinstance(detail, list):
        return " ".join(item["msg"] for item in detail)
    return detail or body.get("errors", "")
