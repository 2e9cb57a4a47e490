"""The program that downloads one file from a Hugging Face hub; `download.py` runs it as a process of its own.

The application itself runs with HF_HUB_OFFLINE=1, which huggingface_hub reads once, at import. Only this process has
it off, and it does nothing but fetch the one file that was asked for.

It writes one JSON object a line: {"total": …, "done": …} while it works, at last {"path": …} or {"error": …}.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from huggingface_hub import HfFileMetadata, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers
from tqdm import tqdm

_CHUNK_BYTES = 4 << 20
# What must stay free on the disk beside the file itself.
_SPARE_BYTES = 256 << 20
_MIB = 1 << 20


class _Refused(Exception):
    """A reason not to go on; its text is the message."""


def tell(**facts: object) -> None:
    """Writes one line for the process that started this one."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class _Progress(tqdm):  # type: ignore[type-arg]
    """A progress bar that writes a line for every percent instead of drawing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["disable"] = True
        super().__init__(*args, **kwargs)
        self.received, self.told = int(kwargs.get("initial") or 0), -1
        self.expected = int(kwargs.get("total") or 0)
        self.update(0)

    def update(self, n: float | None = 1) -> bool | None:
        """Counts `n` more bytes."""
        self.received += int(n or 0)
        percent = self.received * 100 // max(1, self.expected)
        if percent != self.told:
            self.told = percent
            tell(total=self.expected, done=self.received)
        return None


def main() -> int:
    """Downloads what the JSON object on standard input asks for; the exit status is 0 where the file is there."""
    wanted: dict[str, str] = json.load(sys.stdin)
    try:
        tell(path=str(_fetch(wanted)))
    except _Refused as refused:
        tell(error=str(refused))
    except HfHubHTTPError as error:
        status = error.response.status_code
        hint = " Its licence must be accepted on the model's page first." if status in (401, 403) else ""
        place = wanted.get("url") or f"{wanted['repo']}/{wanted['file']}"
        tell(error=f"The server answered {status} for {place}.{hint}")
    except (httpx2.HTTPError, OSError) as error:
        reason = str(error) or type(error).__name__
        again = "Start it again to continue where it was."
        if wanted.get("url"):
            again += f" Without network, get {wanted['url']} elsewhere and put it at {wanted['target']}."
        tell(error=f"The download of {wanted['file']} stopped: {reason}. {again}")
    else:
        return 0
    return 1


def _fetch(wanted: Mapping[str, str]) -> Path:
    source = _published(wanted) if wanted.get("url") else _on_the_hub(wanted)
    digest = source.digest
    target = Path(wanted["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    # The digest in the name keeps the parts of two versions apart.
    part = target.with_name(f"{target.name}.{digest[:10]}.part")
    have = part.stat().st_size if part.exists() else 0
    if have > source.size:
        part.unlink()
        have = 0
    _check_space(target, source.size - have)
    with part.open("ab") as file:
        http_get(
            source.address,
            file,
            resume_size=have,
            headers=source.headers,
            expected_size=source.size,
            tqdm_class=cast(Any, _Progress),
        )
    found = _sha256(part)
    if found != digest:
        part.unlink()
        raise _Refused(
            f"{wanted['file']} arrived damaged: its SHA-256 is {found[:10]}…, expected {digest[:10]}…. Start it again."
        )
    part.replace(target)
    return target


@dataclass(frozen=True, kw_only=True)
class _Source:
    address: str
    size: int
    digest: str
    headers: dict[str, str]


def _published(wanted: Mapping[str, str]) -> _Source:
    """A file outside the hub: what it must be is known beforehand, and no token of the hub goes there."""
    return _Source(address=wanted["url"], size=int(wanted["size"]), digest=wanted["sha256"], headers={})


def _on_the_hub(wanted: Mapping[str, str]) -> _Source:
    url = hf_hub_url(wanted["repo"], wanted["file"], endpoint=wanted.get("endpoint") or None)
    metadata = get_hf_file_metadata(url)
    digest = wanted.get("sha256") or _stated_sha256(metadata)
    if metadata.size is None or digest is None:
        raise _Refused(f"The server does not state size and SHA-256 of {wanted['file']}; it cannot be checked.")
    is_hub = metadata.location.startswith(url.partition("/resolve/")[0])
    headers = build_hf_headers() if is_hub else {}
    return _Source(address=metadata.location, size=metadata.size, digest=digest, headers=headers)


def _stated_sha256(metadata: HfFileMetadata) -> str | None:
    """The hub names large files by their SHA-256."""
    return metadata.etag if metadata.etag and re.fullmatch(r"[0-9a-f]{64}", metadata.etag) else None


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < needed + _SPARE_BYTES:
        raise _Refused(
            f"{target.name} needs {needed // _MIB} MiB, and {free // _MIB} MiB are free in {target.parent}. "
            "Make room or choose another folder."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
