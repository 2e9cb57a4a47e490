"""The command line: A1111's flags, each declared once in `Flags`; others are mapped, or warned about and ignored."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from schema.accepted_flags import ACCEPTED
from schema.errors import StartupError

T = TypeVar("T")

NETWORK = "network"
SAFETY = "credentials and access"
FOLDERS = "folders and files"
ENGINE = "engine"
PAGE = "page and settings"


def _flag(
    default: T,
    help: str,
    *,
    group: str,
    parse: type | None = None,
    many: bool = False,
    choices: tuple[str, ...] | None = None,
    metavar: str | None = None,
    secret: bool = False,
) -> T:
    """A dataclass field that is also a flag; `many` flags may be repeated."""
    metadata = {
        "help": help,
        "group": group,
        "parse": parse or (str if default is None else type(default)),
        "many": many,
        "choices": choices,
        "metavar": metavar,
        "secret": secret,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What the command line says; field `server_name` is flag `--server-name`. Help texts are the documentation."""

    listen: bool = _flag(False, "answer other machines too (0.0.0.0); needs credentials", group=NETWORK)
    server_name: str | None = _flag(None, "address to answer on", group=NETWORK, metavar="ADDRESS")
    port: int | None = _flag(
        None, "port to answer on (7860; 7861 with --nowebui); a taken one leads to the next", group=NETWORK, parse=int
    )
    subpath: str = _flag("", "path in front of every address, for a reverse proxy", group=NETWORK, metavar="PATH")
    share: bool = _flag(False, "make a public link through Gradio's servers; needs credentials", group=NETWORK)
    autolaunch: bool = _flag(False, "open the page in the browser", group=NETWORK)
    tls_keyfile: Path | None = _flag(None, "private key, to serve https", group=NETWORK, parse=Path, metavar="FILE")
    tls_certfile: Path | None = _flag(None, "certificate, to serve https", group=NETWORK, parse=Path, metavar="FILE")
    timeout_keep_alive: int = _flag(30, "seconds an idle connection stays open", group=NETWORK, metavar="SECONDS")
    nowebui: bool = _flag(False, "serve the REST API without the page", group=NETWORK)
    api: bool = _flag(False, "serve the REST API (it always is)", group=NETWORK)
    api_log: bool = _flag(False, "log a line for each API call", group=NETWORK)

    gradio_auth: str = _flag(
        "", "user:password[,user:password]; guards every address", group=SAFETY, metavar="LOGIN", secret=True
    )
    gradio_auth_path: Path | None = _flag(
        None, "file with user:password in each line", group=SAFETY, parse=Path, metavar="FILE", secret=True
    )
    api_auth: str = _flag(
        "",
        "user:password[,user:password] for programs; guards every address",
        group=SAFETY,
        metavar="LOGIN",
        secret=True,
    )
    cors_allow_origins: str = _flag("", "origins, with commas, whose pages may call us", group=SAFETY, metavar="LIST")
    cors_allow_origins_regex: str = _flag("", "the same as one regular expression", group=SAFETY, metavar="REGEX")
    allowed_hosts: str = _flag("", "host names, with commas, that a proxy forwards", group=SAFETY, metavar="LIST")
    gradio_allowed_path: tuple[Path, ...] = _flag(
        (),
        "folder the page may show files of (repeatable)",
        group=SAFETY,
        parse=Path,
        many=True,
        metavar="DIR",
    )

    data_dir: Path | None = _flag(None, "folder of all that is written", group=FOLDERS, parse=Path, metavar="DIR")
    models_dir: Path | None = _flag(None, "folder of all models", group=FOLDERS, parse=Path, metavar="DIR")
    ckpt_dir: tuple[Path, ...] = _flag(
        (), "more checkpoints (repeatable)", group=FOLDERS, parse=Path, many=True, metavar="DIR"
    )
    vae_dir: Path | None = _flag(None, "more VAEs", group=FOLDERS, parse=Path, metavar="DIR")
    lora_dir: Path | None = _flag(None, "more LoRAs", group=FOLDERS, parse=Path, metavar="DIR")
    embeddings_dir: Path | None = _flag(None, "textual inversions", group=FOLDERS, parse=Path, metavar="DIR")
    upscaler_dir: Path | None = _flag(None, "more upscalers", group=FOLDERS, parse=Path, metavar="DIR")
    controlnet_dir: Path | None = _flag(None, "more ControlNets", group=FOLDERS, parse=Path, metavar="DIR")
    controlnet_preprocessor_models_dir: Path | None = _flag(
        None, "weights of ControlNet preprocessors", group=FOLDERS, parse=Path, metavar="DIR"
    )
    text_encoder_dir: Path | None = _flag(None, "more text encoders", group=FOLDERS, parse=Path, metavar="DIR")
    localizations_dir: Path | None = _flag(
        None, "more translations of the page", group=FOLDERS, parse=Path, metavar="DIR"
    )
    ui_settings_file: Path | None = _flag(None, "settings (config.json)", group=FOLDERS, parse=Path, metavar="FILE")
    ui_config_file: Path | None = _flag(None, "defaults of the page", group=FOLDERS, parse=Path, metavar="FILE")
    styles_file: Path | None = _flag(None, "prompt styles (styles.csv)", group=FOLDERS, parse=Path, metavar="FILE")

    ckpt: Path | None = _flag(None, "checkpoint to start with", group=ENGINE, parse=Path, metavar="FILE")
    vae_path: Path | None = _flag(None, "VAE to use with every checkpoint", group=ENGINE, parse=Path, metavar="FILE")
    device: str = _flag("auto", "auto, cpu, cuda, cuda:1, mps, xpu; --use-cpu and --device-id set it too", group=ENGINE)
    opt_channelslast: bool = _flag(False, "store convolution weights channels last", group=ENGINE)
    precision: str = _flag(
        "auto", "number format; full is float32", group=ENGINE, choices=("auto", "full", "half", "autocast")
    )
    no_half_vae: bool = _flag(False, "run the VAE in float32", group=ENGINE)
    offline: bool = _flag(False, "never use the network", group=ENGINE)
    no_hashing: bool = _flag(False, "do not compute hashes of checkpoints", group=ENGINE)

    localization: str | None = _flag(None, "language of the page for this run; the setting if not given", group=PAGE)
    theme: str | None = _flag(None, "the browser's choice if not given", group=PAGE, choices=("dark", "light"))
    no_prompt_history: bool = _flag(False, "do not remember the last generation in params.txt", group=PAGE)
    loglevel: str = _flag(
        "INFO", "least severe message to log", group=PAGE, choices=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    )

    def public(self) -> dict[str, Any]:
        """The flags by A1111's names as JSON values, without those that hold credentials."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if not item.metadata["secret"]}
        return {name: _as_json(value) for name, value in values.items()}


def parse_flags(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[Flags, list[str]]:
    """The flags of a command line, and one sentence for each that was ignored.

    `COMMANDLINE_ARGS` of the environment is read first, so the command line wins. `WEBUI_AUTH` stands in for
    `--gradio-auth`: flags can be seen by other users of the machine, the environment cannot.

    Raises:
        StartupError: If a value cannot be used.
        SystemExit: After `--help` was printed.
    """
    environment = os.environ if environment is None else environment
    words = [*_split_words(environment.get("COMMANDLINE_ARGS", "")), *argv]
    namespace, unknown = _parser().parse_known_args(words)
    given: dict[str, Any] = vars(namespace)
    values, notices = _map_accepted(given.pop("accepted"), given)
    values.setdefault("gradio_auth", environment.get("WEBUI_AUTH", ""))
    if values.get("precision") == "autocast":
        values["precision"] = "auto"
    if not 0 <= (values.get("port") or 0) <= 65535:
        raise StartupError(f"--port {values['port']} is not a port: use a number from 1 to 65535.")
    return Flags(**values), notices + _unknown_notices(unknown)


def _split_words(text: str, *, windows: bool = os.name == "nt") -> list[str]:
    """The words of a command line; on `windows` a backslash is part of a path, not an escape."""
    try:
        return [word.strip('"') if windows else word for word in shlex.split(text, posix=not windows)]
    except ValueError as error:
        raise StartupError(f"COMMANDLINE_ARGS cannot be read: {error}.") from error


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the whole usage."""
        raise StartupError(f"Command line: {message}. See --help.")


