"""Makes up inputs from a model's signature: for warm-up, load tests and tries, where no real rows are at hand.

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
"""The size of each free axis but the first; one for all, since a mask is mostly as long as what it masks."""

WHOLE_NUMBERS = 10
"""Whole numbers are 0 to 9: small enough for most tables that they are looked up in."""

MAX_ELEMENTS = 1 << 26
"""The most elements of one input; a larger request is hardly intended."""

_LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
_LONGEST_WORD = 12


def random_inputs(
    inputs: Sequence[TensorSpec],
    rows: int,
    rng: np.random.Generator,
    *,
    free_size: int = FREE_SIZE,
    scale: float = 1.0,
    whole_numbers: int = WHOLE_NUMBERS,
) -> dict[str, Array]:
    """`rows` rows for each of a model's inputs, in its order: floats from the normal distribution of deviation `scale`,
    whole numbers from 0 to `whole_numbers` - 1, True and False, words of small letters.

    An input whose first axis is fixed has that size whatever `rows` says. Raises InvalidInput where `rows` is under 1,
    a datatype or an input's rank is unknown, TooLarge where one input would have more than 2**26 elements.
    """
    if rows < 1:
        raise InvalidInput(f"rows is {rows}; made-up inputs have 1 at least")
    return {
        spec.name: random_values(
            spec.datatype, _checked_shape(spec, rows, free_size), rng, scale=scale, whole_numbers=whole_numbers
        )
        for spec in inputs
    }


def largest_input(inputs: Sequence[TensorSpec], rows: int, free_size: int) -> int:
    """The elements of the largest input, as `random_inputs` would make it."""
    return max((element_count(_shape(spec, rows, free_size)) for spec in inputs), default=0)


def random_values(
    datatype: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
    whole_numbers: int = WHOLE_NUMBERS,
) -> Array:
    """One array of that shape. Raises InvalidInput where the datatype is unknown."""
    dtype = dtype_of(datatype)
    if datatype == BYTES:
        return _words(shape, rng)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, whole_numbers, shape).astype(dtype)
    # FP16 and BF16 are drawn as FP32 and rounded; a normal distribution fits both.
    drawn = rng.standard_normal(shape, np.float64 if dtype == np.float64 else np.float32)
    return np.asarray(drawn if scale == 1.0 else drawn * drawn.dtype.type(scale)).astype(dtype)


def _shape(spec: TensorSpec, rows: int, free_size: int) -> tuple[int, ...]:
    first = tuple(rows if size == FREE else size for size in spec.shape[:1])
    return first + tuple(free_size if size == FREE else size for size in spec.shape[1:])


def _checked_shape(spec: TensorSpec, rows: int, free_size: int) -> tuple[int, ...]:
    if not spec.ranked:
        raise InvalidInput(
            f"it is not known how many axes input {spec.name!r} has, so none can be made up for it: give real inputs"
        )
    shape = _shape(spec, rows, free_size)
    if (count := element_count(shape)) > MAX_ELEMENTS:
        raise TooLarge(
            f"input {spec.name!r} would have {count} elements, of shape {list(shape)}; "
            f"{MAX_ELEMENTS} are made up at most: ask for fewer rows, or give real inputs"
        )
    return shape


def _words(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    words = np.empty(shape, object)
    lengths = rng.integers(1, _LONGEST_WORD + 1, words.size)
    letters = rng.choice(_LETTERS, int(lengths.sum())).tobytes()
    ends = np.cumsum(lengths)
    for place, (end, length) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        words.flat[place] = letters[end - length : end]
    return words
