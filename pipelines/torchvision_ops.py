"""Makes torchvision importable where its compiled operators do not fit the installed torch."""

import functools
import importlib
import importlib.util
import logging
import sys

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
    import; only calling `torchvision.ops.nms` remains impossible, which nothing here does.

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
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    importlib.import_module("torchvision")
    logger.info("torchvision's compiled operators do not fit this torch; their signatures were declared instead.")
    return library
