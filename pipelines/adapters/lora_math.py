"""What LoRA-family modules add to a weight: one function per kind, after the tensors they are stored as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Parts = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What a module adds.

    Attributes:
        weight: Added to the weight, of its shape.
        bias: Added to the bias, or None.
    """

    weight: Tensor
    bias: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """A module before scaling.

    Attributes:
        rank: What alpha is divided by; None when alpha does not scale this kind.
        scales: False for kinds that ignore `scale` and alpha altogether.
    """

    weight: Tensor
    rank: int | None = None
    bias: Tensor | None = None
    scales: bool = True


def module_delta(
    parts: Parts, weight: Tensor, *, multiplier: float, dyn: int | None = None, dtype: torch.dtype = torch.float32
) -> Delta | None:
    """What the module stored as `parts` adds to `weight`; None if it is of no known kind.

    The stored `bias` is added first, then everything is scaled by `scale`, else alpha / rank; DoRA normalises the sum
    with `weight`; the multiplier comes last. Bias deltas are only multiplied.

    Args:
        parts: Tensors of one module by the rest of their name, such as `lora_up.weight`.
        weight: The weight as it is, with earlier networks added; linear (O, I) or convolution (O, I, kH, kW).
        dyn: Ranks to keep of a plain LoRA.
        dtype: Plain LoRA matrices are rounded to it before they are multiplied.

    Raises:
        RuntimeError: If the shapes do not fit.

    Source: A1111 extensions-builtin/Lora/network.py, NetworkModule.finalize_updown; LyCORIS (Yeh et al. 2023).
    """
    parts = _common_names(parts)
    kind = next((make for names, make in _KINDS if _has(parts, names)), None)
    if kind is None:
        return None
    parts = {name: tensor.to(weight.device) for name, tensor in parts.items()}
    raw = kind(parts, weight, dyn, dtype)
    delta = raw.weight
    if "bias" in parts:
        delta = delta.reshape(parts["bias"].shape) + parts["bias"].to(delta.dtype)
    if delta.numel() == weight.numel():
        delta = delta.reshape(weight.shape)
    delta = delta * (_scale(parts, raw.rank) if raw.scales else 1.0)
    if "dora_scale" in parts:
        delta = _decomposed(delta, weight, parts["dora_scale"])
    return Delta(weight=delta * multiplier, bias=None if raw.bias is None else raw.bias * multiplier)


def _common_names(parts: Parts) -> Parts:
    """PEFT's `lora_A`, `lora_B` under kohya's names; like A1111 without any alpha beside them."""
    if _has(parts, ("lora_A.weight", "lora_B.weight")) and "lora_up.weight" not in parts:
        return {"lora_up.weight": parts["lora_B.weight"], "lora_down.weight": parts["lora_A.weight"]}
    return parts


def _has(parts: Parts, names: tuple[str, ...]) -> bool:
    """Whether every name, or one of the alternatives in it (`a|b c`: a, or both b and c), is there."""
    return all(
        any(all(name in parts for name in option.split()) for option in names_of_one.split("|"))
        for names_of_one in names
    )


def _scale(parts: Parts, rank: int | None) -> float:
    if "scale" in parts:
        return float(parts["scale"].item())
    if "alpha" in parts and rank is not None:
        return float(parts["alpha"].item()) / rank
    return 1.0


def _decomposed(delta: Tensor, weight: Tensor, dora_scale: Tensor) -> Tensor:
    """DoRA: every input column of weight + delta gets the trained length.

    Source: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank Adaptation", eq. 5.
    """
    weight = weight.to(delta.dtype)
    merged = weight + delta
    columns = merged.transpose(0, 1).reshape(merged.shape[1], -1).norm(dim=1)
    lengths = columns.reshape(1, -1, *[1] * (merged.ndim - 2))
    return merged * (dora_scale.to(delta.dtype) / lengths) - weight


def _flat(matrix: Tensor) -> Tensor:
    return matrix.reshape(matrix.shape[0], -1)


def _product(up: Tensor, down: Tensor) -> Tensor:
    """(O, r) · (r, I…) with the trailing sizes of `down`."""
    return (_flat(up) @ _flat(down)).reshape(up.shape[0], *down.shape[1:])


