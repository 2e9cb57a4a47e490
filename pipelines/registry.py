"""An ordered, named list of choices: what a user sees in a dropdown and what code looks up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from schema.errors import UnknownName


class Named(Protocol):
    """An entry with a display name and other names it answers to."""

    @property
    def name(self) -> str: ...

    @property
    def aliases(self) -> tuple[str, ...]: ...


T = TypeVar("T", bound=Named)


class Registry(Generic[T]):
    """Entries in display order; names and aliases are unique without regard to case.

    Args:
        kind: What an entry is, for error messages ("Sampler").
    """

    def __init__(self, kind: str, entries: tuple[T, ...] = ()) -> None:
        self.kind = kind
        self._entries: list[T] = []
        self._by_name: dict[str, T] = {}
        for entry in entries:
            self.add(entry)

    def add(self, entry: T, *, before: str | None = None) -> None:
        """Adds `entry` at the end, or in front of the entry called `before`; a refused entry changes nothing.

        Raises:
            ValueError: If one of its names is taken.
            UnknownName: If `before` is not registered.
        """
        keys = {name.casefold() for name in (entry.name, *entry.aliases)}
        taken = keys & self._by_name.keys()
        if taken:
            raise ValueError(f"{self.kind} name already registered: {', '.join(sorted(taken))}")
        place = len(self._entries) if before is None else self._entries.index(self.get(before))
        self._entries.insert(place, entry)
        self._by_name.update(dict.fromkeys(keys, entry))

    def get(self, name: str) -> T:
        """The entry called `name` (or an alias of it, in any case).

        Raises:
            UnknownName: If there is none; the message names the closest.
        """
        entry = self.find(name)
        if entry is None:
            raise UnknownName(self.kind, name, self.names)
        return entry

    def find(self, name: str) -> T | None:
        """The entry called `name`, or None."""
        return self._by_name.get(name.strip().casefold())

    @property
    def names(self) -> list[str]:
        """Display names in order."""
        return [entry.name for entry in self._entries]

    def where(self, condition: Callable[[T], bool]) -> list[T]:
        """The entries that satisfy `condition`, in order."""
        return [entry for entry in self._entries if condition(entry)]

    def __iter__(self) -> Iterator[T]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
