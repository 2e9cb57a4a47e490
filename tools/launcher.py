"""What webui.sh and webui.bat run: makes .venv, installs what is missing, starts the program or its tests.

Needs nothing but Python's standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)
MIN_FREE_BYTES = 2 * 2**30
SKIP_FLAGS = {"--skip-install", "--skip-prepare-environment"}

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")

# oneDNN allocates a reordered copy of the convolution weights at every call. Above the threshold glibc maps and
# unmaps it each time, and the kernel clears every page again: small pictures then take 2.5 to 4 times as long.
GLIBC_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_TOP_PAD_": str(2**26),
}

PIP_FAILURES = {
    "No space left on device": "The disk is full: free about 8 GB and start again.",
    "Temporary failure in name resolution": "The package index cannot be reached: connect to the network, start again.",
    "NewConnectionError": "The package index cannot be reached: connect to the network, start again.",
    "Read timed out": "The package index answers too slowly: start again to go on.",
    "No matching distribution found": "A package does not exist for this Python and system",
    "Permission denied": "Files in .venv cannot be written: check whom the folder belongs to.",
}


class LaunchError(Exception):
    """The program cannot be set up; the message is the one sentence to print."""


@dataclass(frozen=True, kw_only=True)
class Venv:
    """The virtual environment of one checkout.

    Attributes:
        folder: Where it is.
        base_python: The interpreter it is made with.
    """

    folder: Path
    base_python: str

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def stamp(self) -> Path:
        """Records what was installed; written last, so a half-made environment has none."""
        return self.folder / "installed.json"

    def has(self, requirements: Sequence[Path]) -> bool:
        """Whether these files' packages are installed. Starts no process."""
        return self.python.exists() and fingerprint(requirements).items() <= read_stamp(self.stamp).items()

    def is_usable(self) -> bool:
        """Whether its interpreter runs, is of a supported version and has pip."""
        check = f"import sys, pip; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
        try:
            return subprocess.run([self.python, "-c", check], capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def make(self) -> None:
        """Makes it anew, whatever was left of an earlier one.

        Raises:
            LaunchError: If Python cannot make it.
        """
        done = subprocess.run(
            [self.base_python, "-m", "venv", "--clear", self.folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LaunchError(explain_venv_failure(done.stdout + done.stderr, self.base_python))

    def install(self, requirements: Sequence[Path], torch_command: str = "") -> None:
        """Installs the packages of `requirements` and records it.

        Args:
            requirements: Files for pip.
            torch_command: What pip is to do before ("pip install torch --index-url ..."), or "".

        Raises:
            LaunchError: If pip fails.
        """
        listed = [word for path in requirements for word in ("-r", str(path))]
        if torch_command:
            self._run_module(shlex.split(torch_command))
        self._run_module(["pip", "install", "--disable-pip-version-check", *listed])
        self.stamp.write_text(json.dumps(read_stamp(self.stamp) | fingerprint(requirements)), encoding="utf-8")

    def _run_module(self, words: Sequence[str]) -> None:
        """Runs `python -m words` and shows what it prints as it comes."""
        process = subprocess.Popen(
            [self.python, "-u", "-m", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            if not line.startswith("Requirement already satisfied"):
                print(line, end="", flush=True)
        if process.wait():
            raise LaunchError(explain_pip_failure("".join(lines)))


def fingerprint(requirements: Sequence[Path]) -> dict[str, str]:
    """File name to digest of what it asks for; comments and line endings do not count.

    Raises:
        LaunchError: If a file cannot be read.
    """
    return {path.name: _digest(path) for path in requirements}


def _digest(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LaunchError(f"'{path}' cannot be read: {error.strerror}.") from error
    wanted = [line.split(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(filter(None, wanted)).encode()).hexdigest()


def read_stamp(path: Path) -> dict[str, str]:
    """What was recorded as installed; empty if there is no readable record."""
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(digest) for name, digest in recorded.items()} if isinstance(recorded, dict) else {}


def explain_venv_failure(output: str, python: str) -> str:
    """One sentence on why `python -m venv` failed."""
    if "No space left" in output:
        return PIP_FAILURES["No space left on device"]
    if "ensurepip" in output or "No module named venv" in output:
        return f"{python} comes without its venv module: install it (Debian, Ubuntu: apt install python3-venv)."
    return f"The folder .venv could not be made: {_last_line(output)}"


def explain_pip_failure(output: str) -> str:
    """One sentence on why pip failed; pip's own words where the reason is not known."""
    for sign, sentence in PIP_FAILURES.items():
        if sign in output:
            found = next(line for line in output.splitlines() if sign in line)
            return sentence if sentence.endswith(".") else f"{sentence}: {found.strip()}"
    return f"The packages could not be installed: {_last_line(output)}"


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason was given."])[-1]


def check_disk(folder: Path) -> None:
    """Raises LaunchError where the packages will certainly not fit."""
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise LaunchError(
            f"Only {free / 2**30:.1f} GiB are free on the disk of '{folder}': "
            f"the packages need {MIN_FREE_BYTES // 2**30} GiB, with CUDA 8 GiB."
        )


def prepare(venv: Venv, requirements: Sequence[Path], environment: Mapping[str, str]) -> None:
    """Makes and fills `venv` where it is missing, broken or out of date; otherwise does nothing.

    Raises:
        LaunchError: If that fails.
    """
    if venv.has(requirements):
        return
    check_disk(venv.folder.parent)
    if not venv.is_usable():
        print(f"Making {venv.folder.name} with {venv.base_python} ...", flush=True)
        venv.make()
    print("Installing packages; the first time this takes some minutes ...", flush=True)
    venv.install(requirements, environment.get("TORCH_COMMAND", ""))


def runtime_environment(environment: Mapping[str, str], libc: str) -> dict[str, str]:
    """The environment to start in: `environment`, with glibc's allocator set up unless it already was.

    Args:
        libc: Name of the C library, as `platform.libc_ver` gives it.
    """
    return {**(GLIBC_MALLOC if libc == "glibc" else {}), **environment}


def find_chromium(environment: Mapping[str, str]) -> str | None:
    """The browser for the tests: `WEBUI_CHROMIUM`, an installed one, or one that Playwright installed before."""
    named = environment.get("WEBUI_CHROMIUM")
    if named:
        return shutil.which(named)
    installed = next(filter(None, (shutil.which(name, path=environment.get("PATH")) for name in BROWSERS)), None)
    if installed:
        return installed
    home = Path(environment.get("HOME") or Path.home())
    caches = [
        home / ".cache",
        home / "Library" / "Caches",
        Path(environment.get("LOCALAPPDATA", home / "AppData/Local")),
    ]
    folders = [Path(environment["PLAYWRIGHT_BROWSERS_PATH"])] if environment.get("PLAYWRIGHT_BROWSERS_PATH") else []
    folders += [cache / "ms-playwright" for cache in caches]
    programs = ("chrome-linux*/chrome", "chrome-win*/chrome.exe", "chrome-mac*/Chromium.app/Contents/MacOS/Chromium")
    found = [path for folder in folders for program in programs for path in folder.glob(f"chromium-*/{program}")]
    return str(max(found)) if found else None


def ensure_chromium(venv: Venv, environment: Mapping[str, str]) -> str | None:
    """The browser for the tests, installed where it can be: by apt-get as root, else by Playwright; None without."""
    found = find_chromium(environment)
    if found:
        return found
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root and shutil.which("apt-get"):
        quiet = {**environment, "DEBIAN_FRONTEND": "noninteractive"}
        _attempt(["apt-get", "update", "-qq"], quiet)
        _attempt(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], quiet)
    if not find_chromium(environment):
        _attempt([str(venv.python), "-m", "playwright", "install", "chromium"], environment)
    return find_chromium(environment)


def _attempt(command: Sequence[str], environment: Mapping[str, str]) -> None:
    print(" ".join(command), flush=True)
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=False)


def suite_command(venv: Venv, words: Sequence[str], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The command and environment that run the test suite.

    Raises:
        LaunchError: In CI, if there is no browser; elsewhere the browser tests are left out, and that is said.
    """
    command = [str(venv.python), "-m", "pytest", *words]
    browser = ensure_chromium(venv, environment)
    if browser:
        return command, environment | {"WEBUI_CHROMIUM": browser}
    if environment.get("CI", "").lower() in ("1", "true"):
        raise LaunchError("There is no Chromium for the browser tests, and in CI they must run.")
    print(
        "!" * 78 + "\nNo Chromium was found or could be installed: THE BROWSER TESTS ARE LEFT OUT.\n" + "!" * 78,
        flush=True,
    )
    return [*command, "--ignore", str(ROOT / "tests" / "browser")], environment


def start(command: Sequence[str], environment: dict[str, str]) -> int:
    """Runs `command` in place of this process where the system can, so that signals reach it; else waits for it."""
    if os.name != "nt":
        os.execve(command[0], list(command), environment)
    return subprocess.call(command, env=environment)


def main(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Sets up, then starts the program with the flags `argv`, or its tests for `test ...`. Returns the exit status.

    Raises:
        LaunchError: If it cannot be set up.
    """
    if {"-h", "--help"} & {*argv[:1]}:
        return start([sys.executable, str(ROOT / "app.py"), "--help"], dict(environment))
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise LaunchError(f"Python 3.11, 3.12 or 3.13 is needed; this is {platform.python_version()}.")
    venv = Venv(folder=ROOT / ".venv", base_python=getattr(sys, "_base_executable", None) or sys.executable)
    requirements = [ROOT / environment.get("REQS_FILE", "requirements.txt")]
    testing = [*argv[:1]] == ["test"]
    if testing:
        requirements.append(ROOT / "requirements-dev.txt")
    if not SKIP_FLAGS & {*argv, *environment.get("COMMANDLINE_ARGS", "").split()}:
        prepare(venv, requirements, environment)
    runtime = runtime_environment(environment, platform.libc_ver()[0])
    command = [str(venv.python), str(ROOT / "app.py"), *argv]
    if testing:
        command, runtime = suite_command(venv, argv[1:], runtime)
    return start(command, runtime)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:], os.environ))
    except LaunchError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
