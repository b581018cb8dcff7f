"""Triton's classification extension: sends an output as its largest elements, "value:index" or "value:index:label"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from workbench.core.messages import InferResponse, Parameter
from workbench.core.tensor import Array, datatype_of, element_count
from workbench.errors import InvalidInput

_NO_LABELS: Final[Mapping[str, Sequence[str]]] = {}


def read_classes(value: Parameter, what: str) -> int:
    """Return how many classes the parameter `classification` asks for; 0 means the output itself."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise InvalidInput(f"{what}: classification must be a number of classes from 1, got {str(value)[:40]!r}")
    return value


def classified(
    response: InferResponse,
    classes: Mapping[str, int],
    *,
    batched: bool,
    labels: Mapping[str, Sequence[str]] = _NO_LABELS,
) -> InferResponse:
    """Return `response` with the outputs of `classes` (output -> how many classes) as BYTES.

    For a batched model the first axis stays, and each row has its own classes. `labels` are by output, then index.
    Raises InvalidInput for an output without an order.
    """
    outputs = dict(response.outputs)
    for name, most in classes.items():
        if name in outputs:
            outputs[name] = _largest(outputs[name], f"output {name!r}", most, batched, labels.get(name, ()))
    return InferResponse(response.model, response.version, outputs, response.id, response.timings, response.epoch)


def _largest(array: Array, what: str, most: int, batched: bool, labels: Sequence[str]) -> Array:
    if array.dtype.kind not in "fiu":  # BF16 has none of these kinds either
        raise InvalidInput(f"{what} is {datatype_of(array)}, which has no classes; ask for it without classification")
    count = array.shape[0] if batched and array.ndim else 1
    rows = array.reshape(count, element_count(array.shape[1:] if batched else array.shape))
    most = min(most, rows.shape[1])
    # Of equal elements the first comes first; NaN comes last.
    order = np.argsort(_descending(rows), axis=1, kind="stable")[:, :most]
    found = np.empty((len(rows), most), np.object_)
    for row, indices in enumerate(order):
        for place, index in enumerate(indices.tolist()):
            label = f":{labels[index]}" if index < len(labels) else ""
            found[row, place] = f"{_value(rows[row, index])}:{index}{label}".encode()
    return found if batched and array.ndim else found.reshape(-1)


def _descending(rows: Array) -> Array:
    if rows.dtype.kind == "f":
        return -rows
    # Whole numbers cannot all be negated; their complement orders them the other way round.
    return ~rows


def _value(value: np.generic) -> str:
    """Format a number as C++'s std::to_string does, with six decimals."""
    return f"{value:f}" if value.dtype.kind == "f" else str(value)
