"""Extra networks in prompts: `<kind:arguments>` taken out of the text, and what `<lora:…>` asks for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schema.errors import PromptError

_NETWORK = re.compile(r"<(\w+):([^>]+)>")
_LORA_KINDS = ("lora", "lyco")


@dataclass(frozen=True, kw_only=True)
class ExtraNetwork:
    """One `<kind:a:b:name=value>` of a prompt.

    Attributes:
        items: Everything between the colons, as written.
        positional: The items that name no argument.
        named: The items of the form `name=value`.
    """

    kind: str
    items: tuple[str, ...]
    positional: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class LoraSpec:
    """A LoRA-family file to apply.

    Attributes:
        name: As written in the prompt: file stem or alias.
        te: Multiplier for the text encoders.
        unet: Multiplier for the UNet.
        dyn: Number of ranks to keep of plain LoRA modules, or None for all.
    """

    name: str
    te: float = 1.0
    unet: float = 1.0
    dyn: int | None = None


def extract_networks(prompt: str) -> tuple[str, tuple[ExtraNetwork, ...]]:
    """The prompt without `<kind:…>` tags, and the tags in order; text around them is left as it is.

    Source: A1111 modules/extra_networks.py, parse_prompt.
    """
    networks = tuple(_read(match[1], match[2]) for match in _NETWORK.finditer(prompt))
    return _NETWORK.sub("", prompt), networks


def _read(kind: str, arguments: str) -> ExtraNetwork:
    items = tuple(arguments.split(":"))
    positional: list[str] = []
    named: dict[str, str] = {}
    for item in items:
        # Two "=" make it positional again, as a file name may contain them.
        name, *values = item.split("=")
        if len(values) == 1:
            named[name] = values[0]
        else:
            positional.append(item)
    return ExtraNetwork(kind=kind, items=items, positional=tuple(positional), named=named)


def lora_specs(networks: Iterable[ExtraNetwork]) -> tuple[LoraSpec, ...]:
    """What the `<lora:name:te:unet:dyn>` and `<lyco:…>` among `networks` ask for, in order.

    `te` defaults to 1, `unet` to `te`, `dyn` to all ranks; `te=`, `unet=` and `dyn=` may name them.

    Raises:
        PromptError: If a multiplier is not a number.

    Source: A1111 extensions-builtin/Lora/extra_networks_lora.py, ExtraNetworkLora.activate.
    """
    return tuple(_lora_spec(network) for network in networks if network.kind in _LORA_KINDS)


def _lora_spec(network: ExtraNetwork) -> LoraSpec:
    tag = f"<{network.kind}:{':'.join(network.items)}>"
    name = network.positional[0] if network.positional else network.items[0]
    te = _multiplier(_argument(network, 1, "te"), tag, default=1.0)
    unet = _multiplier(_argument(network, 2, "unet"), tag, default=te)
    dyn = _argument(network, 3, "dyn")
    return LoraSpec(name=name, te=te, unet=unet, dyn=None if dyn is None else int(_multiplier(dyn, tag, default=0)))


def _argument(network: ExtraNetwork, index: int, name: str) -> str | None:
    positional: Sequence[str] = network.positional
    return network.named.get(name, positional[index] if len(positional) > index else None)


def _multiplier(text: str | None, tag: str, *, default: float) -> float:
    if text is None:
        return default
    try:
        return float(text)
    except ValueError:
        raise PromptError(f"'{text}' in {tag} is not a number. Write <lora:name:1>.") from None
