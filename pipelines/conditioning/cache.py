"""Keeps encoded prompts, so that a prompt that did not change is not encoded again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from torch import nn

T = TypeVar("T")


class ConditioningCache(Generic[T]):
    """The most recently used values per text encoder; they go when the text encoder goes.

    Args:
        size: Values kept per text encoder. One prompt of 75 tokens is 0.2 MB for SD1 and 0.6 MB for SDXL.
    """

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._values: WeakKeyDictionary[nn.Module, OrderedDict[Hashable, T]] = WeakKeyDictionary()

    def get(self, encoder: nn.Module, key: Hashable, make: Callable[[], T]) -> T:
        """The value kept for `key`, or the one `make` returns, which is kept from now on.

        Args:
            encoder: The text encoder the value came from.
            key: Everything else the value depends on.
        """
        values = self._values.setdefault(encoder, OrderedDict())
        if key not in values:
            values[key] = make()
            while len(values) > self._size:
                values.popitem(last=False)
        values.move_to_end(key)
        return values[key]

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()
