"""Makes diffusers and transformers importable where torchvision was built for another torch.

transformers imports torchvision, and a torchvision whose compiled half does not fit registers fake kernels for
operators that then do not exist: "operator torchvision::nms does not exist". Declaring the two operators first is
enough, since nothing here calls them. The package does so before anything else.
"""

from __future__ import annotations

import importlib.util

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept_alive: list[torch.library.Library] = []


def declare_torchvision_operators() -> None:
    """Declares torchvision's operators if torchvision is installed and cannot be imported as it is."""
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingTypeStubs, reportUnusedImport]
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            name = schema.partition("(")[0]
            if not hasattr(torch.ops.torchvision, name):
                library.define(schema)
        _kept_alive.append(library)
