"""A real Gradio page behind the guard, over HTTP: login, sub-path, CORS, and what it serves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from gradio_client import Client

from api.credentials import read_credentials
from api.guard import protect
from api.policy import GuardPolicy
from api.serve import Server, SubPath, bind, sub_path
from schema.flags import parse_flags

LOGIN = "--gradio-auth ann:secret"
BASIC = httpx.BasicAuth("ann", "secret")
GRADIO_ROUTES = [
    "/",
    "/config",
    "/theme.css",
    "/gradio_api/info",
    "/gradio_api/startup-events",
    "/assets/x.js",
    "/login",
]


@contextmanager
def running(line: str, served: Path) -> Iterator[str]:
    """The address of a page with one event that shows files of `served`."""
    flags = parse_flags(["--port", "0", *line.split()], {})[0]
    with gr.Blocks(analytics_enabled=False) as page:
        text = gr.Textbox()
        text.submit(str.upper, text, text, api_name="shout")
    app = FastAPI()
    gr.mount_gradio_app(app, page, "/", allowed_paths=[str(served)], ssr_mode=False, run_history=False)
    protect(app, GuardPolicy.from_flags(flags, read_credentials(flags)))
    outer = SubPath(app, sub_path(flags.subpath)) if flags.subpath else app
    address = bind(flags)
    server = Server(uvicorn.Config(outer, log_config=None), on_ready=lambda: None, on_stop=lambda: None)
    server.config.timeout_graceful_shutdown = 1
    thread = threading.Thread(target=lambda: server.run(sockets=[address.socket]))
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield address.url
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "a.txt").write_text("a picture")
    (folder.parent / "config.txt").write_text("settings")
    return folder


@pytest.fixture(scope="module")
def locked(served: Path) -> Iterator[str]:
    with running(LOGIN, served) as url:
        yield url


@pytest.fixture(scope="module")
def opened(served: Path) -> Iterator[str]:
    with running("", served) as url:
        yield url


@pytest.mark.parametrize("route", GRADIO_ROUTES)
def test_no_gradio_route_answers_without_login(locked: str, route: str):
    assert httpx.get(locked + route).status_code == 401


def test_events_and_uploads_need_login(locked: str):
    for route in ("/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/run/shout", "/gradio_api/call/shout"):
        assert httpx.post(locked + route, json={"data": ["x"]}).status_code == 401


def test_page_opens_with_login(locked: str):
    answer = httpx.get(locked, auth=BASIC)
    assert answer.status_code == 200 and "gradio" in answer.text


def test_gradio_client_logs_in_and_runs_an_event(locked: str):
    client = Client(locked, auth=("ann", "secret"), verbose=False, analytics_enabled=False)
    assert client.predict("quiet", api_name="/shout") == "QUIET"


def test_page_serves_its_folder_and_nothing_beside_it(opened: str, served: Path):
    assert httpx.get(f"{opened}/gradio_api/file={served}/a.txt").text == "a picture"
    for path in (f"{served}/../config.txt", f"{served.parent}/config.txt", "/etc/passwd", Path(__file__)):
        assert httpx.get(f"{opened}/gradio_api/file={path}").status_code in (403, 404)


def test_page_of_another_site_gets_no_cors_and_cannot_start_events(opened: str):
    foreign = {"Origin": "http://evil.test"}
    assert "access-control-allow-origin" not in httpx.get(f"{opened}/config", headers=foreign).headers
    assert httpx.post(f"{opened}/gradio_api/queue/join", json={}, headers=foreign).status_code == 403


def test_sub_path_is_in_every_address_of_the_page(served: Path):
    with running("--subpath ai", served) as url:
        host = url.removesuffix("/ai")
        for asked in (f"{url}/config", f"{host}/config"):
            config = httpx.get(asked).json()
            assert config["root"] == url
        client = Client(url, verbose=False, analytics_enabled=False)
        assert client.predict("quiet", api_name="/shout") == "QUIET"
