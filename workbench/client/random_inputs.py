"""Inputs made up from a model's signature alone: to try a model, or to load it, where no real rows are at hand. Pure.

They have the right names, datatypes and shapes, and mean nothing: a model that looks numbers up in a table may refuse
them, and one whose time depends on its input may be faster or slower than with real rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.core.model import FREE, TensorSpec
from workbench.core.tensor import BYTES, Array, dtype_of, element_count
from workbench.errors import InvalidInput, TooLarge

FREE_SIZE = 16
"""Of each free axis but the first, the same for all, since a mask is mostly as long as what it masks."""

WHOLE_NUMBERS = 10
"""Whole numbers are 0 to 9: small enough for most tables that they are looked up in."""

MAX_ELEMENTS = 1 << 26
"""Of one input; a request as large as that was hardly meant."""

_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
_LONGEST_WORD = 12


def random_inputs(
    inputs: Sequence[TensorSpec], rows: int, rng: np.random.Generator, *, free_size: int = FREE_SIZE
) -> dict[str, Array]:
    """`rows` rows for each of a model's inputs, in its order: floats from the standard normal distribution, whole
    numbers from 0 to 9, True and False, words of small letters.

    An input whose first axis is fixed has that size whatever `rows` says. Raises InvalidInput where `rows` is under 1
    or a datatype is unknown, TooLarge where one input would have more than 2**26 elements.
    """
    if rows < 1:
        raise InvalidInput(f"rows is {rows}; made-up inputs have 1 at least")
    return {spec.name: _values(spec, _shape(spec, rows, free_size), rng) for spec in inputs}


def _shape(spec: TensorSpec, rows: int, free_size: int) -> tuple[int, ...]:
    first = tuple(rows if size == FREE else size for size in spec.shape[:1])
    shape = first + tuple(free_size if size == FREE else size for size in spec.shape[1:])
    if (count := element_count(shape)) > MAX_ELEMENTS:
        raise TooLarge(
            f"input {spec.name!r} would have {count} elements, of shape {list(shape)}; "
            f"{MAX_ELEMENTS} are made up at most: ask for fewer rows, or give real inputs"
        )
    return shape


def _values(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    dtype = dtype_of(spec.datatype)
    if spec.datatype == BYTES:
        return _words(shape, rng)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, WHOLE_NUMBERS, shape).astype(dtype)
    # FP16 and BF16 are drawn as FP32 and rounded; a standard normal fits both.
    return rng.standard_normal(shape, np.float64 if dtype == np.float64 else np.float32).astype(dtype)


def _words(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    words = np.empty(shape, object)
    lengths = rng.integers(1, _LONGEST_WORD + 1, words.size)
    letters = rng.choice(_LETTERS, int(lengths.sum())).tobytes()
    ends = np.cumsum(lengths)
    for place, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        words.flat[place] = letters[end - length : end]
    return words
