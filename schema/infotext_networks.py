"""LoRA names in pasted prompts: another file name here for the same weights, and tags of an old extension."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_LORA_NAME = re.compile(r"<lora:([^:>]+):")
_NAME_WITH_HASH = re.compile(r"(.+)\(.*\)")
_ADDITIONAL_MODEL = "AddNet Model "


def use_local_names(fields: Mapping[str, Any], name_of_hash: Callable[[str], str | None]) -> str:
    """The prompt of `fields`, its LoRAs called as the files here that have the same hash ("Lora hashes").

    Args:
        name_of_hash: Short hash → name of the local file, or None.

    Source: A1111 extensions-builtin/Lora/scripts/lora_script.py, infotext_pasted.
    """
    pairs = (pair.partition(":") for pair in str(fields.get("Lora hashes", "")).split(","))
    hashes = {name.strip(): short_hash.strip() for name, _, short_hash in pairs}

    def local(match: re.Match[str]) -> str:
        short_hash = hashes.get(match[1])
        name = name_of_hash(short_hash) if short_hash else None
        return f"<lora:{name}:" if name else match[0]

    return _LORA_NAME.sub(local, fields.get("Prompt", ""))


def additional_network_tags(fields: Mapping[str, Any]) -> str:
    """`<lora:…>` tags for the fields that the Additional Networks extension wrote; empty without such fields.

    Source: A1111 extensions-builtin/Lora/ui_extra_networks_lora.py and networks.py, infotext_pasted.
    """
    tags: list[str] = []
    for key, model in fields.items():
        number = key.removeprefix(_ADDITIONAL_MODEL)
        if number == key or fields.get(f"AddNet Module {number}") != "LoRA":
            continue
        name = _NAME_WITH_HASH.fullmatch(str(model))
        tags.append(f"<lora:{name[1] if name else model}:{fields.get(f'AddNet Weight A {number}', '1.0')}>")
    return "".join(tags)
