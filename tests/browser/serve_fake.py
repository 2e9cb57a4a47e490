"""Serves the page on the fake manager: `python -m tests.browser.serve_fake PORT FOLDER`."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from schema.store import SettingsStore
from tests.contract.fake_manager import FakeManager
from ui.app import mount_page


def build(folder: Path, step_s: float = 0.05) -> tuple[FastAPI, FakeManager]:
    manager = FakeManager(folder / "outputs", settings=SettingsStore(folder / "config.json"), step_s=step_s)
    app = FastAPI()
    mount_page(app, manager, allowed_paths=[str(folder / "outputs")])
    return app, manager


if __name__ == "__main__":
    app, _manager = build(Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.05)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
