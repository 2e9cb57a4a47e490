"""Fires events of the running page over HTTP, as the browser does, by `elem_id`."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The URL of `app`, answered by a server on a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


class PageClient:
    """One browser page without a browser."""

    def __init__(self, url: str, session: str) -> None:
        self.http = httpx.Client(base_url=url, trust_env=False, timeout=60)
        self.session = session
        self.config = self.http.get("/config").json()
        self.props = {entry["id"]: entry["props"] for entry in self.config["components"]}

    def id_of(self, elem_id: str) -> int:
        return next(number for number, props in self.props.items() if props.get("elem_id") == elem_id)

    def fire(self, elem_id: str, event: str = "click", **values: Any) -> list[dict[str, Any]]:
        """Runs the event and what follows from its states; every answer as `{elem_id: value}`."""
        target = self.id_of(elem_id)
        asked = [d for d in self.config["dependencies"] if d["backend_fn"]]
        dependency = next(d for d in asked if [target, event] in d["targets"])
        return self._run(dependency, target, values)

    def upload(self, name: str, data: bytes) -> dict[str, Any]:
        """Sends a file to the server, as a picture field does; the field's value."""
        answer = self.http.post("/gradio_api/upload", files={"files": (name, data)})
        path = answer.raise_for_status().json()[0]
        return {"path": path, "url": f"/gradio_api/file={path}", "meta": {"_type": "gradio.FileData"}}

    def _run(self, dependency: dict[str, Any], target: int, values: dict[str, Any]) -> list[dict[str, Any]]:
        data = [values.get(self._name(number), self.props[number].get("value")) for number in dependency["inputs"]]
        body = {
            "data": data,
            "fn_index": dependency["id"],
            "session_hash": self.session,
            "trigger_id": target,
        }
        self.http.post("/gradio_api/queue/join", json=body).raise_for_status()
        answers: list[dict[str, Any]] = []
        changed: list[int] = []
        for message in self._messages():
            if message["msg"] in ("process_generating", "process_completed"):
                output = message["output"]
                assert message["success"], output
                shown = zip(dependency["outputs"], output.get("data") or [], strict=False)
                answers.append({self._name(number): value for number, value in shown})
                changed += output.get("changed_state_ids") or []
            if message["msg"] == "process_completed":
                break
        for state in changed:
            following = [d for d in self.config["dependencies"] if [state, "change"] in d["targets"]]
            for each in following:
                answers += self._run(each, state, {})
        return answers

    def _messages(self) -> Iterator[dict[str, Any]]:
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def _name(self, number: int) -> str:
        return self.props[number].get("elem_id") or str(number)
