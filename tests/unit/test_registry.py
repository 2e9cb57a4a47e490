"""The registry: order, aliases, duplicates, and the error that names the closest."""

from dataclasses import dataclass

import pytest

from pipelines.registry import Registry
from schema.errors import UnknownName


@dataclass(frozen=True)
class Entry:
    name: str
    aliases: tuple[str, ...] = ()


@pytest.fixture
def registry():
    return Registry("Sampler", (Entry("Euler a", ("k_euler_a",)), Entry("Heun")))


def test_names_keep_their_order_and_entries_can_go_before_others(registry):
    registry.add(Entry("LMS"), before="heun")
    assert registry.names == ["Euler a", "LMS", "Heun"]


def test_lookup_takes_names_and_aliases_in_any_case(registry):
    assert registry.get("EULER A") is registry.get("k_euler_a")
    assert registry.find("nothing") is None


def test_a_taken_name_is_refused_and_changes_nothing(registry):
    with pytest.raises(ValueError, match="heun"):
        registry.add(Entry("Other", ("Heun",)))
    assert registry.names == ["Euler a", "Heun"]
    assert registry.find("Other") is None


def test_an_unknown_name_names_the_closest(registry):
    with pytest.raises(UnknownName, match="'Eulr a' is not installed. Closest: 'Euler a'"):
        registry.get("Eulr a")
