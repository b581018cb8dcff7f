"""The table of what adds nodes to a random graph, and what its entries have in common."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.helpers.graph_builder import FLOAT, Dim, GraphBuilder, Value, fixed, times

Made = Value | None
Maker = Callable[[GraphBuilder, Random], Made]
MAKERS: list[Maker] = []
"""Each adds an operator, or a pattern of some, to what was built and gives its result; None where none fits."""


def maker(function: Maker) -> Maker:
    MAKERS.append(function)
    return function


def floats(value: Value) -> bool:
    return value.kind == FLOAT and value.rank > 0


def some_axis(value: Value, random: Random) -> int:
    """The first one as often as all others together."""
    return 0 if random.random() < 0.4 else random.randrange(value.rank)


def with_axis(value: Value, axis: int, dim: Dim) -> tuple[Dim, ...]:
    assert value.dims is not None
    return (*value.dims[:axis], dim, *value.dims[axis + 1 :])


def small(dims: tuple[Dim, ...]) -> bool:
    return max(times(dims)) <= 2000


def broadcast(a: Value, b: Value) -> tuple[Dim, ...] | None:
    assert a.dims is not None and b.dims is not None
    rank = max(a.rank, b.rank)
    pairs = zip((fixed(1),) * (rank - a.rank) + a.dims, (fixed(1),) * (rank - b.rank) + b.dims, strict=True)
    dims = []
    for one, other in pairs:
        if one != other and fixed(1) not in (one, other):
            return None
        dims.append(other if one == fixed(1) else one)
    return tuple(dims) if small(tuple(dims)) else None
