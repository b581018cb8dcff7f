"""Converts arrays where the engine's and ONNX Runtime's differ: strings, and floats that numpy lacks."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.core.tensor import BYTES, DTYPES, Array
from workbench.errors import InvalidInput
from workbench.runtimes.ort import ort

DATATYPE_OF_ELEMENT: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float": "FP32",
    "double": "FP64",
    "string": BYTES,
}
"""ONNX Runtime's name of an element type -> the protocol's datatype."""

ELEMENT_NUMBERS: Mapping[np.dtype[Any], int] = {DTYPES["BF16"]: 16}
"""dtype that numpy lacks -> ONNX's number of the element type. ONNX Runtime takes such an array as an OrtValue only."""

_EXTENSION_OF_NUMBER = {number: dtype for dtype, number in ELEMENT_NUMBERS.items()}


_MANY = 1024
"""From as many elements on, it is worth a look whether they repeat a few."""


def text_of(name: str, array: Array) -> Array:
    """A BYTES array (elements `bytes`) as the array of `str` that ONNX Runtime takes.

    Raises UnicodeDecodeError for an element that is not UTF-8, InvalidInput for one that is not `bytes`.
    """
    elements = array.ravel().tolist()
    try:
        if len(elements) >= _MANY:
            different = set(elements)
            if len(different) < len(elements) // 4:  # as in a column of categories: each is decoded once
                texts = {element: str(element, "utf-8") for element in different}
                return _objects(list(map(texts.__getitem__, elements)), array.shape)
        return _objects([str(element, "utf-8") for element in elements], array.shape)
    except TypeError:
        raise _no_bytes(name) from None


def bytes_of(array: Array) -> Array:
    """An array of `str` from ONNX Runtime as a BYTES array."""
    return _objects([element.encode() for element in array.ravel().tolist()], array.shape)


# ONNX Runtime's Python API has strings as `str` only. So a byte that is no UTF-8 goes through a run as a private
# character, and so does each byte of a text that holds such a character already: what comes out is unmistakable.
_BYTES = range(0x80, 0x100)
_STAND_IN, _SURROGATE = 0x10FE00, 0xDC00
_TO_STAND_IN: Mapping[int, str] = {_SURROGATE + byte: chr(_STAND_IN + byte) for byte in _BYTES} | {
    _STAND_IN + byte: "".join(chr(_STAND_IN + each) for each in chr(_STAND_IN + byte).encode()) for byte in _BYTES
}
_FROM_STAND_IN: Mapping[int, int] = {_STAND_IN + byte: _SURROGATE + byte for byte in _BYTES}

READS_TEXT = frozenset(
    {"MurmurHash3", "Tokenizer", "RegexFullMatch", "StringNormalizer", "Unique", "If", "Loop", "Scan", "SequenceMap"}
)
"""Operators to which stand-ins are other text than the bytes, or that hold graphs which may have such. The others move
strings, compare them or look them up."""


def text_with_stand_ins(name: str, array: Array) -> Array:
    """As `text_of`, with stand-ins for bytes that are not UTF-8."""
    try:
        texts = [str(element, "utf-8", "surrogateescape") for element in array.ravel().tolist()]
    except TypeError:
        raise _no_bytes(name) from None
    return _objects([text.translate(_TO_STAND_IN) for text in texts], array.shape)


def bytes_behind_stand_ins(array: Array) -> Array:
    """As `bytes_of`, with the bytes that the stand-ins stand for."""
    flat: Sequence[str] = array.ravel().tolist()
    return _objects([each.translate(_FROM_STAND_IN).encode("utf-8", "surrogateescape") for each in flat], array.shape)


def _no_bytes(name: str) -> InvalidInput:
    return InvalidInput(f"input {name!r} is BYTES: each of its elements must be bytes")


def value_of(array: Array) -> ort.OrtValue:
    """An OrtValue over the array's own memory (copied first where it is not contiguous)."""
    if not array.flags.c_contiguous:
        array = array.copy()
    number = ELEMENT_NUMBERS.get(array.dtype)
    if number is not None:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits_of(array), number)
    return ort.OrtValue.ortvalue_from_numpy(array)


def array_of(value: ort.OrtValue) -> Array:
    """An array that owns what a CPU OrtValue holds, or keeps it alive."""
    dtype = _EXTENSION_OF_NUMBER.get(value.element_type())
    if dtype is None:
        array: Array = value.numpy()
        return array
    # numpy() and DLPack both refuse a dtype that numpy lacks, so its bytes are copied out.
    copy = np.empty(tuple(value.shape()), dtype)
    ctypes.memmove(copy.ctypes.data, value.data_ptr(), copy.nbytes)
    return copy


def bits_of(array: Array) -> Array:
    """The array's elements as unsigned integers of the same size, without a copy."""
    return array.view(f"u{array.dtype.itemsize}")


def _objects(elements: Sequence[object], shape: tuple[int, ...]) -> Array:
    out = np.empty(len(elements), np.object_)
    out[:] = elements
    return out.reshape(shape)
