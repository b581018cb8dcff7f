"""Makes up the rows of a row trial: of several kinds, so that rows which influence each other are seen to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from workbench.core.batch_proof import InputHint
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.random_inputs import random_values
from workbench.core.tensor import BYTES, Array, dtype_of

WHOLE = 256
"""Whole numbers of wide types and of floats are below this: enough for pixels and bytes. Those that a model takes for
lengths would have it fill the memory if they were larger."""

MOST = 1e6
"""Numbers of the graph over this are passed over, for the same reason."""

LARGEST_16 = 6e4
"""Floats of 16 bits go no further."""

_NO_HINT = InputHint()
_WORDS = (
    b"",
    b"Zebra",
    b"zebra",
    "Z\u00fcrich \u2603".encode(),
    b"the quick brown fox " * 8,
    b"-1.5e3",
    b"true",
    b"A,b;c",
)


class RowKind(StrEnum):
    """A kind of rows, in the order in which they are tried."""

    SPREAD = "spread"
    """Floats of unequal magnitude, whole numbers from a whole small type or on both sides of 0, words."""
    PLAIN = "plain"
    """What nearly every model takes: floats around 0, the numbers 0 and 1, words."""
    MARKED = "marked"
    """Values on both sides of the numbers that the graph compares with, two equal rows, NaN, the ends of a type, all
    True and all False, unusual words."""
    WHOLE = "whole"
    """Whole numbers from 0 to 255 in every type, digits as words: as pixels, bytes and ids are."""
    SMALL = "small"
    """The same from 0 to 9."""


ROWS: Mapping[RowKind, int] = {
    RowKind.SPREAD: 4,
    RowKind.PLAIN: 3,
    RowKind.MARKED: 5,
    RowKind.WHOLE: 4,
    RowKind.SMALL: 3,
}
"""Rows of one trial: not always as many, since an answer may have as many rows by chance."""


def made_rows(
    signature: Signature, kind: RowKind, hints: Mapping[str, InputHint], free_size: int, seed: int = 1
) -> dict[str, Array]:
    """ROWS[kind] rows for each input; free axes beside the first have `free_size`."""
    rng = np.random.default_rng(seed)
    return {spec.name: _values(spec, kind, hints.get(spec.name, _NO_HINT), free_size, rng) for spec in signature.inputs}


def _values(spec: TensorSpec, kind: RowKind, hint: InputHint, free_size: int, rng: np.random.Generator) -> Array:
    shape = (ROWS[kind], *(free_size if size == FREE else size for size in spec.shape[1:]))
    dtype = dtype_of(spec.datatype)
    if spec.datatype == BYTES:
        return _texts(kind, shape, rng)
    if dtype.kind == "b":
        return _flags(kind, shape, rng)
    if dtype.kind in "iu":
        return _whole_numbers(kind, hint, shape, dtype, rng)
    floats = _floats(kind, hint, shape, rng)
    return (floats.clip(-LARGEST_16, LARGEST_16) if dtype.itemsize == 2 else floats).astype(dtype)


def _texts(kind: RowKind, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if kind in (RowKind.WHOLE, RowKind.SMALL):
        below = WHOLE if kind is RowKind.WHOLE else 10
        words = [str(number).encode() for number in rng.integers(0, below, int(np.prod(shape)))]
    elif kind is RowKind.MARKED:
        words = [_WORDS[i] for i in rng.integers(0, len(_WORDS), int(np.prod(shape)))]
    else:
        return random_values(BYTES, shape, rng)
    texts = np.empty(len(words), np.object_)
    texts[:] = words
    return _equal_rows(kind, texts.reshape(shape))


def _flags(kind: RowKind, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    flags = rng.integers(0, 2, shape).astype(bool)
    if kind is RowKind.MARKED:
        flags[0], flags[1] = False, True
    return _equal_rows(kind, flags)


def _whole_numbers(
    kind: RowKind, hint: InputHint, shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator
) -> Array:
    info = np.iinfo(dtype)
    narrow = info.bits <= 16
    low, high = {
        RowKind.SPREAD: (info.min, info.max + 1) if narrow else (max(info.min, -100), WHOLE),
        RowKind.PLAIN: (0, 2),
        RowKind.MARKED: (info.min, info.max + 1) if narrow else (0, WHOLE),
        RowKind.WHOLE: (0, min(WHOLE, info.max + 1)),
        RowKind.SMALL: (0, 10),
    }[kind]
    if hint.below is not None:  # an index
        low, high = 0, max(1, min(hint.below, info.max + 1, 10 if kind is RowKind.SMALL else hint.below))
    numbers = rng.integers(low, high, shape)
    if kind is RowKind.MARKED:
        numbers[0], numbers[1] = low, high - 1
        if hint.constants and hint.below is None:
            below, above, beside = _about(hint.constants, shape, rng)
            for row, found in enumerate((np.floor(below), np.ceil(above), np.round(beside))):
                numbers[row] = found.clip(max(info.min, -2 * MOST), min(info.max, 2 * MOST))
    return _equal_rows(kind, numbers.astype(dtype))


def _floats(kind: RowKind, hint: InputHint, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    drawn: Array = rng.standard_normal(shape, np.float32)
    by_row = (shape[0], *(1 for _ in shape[1:]))
    if hint.below is not None and kind is not RowKind.MARKED:  # an index, though it is a float
        return rng.integers(0, max(1, hint.below), shape)
    if kind is RowKind.SPREAD:
        drawn *= np.array([1e-2, 1.0, 1e2, 1.0], np.float32).reshape(by_row)
    if kind in (RowKind.WHOLE, RowKind.SMALL):
        return rng.integers(0, WHOLE if kind is RowKind.WHOLE else 10, shape)
    if kind is RowKind.MARKED:
        drawn[0], drawn[1] = -np.abs(drawn[0]), np.abs(drawn[1])
        if hint.constants:
            drawn[0], drawn[1], drawn[2] = _about(hint.constants, shape, rng)
        drawn = _equal_rows(kind, drawn)
        last = drawn[4].reshape(-1)  # a view: NaN in the first of its elements, and in half of the others
        last[rng.random(last.size) < 0.5] = np.nan
        last[:1] = np.nan
    return drawn


def _about(constants: tuple[float, ...], shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, ...]:
    """Three rows: below each of `constants`, above each, and for each element beside one of them."""
    near = np.array([each for each in constants if abs(each) <= MOST] or [0.0])
    picked = rng.choice(near, shape[1:])
    step = 1.0 + 0.1 * np.abs(picked)
    below, above = (rng.random(shape[1:]) * (1.0 + 0.1 * np.abs(end)) for end in (near.min(), near.max()))
    return near.min() - below, near.max() + above, picked + step * rng.choice((-1.0, 0.0, 1.0), shape[1:])


def _equal_rows(kind: RowKind, array: Array) -> Array:
    if kind is RowKind.MARKED:
        array[3] = array[2]
    return array