def _lora(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """up · down, with a core tensor in between for convolutions trained with CP decomposition (Hu et al. 2021)."""
    up, down = parts["lora_up.weight"].to(dtype), parts["lora_down.weight"].to(dtype)
    rank = down.shape[0]
    if "lora_mid.weight" in parts:
        core = parts["lora_mid.weight"].to(dtype)
        product = torch.einsum("nmkl,in,mj->ijkl", core, _flat(up), _flat(down))
    else:
        product = _product(_flat(up)[:, :dyn], down[:dyn])
    return _Raw(weight=product, rank=rank)


def _loha(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """Hadamard product of two low-rank matrices (FedPara, Hyeon-Woo et al. 2022)."""
    factors = [
        _tucker(parts[f"hada_t{n}"], parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"])
        if f"hada_t{n}" in parts
        else _product(parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"])
        for n in (1, 2)
    ]
    return _Raw(weight=factors[0] * factors[1], rank=parts["hada_w1_b"].shape[0])


def _tucker(core: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Core (i, j, k, l) with a (i, O) and b (j, I) → (O, I, k, l)."""
    return torch.einsum("ijkl,jr,ip->prkl", core, b, a)


def _ia3(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """Weight times a learned factor per input or per output (Liu et al. 2022)."""
    factor, on_input = parts["weight"], bool(parts["on_input"].item())
    shape = (1, -1) if on_input else (-1, 1)
    return _Raw(weight=weight * factor.reshape(*shape, *[1] * (weight.ndim - 2)))


def _lokr(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """Kronecker product of two factors, each stored whole or as a product."""
    rank: int | None = None
    factors: list[Tensor] = []
    for n in (1, 2):
        if f"lokr_w{n}" in parts:
            factors.append(parts[f"lokr_w{n}"])
            continue
        a, b = parts[f"lokr_w{n}_a"], parts[f"lokr_w{n}_b"]
        rank = b.shape[0]
        has_core = n == 2 and "lokr_t2" in parts
        factors.append(_tucker(parts["lokr_t2"], a, b) if has_core else _product(a, b))
    first, second = factors
    if second.ndim == 4:
        first = first[:, :, None, None]
    return _Raw(weight=torch.kron(first, second.contiguous()), rank=rank)


def _full(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """The difference itself."""
    return _Raw(weight=parts["diff"], bias=parts.get("diff_b"))


def _norm(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """The difference of a normalisation layer."""
    return _Raw(weight=parts["w_norm"], bias=parts["b_norm"])


def _glora(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """b2·b1 + W·a2·a1 (Chavan et al. 2023)."""
    a1, a2, b1, b2 = (parts[f"{name}.weight"] for name in ("a1", "a2", "b1", "b2"))
    return _Raw(weight=b2 @ b1 + (weight.to(a1.dtype) @ a2) @ a1)


def _oft(parts: Parts, weight: Tensor, dyn: int | None, dtype: torch.dtype) -> _Raw:
    """Blocks of output rows turned by rotations (Qiu et al. 2023), or by butterfly factors of them (Liu et al. 2024).

    `oft_blocks` are skew-symmetric after subtracting the transpose and become rotations by Cayley's formula; their
    norm is limited to alpha times the number of outputs. `oft_diag` are the rotations themselves.
    """
    if "oft_blocks" in parts:
        blocks = parts["oft_blocks"]
        limit = parts["alpha"] * weight.shape[0] if "alpha" in parts else None
        rotations = _cayley(blocks, limit)
    else:
        rotations = parts["oft_diag"]
    turned = _butterfly(rotations, weight) if rotations.ndim == 4 else _blockwise(rotations, weight)
    if "rescale" in parts:
        turned = parts["rescale"].to(turned.dtype).reshape(-1, *[1] * (weight.ndim - 1)) * turned
    return _Raw(weight=turned - weight.to(turned.dtype), scales=False)


def _cayley(blocks: Tensor, limit: Tensor | None) -> Tensor:
    skew = blocks - blocks.transpose(-1, -2)
    if limit is not None and limit.item() != 0:
        norm = skew.flatten().norm()
        skew = skew * ((torch.clamp(norm, max=limit) + 1e-8) / (norm + 1e-8))
    eye = torch.eye(skew.shape[-1], device=skew.device)
    return (eye + skew) @ (eye - skew).float().inverse()


def _blockwise(rotations: Tensor, weight: Tensor) -> Tensor:
    count, size = rotations.shape[0], rotations.shape[-1]
    rows = weight.reshape(count, size, *weight.shape[1:]).to(rotations.dtype)
    return torch.einsum("knm,kn...->km...", rotations, rows).reshape(weight.shape)


def _butterfly(factors: Tensor, weight: Tensor) -> Tensor:
    """Each factor turns blocks of rows that lie twice as far apart as in the factor before."""
    size = factors.shape[-1]
    rows = weight.to(factors.dtype)
    rest = weight.shape[1:]
    for number, rotations in enumerate(factors):
        reach = 2**number * (size // 2)
        paired = rows.reshape(-1, 2, reach, *rest).transpose(1, 2).reshape(-1, size, *rest)
        turned = torch.einsum("bij,bj...->bi...", rotations, paired)
        rows = turned.reshape(-1, reach, 2, *rest).transpose(1, 2).reshape(weight.shape)
    return rows


# In the order they are tried. A name holds alternatives: "a|b c" is a, or both b and c.
_Kind = Callable[[Parts, Tensor, int | None, torch.dtype], _Raw]
_KINDS: tuple[tuple[tuple[str, ...], _Kind], ...] = (
    (("lora_up.weight", "lora_down.weight"), _lora),
    (("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), _loha),
    (("weight", "on_input"), _ia3),
    (("lokr_w1|lokr_w1_a lokr_w1_b", "lokr_w2|lokr_w2_a lokr_w2_b"), _lokr),
    (("diff",), _full),
    (("w_norm", "b_norm"), _norm),
    (("a1.weight", "a2.weight", "alpha", "b1.weight", "b2.weight"), _glora),
    (("oft_blocks|oft_diag",), _oft),
)
