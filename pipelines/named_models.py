"""Which models a generation record names, and whether they are here: by hash first, then by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipelines.adapters.extra_networks import extract_networks, lora_specs
from pipelines.library import Library
from schema.infotext import ParsedInfotext


class Presence(StrEnum):
    """Whether a named model is here."""

    HERE = "here"
    SAME_NAME = "same name"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A model that a record names.

    Attributes:
        kind: "Checkpoint", "VAE", "LoRA", "Embedding", "Upscaler", "Refiner", "Hires checkpoint".
        name, hash: As the record has them; either may be empty.
        presence: HERE where the hash agrees, or the name where the record has no hash; SAME_NAME where a file has the
            name and another hash, or one that is not known yet.
        local: Name of the file here, "" when missing.
    """

    kind: str
    name: str
    hash: str
    presence: Presence
    local: str = ""


def named_models(parsed: ParsedInfotext, library: Library) -> tuple[NamedModel, ...]:
    """Every model that `parsed` names, in the order in which they act."""
    fields = parsed.fields
    found: list[NamedModel] = []
    if "Model" in fields or "Model hash" in fields:
        found.append(_checkpoint("Checkpoint", _text(fields, "Model"), _text(fields, "Model hash"), library))
    if "VAE" in fields or "VAE hash" in fields:
        found.append(_vae(_text(fields, "VAE"), _text(fields, "VAE hash"), library))
    for key, kind in (("Refiner", "Refiner"), ("Hires checkpoint", "Hires checkpoint")):
        if key in parsed.written:
            name, _, short_hash = _text(fields, key).partition(" [")
            found.append(_checkpoint(kind, name, short_hash.rstrip("]"), library))
    found += _loras(fields, library)
    found += _embeddings(fields, library)
    for key in ("Hires upscaler", "Postprocess upscaler", "Postprocess upscaler 2", "SD upscale upscaler"):
        if key in parsed.written and not _text(fields, key).startswith("Latent"):
            found.append(_upscaler(_text(fields, key), library))
    return tuple(found)


def _text(fields: Mapping[str, Any], key: str) -> str:
    return str(fields.get(key, "")).strip()


def _checkpoint(kind: str, name: str, short_hash: str, library: Library) -> NamedModel:
    by_hash = library.checkpoints.find(short_hash) if short_hash else None
    if by_hash is not None:
        return NamedModel(kind=kind, name=name, hash=short_hash, presence=Presence.HERE, local=by_hash.title)
    wanted = name.casefold()
    # `find` would take any title that contains the name; here only the file of that very name counts.
    by_name = next(
        (info for info in library.checkpoints if wanted and wanted in (info.stem.casefold(), info.name.casefold())),
        None,
    )
    if by_name is None:
        return NamedModel(kind=kind, name=name, hash=short_hash, presence=Presence.MISSING)
    hashed = library.hashed(by_name) if short_hash else by_name
    same = not short_hash or (hashed.sha256 or "").startswith(short_hash)
    presence = Presence.HERE if same else Presence.SAME_NAME
    return NamedModel(kind=kind, name=name, hash=short_hash, presence=presence, local=hashed.title)


def _vae(name: str, short_hash: str, library: Library) -> NamedModel:
    files = library.vaes.files
    known = {key: library.hashes.known(path) or "" for key, path in files.items()}
    by_hash = next((key for key, sha256 in known.items() if short_hash and sha256.startswith(short_hash)), None)
    if by_hash is not None:
        return NamedModel(kind="VAE", name=name, hash=short_hash, presence=Presence.HERE, local=by_hash)
    if name not in files:
        return NamedModel(kind="VAE", name=name, hash=short_hash, presence=Presence.MISSING)
    same = not short_hash or library.hashes.sha256(files[name]).startswith(short_hash)
    presence = Presence.HERE if same else Presence.SAME_NAME
    return NamedModel(kind="VAE", name=name, hash=short_hash, presence=presence, local=name)


def _loras(fields: Mapping[str, Any], library: Library) -> Iterator[NamedModel]:
    _, networks = extract_networks(_text(fields, "Prompt"))
    hashes = _hashes(_text(fields, "Lora hashes"))
    names = dict.fromkeys(spec.name for spec in lora_specs(networks))
    for name in names | dict.fromkeys(hashes):
        wanted = hashes.get(name, "")
        files = library.loras.files
        by_hash = next((file for file in files if wanted and library.loras.short_hash(file).startswith(wanted)), None)
        file = by_hash or library.loras.find(name)
        if file is None:
            yield NamedModel(kind="LoRA", name=name, hash=wanted, presence=Presence.MISSING)
        else:
            presence = Presence.HERE if by_hash or not wanted else Presence.SAME_NAME
            yield NamedModel(kind="LoRA", name=name, hash=wanted, presence=presence, local=file.name)


def _embeddings(fields: Mapping[str, Any], library: Library) -> Iterator[NamedModel]:
    here = {embedding.name: embedding.hash for embedding in library.embeddings.embeddings}
    for name, wanted in _hashes(_text(fields, "TI hashes")).items():
        # A1111 writes 12 digits of the SHA-256, older releases 4 of another; only the former can be compared.
        by_hash = next(
            (key for key, sha256 in here.items() if len(wanted) >= 10 and sha256.startswith(wanted[:12])), None
        )
        local = by_hash or (name if name in here else "")
        presence = Presence.MISSING if not local else Presence.HERE if by_hash else Presence.SAME_NAME
        yield NamedModel(kind="Embedding", name=name, hash=wanted, presence=presence, local=local)


def _upscaler(name: str, library: Library) -> NamedModel:
    found = library.upscalers.find(name)
    presence = Presence.HERE if found else Presence.MISSING
    return NamedModel(kind="Upscaler", name=name, hash="", presence=presence, local=found.name if found else "")


def _hashes(text: str) -> dict[str, str]:
    """`name: hash, name: hash` as a mapping."""
    pairs = (pair.rpartition(":") for pair in text.split(",") if ":" in pair)
    return {name.strip(): digest.strip() for name, _, digest in pairs}
