"""The libraries that define networks, imported at first use."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import warnings
from collections.abc import Generator
from typing import Any

from preprocessors.torchvision_ops import ensure_torchvision


@functools.cache
def provider(module: str) -> Any:
    """The module called `module`, of controlnet_aux, transformers, spandrel or torchvision, imported quietly.

    controlnet_aux imports all of its parts at once, which takes seconds, prints, and warns of others' old names.
    None of its own loading code is used: networks are built here and filled from files of ours.
    """
    ensure_torchvision()
    with quiet():
        return importlib.import_module(module)


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Holds back what libraries print, draw and warn of; logging and errors come through."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        yield
