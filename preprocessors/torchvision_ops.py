"""Makes torchvision usable where its compiled operators do not fit the installed torch."""

import functools
import importlib
import importlib.util
import logging
import sys

import torch
from torch import Tensor
from torch.library import Library

logger = logging.getLogger(__name__)

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@functools.cache
def ensure_torchvision() -> Library | None:
    """Imports torchvision, declaring its two detection operators first where their binaries do not load.

    PyPI's torchvision is built for CUDA. Beside a CPU-only torch its C++ library does not load, torchvision swallows
    that, and then fails on import because it describes the operator `torchvision::nms` that nobody registered; every
    import of diffusers and transformers models fails with it. Declaring the operators' signatures is enough for the
    import; `torchvision.ops.nms` then runs on the CPU in Python, its quantized form cannot be called.

    Call this before diffusers or transformers are first imported. Where torchvision is whole or not installed this
    changes nothing.

    Returns:
        The operator library that had to be declared (it lives as long as the process), or None.

    Raises:
        RuntimeError: If importing torchvision fails for another reason.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    except ImportError as error:
        logger.warning("torchvision cannot be imported (%s); going on without it.", error)
        return None
    else:
        return None
    library = Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    library.impl("nms", _nms, "CPU")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")
    logger.info("torchvision's compiled operators do not fit this torch; their signatures were declared instead.")
    return library


def _nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes to keep, the surest first: each that no kept one overlaps by more than the threshold.

    Args:
        boxes: (N, 4): left, top, right, bottom.
        scores: (N,).
        iou_threshold: Overlap is the area in both divided by the area in either.

    Source: torchvision.ops.nms, its documentation.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    waiting = scores.argsort(descending=True, stable=True)
    kept: list[int] = []
    while len(waiting):
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        sides = torch.minimum(boxes[best, 2:], boxes[waiting, 2:]) - torch.maximum(boxes[best, :2], boxes[waiting, :2])
        both = sides.clamp(min=0).prod(1)
        waiting = waiting[both <= iou_threshold * (areas[best] + areas[waiting] - both)]
    return torch.tensor(kept, dtype=torch.long)
