"""The middleware in front of every route: login, foreign web pages, host names, body size."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.credentials import FailureLimit, Sessions
from api.login_page import login_page
from api.policy import GuardPolicy, host_name

MAX_BODY_BYTES = 512 * 2**20
MAX_LOGIN_BYTES = 8 * 2**10
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "frame-ancestors 'self'"}


class Guard:
    """ASGI middleware that refuses what `policy` does not allow; nothing behind it can be reached around it.

    Browsers get a login form at `/login` and a cookie; programs send HTTP Basic, or the form's fields.
    """

    def __init__(self, app: ASGIApp, policy: GuardPolicy) -> None:
        self.app = app
        self.policy = policy
        self.sessions = Sessions()
        self.failures = FailureLimit()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a refused request itself and hands on every other."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        send = _with_security_headers(send)
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """Our own answer to this request, or None where it may pass."""
        connection = HTTPConnection(scope)
        headers = connection.headers
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS
        if not self.policy.allows_host(headers.get("host", "")):
            name = host_name(headers.get("host", ""))
            return _refuse(403, f"This server does not answer to the name '{name}': use --allowed-hosts to add it.")
        if changes and not self.policy.allows_origin(headers):
            return _refuse(403, "A page of another site sent this: use --cors-allow-origins to allow it.")
        if changes and "transfer-encoding" in headers:
            return _refuse(411, "Send the request with a Content-Length.")
        if changes and int(headers.get("content-length", "0")) > MAX_BODY_BYTES:
            return _refuse(413, f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB.")
        if not self.policy.credentials:
            return None
        return await self._authenticate(connection, receive)

    async def _authenticate(self, connection: HTTPConnection, receive: Receive) -> Response | None:
        """None for a visitor who is logged in; otherwise the login form, its result, or a refusal."""
        scope, headers = connection.scope, connection.headers
        path = connection.url.path.removeprefix(scope.get("root_path", ""))
        token = connection.cookies.get(_cookie_name(scope), "")
        if path == "/logout":
            self.sessions.end(token)
            return RedirectResponse(scope.get("root_path", "") + "/login", status_code=303)
        if path == "/login" and scope["type"] == "http" and scope["method"] == "POST":
            return await self._log_in(Request(scope, receive))
        if path != "/login" and self.sessions.knows(token):
            return None
        authorization = headers.get("authorization", "")
        if authorization and not self.failures.blocked(_address(scope)):
            if self.policy.credentials.accepts_header(authorization):
                return None
            self.failures.add(_address(scope))
        if scope["type"] == "http" and scope["method"] == "GET" and _wants_html(headers):
            asked = path + (f"?{connection.url.query}" if connection.url.query else "")
            return _form(scope, asked, status=200 if path == "/login" else 401)
        return _unauthorized(headers)

    async def _log_in(self, request: Request) -> Response:
        """The answer to a sent login form: a cookie, or the reason why not."""
        scope = request.scope
        if self.failures.blocked(_address(scope)):
            return _refuse(429, "Too many wrong logins: wait a minute.")
        if int(request.headers.get("content-length", "0")) > MAX_LOGIN_BYTES:
            return _refuse(413, "The login is too long.")
        fields = parse_qs((await request.body()).decode("utf-8", errors="replace"))
        name, password, asked = (fields.get(key, [""])[0] for key in ("username", "password", "next"))
        html = _wants_html(request.headers)
        if not self.policy.credentials.accepts(name, password):
            self.failures.add(_address(scope))
            return _form(scope, asked, status=401, failed=True) if html else _unauthorized(request.headers)
        answer: Response = JSONResponse({"success": True})
        if html:
            answer = RedirectResponse(scope.get("root_path", "") + _local_path(asked), status_code=303)
        forwarded = request.headers.get("x-forwarded-proto", "").split(",")[0].strip()
        answer.set_cookie(
            _cookie_name(scope),
            self.sessions.start(),
            httponly=True,
            samesite="lax",
            secure="https" in (request.url.scheme, forwarded),
            path=scope.get("root_path", "") or "/",
        )
        return answer


def protect(app: FastAPI, policy: GuardPolicy) -> None:
    """Puts the guard in front of everything that `app` serves, mounted apps included.

    CORS is outermost, so that preflights are answered and refusals can be read by allowed pages. It is added even
    with nothing allowed: where the outer app has none, Gradio's own lets every origin in.
    """
    app.add_middleware(Guard, policy=policy)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=policy.origins,
        allow_origin_regex=policy.origins_regex,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_credentials=True,
    )


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _refuse(status: int, detail: str) -> Response:
    return JSONResponse({"error": "Refused", "detail": detail, "body": "", "errors": detail}, status_code=status)


def _unauthorized(headers: Headers) -> Response:
    """Asks for HTTP Basic, except from a page's script: there the browser would open a password box of its own."""
    detail = "Incorrect username or password"
    challenge = {} if "sec-fetch-mode" in headers else {"WWW-Authenticate": 'Basic realm="webui", charset="UTF-8"'}
    body = {"error": "Unauthorized", "detail": detail, "body": "", "errors": detail}
    return JSONResponse(body, status_code=401, headers=challenge)


def _form(scope: Scope, asked: str, *, status: int, failed: bool = False) -> Response:
    page = login_page(action=scope.get("root_path", "") + "/login", asked=_local_path(asked), failed=failed)
    return HTMLResponse(page, status_code=status, headers={"Cache-Control": "no-store"})


def _local_path(asked: str) -> str:
    """`asked` where it is a path of this server, `/` otherwise: `//host` and `/\\host` lead elsewhere."""
    is_local = re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", asked) is not None
    return asked if is_local and not asked.startswith(("/login", "/logout")) else "/"


def _wants_html(headers: Headers) -> bool:
    return "text/html" in headers.get("accept", "")


def _cookie_name(scope: Scope) -> str:
    """Cookies are shared by all ports of a host, so each server has a name of its own."""
    server = scope.get("server")
    return f"webui_session_{server[1] if server else 0}"


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""
