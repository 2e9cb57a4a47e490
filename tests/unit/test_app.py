"""Starting the program: what ends with one sentence, and what libraries are told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import app
from schema.environment import set_up_libraries
from schema.flags import Flags
from schema.paths import Paths

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("--listen", "--listen lets others in, so it needs a login: add --gradio-auth name:password."),
        ("--share", "--share lets others in, so it needs a login"),
        ("--server-name 0.0.0.0", "--server-name lets others in"),
        ("--port none", "--port: invalid int value: 'none'"),
        ("--gradio-auth-path /nowhere/logins.txt", "/nowhere/logins.txt"),
        ("--server-name 192.0.2.1 --api-auth a:b", "Cannot answer on 192.0.2.1"),
        ("--cors-allow-origins *", "'*' is not an origin"),
    ],
)
def test_start_that_cannot_be_is_one_sentence(line: str, part: str, capsys: pytest.CaptureFixture[str]):
    assert app.main(line.split()) == 1
    printed = capsys.readouterr().err.strip().splitlines()
    assert part in printed[-1]


def test_refusal_comes_before_the_engine_is_imported():
    code = (
        "import sys, app; status = app.main(['--listen']); "
        "sys.exit(status != 1 or 'torch' in sys.modules or 'gradio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_libraries_are_told_not_to_call_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "GRADIO_TEMP_DIR"):
        monkeypatch.delenv(name, raising=False)
    set_up_libraries(Paths.from_flags(Flags(data_dir=tmp_path)))
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["GRADIO_TEMP_DIR"].startswith(str(tmp_path))


def test_users_own_environment_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    set_up_libraries(Paths.from_flags(Flags(data_dir=tmp_path)))
    assert os.environ["HF_HUB_OFFLINE"] == "0"
