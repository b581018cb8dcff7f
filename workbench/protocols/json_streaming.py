"""Reads long `data` of a JSON tensor in blocks, with little memory apart from the array itself.

A list of Python numbers takes up to twelve times the memory of its text, a list of lists forty times; and a decoder
does not let other threads run. So data with too many elements is refused by counting commas before it is decoded, and
other data is decoded block by block into its array.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
import numpy as np

from workbench.core.tensor import DTYPES, Array
from workbench.errors import InvalidInput

LONG = 64 * 1024
"""Size in bytes from which `data` is read in blocks; shorter data costs little anyway."""

_BLOCK = 128 * 1024
"""Bytes of text decoded at once: about a millisecond."""

_FEW_LISTS, _LISTS_PER_STRING = 1024, 4
"""Each list of strings becomes a list object, which takes 88 bytes."""

_STRUCTURE: Final = b"[],"
_ALL_BUT_STRUCTURE: Final = bytes(octet for octet in range(256) if octet not in _STRUCTURE)
_INDEX = re.compile(r"\[(\d+)\]")


def numbers_from_json(
    data: bytes,
    tensor: str,
    datatype: str,
    shape: tuple[int, ...],
    count: int,
    decoder: msgspec.json.Decoder[list[Any]],
    takes: str,
) -> Array:
    """Convert `data`, a valid JSON list of numbers, to an array. `decoder` decodes and checks a flat list; `takes`
    describes the valid values in errors. Raises InvalidInput."""
    _check_count(tensor, shape, count, data.count(b",") + 1)
    if data.count(b"[") > 1 and not _even(data.translate(None, _ALL_BUT_STRUCTURE)):
        raise InvalidInput(f"{tensor}: data is ragged: lists of one level hold different numbers of elements")
    flat = data.translate(None, b"[]")
    array = np.empty(count, DTYPES[datatype])
    done = begin = 0
    while begin < len(flat):
        end = flat.find(b",", begin + _BLOCK)
        end = len(flat) if end < 0 else end
        block = flat[begin:end]
        try:
            values = decoder.decode(b"[%b]" % block)
            array[done : done + len(values)] = array_of_numbers(values, array.dtype)
        except (msgspec.DecodeError, OverflowError, UnicodeDecodeError, RecursionError) as error:
            raise _unfit(tensor, datatype, takes, block, done, error) from None
        done += len(values)
        begin = end + 1
    _check_count(tensor, shape, count, done)
    return array.reshape(shape)


def array_of_numbers(values: list[Any], dtype: np.dtype[Any]) -> Array:
    """Convert decoded numbers. None becomes NaN and an `Infinite` an infinity. Raises OverflowError for integers."""
    if dtype.isbuiltin != 1:  # a dtype that numpy lacks knows neither
        return np.array(values, np.float64).astype(dtype)
    return np.array(values, dtype)


def check_strings(data: bytes, tensor: str, shape: tuple[int, ...], count: int) -> None:
    """Raise InvalidInput if `data`, a valid JSON list of strings, does not hold `count` of them, or has many lists."""
    escaped = data.replace(b"\\\\", b"").count(b'\\"') if b"\\" in data else 0
    _check_count(tensor, shape, count, (data.count(b'"') - escaped) // 2)
    most = _FEW_LISTS + _LISTS_PER_STRING * count
    if data.count(b"[") > most and len(_STRING.sub(b"", data).translate(None, _ALL_BUT_OPENING)) > most:
        raise InvalidInput(f"{tensor}: data has many more lists than strings; send it flat, or as binary data")


_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ALL_BUT_OPENING: Final = bytes(octet for octet in range(256) if octet not in b"[")


def _check_count(tensor: str, shape: tuple[int, ...], count: int, found: int) -> None:
    if found != count:
        raise InvalidInput(f"{tensor}: shape {list(shape)} holds {count} elements, and data has {found}")


def _even(skeleton: bytes) -> bool:
    """Return whether all lists of one level have equal shape. `skeleton` is the brackets and commas of a list."""
    depth = len(skeleton) - len(skeleton.lstrip(b"["))
    alike, leaves = b"", 1
    for level in range(1, depth + 1):
        # The first list of this level ends where that many brackets close in a row.
        end = skeleton.find(b"]" * level)
        size, left_over = divmod(skeleton.count(b",", 0, max(end, 0)) + 1, leaves)
        if end < 0 or left_over or size * (len(alike) + 1) > len(skeleton):
            return False
        alike, leaves = b"[" + (alike + b",") * (size - 1) + alike + b"]", size * leaves
    return alike == skeleton


def _unfit(tensor: str, datatype: str, takes: str, block: bytes, before: int, error: Exception) -> InvalidInput:
    found = _INDEX.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
    if found is None:
        return InvalidInput(
            f"{tensor}: data after the first {before} elements is out of range for {datatype}, which takes {takes}; or "
            "there an element is missing"
        )
    at = int(found.group(1))
    shown = block.split(b",", at + 1)[at].strip()[:40].decode("utf-8", "replace")
    return InvalidInput(f"{tensor}: {shown} at [{before + at}] does not fit {datatype}, which takes {takes}")
