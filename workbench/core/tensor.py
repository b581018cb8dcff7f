"""The datatypes of the Open Inference Protocol and the numpy arrays that carry them.

A tensor is a numpy array; its dtype says its datatype, so nothing travels beside it:

    BOOL bool_ · UINT8-64 · INT8-64 · FP16 FP32 FP64 · BF16 ml_dtypes.bfloat16 · BYTES object, each element `bytes`
"""

from __future__ import annotations

from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput

Array: TypeAlias = NDArray[Any]

BYTES = "BYTES"

STRING_BYTES = 64
"""What an element of BYTES takes in memory beside its text: a bytes object and its place in the array."""

MAX_RANK = 32
"""Most dimensions of a tensor; every version of numpy can hold as many."""

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    BYTES: np.dtype(np.object_),
}
"""Datatype name -> numpy dtype."""

DATATYPES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}
"""numpy dtype -> datatype name."""

EXTENSION_DTYPES = frozenset(dtype for dtype in DATATYPES if dtype.isbuiltin == 2)
"""The dtypes that numpy lacks and ml_dtypes adds. All of them are floats."""


def dtype_of(datatype: str) -> np.dtype[Any]:
    """The numpy dtype of a datatype name; InvalidInput when the name is not one of the protocol's."""
    try:
        return DTYPES[datatype]
    except KeyError:
        raise InvalidInput(
            f"datatype {datatype[:40]!r} is not one of the protocol's; use one of {', '.join(DTYPES)}"
        ) from None


def datatype_of(array: Array) -> str:
    """The datatype name of an array; InvalidInput when its dtype has none (complex, datetime, structured)."""
    try:
        return DATATYPES[array.dtype]
    except KeyError:
        raise InvalidInput(
            f"an array of dtype {array.dtype} has no datatype in the protocol; convert it to one of "
            f"{', '.join(str(dtype) for dtype in DATATYPES)}"
        ) from None


def element_count(shape: tuple[int, ...]) -> int:
    """The exact number of elements of a shape: Python integers do not overflow as int64 would."""
    count = 1
    for size in shape:
        count *= size
    return count


def memory_bytes(array: Array) -> int:
    """What an array's elements take in memory; those of BYTES are looked at one by one."""
    return sum(STRING_BYTES + len(each) for each in array.flat) if array.dtype.hasobject else array.nbytes
