"""The launcher's decisions, with folders and records made up; nothing is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools import launcher
from tools.launcher import LaunchError, Venv


def made_up_venv(folder: Path, *, python: str = "#!/bin/sh\nexit 0\n") -> Venv:
    venv = Venv(folder=folder / ".venv", base_python=sys.executable)
    venv.python.parent.mkdir(parents=True)
    venv.python.write_text(python)
    venv.python.chmod(0o755)
    return venv


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("torch==1.0\n")
    return path


def record(venv: Venv, requirements: Path) -> None:
    venv.stamp.write_text(json.dumps(launcher.fingerprint([requirements])))


def test_second_start_runs_no_pip_and_makes_nothing(tmp_path: Path, requirements: Path, monkeypatch):
    venv = made_up_venv(tmp_path)
    record(venv, requirements)

    def refuse(*arguments, **options):
        raise AssertionError(f"a process was started: {arguments}")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    launcher.prepare(venv, [requirements], {})


def test_changed_pin_is_installed_and_a_changed_comment_is_not(tmp_path: Path, requirements: Path):
    venv = made_up_venv(tmp_path)
    record(venv, requirements)
    requirements.write_text("# why\r\ntorch==1.0  # because\r\n")
    assert venv.has([requirements])
    requirements.write_text("torch==1.1\n")
    assert not venv.has([requirements])


def test_tests_need_their_own_requirements_too(tmp_path: Path, requirements: Path):
    venv = made_up_venv(tmp_path)
    record(venv, requirements)
    extra = tmp_path / "requirements-dev.txt"
    extra.write_text("pytest==1\n")
    assert venv.has([requirements]) and not venv.has([requirements, extra])


def test_half_made_venv_is_made_anew(tmp_path: Path, requirements: Path, monkeypatch):
    venv = made_up_venv(tmp_path, python="#!/bin/sh\nexit 1\n")
    done: list[str] = []
    monkeypatch.setattr(Venv, "make", lambda self: done.append("make"))
    monkeypatch.setattr(Venv, "install", lambda self, files, command: done.append("install"))
    launcher.prepare(venv, [requirements], {})
    assert done == ["make", "install"]


def test_working_venv_without_record_is_kept_and_filled(tmp_path: Path, requirements: Path, monkeypatch):
    venv = made_up_venv(tmp_path)
    done: list[str] = []
    monkeypatch.setattr(Venv, "make", lambda self: done.append("make"))
    monkeypatch.setattr(Venv, "install", lambda self, files, command: done.append(command))
    launcher.prepare(venv, [requirements], {"TORCH_COMMAND": "pip install torch"})
    assert done == ["pip install torch"]


def test_install_records_only_after_pip_succeeded(tmp_path: Path, requirements: Path, capfd):
    venv = made_up_venv(tmp_path, python="#!/bin/sh\necho 'ERROR: [Errno 28] No space left on device'\nexit 1\n")
    with pytest.raises(LaunchError, match="disk is full"):
        venv.install([requirements])
    assert not venv.has([requirements])
    venv.python.write_text('#!/bin/sh\necho "$@"\n')
    venv.install([requirements])
    assert venv.has([requirements])
    assert f"-m pip install --disable-pip-version-check -r {requirements}" in capfd.readouterr().out


def test_interpreter_whose_target_is_gone_counts_as_missing(tmp_path: Path, requirements: Path):
    venv = made_up_venv(tmp_path)
    record(venv, requirements)
    venv.python.unlink()
    venv.python.symlink_to(tmp_path / "python-that-was-removed")
    assert not venv.has([requirements]) and not venv.is_usable()


def test_damaged_record_counts_as_none(tmp_path: Path):
    for text in ("", "{", "[]", "null"):
        (tmp_path / "stamp").write_text(text)
        assert launcher.read_stamp(tmp_path / "stamp") == {}


@pytest.mark.parametrize(
    ("output", "part"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection: Temporary failure in name resolution", "cannot be reached"),
        ("ERROR: No matching distribution found for torch==9", "torch==9"),
        ("noise\nERROR: something odd\nmore noise", "something odd"),
        ("", "no reason was given"),
    ],
)
def test_pip_failure_is_one_sentence(output: str, part: str):
    sentence = launcher.explain_pip_failure(output)
    assert part in sentence and "\n" not in sentence


def test_missing_venv_module_says_what_to_install():
    assert "python3-venv" in launcher.explain_venv_failure("Error: ensurepip is not available", "/usr/bin/python3")


def test_full_disk_is_noticed_before_anything_is_downloaded(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(launcher, "MIN_FREE_BYTES", 2**62)
    with pytest.raises(LaunchError, match="GiB are free"):
        launcher.check_disk(tmp_path)


def test_missing_requirements_file_is_one_sentence(tmp_path: Path):
    with pytest.raises(LaunchError, match="nothing.txt"):
        launcher.fingerprint([tmp_path / "nothing.txt"])


def test_allocator_is_set_up_on_glibc_only_and_the_users_choice_stays():
    assert launcher.runtime_environment({"A": "b"}, "glibc")["MALLOC_MMAP_THRESHOLD_"] == str(2**30)
    assert launcher.runtime_environment({"MALLOC_MMAP_THRESHOLD_": "1"}, "glibc")["MALLOC_MMAP_THRESHOLD_"] == "1"
    assert launcher.runtime_environment({"A": "b"}, "") == {"A": "b"}


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_browser_is_the_named_one_then_an_installed_one_then_playwrights(tmp_path: Path):
    mine, installed = program(tmp_path / "mine"), program(tmp_path / "bin" / "chromium")
    older, newer = (
        program(tmp_path / ".cache" / "ms-playwright" / f"chromium-{number}" / "chrome-linux" / "chrome")
        for number in (1100, 1200)
    )
    base = {"HOME": str(tmp_path), "PATH": str(tmp_path / "nothing")}
    assert launcher.find_chromium(base) == str(newer) != str(older)
    assert launcher.find_chromium(base | {"PATH": str(tmp_path / "bin")}) == str(installed)
    assert launcher.find_chromium(base | {"WEBUI_CHROMIUM": str(mine)}) == str(mine)
    assert launcher.find_chromium({"HOME": str(tmp_path / "empty"), "PATH": ""}) is None


def test_missing_browser_fails_in_ci_and_is_left_out_loudly_elsewhere(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(launcher, "ensure_chromium", lambda venv, environment: None)
    venv = made_up_venv(tmp_path)
    with pytest.raises(LaunchError, match="Chromium"):
        launcher.suite_command(venv, [], {"CI": "true"})
    command, environment = launcher.suite_command(venv, ["-x"], {})
    assert command[1:4] == ["-m", "pytest", "-x"] and command[-1].endswith("browser")
    assert "WEBUI_CHROMIUM" not in environment
    assert "BROWSER TESTS ARE LEFT OUT" in capsys.readouterr().out


def test_found_browser_is_handed_to_the_tests(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(launcher, "ensure_chromium", lambda venv, environment: "/opt/chromium")
    command, environment = launcher.suite_command(made_up_venv(tmp_path), [], {})
    assert environment["WEBUI_CHROMIUM"] == "/opt/chromium" and "--ignore" not in command


def test_flags_go_through_to_the_program(tmp_path: Path, monkeypatch):
    started: list[list[str]] = []
    monkeypatch.setattr(launcher, "prepare", lambda venv, files, environment: None)
    monkeypatch.setattr(launcher, "start", lambda command, environment: started.append(command) or 0)
    launcher.main(["--port", "7899"], {})
    assert started[0][1:] == [str(launcher.ROOT / "app.py"), "--port", "7899"]


def test_requirements_file_can_be_named(tmp_path: Path, monkeypatch):
    asked: list[list[Path]] = []
    monkeypatch.setattr(launcher, "prepare", lambda venv, files, environment: asked.append(files))
    monkeypatch.setattr(launcher, "start", lambda command, environment: 0)
    launcher.main([], {"REQS_FILE": "mine.txt"})
    launcher.main(["--skip-install"], {})
    assert asked == [[launcher.ROOT / "mine.txt"]]


def test_missing_python_is_one_sentence(tmp_path: Path):
    done = subprocess.run(
        ["/bin/bash", launcher.ROOT / "webui.sh"],
        env={"PATH": "/nowhere-at-all"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Python 3.11, 3.12 or 3.13 was not found")
