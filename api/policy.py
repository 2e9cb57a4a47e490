"""Who may reach the server: the safety flags, checked, and the questions the guard asks them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from api.credentials import Credentials
from schema.errors import StartupError
from schema.flags import Flags


@dataclass(frozen=True, kw_only=True)
class GuardPolicy:
    """What the guard lets through.

    Attributes:
        credentials: Logins; empty ones mean that everyone who reaches this machine's loopback address may come in.
        hosts: Names, beside loopback ones, that a request may be addressed to while nobody has to log in.
        origins: Origins of web pages, beside our own, that may send requests.
        origins_regex: The same as a pattern for the whole origin, or None.
    """

    credentials: Credentials
    hosts: frozenset[str] = frozenset()
    origins: tuple[str, ...] = ()
    origins_regex: str | None = None

    @classmethod
    def from_flags(cls, flags: Flags, credentials: Credentials) -> GuardPolicy:
        """The policy of a command line.

        Raises:
            StartupError: If other machines could come in without a login, or any web page with one.
        """
        for flag, given in (("--listen", flags.listen), ("--share", flags.share), ("--server-name", flags.server_name)):
            exposed = given and not (isinstance(given, str) and is_loopback(given))
            if exposed and not credentials:
                raise StartupError(f"{flag} lets others in, so it needs a login: add --gradio-auth name:password.")
        hosts = {*_split(flags.allowed_hosts), *([flags.server_name] if flags.server_name else [])}
        return cls(
            credentials=credentials,
            hosts=frozenset(host.lower() for host in hosts),
            origins=_checked_origins(flags.cors_allow_origins),
            origins_regex=_checked_regex(flags.cors_allow_origins_regex),
        )

    def allows_host(self, host: str) -> bool:
        """Whether a request addressed to `host` (a `Host` header) may be answered.

        Without a login, a web page that points its own name at 127.0.0.1 (DNS rebinding) would count as our own
        page. With one it has no cookie, and any name that leads here may be used.
        """
        name = host_name(host)
        return bool(self.credentials) or is_loopback(name) or name in self.hosts

    def allows_origin(self, headers: Headers) -> bool:
        """Whether a request that changes something comes from our own page, an allowed one, or no web page at all.

        Browsers set these headers themselves; a page cannot forge them, `X-Forwarded-Host` included, which a page
        may send elsewhere only after a CORS preflight.
        """
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and self._is_listed(origin):
            return True
        if site is not None:
            return site in ("same-origin", "none")
        ours = {headers.get("host", "").lower(), headers.get("x-forwarded-host", "").split(",")[0].strip().lower()}
        return origin is None or (urlsplit(origin).netloc.lower() or "null") in ours

    def _is_listed(self, origin: str) -> bool:
        matches = self.origins_regex is not None and re.fullmatch(self.origins_regex, origin) is not None
        return origin in self.origins or matches


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine's own address; an empty one means all addresses, so it is not."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """The name in a `Host` header, without the port; empty where it cannot be read."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _checked_origins(text: str) -> tuple[str, ...]:
    origins = tuple(origin.rstrip("/") for origin in _split(text))
    for origin in origins:
        if urlsplit(origin).scheme == "" or urlsplit(origin).netloc == "":
            raise StartupError(f"--cors-allow-origins: '{origin}' is not an origin such as https://example.org.")
    return origins


def _checked_regex(text: str) -> str | None:
    try:
        wild = text != "" and re.fullmatch(text, "https://any.invalid") is not None
    except re.error as error:
        raise StartupError(f"--cors-allow-origins-regex is not a regular expression: {error}.") from error
    if wild:
        raise StartupError("--cors-allow-origins-regex fits every origin: name the ones that may call this server.")
    return text or None
