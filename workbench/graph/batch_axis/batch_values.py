"""What is known of each tensor of a graph: where its rows lie, its sizes, and its elements where they are few.

A batch joins the rows of its requests along the first axis of each input. A tensor is

- a `Value` with `rows`: slices of one axis belong to one row each, and depend on nothing but that row;
- a `Value` without: it is the same whatever rows are in the batch. It may depend on how many there are (`sized`);
- `Mixed`: rows change each other, by a rule that is known;
- `Unknown`: something is not understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.graph.batch_axis.symbolic_sizes import BATCH, Number, equal, fresh, is_capped, multiply

Shape = tuple[Number, ...]

MOST_NUMBERS = 64
"""Tensors with more elements are shapes of nothing, and their elements are not followed."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An axis of outer * batch * inner slices: `outer` times the rows one after the other, each with `inner` slices."""

    axis: int
    outer: Number = 1
    inner: Number = 1

    @property
    def size(self) -> Number:
        return multiply(multiply(self.outer, BATCH), self.inner)

    @property
    def plain(self) -> bool:
        """One slice a row."""
        return self.outer == 1 and self.inner == 1

    def at(self, axis: int) -> Rows:
        return Rows(axis, self.outer, self.inner)


@dataclass(frozen=True, slots=True)
class Place:
    """Elements that find a row in the batch: its place * stride + something of its own in [0, below)."""

    stride: Number = 1
    below: Number = 1
    column: int | None = None
    """Those with this index in the last axis; the others are no places. None: all elements."""


