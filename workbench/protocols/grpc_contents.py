"""Converts tensors with typed elements in the message (`InferTensorContents`) to numpy arrays.

A datatype that is not in FIELDS has no field there and is sent raw only. Small integers share a wider field,
and are checked to fit.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workbench.core.tensor import BYTES, DTYPES, Array
from workbench.errors import InvalidInput, TooLarge

FIELDS: Final = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""Datatype -> the field that holds its elements."""


def array_from_contents(
    contents: Any, tensor: str, datatype: str, shape: tuple[int, ...], count: int, max_string_bytes: int
) -> Array:
    """Convert `contents`, an InferTensorContents, to an array of `shape` with `count` elements.

    Raises InvalidInput for a wrong number of elements, a wrong field or an element out of range, and TooLarge.
    """
    field = FIELDS.get(datatype)
    if field is None:
        raise InvalidInput(f"{tensor}: {datatype} has no typed contents; send it in raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise wrong_field(tensor, datatype, descriptor.name)
    values = getattr(contents, field)
    if len(values) != count:
        raise miscounted(tensor, datatype, shape, count, len(values))
    if datatype == BYTES:
        return _strings(values, tensor, max_string_bytes).reshape(shape)
    dtype = DTYPES[datatype]
    if dtype.itemsize >= 4 or dtype.kind == "b":
        return np.array(values, dtype).reshape(shape)
    wide = np.array(values, np.int64)
    check_fits(wide, 0, tensor, datatype)
    return wide.astype(dtype).reshape(shape)


def check_fits(values: NDArray[Any], first: int, tensor: str, datatype: str) -> None:
    """Raise InvalidInput if one of `values`, the elements from `first` on, is out of the range of a small integer."""
    dtype = DTYPES[datatype]
    if dtype.kind not in "iu" or dtype.itemsize >= values.itemsize or not len(values):
        return
    within = np.iinfo(dtype)
    if values.min() < within.min or values.max() > within.max:
        at = int(np.flatnonzero((values < within.min) | (values > within.max))[0])
        raise InvalidInput(f"{tensor}: element {first + at} is {values[at]}, which {datatype} cannot hold")


def wrong_field(tensor: str, datatype: str, found: str) -> InvalidInput:
    return InvalidInput(f"{tensor}: the elements of {datatype} belong in {FIELDS[datatype]}; found {found}")


def miscounted(tensor: str, datatype: str, shape: tuple[int, ...], count: int, found: int) -> InvalidInput:
    return InvalidInput(
        f"{tensor}: {datatype} of shape {list(shape)} takes {count} elements; {FIELDS[datatype]} has {found}"
    )


def _strings(values: Any, tensor: str, max_bytes: int) -> Array:
    array = np.empty(len(values), np.object_)
    for index, value in enumerate(values):
        if len(value) > max_bytes:
            raise TooLarge(f"{tensor}: element {index} has {len(value)} bytes; max_string_bytes is {max_bytes}")
        array[index] = value
    return array
