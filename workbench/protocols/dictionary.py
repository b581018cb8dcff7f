"""Text tensors whose elements repeat a few texts: an extension of the binary tensor data extension.

The binary data of a BYTES input with the parameter `dictionary_size` N begins with N different elements, each its
length as uint32 and its bytes. After them comes, for each element of the tensor, its place among these as uint16. All
numbers are little-endian. A column of a table takes a fraction of the bytes so, and its reader a fraction of the time.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from workbench.core.tensor import Array
from workbench.core.turns import give_way
from workbench.errors import InvalidInput, TooLarge
from workbench.protocols.binary import frame, strings_at

PARAMETER: Final = "dictionary_size"
EXTENSION: Final = "dictionary_tensor_data"
"""What a server that reads it names among its extensions."""

MANY: Final = 1024
"""Elements from which on it pays."""

_CODE: Final = np.dtype("<u2")
_MOST_WORDS: Final = 1 << 16
_AT_ONCE: Final = 1 << 16

MOST_BYTES: Final = 32 * 1024 * 1024
"""Of a tensor written out. A few bytes may stand for a long text, so a small body could otherwise mean gigabytes."""


def encode(array: Array, tensor: str) -> tuple[bytes, int] | None:
    """The binary data of a BYTES array and its dictionary's size; None where the elements are few, do not repeat, or
    are too long for it."""
    if array.size < MANY:
        return None
    elements = array.reshape(-1).tolist()
    if set(map(type, elements)) != {bytes}:
        return None
    words = dict.fromkeys(elements)
    if len(words) > min(len(elements) // 4, _MOST_WORDS):
        return None
    places = {word: place for place, word in enumerate(words)}
    codes = np.fromiter(map(places.__getitem__, elements), _CODE, len(elements))
    if _written_out([len(word) for word in words], codes) > MOST_BYTES:
        return None
    return b"".join([frame(word, tensor) for word in words]) + codes.tobytes(), len(words)


def decode(
    body: bytes, start: int, size: int, tensor: str, words: object, shape: tuple[int, ...], count: int, max_bytes: int
) -> Array:
    """The array in `body[start : start + size]`, of `count` elements of at most `max_bytes` each; `words` is the
    parameter. Raises InvalidInput and TooLarge."""
    if type(words) is not int or not 0 < words <= _MOST_WORDS:
        raise InvalidInput(
            f"{tensor}: {PARAMETER} must be a whole number from 1 to {_MOST_WORDS}, got {str(words)[:40]!r}"
        )
    if size < count * _CODE.itemsize:
        raise InvalidInput(
            f"{tensor}: {count} elements of a dictionary take {count * _CODE.itemsize} bytes at least; "
            f"its binary data has {size}"
        )
    texts = strings_at(body, start, size - count * _CODE.itemsize, f"{tensor}, dictionary", words, max_bytes)
    codes = np.frombuffer(body, _CODE, count, start + size - count * _CODE.itemsize)
    if count and (most := int(codes.max())) >= words:
        raise InvalidInput(
            f"{tensor}: element {int(codes.argmax())} is number {most} of its dictionary, whose last is {words - 1}"
        )
    if (out := _written_out([len(text) for text in texts.tolist()], codes)) > MOST_BYTES:
        raise TooLarge(
            f"{tensor}: its dictionary stands for {out} bytes; {MOST_BYTES} are the most, send more as they are"
        )
    array = np.empty(count, np.object_)
    for begin in range(0, count, _AT_ONCE):
        give_way()
        array[begin : begin + _AT_ONCE] = texts[codes[begin : begin + _AT_ONCE]]
    return array.reshape(shape)


def _written_out(lengths: list[int], codes: Array) -> int:
    """The bytes of all elements together."""
    return int(np.bincount(codes, minlength=len(lengths)) @ np.array(lengths, np.int64)) if codes.size else 0
