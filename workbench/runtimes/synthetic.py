"""Made-up inputs, to see a model run before anybody asks it something."""

from __future__ import annotations

import numpy as np

from workbench.core.model import FREE, Signature
from workbench.core.ports import Session
from workbench.core.tensor import BYTES, DTYPES, Array, element_count
from workbench.errors import WorkbenchError

MAX_SYNTHETIC_ELEMENTS = 1 << 26
"""An input larger than this is not made: the model is Ready unproved instead."""

_FREE_SIZES = (8, 1, 32, 224)
"""Sizes tried, in turn, for free axes other than the first; one size for all of them, as tied axes need."""


def synthetic(
    signature: Signature, rows: int, free_size: int, *, scale: float = 1.0, seed: int = 0
) -> dict[str, Array]:
    """Inputs of the signature's shapes: normal floats, integers 0 or 1 (valid as ids and masks), short strings."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for spec in signature.inputs:
        sizes = [free_size if size == FREE else size for size in spec.shape]
        if spec.shape[:1] == (FREE,):
            sizes[0] = rows
        inputs[spec.name] = values(rng, spec.datatype, tuple(sizes), scale)
    return inputs


def first_size_that_runs(session: Session, rows: int = 1) -> tuple[int | None, str]:
    """The first size for free axes with which one row runs, or None and what the last try said.

    Sizes with which `rows` rows would be too large are passed over.
    """
    signature = session.signature
    inner_free = any(FREE in spec.shape[1:] for spec in signature.inputs)
    trouble = ""
    for free_size in _FREE_SIZES if inner_free else _FREE_SIZES[:1]:
        if elements(signature, free_size) * rows > MAX_SYNTHETIC_ELEMENTS:
            trouble = "its inputs are too large to make up"
            continue
        try:
            session.run(synthetic(signature, 1, free_size), [spec.name for spec in signature.outputs])
        except WorkbenchError as error:
            trouble = error.message
        else:
            return free_size, ""
    return None, trouble


def elements(signature: Signature, free_size: int) -> int:
    """Of the largest input, with every free axis of that size."""
    shapes = (tuple(free_size if size == FREE else size for size in spec.shape) for spec in signature.inputs)
    return max((element_count(shape) for shape in shapes), default=0)


def values(rng: np.random.Generator, datatype: str, shape: tuple[int, ...], scale: float = 1.0) -> Array:
    """An array of that shape: normal floats, integers 0 or 1, short strings."""
    dtype = DTYPES[datatype]
    if datatype == BYTES:
        words = np.array([b"a", b"b", b"c", b"d"], dtype=np.object_)
        return words[rng.integers(0, 4, shape)] if shape else np.array(b"a", dtype=np.object_)
    if dtype.kind in "iub":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    return np.asarray(rng.standard_normal(shape) * scale).astype(dtype)
