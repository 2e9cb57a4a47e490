"""Answering on a port: taken ports, addresses, the public link, and stopping."""

import logging
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api import serve as serving
from api.serve import Address, Server, bind, public_link, sub_path
from schema.errors import StartupError
from schema.flags import Flags, parse_flags


def flags(line: str) -> Flags:
    return parse_flags(line.split(), {})[0]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this machine that somebody listens on, with a free one after it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_taken_port_leads_to_a_later_one_and_one_sentence(taken: int):
    address = bind(flags(f"--port {taken}"))
    with address.socket:
        assert address.port > taken
        assert address.url == f"http://127.0.0.1:{address.port}"
        assert address.notice == f"Port {taken} is taken, so port {address.port} is used instead."


def test_free_port_is_taken_without_a_word():
    address = bind(flags("--port 0"))
    with address.socket:
        assert address.port > 0 and address.notice == ""


def test_only_this_machine_is_answered_by_default():
    with bind(flags("--port 0")).socket as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_all_ports_taken_is_one_sentence(taken: int, monkeypatch):
    monkeypatch.setattr(serving, "PORTS_TRIED", 1)
    with pytest.raises(StartupError, match="--port"):
        bind(flags(f"--port {taken}"))


def test_address_of_another_machine_is_one_sentence():
    with pytest.raises(StartupError, match=r"192\.0\.2\.1"):
        bind(flags("--server-name 192.0.2.1 --port 7860"))


def test_url_names_this_machine_scheme_and_sub_path():
    address = bind(flags("--listen --port 0 --subpath /ai/ --tls-certfile c.pem"))
    with address.socket:
        assert address.url == f"https://127.0.0.1:{address.port}/ai"


@pytest.mark.parametrize(("given", "prefix"), [("", ""), ("/", ""), ("ai", "/ai"), ("/ai/", "/ai"), ("a/b", "/a/b")])
def test_sub_path_is_a_prefix_or_nothing(given: str, prefix: str):
    assert sub_path(given) == prefix


def test_missing_certificate_is_one_sentence():
    line = flags("--port 0 --tls-certfile /nowhere/cert.pem --tls-keyfile /nowhere/key.pem")
    address = bind(line)
    with address.socket, pytest.raises(StartupError, match="--tls-certfile"):
        serving.serve(FastAPI(), address, line, on_stop=lambda: None)


def test_share_without_a_way_out_says_so_and_names_the_local_page(monkeypatch, caplog):
    def no_way_out(*arguments: object, **options: object) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(httpx, "get", no_way_out)
    monkeypatch.setattr("gradio.networking.GRADIO_SHARE_SERVER_ADDRESS", None)
    assert public_link(7860) is None
    with socket.socket() as unused, caplog.at_level(logging.INFO):
        serving._announce(Address(socket=unused, port=7860, url="http://127.0.0.1:7860"), flags("--share"))
    sentence = caplog.messages[-1]
    assert sentence == "No public link: Gradio's tunnel cannot be reached. The page is at http://127.0.0.1:7860"


def test_running_work_is_finished_before_connections_close():
    app, stopped, answers = FastAPI(), threading.Event(), []
    in_work = threading.Event()

    @app.get("/work")
    def work() -> str:
        in_work.set()
        assert stopped.wait(10)
        return "saved"

    address = bind(flags("--port 0"))
    config = uvicorn.Config(app, log_config=None)
    server = Server(config, on_ready=lambda: None, on_stop=stopped.set)
    thread = threading.Thread(target=lambda: server.run(sockets=[address.socket]))
    thread.start()
    asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{address.url}/work", timeout=20).json()))
    asking.start()
    assert in_work.wait(10)
    server.should_exit = True
    asking.join(10)
    thread.join(10)
    assert answers == ["saved"] and not thread.is_alive()


def test_connections_made_before_the_start_are_answered():
    address, app = bind(flags("--port 0")), FastAPI()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.get(address.url + "/docs", timeout=20).status_code))
    asking.start()
    server = Server(uvicorn.Config(app, log_config=None), on_ready=lambda: None, on_stop=lambda: None)
    thread = threading.Thread(target=lambda: server.run(sockets=[address.socket]))
    thread.start()
    asking.join(10)
    server.should_exit = True
    thread.join(10)
    assert answers == [200]
