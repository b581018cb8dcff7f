"""Reads a long list of elements in JSON block by block, with little memory apart from the array itself.

A list of Python numbers takes up to twelve times the memory of its text, a list of lists forty times; and a decoder
does not let other threads run. So lists with too many elements are refused by counting commas before anything is
decoded, and others are decoded block by block into their array. The text need not be valid JSON: its brackets are
checked here, and its elements by the decoder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import numpy as np

from workbench.core.tensor import BYTES, DTYPES, Array
from workbench.core.turns import give_way
from workbench.errors import InvalidInput
from workbench.protocols.json_blocks import ElementList, blocks
from workbench.protocols.json_non_finite import without_bare_words, without_words

STRING_BYTES: Final = 120
"""The most memory that an element of BYTES takes beside its text: a str, a bytes object and their places."""

_GAP: Final = 128 * 1024
"""Bytes between two commas, an element's own not counted, that no client sends."""

_STRUCTURE: Final = b"[],"
_SPACE: Final = b" \t\r\n"
_AS_ZEROS: Final = bytes(octet if octet in _STRUCTURE else ord("0") for octet in range(256))
_INDEX = re.compile(r"\[(\d+)\]")
_anything: Final = msgspec.json.Decoder(list[Any])


def memory_bytes(found: ElementList, tensor: str, datatype: str, shape: tuple[int, ...], count: int) -> int:
    """Return what `array_from_list` will take, with its array. Raises InvalidInput for a wrong number of elements."""
    # An empty list has no comma, as one with one element.
    if found.commas + 1 != count and (count or found.commas):
        _check_count(tensor, shape, count, found.commas + 1)
    each = STRING_BYTES if datatype == BYTES else DTYPES[datatype].itemsize
    texts = len(found.text) if datatype == BYTES else 0
    brackets = 4 * found.lists + 2 * found.commas if found.lists > 1 else 0
    return count * each + texts + 2 * brackets


def array_from_list(
    found: ElementList,
    tensor: str,
    datatype: str,
    shape: tuple[int, ...],
    count: int,
    decoder: msgspec.json.Decoder[list[Any]],
    takes: str,
    floats: bool,
    strict: bool,
    longest: int,
    encoded: Callable[[list[Any], int], Array],
) -> Array:
    """Convert `found` to an array of `shape`, which holds `count` elements.

    `decoder` decodes and checks a flat list; `takes` describes the valid values in errors; `floats`: NaN and infinities
    are valid, as bare words too if not `strict`. No element may have many more than `longest` bytes of text. `encoded`
    makes bytes of strings, given the index of the first.
    Raises InvalidInput, and what `encoded` raises.
    """
    memory_bytes(found, tensor, datatype, shape, count)
    array = np.empty(count, DTYPES[datatype])
    done = 0
    for block in _flat(found, tensor, longest):
        try:
            values = _decoded(block, decoder, floats, strict)
            _check_count(tensor, shape, count, max(count, done + len(values)))
            if datatype == BYTES:
                array[done : done + len(values)] = encoded(values, done)
            else:
                array[done : done + len(values)] = array_of_numbers(values, array.dtype)
        except (msgspec.DecodeError, OverflowError, UnicodeDecodeError, RecursionError) as error:
            raise _unfit(tensor, datatype, takes, block, done, error) from None
        done += len(values)
        give_way()
    _check_count(tensor, shape, count, done)
    return array.reshape(shape)


def array_of_numbers(values: list[Any], dtype: np.dtype[Any]) -> Array:
    """Convert decoded numbers. None becomes NaN and an `Infinite` an infinity. Raises OverflowError for integers."""
    if dtype.isbuiltin != 1:  # a dtype that numpy lacks knows neither
        return np.array(values, np.float64).astype(dtype)
    return np.array(values, dtype)


def _decoded(block: bytes, decoder: msgspec.json.Decoder[list[Any]], floats: bool, strict: bool) -> list[Any]:
    text = b"[%b]" % block
    if floats and b'"' in text:
        text = without_words(text)
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        rewritten = without_bare_words(text) if floats else text
        if rewritten == text:
            raise
        if strict:
            raise InvalidInput(STRICT) from None
        return decoder.decode(rewritten)


STRICT: Final = (
    "the setting strict_json is on, so send NaN and infinities as the strings "
    '"NaN", "Infinity" and "-Infinity", or as binary data'
)


