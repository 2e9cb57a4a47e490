"""The guard in front of every route: login, sessions, foreign pages, host names, headers."""

import base64
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient

from api.credentials import FAILURES_ALLOWED, Credentials, FailureLimit, Sessions, read_credentials
from api.guard import protect
from api.policy import GuardPolicy, is_loopback
from api.serve import SubPath
from schema.errors import StartupError
from schema.flags import parse_flags

LOGIN = "--gradio-auth ann:se:cret"
PATHS = [
    "/",
    "/docs",
    "/openapi.json",
    "/sdapi/v1/options",
    "/page/",
    "/page/static/app.js",
    "/page/queue/data",
    "/none",
]


def policy(line: str) -> GuardPolicy:
    flags = parse_flags(line.split(), {})[0]
    return GuardPolicy.from_flags(flags, read_credentials(flags))


def guarded(line: str) -> FastAPI:
    """An app with routes of its own and another app mounted in it, as Gradio is."""
    app, page = FastAPI(), FastAPI()
    for outer, path in ((app, "/"), (app, "/sdapi/v1/options"), (page, "/"), (page, "/static/app.js")):
        outer.add_api_route(path, lambda: {"secret": 1}, methods=["GET", "POST"])

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await connection.send_text("secret")

    app.mount("/page", page)
    protect(app, policy(line))
    return app


def client(line: str = "", host: str = "127.0.0.1:7860", scheme: str = "http") -> TestClient:
    return TestClient(guarded(line), base_url=f"{scheme}://{host}", follow_redirects=False)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


BROWSER = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}


@pytest.fixture
def locked() -> Iterator[TestClient]:
    with client(LOGIN) as session:
        yield session


@pytest.mark.parametrize("path", PATHS)
def test_no_route_answers_without_login(locked: TestClient, path: str):
    for answer in (locked.get(path), locked.post(path, json={}), locked.head(path)):
        assert answer.status_code == 401
        assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/sdapi/v1/options", "/page/", "/page/static/app.js", "/docs"])
def test_basic_login_opens_every_route(locked: TestClient, path: str):
    assert locked.get(path, headers=basic("ann", "se:cret")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic YW5u",
        "Bearer se:cret",
        "Basic " + base64.b64encode(b"ann:\xff").decode(),
        "x" * 5000,
    ],
)
def test_malformed_authorization_is_refused(locked: TestClient, header: str):
    assert locked.get("/", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("ANN", "se:cret"), ("", ""), ("annse", "cret")])
def test_wrong_login_is_refused(locked: TestClient, name: str, password: str):
    assert locked.get("/", headers=basic(name, password)).status_code == 401


def test_programs_are_asked_for_basic_and_page_scripts_are_not(locked: TestClient):
    assert locked.get("/sdapi/v1/options").headers["WWW-Authenticate"].startswith("Basic")
    assert "WWW-Authenticate" not in locked.get("/sdapi/v1/options", headers={"Sec-Fetch-Mode": "cors"}).headers


