"""Who may come in: names with passwords, the sessions of browsers, and a brake on guessing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from schema.errors import StartupError
from schema.flags import Flags

SESSION_S = 30 * 24 * 3600
MAX_SESSIONS = 1000
FAILURES_ALLOWED = 20
FAILURE_WINDOW_S = 60.0


class Credentials:
    """The logins of one server; passwords are kept as keyed digests only.

    Args:
        logins: (name, password) pairs; none means that nobody has to log in.
    """

    def __init__(self, logins: Iterable[tuple[str, str]] = ()) -> None:
        self._key = secrets.token_bytes(32)
        self._digests = [self._digest(name, password) for name, password in logins]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepts(self, name: str, password: str) -> bool:
        """Whether this is one of the logins. Takes the same time for every wrong answer."""
        offered = self._digest(name, password)
        matches = [hmac.compare_digest(offered, known) for known in self._digests]
        return any(matches)

    def accepts_header(self, authorization: str) -> bool:
        """Whether an `Authorization` header carries one of the logins as HTTP Basic (RFC 7617)."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return bool(colon) and self.accepts(name, password)

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{len(name)}:{name}{password}".encode(), hashlib.sha256)


def read_credentials(flags: Flags) -> Credentials:
    """The logins of `--gradio-auth`, `--gradio-auth-path` and `--api-auth` together.

    Raises:
        StartupError: If one is not `user:password`, or the file cannot be read.
    """
    texts = {"--gradio-auth": flags.gradio_auth, "--api-auth": flags.api_auth}
    if flags.gradio_auth_path:
        texts["--gradio-auth-path"] = _read(flags.gradio_auth_path)
    return Credentials(login for flag, text in texts.items() for login in _parse_logins(flag, text))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"--gradio-auth-path: '{path}' cannot be read: {error}.") from error


def _parse_logins(flag: str, text: str) -> list[tuple[str, str]]:
    """Pairs separated by commas or new lines; the password may contain colons."""
    entries = [entry.strip() for entry in text.replace("\n", ",").split(",")]
    pairs = [entry.partition(":") for entry in entries if entry]
    for name, colon, password in pairs:
        if not (name and colon and password):
            raise StartupError(f"{flag} needs user:password, but an entry has no colon, name or password.")
    return [(name, password) for name, _, password in pairs]


class Sessions:
    """Cookies of browsers that logged in; kept in memory, so a restart logs everyone out.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: dict[bytes, float] = {}

    def start(self) -> str:
        """A new cookie value."""
        now = self._clock()
        self._ends = {token: end for token, end in self._ends.items() if end > now}
        while len(self._ends) >= MAX_SESSIONS:
            del self._ends[next(iter(self._ends))]
        token = secrets.token_urlsafe(32)
        self._ends[_hash(token)] = now + SESSION_S
        return token

    def knows(self, token: str) -> bool:
        """Whether the cookie was given out and is still good."""
        return self._ends.get(_hash(token), 0.0) > self._clock()

    def end(self, token: str) -> None:
        """Logs this browser out."""
        self._ends.pop(_hash(token), None)


class FailureLimit:
    """Counts wrong logins for each address: after 20 in a minute it has to wait.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[str, list[float]] = {}

    def blocked(self, address: str) -> bool:
        """Whether `address` has to wait before it is listened to again."""
        return len(self._recent(address)) >= FAILURES_ALLOWED

    def add(self, address: str) -> None:
        """Notes a wrong login."""
        self._failures = {key: times for key in [*self._failures] if (times := self._recent(key))}
        self._failures[address] = [*self._recent(address), self._clock()][-FAILURES_ALLOWED:]

    def _recent(self, address: str) -> list[float]:
        oldest = self._clock() - FAILURE_WINDOW_S
        return [moment for moment in self._failures.get(address, []) if moment > oldest]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
