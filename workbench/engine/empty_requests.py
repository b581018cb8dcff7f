"""Answers requests without any rows: 0 rows in, 0 rows out, mostly without a run.

A runtime is asked only where the signature does not say what the answer's other sizes are. ONNX Runtime 1.31 refuses 0
rows in some operators, and in LSTM and GRU it ends the whole process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import DTYPES, Array

NO_ROWS: Final = (-1,)
"""At the end of a shape key: the requests have no rows. No shape is equal to it."""

NO_RUN: Final = (NO_ROWS,)
"""The shape key, itself and not a copy, of requests that are answered without a run."""


def have_no_rows(signature: Signature, inputs: Mapping[str, Array]) -> bool:
    """True where `inputs` are 0 rows of a model whose inputs and outputs all begin with rows. A scalar, as
    the scheduler of sequences may add one, is no rows."""
    return bool(inputs) and signature.free_first_axis and all(array.shape[:1] == (0,) for array in inputs.values())


def empty_answer(outputs: Sequence[TensorSpec], names: Iterable[str]) -> list[Array] | None:
    """0 rows of each of the named outputs; None where the signature leaves another of their sizes open."""
    specs = {spec.name: spec for spec in outputs}
    asked = [specs[name] for name in names]
    if any(FREE in spec.shape[1:] or not spec.ranked for spec in asked):
        return None
    return [np.empty((0, *spec.shape[1:]), DTYPES[spec.datatype]) for spec in asked]