def test_browser_logs_in_with_the_form_and_returns_where_it_was(locked: TestClient):
    page = locked.get("/docs?x=1", headers=BROWSER)
    assert page.status_code == 401 and 'value="/docs?x=1"' in page.text
    form = {"username": "ann", "password": "se:cret", "next": "/docs?x=1"}
    answer = locked.post("/login", data=form, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs?x=1")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" not in cookie
    assert locked.get("/docs", headers=BROWSER).status_code == 200


def test_wrong_form_shows_the_form_again_and_gives_no_cookie(locked: TestClient):
    answer = locked.post("/login", data={"username": "ann", "password": "<b>"}, headers=BROWSER)
    assert answer.status_code == 401 and "wrong" in answer.text and "set-cookie" not in answer.headers


def test_gradio_clients_log_in_with_the_form_fields(locked: TestClient):
    answer = locked.post("/login", data={"username": "ann", "password": "se:cret"})
    assert answer.json() == {"success": True}
    assert locked.get("/sdapi/v1/options").json() == {"secret": 1}


def test_logout_ends_the_session(locked: TestClient):
    locked.post("/login", data={"username": "ann", "password": "se:cret"})
    locked.get("/logout")
    assert locked.get("/").status_code == 401


def test_made_up_cookie_is_refused(locked: TestClient):
    locked.cookies.set("webui_session_7860", "made-up")
    assert locked.get("/").status_code == 401


@pytest.mark.parametrize("target", ["//evil.test", "/\\evil.test", "https://evil.test", "/login", "/a\r\nX: y", ""])
def test_login_never_leads_to_another_site(locked: TestClient, target: str):
    form = {"username": "ann", "password": "se:cret", "next": target}
    assert locked.post("/login", data=form, headers=BROWSER).headers["location"] == "/"


def test_cookie_is_secure_behind_https():
    with client(LOGIN) as session:
        form = {"username": "ann", "password": "se:cret"}
        answer = session.post("/login", data=form, headers={"X-Forwarded-Proto": "https"})
        assert "secure" in answer.headers["set-cookie"].lower()


def test_guessing_is_slowed_down_and_a_session_goes_on():
    with client(LOGIN) as session:
        session.post("/login", data={"username": "ann", "password": "se:cret"})
        for _ in range(FAILURES_ALLOWED):
            session.post("/login", data={"username": "ann", "password": "guess"})
        assert session.post("/login", data={"username": "ann", "password": "se:cret"}).status_code == 429
        assert session.get("/").status_code == 200
        session.cookies.clear()
        assert session.get("/", headers=basic("ann", "se:cret")).status_code == 401


def test_failures_are_forgotten_after_a_minute():
    now = [0.0]
    limit = FailureLimit(clock=lambda: now[0])
    for _ in range(FAILURES_ALLOWED):
        limit.add("a")
    assert limit.blocked("a") and not limit.blocked("b")
    now[0] = 61.0
    assert not limit.blocked("a")


def test_sessions_run_out_and_are_limited():
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    first = sessions.start()
    assert sessions.knows(first)
    for _ in range(1000):
        sessions.start()
    assert not sessions.knows(first)
    last = sessions.start()
    now[0] = 31 * 24 * 3600.0
    assert not sessions.knows(last)


def test_websocket_needs_login_and_own_origin():
    from starlette.websockets import WebSocketDisconnect

    with client(LOGIN) as session:
        with pytest.raises(WebSocketDisconnect), session.websocket_connect("/socket"):
            pass
    with client("") as session:
        with session.websocket_connect("ws://127.0.0.1:7860/socket") as socket:
            assert socket.receive_text() == "secret"
        foreign = {"Origin": "http://evil.test"}
        with pytest.raises(WebSocketDisconnect):
            with session.websocket_connect("ws://127.0.0.1:7860/socket", headers=foreign):
                pass


def test_without_login_loopback_is_open():
    with client() as session:
        assert session.get("/").status_code == 200
        assert session.post("/sdapi/v1/options", json={}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:7860"}, True),
        ({"Origin": "http://evil.test"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:7860"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "https://ai.example.org", "X-Forwarded-Host": "ai.example.org"}, True),
    ],
)
def test_page_of_another_site_cannot_change_anything(headers: dict[str, str], allowed: bool):
    with client() as session:
        assert session.post("/sdapi/v1/options", json={}, headers=headers).status_code == (200 if allowed else 403)
        assert session.get("/sdapi/v1/options", headers=headers).status_code == 200


def test_listed_origin_may_call_and_reads_the_answer():
    with client("--cors-allow-origins https://a.test,https://b.test/") as session:
        for origin in ("https://a.test", "https://b.test"):
            answer = session.post(
                "/sdapi/v1/options", json={}, headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"}
            )
            assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == origin
        assert session.post("/sdapi/v1/options", json={}, headers={"Origin": "https://c.test"}).status_code == 403


def test_origins_may_be_a_pattern_of_the_whole_origin():
    with client(r"--cors-allow-origins-regex https://\w+\.a\.test") as session:
        assert session.post("/", json={}, headers={"Origin": "https://x.a.test"}).status_code == 200
        assert session.post("/", json={}, headers={"Origin": "https://x.a.test.evil"}).status_code == 403


def test_preflight_is_answered_before_the_login():
    asked = {"Origin": "https://a.test", "Access-Control-Request-Method": "POST"}
    with client(f"{LOGIN} --cors-allow-origins https://a.test") as session:
        assert session.options("/sdapi/v1/options", headers=asked).status_code == 200
        refused = session.options("/sdapi/v1/options", headers=asked | {"Origin": "https://c.test"})
        assert "access-control-allow-origin" not in refused.headers


def test_unlisted_origin_never_gets_cors_headers():
    with client() as session:
        assert "access-control-allow-origin" not in session.get("/", headers={"Origin": "http://evil.test"}).headers


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1", "[::1]:7860", "127.8.9.1:80", "LOCALHOST"])
def test_loopback_names_are_answered(host: str):
    with client() as session:
        assert session.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.test:7860", "localhost.evil.test", "127.0.0.1.evil.test", "192.168.0.1", "", "[x"]
)
def test_rebound_name_is_refused_while_nobody_logs_in(host: str):
    with client() as session:
        answer = session.get("/", headers={"Host": host})
        assert answer.status_code == 403 and "--allowed-hosts" in answer.text


def test_proxy_name_can_be_allowed():
    with client("--allowed-hosts ai.example.org,Other.test") as session:
        assert session.get("/", headers={"Host": "ai.example.org"}).status_code == 200
        assert session.get("/", headers={"Host": "other.test:443"}).status_code == 200


def test_any_name_is_answered_where_a_login_is_needed(locked: TestClient):
    assert locked.get("/", headers={"Host": "x.gradio.live", **basic("ann", "se:cret")}).status_code == 200


def test_every_answer_forbids_sniffing_and_foreign_frames(locked: TestClient):
    for answer in (locked.get("/"), locked.get("/", headers=basic("ann", "se:cret")), locked.get("/", headers=BROWSER)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_body_must_have_a_length_and_a_bound():
    with client() as session:
        assert session.post("/", content=iter([b"x"])).status_code == 411
        assert session.post("/", headers={"Content-Length": str(2**40)}, content=b"").status_code == 413


@pytest.mark.parametrize("line", ["--listen", "--share", "--server-name 0.0.0.0", "--server-name 192.168.1.5"])
def test_others_are_let_in_only_with_a_login(line: str):
    with pytest.raises(StartupError, match="needs a login"):
        policy(line)
    assert policy(f"{line} {LOGIN}").credentials
    assert policy(f"{line} --api-auth bot:key").credentials


def test_server_name_of_this_machine_needs_no_login():
    assert not policy("--server-name localhost").credentials
    assert not policy("--server-name ::1").credentials


@pytest.mark.parametrize(
    "line",
    [
        "--cors-allow-origins *",
        "--cors-allow-origins null",
        "--cors-allow-origins example.org",
        "--cors-allow-origins-regex .*",
        "--cors-allow-origins-regex (",
        "--gradio-auth ann",
        "--gradio-auth :secret",
        "--api-auth ann:",
        "--gradio-auth-path /nowhere/at/all",
    ],
)
def test_unusable_safety_flags_are_one_sentence(line: str):
    with pytest.raises(StartupError) as problem:
        policy(line)
    assert "\n" not in str(problem.value) and "secret" not in str(problem.value)


def test_logins_come_from_all_three_flags(tmp_path):
    path = tmp_path / "logins.txt"
    path.write_text("cy:1\n\ndee:2, eve:3\n")
    flags = parse_flags(["--gradio-auth", "ann:x,bob:y", "--api-auth", "bot:z", "--gradio-auth-path", str(path)], {})[0]
    credentials = read_credentials(flags)
    for name, password in (("ann", "x"), ("bob", "y"), ("bot", "z"), ("cy", "1"), ("dee", "2"), ("eve", "3")):
        assert credentials.accepts(name, password)
    assert not credentials.accepts("ann", "y")
    assert not Credentials()


def test_loopback_is_recognised_by_address_not_by_look():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "127.0.0.1.evil.test", "localhost.")))


@pytest.mark.parametrize("asked", ["/webui/sdapi/v1/options", "/sdapi/v1/options"])
def test_sub_path_works_whether_or_not_the_proxy_removes_it(asked: str):
    app = SubPath(guarded(LOGIN), "/webui")
    with TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False) as session:
        assert session.get(asked, headers=basic("ann", "se:cret")).json() == {"secret": 1}
        form = session.get(asked, headers=BROWSER)
        assert 'action="/webui/login"' in form.text and 'value="/sdapi/v1/options"' in form.text
        answer = session.post(
            "/webui/login", data={"username": "ann", "password": "se:cret", "next": "/docs"}, headers=BROWSER
        )
        assert answer.headers["location"] == "/webui/docs" and "path=/webui" in answer.headers["set-cookie"].lower()
