"""Answering on a port: finding a free one, the sub-path, the public link, and stopping without losing a picture."""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from schema.errors import StartupError
from schema.flags import Flags

logger = logging.getLogger(__name__)

DEFAULT_PORT = 7860
DEFAULT_API_PORT = 7861
PORTS_TRIED = 50
TAKEN = (errno.EADDRINUSE, getattr(errno, "WSAEACCES", errno.EADDRINUSE))
CLOSE_TIMEOUT_S = 3
"""Longest wait for open connections at the end: every open page keeps one, and it never ends by itself."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """A bound socket and what to tell people about it.

    Attributes:
        url: Where this machine reaches the server, without a trailing slash.
        notice: One sentence if the port is not the one that was asked for, else "".
    """

    socket: socket.socket
    port: int
    url: str
    notice: str = ""


def bind(flags: Flags) -> Address:
    """Takes the port that the flags ask for, or the next free one; connections wait until `serve` answers.

    Raises:
        StartupError: If the address is not this machine's, or 50 ports in a row are taken.
    """
    host = flags.server_name or ("0.0.0.0" if flags.listen else "127.0.0.1")
    asked = (DEFAULT_API_PORT if flags.nowebui else DEFAULT_PORT) if flags.port is None else flags.port
    for port in range(asked, min(asked + PORTS_TRIED, 65536)):
        try:
            listener = _listen(host, port)
        except OSError as error:
            if error.errno in TAKEN:
                continue
            raise StartupError(f"Cannot answer on {host}, port {port}: {error.strerror or error}.") from error
        port = int(listener.getsockname()[1])
        notice = f"Port {asked} is taken, so port {port} is used instead." if asked and port != asked else ""
        return Address(socket=listener, port=port, url=_local_url(flags, host, port), notice=notice)
    raise StartupError(f"Ports {asked} to {asked + PORTS_TRIED - 1} are all taken: choose another with --port.")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=128)


def _local_url(flags: Flags, host: str, port: int) -> str:
    scheme = "https" if flags.tls_certfile else "http"
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{scheme}://{name}:{port}{sub_path(flags.subpath)}"


def sub_path(text: str) -> str:
    """`--subpath` as a prefix: `/name`, or "" for none."""
    return "/" + text.strip("/") if text.strip("/") else ""


class SubPath:
    """ASGI middleware that serves everything under `prefix`, whether or not the proxy in front removes it.

    Args:
        prefix: Such as `/webui`, without a trailing slash.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands the request on with `root_path` set and the path beginning with it, as ASGI wants it."""
        if scope["type"] in ("http", "websocket"):
            path: str = scope["path"]
            rest = path.removeprefix(self.prefix) if path == self.prefix or path.startswith(self.prefix + "/") else path
            scope = {**scope, "root_path": self.prefix, "path": self.prefix + (rest or "/")}
        await self.app(scope, receive, send)


class Server(uvicorn.Server):
    """Calls back when it answers, and lets running work finish before it closes connections.

    Args:
        on_ready: Called on a thread of its own as soon as requests are answered.
        on_stop: Called before connections are closed; a second interrupt does not wait for it.
    """

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to answer."""
        await super().startup(sockets)
        if self.started:
            threading.Thread(target=self._on_ready, daemon=True, name="ready").start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops; the answers to work that `on_stop` ends still go out."""
        stopping = threading.Thread(target=self._on_stop, daemon=True, name="stop")
        stopping.start()
        while stopping.is_alive() and not self.force_exit:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def serve(app: ASGIApp, address: Address, flags: Flags, *, on_stop: Callable[[], None]) -> None:
    """Answers requests until the process is told to stop; then `on_stop` has finished.

    Raises:
        StartupError: If the certificate or its key cannot be used.
    """
    if sub_path(flags.subpath):
        app = SubPath(app, sub_path(flags.subpath))
    try:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=flags.api_log,
            timeout_keep_alive=flags.timeout_keep_alive,
            timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
            ssl_keyfile=flags.tls_keyfile,
            ssl_certfile=flags.tls_certfile,
            # The session cookie is marked secure behind an https proxy by X-Forwarded-Proto, which the guard reads.
            proxy_headers=False,
        )
        config.load()
    except OSError as error:
        raise StartupError(f"--tls-certfile and --tls-keyfile cannot be used: {error}.") from error
    Server(config, on_ready=lambda: _announce(address, flags), on_stop=on_stop).run(sockets=[address.socket])


def _announce(address: Address, flags: Flags) -> None:
    """Says where the page is, opens it, and makes the public link where asked."""
    if address.notice:
        logger.warning(address.notice)
    logger.info("Running on %s", address.url)
    if flags.autolaunch:
        webbrowser.open(address.url)
    if flags.share:
        link = public_link(address.port)
        if link:
            logger.info("Public link, until the program stops: %s", link)
        else:
            logger.warning("No public link: Gradio's tunnel cannot be reached. The page is at %s", address.url)


def public_link(port: int) -> str | None:
    """A new public address of the server on local `port`, or None where Gradio's servers or helper are out of reach."""
    from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError
    from gradio.networking import setup_tunnel
    from httpx import HTTPError

    problems = (HTTPError, OSError, RuntimeError, ValueError, ChecksumMismatchError, ShareCertificateWriteError)
    try:
        return setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except problems as error:
        logger.debug("No tunnel: %s", error)
        return None
