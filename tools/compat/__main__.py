"""`python -m tools.compat --shared DIR`: compares this program with recorded answers of A1111 1.10.1.

Makes the random SD 1.5 checkpoint and its companions the answers were recorded with, starts the server on a free port,
sends every request of `DIR/goldens/images`, and prints one line a case: PSNR, largest difference, share of pixels
within 1/255, and the infotext keys that differ.
"""

import argparse
import base64
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from tools.compat.compare import PictureDifference, compare_pictures, differing_keys

ROOT = Path(__file__).parents[2]
FLOOR_DB, FLOOR_WITHIN_ONE, FLOOR_SHARE = 45.0, 0.99, 0.95
CHECKPOINT = "random-sd15.safetensors"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one recorded case."""

    name: str
    pictures: list[PictureDifference] = field(default_factory=list)
    missing: int = 0
    infotext: list[str] = field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0

    @property
    def psnr_db(self) -> float:
        """Of the worst picture."""
        return min((picture.psnr_db for picture in self.pictures), default=99.0)

    @property
    def good(self) -> bool:
        """Whether every picture is within the floor."""
        return (
            self.error is None
            and not self.missing
            and all(p.psnr_db >= FLOOR_DB and p.within_one >= FLOOR_WITHIN_ONE for p in self.pictures)
        )


def prepare(shared: Path, work: Path) -> None:
    """Makes the checkpoint, LoRAs, embedding and styles under `work`, once."""
    models = work / "models" / "Stable-diffusion"
    models.mkdir(parents=True, exist_ok=True)
    if not (models / CHECKPOINT).exists():
        subprocess.run([sys.executable, shared / "tools" / "make_random_sd15.py", models / CHECKPOINT], check=True)
    if not (work / "styles.csv").exists():
        subprocess.run([sys.executable, shared / "tools" / "make_random_extras.py", work], check=True)


def start_server(work: Path, precision: str, port: int) -> subprocess.Popen[bytes]:
    """The program on `port` with `work` as data folder."""
    command = [sys.executable, ROOT / "app.py", "--nowebui", "--port", str(port), "--data-dir", work]
    command += ["--ckpt", work / "models" / "Stable-diffusion" / CHECKPOINT]
    command += ["--precision", precision]
    log = (work / "server.log").open("wb")
    return subprocess.Popen(
        command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )


def wait_until_up(client: httpx.Client, server: subprocess.Popen[bytes], timeout_s: float = 120) -> None:
    """Returns when the server answers.

    Raises:
        SystemExit: If it ends or stays silent.
    """
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit("The server ended while starting; see server.log in the work folder.")
        try:
            client.get("/sdapi/v1/samplers")
            return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"The server did not answer within {timeout_s:.0f} s.")


def run_case(client: httpx.Client, folder: Path, name: str) -> Outcome:
    """Sends the recorded request `name` and compares what comes back."""
    recorded = json.loads((folder / f"{name}.request.json").read_text())
    theirs = json.loads((folder / f"{name}.response.json").read_text())["response"]
    started = time.monotonic()
    answer = client.post(f"/sdapi/v1/{recorded['endpoint']}", json=recorded["request"])
    seconds = time.monotonic() - started
    if answer.status_code != 200:
        return Outcome(name=name, error=f"{answer.status_code} {answer.text[:300]}", seconds=seconds)
    ours: dict[str, Any] = answer.json()
    if recorded["endpoint"] == "png-info":
        return Outcome(name=name, infotext=[] if ours == theirs else ["(answer)"], seconds=seconds)
    images = ours.get("images") or ([ours["image"]] if "image" in ours else [])
    expected = sorted(folder.glob(f"{name}_[0-9]*.png"), key=lambda path: int(path.stem.rpartition("_")[2]))
    expected = [path for path in expected if re.fullmatch(rf"{re.escape(name)}_\d+", path.stem)]
    pictures = [
        compare_pictures(Image.open(io.BytesIO(base64.b64decode(image))), Image.open(path))
        for image, path in zip(images, expected, strict=False)
    ]
    return Outcome(
        name=name,
        pictures=pictures,
        missing=abs(len(images) - len(expected)),
        infotext=_infotext_differences(ours, theirs),
        seconds=seconds,
    )


def _infotext_differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    if "info" not in theirs:
        return [] if ours.get("html_info") == theirs.get("html_info") else ["html_info"]
    mine, recorded = json.loads(ours["info"])["infotexts"], theirs["info"]["infotexts"]
    if len(mine) != len(recorded):
        return [f"{len(mine)} infotexts instead of {len(recorded)}"]
    return sorted({key for a, b in zip(mine, recorded, strict=True) for key in differing_keys(a, b)})


def report(outcomes: list[Outcome]) -> None:
    """Prints the totals."""
    count = len(outcomes)
    good = sum(outcome.good for outcome in outcomes)
    same_text = sum(not outcome.infotext and outcome.error is None for outcome in outcomes)
    print(f"\n{good}/{count} cases within the floor ({FLOOR_DB} dB, {FLOOR_WITHIN_ONE:.0%} of pixels within 1/255)")
    print(f"{same_text}/{count} infotexts identical (Version aside)")
    values = sorted(outcome.psnr_db for outcome in outcomes if outcome.pictures)
    if values:
        print(f"PSNR: lowest {values[0]:.1f} dB, median {values[len(values) // 2]:.1f} dB")


def line(outcome: Outcome) -> str:
    """One row of the table."""
    if outcome.error:
        return f"{outcome.name:42} ERROR {outcome.error}"
    largest = max((p.largest for p in outcome.pictures), default=0)
    within = min((p.within_one for p in outcome.pictures), default=1.0)
    missing = f" {outcome.missing} pictures missing or too many" if outcome.missing else ""
    text = "equal" if not outcome.infotext else "differs: " + ", ".join(outcome.infotext)
    mark = " " if outcome.good else "!"
    numbers = f"{outcome.psnr_db:6.1f} dB  max {largest:3}  within 1: {within:7.2%}"
    return f"{mark}{outcome.name:42} {numbers}  infotext {text}{missing}"


def main() -> int:
    """Runs the comparison; 0 when the floor is met."""
    parser = argparse.ArgumentParser(prog="python -m tools.compat", description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds goldens/images and tools/")
    parser.add_argument("--work", type=Path, default=Path("tmp/compat"), help="data folder for the random model (2 GB)")
    parser.add_argument("--precision", choices=("full", "auto", "half"), default="full")
    parser.add_argument("--only", default="", help="regular expression of case names")
    parser.add_argument("--url", help="a running server to ask instead of starting one")
    options = parser.parse_args()
    work = options.work.resolve()
    folder = options.shared / "goldens" / "images"
    names = sorted(path.name.removesuffix(".request.json") for path in folder.glob("*.request.json"))
    names = [name for name in names if re.search(options.only, name)]
    server = None
    url = options.url
    if url is None:
        prepare(options.shared, work)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server, url = start_server(work, options.precision, port), f"http://127.0.0.1:{port}"
    outcomes: list[Outcome] = []
    try:
        with httpx.Client(base_url=url, timeout=900, trust_env=False) as client:
            if server:
                wait_until_up(client, server)
            for name in names:
                outcomes.append(run_case(client, folder, name))
                print(line(outcomes[-1]), flush=True)
    finally:
        if server:
            server.terminate()
            server.wait(30)
    report(outcomes)
    share = len(outcomes) * FLOOR_SHARE
    return 0 if sum(o.good for o in outcomes) >= share and sum(not o.infotext for o in outcomes) >= share else 1


if __name__ == "__main__":
    sys.exit(main())