class _Accept(argparse.Action):
    """Collects the accepted flags that are used, with their values, in order."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.accepted.append((option_string, values))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="app.py", allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.set_defaults(accepted=[])
    groups = {name: parser.add_argument_group(name) for name in (NETWORK, SAFETY, FOLDERS, ENGINE, PAGE)}
    for item in fields(Flags):
        meta = item.metadata
        options: dict[str, Any] = {"help": meta["help"]}
        if meta["parse"] is bool:
            options["action"] = "store_true"
        else:
            options |= {"type": meta["parse"], "choices": meta["choices"], "metavar": meta["metavar"]}
            options["action"] = "append" if meta["many"] else "store"
        groups[meta["group"]].add_argument(_option(item.name), **options)
    nargs = {"none": 0, "one": 1, "optional": "?", "many": "*"}
    for entry in ACCEPTED:
        for name in entry.names.split():
            parser.add_argument(f"--{name}", action=_Accept, nargs=nargs[entry.values], help=argparse.SUPPRESS)
    return parser


def _map_accepted(used: list[tuple[str, Any]], given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values with the accepted flags' effects under those of `given`, and a notice for each without effect."""
    by_name = {f"--{name}": entry for entry in ACCEPTED for name in entry.names.split()}
    values: dict[str, Any] = {}
    notices: list[str] = []
    for option, words in used:
        entry = by_name[option]
        values |= entry.sets
        if option == "--device-id":
            values["device"] = f"cuda:{words[0]}"
        elif option == "--use-cpu" and (not words or {"all", "sd"} & {word.lower() for word in words}):
            values["device"] = "cpu"
        if entry.note:
            notices.append(f"{option} is ignored: {entry.note}.")
    values |= {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return values, notices


def _unknown_notices(unknown: Sequence[str]) -> list[str]:
    known = [_option(item.name) for item in fields(Flags)]
    notices: list[str] = []
    for word in unknown:
        if not word.startswith("-"):
            notices.append(f"'{word}' on the command line is ignored.")
            continue
        close = difflib.get_close_matches(word.split("=")[0], known, n=1, cutoff=0.7)
        notices.append(f"Unknown flag {word} is ignored." + (f" Closest: {close[0]}." if close else ""))
    return notices


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _as_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_as_json(item) for item in cast(tuple[Any, ...], value)]
    return str(value) if isinstance(value, Path) else value