@dataclass(frozen=True, slots=True)
class Value:
    shape: Shape | None = None
    """None: not even its rank is known. A value with rows always has one."""
    rows: Rows | None = None
    numbers: tuple[Number, ...] | None = None
    """Its elements in order, if they are few and known."""
    sized: bool = False
    """Its elements depend on how many rows are in the batch."""
    place: Place | None = None
    """It tells each row its place in the batch: good for finding that very row in a tensor, and for nothing else."""
    below: Number | None = None
    """Its elements are whole numbers from 0 and below this one, if that is known."""
    sequence: bool = False
    """It is a sequence, and the rest holds of each tensor in it."""
    quantized: str = ""
    """Where it was rounded by a scale that the whole batch shares, a clause that says so."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """Rows change each other here."""

    reason: str
    value: Value | None = None
    """What holds of its shape, if that is known: asking for no more than a shape mixes no rows."""


@dataclass(frozen=True, slots=True)
class Unknown:
    reason: str


Result = Value | Mixed | Unknown

FREE = Value()


class NotUnderstood(Exception):
    """A node is beyond its rule, or malformed. The message is a clause that says how."""


class RowsMix(Exception):
    """A node mixes rows. The message is a clause that says how."""


def rearranged(x: Value, shape: Shape, rows: Rows | None, numbers: Shape | None = None) -> Value:
    """Elements of x, and none but those, in another shape."""
    return Value(shape, rows, numbers, place=x.place, below=x.below)


def elements_of(value: Value) -> NDArray[np.object_] | None:
    """Its numbers in its shape, where both are known."""
    if value.numbers is None or value.shape is None or not all(isinstance(size, int) for size in value.shape):
        return None
    found = np.empty(len(value.numbers), np.object_)
    found[:] = value.numbers
    return found.reshape(value.shape)  # type: ignore[arg-type]


def bound_of(value: Value) -> Number | None:
    """What all of its elements are below, if they are whole numbers and not negative."""
    if value.below is not None or not value.numbers or value.sized:
        return value.below
    whole = [number for number in value.numbers if isinstance(number, int) and number >= 0]
    return max(whole) + 1 if len(whole) == len(value.numbers) else None


def rank_of(value: Value) -> int:
    return len(shape_of(value))


def shape_of(value: Value) -> Shape:
    if value.shape is None:
        raise NotUnderstood("reads a tensor of unknown rank")
    return value.shape


def axis_of(axis: Number, rank: int) -> int:
    """As an index from 0."""
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise NotUnderstood(f"has axis {axis} of {rank}")
    return axis % rank


def broadcast(values: Sequence[Value]) -> Value:
    """The shape and the rows of an element-wise operation on them."""
    if not values:
        raise NotUnderstood("has no inputs")
    if len(values) == 1:
        return Value(values[0].shape, values[0].rows)
    with_rows = [value for value in values if value.rows is not None]
    if not with_rows and any(value.shape is None for value in values):
        return FREE
    rank = max(map(rank_of, values))
    rows = _aligned([(value.rows, rank - rank_of(value)) for value in with_rows])
    shape: list[Number] = []
    for axis in range(rank):
        # By axis from the right; those that have it.
        there = [(value, shape_of(value)[axis - rank]) for value in values if rank_of(value) >= rank - axis]
        if rows is not None and axis == rows.axis:
            check_no_other_rows([size for value, size in there if value.rows is None])
            shape.append(rows.size)
        else:
            shape.append(wider([size for _, size in there]))
    return Value(tuple(shape), rows)


def _aligned(found: Sequence[tuple[Rows | None, int]]) -> Rows | None:
    """The rows of all, each moved by the axes that it lacks."""
    rows: Rows | None = None
    for one, lacks in found:
        if one is None:
            continue
        moved = one.at(one.axis + lacks)
        if rows is None:
            rows = moved
        elif moved.axis != rows.axis:
            raise RowsMix("pairs every row with every other row")
        elif moved != rows:
            raise NotUnderstood("pairs rows that are laid out in different ways")
    return rows


def check_no_other_rows(sizes: Sequence[Number]) -> None:
    """Sizes of constants where rows are: 1 serves any batch."""
    for size in sizes:
        if not isinstance(size, int):
            raise NotUnderstood("meets the rows with a tensor that may have one for each")
        if size != 1:
            raise RowsMix(f"meets the rows with a constant that has {size}, so each row's place counts")


def wider(sizes: Sequence[Number]) -> Number:
    """The size of an axis of tensors that are broadcast against each other."""
    found: Number = 1
    for size in sizes:
        if size == 1 or size == found or is_capped(size, found):
            continue  # the runtime refuses a capped one that is not the whole, unless it is 1
        if found == 1:
            found = size
        elif isinstance(found, int):
            continue  # which the other must be, or 1
        elif isinstance(size, int) or is_capped(found, size):
            found = size
        else:
            return fresh()
    return found


def same_rows(values: Sequence[Value]) -> Rows | None:
    """The rows of values that agree in all axes, such as the parts of a Concat."""
    rows = _aligned([(value.rows, 0) for value in values])
    if rows is not None:
        check_no_other_rows([shape_of(value)[rows.axis] for value in values if value.rows is None])
        if any(value.rows is None for value in values):
            raise RowsMix("joins the rows with a constant for one row, so it runs with one row only")
    return rows


def union(left: Result, right: Result, label: str) -> Result:
    """What is known of a tensor that is the one or the other; the label of a node says where."""
    if isinstance(left, Mixed):
        return left if left == right else Mixed(left.reason)
    if isinstance(right, Mixed):
        return Mixed(right.reason)
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    if left == right:
        return left
    if left.sequence and right.sequence and () in (left.numbers, right.numbers):
        return right if left.numbers == () else left  # where one has no tensor at all
    if left.rows != right.rows or left.place != right.place or left.sequence != right.sequence:
        return Unknown(f"{label} has rows in one case and not in the other")
    shape: Shape | None = None
    if left.shape is not None and right.shape is not None and len(left.shape) == len(right.shape):
        shape = tuple(one if equal(one, other) else fresh() for one, other in zip(left.shape, right.shape, strict=True))
    if left.rows is not None and shape is None:
        return Unknown(f"{label} has another rank in one case than in the other")
    sized = left.sized or right.sized
    return Value(shape, left.rows, None, sized, left.place, None, left.sequence, left.quantized or right.quantized)
