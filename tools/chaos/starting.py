"""Starts that cannot go as asked, of the real program in a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tools.chaos.outcome import Outcome, judge

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 300
LOGIN = ("chaos", "toys")
NOWHERE = "http://127.0.0.1:9"
"""A proxy that nobody answers at: with it, there is no way out to other machines."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """The program, and the file it writes its messages to."""

    process: subprocess.Popen[bytes]
    log: Path

    def line_with(self, words: str) -> str:
        """The first message that contains `words`, as soon as there is one; "" if the program ends or stays silent."""
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            for line in self.log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
                if words in line:
                    return line
            if ended:
                return ""
            time.sleep(0.2)
        return ""

    def problem_of(self, url: str) -> str:
        """Why the program does not answer at `url`, "" when it does."""
        try:
            answer = httpx.get(f"{url}/sdapi/v1/samplers", auth=LOGIN, timeout=60, trust_env=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"nobody answers at {url!r}: {error}"
        return "" if answer.status_code == 200 else f"{url} answers {answer.status_code}"


def taken_port(folder: Path, toy: Path) -> Outcome:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with _started(folder, toy, "--nowebui", "--port", str(port)) as running:
            url = running.line_with("Running on").rpartition(" ")[2]
            sentence = running.line_with("is taken")
            problems = [running.problem_of(url), "the taken port is used" if url.endswith(f":{port}") else ""]
    names = [f"Port {port} is taken", url.rpartition(":")[2]]
    return judge(f"--port {port}, which is taken", sentence, names=names, problems=problems)


def share_without_a_way_out(folder: Path, toy: Path) -> Outcome:
    """`--share` where Gradio's servers cannot be reached."""
    flags = ("--share", "--gradio-auth", ":".join(LOGIN), "--port", "0")
    with _started(folder, toy, *flags) as running:
        url = running.line_with("Running on").rpartition(" ")[2]
        sentence = running.line_with("No public link")
        problems = [
            running.problem_of(url),
            "" if running.process.poll() is None else "the program ended",
            "" if "Traceback" not in running.log.read_text(encoding="utf-8") else "a traceback in the log",
        ]
    return judge("--share with no way out", sentence, names=["No public link", url], problems=problems)


def listen_without_credentials(folder: Path) -> Outcome:
    """`--listen` without a login."""
    command = [sys.executable, "app.py", "--listen", "--port", "0", "--data-dir", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S, env=_environment()
    )
    problem = "" if done.returncode == 1 else f"exit status {done.returncode}"
    said = (done.stderr + done.stdout).strip()
    return judge("--listen without credentials", said, names=["--listen", "--gradio-auth"], problems=[problem])


@contextmanager
def _started(folder: Path, toy: Path, *flags: str) -> Generator[Running]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    command = [sys.executable, "app.py", "--data-dir", str(folder), "--ckpt", str(toy), "--device", "cpu", *flags]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=_environment())
    try:
        yield Running(process=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Ours, without flags from it, and without a way to other machines."""
    hidden = re.compile(r"(.*_proxy|GRADIO_.*|COMMANDLINE_ARGS)", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not hidden.fullmatch(name)}
    return kept | {"HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE, "ALL_PROXY": NOWHERE, "PYTHONUNBUFFERED": "1"}
