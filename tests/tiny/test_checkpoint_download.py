"""Downloads against a local stand-in for the hub: progress, resume, wrong hash, refusals, cancel."""

import hashlib
import http.server
import re
import shutil
import threading
import time

import pytest

from pipelines.checkpoints import fetch
from pipelines.checkpoints.download import DOWNLOADS, Download, download
from schema.errors import DownloadError

# More than two of the 10 MB pieces in which huggingface_hub reads.
CONTENT = bytes(range(256)) * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves one file the way the hub does; `cut` closes the connection after so many bytes, once."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, *, with_body):
        server = self.server
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        if self.path != "/org/repo/resolve/main/model.safetensors":
            self.send_error(404 if "gated" not in self.path else 403)
            return
        start = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, 0])[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{server.etag}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if with_body:
            body = CONTENT[start:]
            if server.cut:
                body, server.cut = body[: server.cut], 0
                self.wfile.write(body)
                self.wfile.flush()
                if server.stall:
                    server.stall.wait(30)
                self.connection.close()
                return
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.requests, server.etag, server.cut, server.stall = [], DIGEST, 0, None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def item(**changes) -> Download:
    facts = {"name": "A model", "repo": "org/repo", "file": "model.safetensors", "size_bytes": 1, "licence": "MIT"}
    return Download(**facts | changes)


def test_file_arrives_checked_with_progress_from_the_endpoint_of_the_environment(hub, tmp_path):
    seen = []
    path = download(item(), tmp_path, on_progress=lambda *progress: seen.append(progress))
    assert path == tmp_path / "Stable-diffusion" / "model.safetensors"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_cut_connection_is_resumed_where_it_was_cut(hub, tmp_path):
    hub.cut = 15_000_000
    path = download(item(sha256=DIGEST), tmp_path)
    assert path.read_bytes() == CONTENT
    ranges = [asked for method, _, asked in hub.requests if method == "GET"]
    assert ranges[0] is None
    assert re.fullmatch(r"bytes=[1-9]\d+-", ranges[1])


def test_cancelled_download_keeps_its_part_and_the_next_one_continues(hub, tmp_path):
    hub.cut, hub.stall = 15_000_000, threading.Event()
    cancel = threading.Event()
    folder = tmp_path / "Stable-diffusion"

    def cancel_once_something_is_there(done, total):
        while done and not any(part.stat().st_size for part in folder.iterdir()):
            time.sleep(0.01)
        if done:
            cancel.set()

    with pytest.raises(DownloadError, match="cancelled"):
        download(item(), tmp_path, cancel=cancel, on_progress=cancel_once_something_is_there)
    hub.stall.set()
    (part,) = folder.iterdir()
    kept = part.read_bytes()
    assert kept and CONTENT.startswith(kept)
    hub.stall = None
    assert download(item(), tmp_path).read_bytes() == CONTENT
    assert hub.requests[-1][2] == f"bytes={len(kept)}-"


@pytest.mark.parametrize("stated", ["by the list", "by the server"])
def test_wrong_hash_is_refused_and_nothing_is_left(hub, tmp_path, stated):
    wrong = "0" * 64
    if stated == "by the server":
        hub.etag = wrong
    with pytest.raises(DownloadError, match="SHA-256"):
        download(item(sha256=wrong if stated == "by the list" else None), tmp_path)
    assert not list((tmp_path / "Stable-diffusion").iterdir())


def test_file_whose_hash_nobody_states_is_refused(hub, tmp_path):
    hub.etag = "abc"
    with pytest.raises(DownloadError, match="cannot be checked"):
        download(item(), tmp_path)


@pytest.mark.parametrize(("repo", "why"), [("org/gated", "licence"), ("org/missing", "404")])
def test_server_refusals_are_told(hub, tmp_path, repo, why):
    with pytest.raises(DownloadError, match=why):
        download(item(repo=repo), tmp_path)


def test_no_server_is_a_clear_error(tmp_path):
    with pytest.raises(DownloadError, match="Start it again"):
        download(item(), tmp_path, endpoint="http://127.0.0.1:9")


def test_file_outside_the_hub_is_fetched_from_its_address_and_checked(hub, tmp_path):
    url = f"http://127.0.0.1:{hub.server_port}/org/repo/resolve/main/model.safetensors"
    facts = {"repo": "", "file": "weights.pth", "url": url, "folder": "GFPGAN", "size_bytes": len(CONTENT)}
    assert download(item(**facts, sha256=DIGEST), tmp_path) == tmp_path / "GFPGAN" / "weights.pth"
    assert (tmp_path / "GFPGAN" / "weights.pth").read_bytes() == CONTENT
    assert {method for method, _, _ in hub.requests} == {"GET"}
    with pytest.raises(DownloadError, match="SHA-256"):
        download(item(**facts | {"file": "other.pth"}, sha256="0" * 64), tmp_path)


def test_without_network_the_address_and_the_place_are_named(tmp_path):
    facts = {"repo": "", "file": "weights.pth", "url": "http://127.0.0.1:9/weights.pth", "folder": "GFPGAN"}
    with pytest.raises(DownloadError, match=r"get http://127.0.0.1:9/weights.pth elsewhere and put it at .*GFPGAN"):
        download(item(**facts, sha256=DIGEST), tmp_path)


def test_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=300 << 20)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(fetch._Refused, match="needs 100 MiB, and 300 MiB are free"):
        fetch._check_space(tmp_path / "model.safetensors", 100 << 20)


def test_listed_models_have_checkable_facts():
    for entry in DOWNLOADS:
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert entry.licence
        assert entry.size_bytes > 50_000_000
        assert bool(entry.repo) != bool(entry.url)
        assert entry.folder in ("Stable-diffusion", "VAE", "GFPGAN", "Codeformer")