def _flat(found: ElementList, tensor: str, longest: int) -> Iterator[bytes]:
    """Yield the elements in blocks, with commas between them and without brackets. Raises InvalidInput if the brackets
    are not those of a list whose lists of one level are all alike."""
    skeleton = bytearray() if found.lists > 1 else None
    # Of the element that is not whole yet: its text, and the same without strings.
    texts: list[bytes] = []
    plains: list[bytes] = []
    size = 0
    for text, plain in blocks(found.text[1:-1]):
        if (comma := plain.rfind(b",")) < 0:
            texts.append(text)
            plains.append(plain)
            size += len(text)
            if size > longest + _GAP or (len(text) >= _GAP and not text.translate(None, _SPACE)):
                raise InvalidInput(f"{tensor}: data has {size} bytes without a comma")
            continue
        yield _without_brackets(b"".join((*texts, text[:comma])), b"".join((*plains, plain[:comma])), tensor, skeleton)
        if skeleton is not None:
            skeleton += b","
        texts, plains, size = [text[comma + 1 :]], [plain[comma + 1 :]], len(text) - comma
    yield _without_brackets(b"".join(texts), b"".join(plains), tensor, skeleton)
    if skeleton is not None and not _even(b"[%b]" % bytes(skeleton)):
        raise _ragged(tensor)


def _without_brackets(text: bytes, plain: bytes, tensor: str, skeleton: bytearray | None) -> bytes:
    if skeleton is None:
        return text
    structure = plain.translate(_AS_ZEROS, _SPACE)
    # An element stands alone between its commas and brackets. (Two-octet searches take ten times as long.)
    octets = np.frombuffer(structure, np.uint8)
    before, after = octets[:-1], octets[1:]
    begins = (after == ord("[")) & (before != ord("[")) & (before != ord(","))
    ends = (before == ord("]")) & (after != ord("]")) & (after != ord(","))
    if begins.any() or ends.any():
        raise _ragged(tensor)
    skeleton += structure.translate(None, b"0")
    if b'"' not in text:
        return text.translate(None, b"[]")
    octets = np.frombuffer(plain, np.uint8)
    kept: bytes = np.frombuffer(text, np.uint8)[(octets != ord("[")) & (octets != ord("]"))].tobytes()
    return kept


def _check_count(tensor: str, shape: tuple[int, ...], count: int, found: int) -> None:
    if found != count:
        raise InvalidInput(f"{tensor}: shape {list(shape)} holds {count} elements, and data has {found}")


def _ragged(tensor: str) -> InvalidInput:
    return InvalidInput(f"{tensor}: data is ragged: lists of one level hold different numbers of elements")


def _even(skeleton: bytes) -> bool:
    """Return whether all lists of one level have equal shape. `skeleton` is the brackets and commas of a list."""
    depth = len(skeleton) - len(skeleton.lstrip(b"["))
    alike, leaves = b"", 1
    end = commas = 0
    for level in range(1, depth + 1):
        # The first list of this level ends where that many brackets close in a row.
        begin = end
        end = skeleton.find(b"]" * level, begin)
        commas += skeleton.count(b",", begin, max(end, 0))
        size, left_over = divmod(commas + 1, leaves)
        if end < 0 or left_over or size * (len(alike) + 1) > len(skeleton):
            return False
        alike, leaves = b"[" + (alike + b",") * (size - 1) + alike + b"]", size * leaves
    return alike == skeleton


def _unfit(tensor: str, datatype: str, takes: str, block: bytes, before: int, error: Exception) -> InvalidInput:
    if isinstance(error, UnicodeDecodeError):
        return InvalidInput(f"{tensor}: data holds bytes that are not UTF-8")
    found = _INDEX.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
    if found is None:
        return InvalidInput(
            f"{tensor}: data after the first {before} elements is out of range for {datatype}, which takes {takes}; or "
            "there an element is missing"
        )
    at = int(found.group(1))
    if datatype == BYTES:  # a string may hold commas
        try:
            shown = msgspec.json.encode(_anything.decode(b"[%b]" % block)[at])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            shown = b"what is"
    else:
        shown = block.split(b",", at + 1)[at].strip()
    return InvalidInput(
        f"{tensor}: {shown[:40].decode('utf-8', 'replace')} at [{before + at}] does not fit "
        f"{datatype}, which takes {takes}"
    )
