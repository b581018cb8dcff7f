"""Converts arrays where the engine's and ONNX Runtime's differ: strings, and bfloat16, which numpy lacks."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import ml_dtypes
import numpy as np

from workbench.core.tensor import Array
from workbench.errors import InvalidInput
from workbench.runtimes.ort import ort

BFLOAT16 = 16
"""ONNX's number for the element type."""


def text_of(name: str, array: Array) -> Array:
    """A BYTES array (elements `bytes`, which must be UTF-8) as the array of `str` that ONNX Runtime takes."""
    flat: Sequence[bytes] = array.ravel().tolist()
    try:
        decoded = [str(element, "utf-8") for element in flat]
    except UnicodeDecodeError:
        raise InvalidInput(f"input {name!r} has an element that is not UTF-8, as the model's strings must be") from None
    except TypeError:
        raise InvalidInput(f"input {name!r} is BYTES: each of its elements must be bytes") from None
    return _objects(decoded, array.shape)


def bytes_of(array: Array) -> Array:
    """An array of `str` from ONNX Runtime as a BYTES array."""
    return _objects([element.encode() for element in array.ravel().tolist()], array.shape)


def value_of(array: Array) -> ort.OrtValue:
    """An OrtValue over the array's own memory (copied first where it is not contiguous); bfloat16 included."""
    if not array.flags.c_contiguous:
        array = array.copy()
    if array.dtype == ml_dtypes.bfloat16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(array)


def array_of(value: ort.OrtValue) -> Array:
    """An array that owns what a CPU OrtValue holds, or keeps it alive."""
    if value.element_type() != BFLOAT16:
        array: Array = value.numpy()
        return array
    # numpy() and DLPack both refuse bfloat16, so its bytes are copied out.
    copy = np.empty(tuple(value.shape()), ml_dtypes.bfloat16)
    ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
    return copy


def _objects(elements: Sequence[object], shape: tuple[int, ...]) -> Array:
    out = np.empty(len(elements), np.object_)
    out[:] = elements
    return out.reshape(shape)
