"""Brownian motion over noise levels: the same path whatever steps a sampler takes along it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

Draw = Callable[[int], Tensor]
"""Standard normal values for a node's seed, always of the same shape."""

_DECIMALS = 6
_POOL_SIZE = 24
_REMEMBERED = 48
"""Increments kept; a query touches about 30 nodes and neighbouring queries share most of them."""


@dataclass(eq=False)
class _Node:
    """One interval of the path; halved at most once.

    Attributes:
        key: 0-based position among the nodes of its depth; with the depth it fixes the node's seed.
    """

    start: float
    end: float
    parent: _Node | None = None
    is_left: bool = False
    key: int = 0
    depth: int = 0
    middle: float | None = None
    seed: int = 0
    left: _Node | None = None
    right: _Node | None = None


class BrownianPath:
    """Increments of one Brownian path between `start` and `end`, found by halving intervals (a virtual tree).

    The increment over an interval is split at its middle by a Brownian bridge whose normal draw is seeded by the
    place in the tree, so the path depends on the entropy only, not on the queries. Times are rounded to 1e-6.

    Args:
        start: First time; queries before it are moved to it.
        end: Last time.
        entropy: The image's seed.
        draw: Normal values for a node seed.

    Source: Li et al. 2020 "Scalable Gradients for SDEs", section 4; seeds and rounding as torchsde 0.2.6 BrownianTree
        (`halfway_tree`, `tol=1e-6`, `pool_size=24`), which A1111's pictures depend on.
    """

    def __init__(self, start: float, end: float, *, entropy: int, draw: Draw) -> None:
        self._entropy = entropy
        self._draw = draw
        self._root = _Node(round(start, _DECIMALS), round(end, _DECIMALS))
        self._root.seed = self._split_seed(self._root)
        state = np.random.SeedSequence(entropy=entropy, pool_size=_POOL_SIZE).generate_state(3)
        # The unrounded length, as torchsde scales it.
        self._whole = draw(int(state[0])) * math.sqrt(end - start)
        self._increments: dict[_Node, Tensor] = {}

    def increment(self, start: float, end: float) -> Tensor:
        """W(end) - W(start), for `start` <= `end`; zero where rounding makes them equal."""
        first, last = self._root.start, self._root.end
        start, end = (round(min(max(time, first), last), _DECIMALS) for time in (start, end))
        total: Tensor | None = None
        if start < end:
            for node in self._cover(start, end):
                total = self._increment(node) if total is None else total + self._increment(node)
        return self._whole * 0 if total is None else total

    def _split_seed(self, node: _Node) -> int:
        sequence = np.random.SeedSequence(entropy=self._entropy, spawn_key=(node.key, node.depth), pool_size=_POOL_SIZE)
        return int(sequence.generate_state(4)[0])

    def _children(self, node: _Node) -> tuple[_Node, _Node]:
        if node.left is None or node.right is None:
            node.middle = round(0.5 * (node.end + node.start), _DECIMALS)
            spans = ((node.start, node.middle), (node.middle, node.end))
            node.left, node.right = (
                _Node(start, end, parent=node, is_left=side == 0, key=2 * node.key + side, depth=node.depth + 1)
                for side, (start, end) in enumerate(spans)
            )
            node.seed = self._split_seed(node)
        return node.left, node.right

    def _cover(self, start: float, end: float) -> list[_Node]:
        """The largest nodes that make up [start, end], in order."""
        found: list[_Node] = []
        pending = [self._root]
        while pending:
            node = pending.pop()
            if node.end <= start or node.start >= end:
                continue
            if start <= node.start and node.end <= end:
                found.append(node)
                continue
            left, right = self._children(node)
            pending += [right, left]
        return found

    def _increment(self, node: _Node) -> Tensor:
        """The node's increment, bridged down from its nearest ancestor that has one."""
        lineage: list[_Node] = []
        while node.parent is not None and node not in self._increments:
            lineage.append(node)
            node = node.parent
        value = self._whole if node.parent is None else self._increments[node]
        for child in reversed(lineage):
            value = self._bridge(child, value)
            self._increments[child] = value
            if len(self._increments) > _REMEMBERED:
                del self._increments[next(iter(self._increments))]
        return value

    def _bridge(self, node: _Node, whole: Tensor) -> Tensor:
        """The increment over `node` given its parent's: conditional mean plus bridge noise (left), the rest (right)."""
        parent = node.parent
        assert parent is not None and parent.middle is not None
        before, after = parent.middle - parent.start, parent.end - parent.middle
        reciprocal = 1 / (parent.end - parent.start)
        mean = before * whole * reciprocal
        left = mean + math.sqrt(before * after * reciprocal) * self._draw(parent.seed)
        return left if node.is_left else whole - left
