"""NaN and infinities in JSON, which has no numbers for them.

As Triton does, the service reads and writes the bare words NaN, Infinity and -Infinity, which Python's json module
reads and writes too. It also reads null as NaN, and the words as strings, which is how strict JSON carries them.
No JSON decoder of ours reads the bare words. So a body that holds some is rewritten first: NaN as null, and an
infinity as an object that stands for nothing else.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
import numpy as np

from workbench.core.tensor import Array


class Infinite(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An infinity in a rewritten body. numpy makes an array of these by their `__float__`."""

    sign: Literal[1, -1] = msgspec.field(name="")

    def __float__(self) -> float:
        return self.sign * np.inf


_NAN, _INFINITY, _MINUS_INFINITY = b"null", b'{"":1}', b'{"":-1}'
_REWRITTEN: Final = (
    (b"NaN", _NAN),
    (b"-Infinity", _MINUS_INFINITY),
    (b"Infinity", _INFINITY),
    (b"-Inf", _MINUS_INFINITY),
    (b"Inf", _INFINITY),
)
_WORDS_AS_STRINGS: Final = tuple(
    # Not after an escaped quote, which is within a string, and not as the name of an object's member.
    (re.compile(rb'"(?<!\\")%b"(?!\s*+:)' % word), instead)
    for word, instead in ((b"NaN", _NAN), (b"Infinity", _INFINITY), (b"-Infinity", _MINUS_INFINITY))
)

_BLOCK = 64 * 1024
"""Bytes of data rewritten at once: each word found in it takes some memory meanwhile."""

_FEW_QUOTES = 256

# These octets are in no UTF-8.
_BACKSLASH, _ESCAPED_QUOTE, _IN_STRINGS = b"\xfc", b"\xfd", b"\xfe\xff"
_STAND_INS: Final = _BACKSLASH + _ESCAPED_QUOTE + _IN_STRINGS
_HIDDEN: Final = bytes.maketrans(b"NI", _IN_STRINGS)
_SHOWN: Final = bytes.maketrans(_STAND_INS, b'\\"NI')


def without_bare_words(text: bytes) -> bytes:
    """Rewrite the bare words in `text` outside its strings. What was wrong JSON otherwise stays so.

    No step of it is taken per string or word in Python, unless they are few: `text` may be hostile, and the event loop
    waits.
    """
    if b"NaN" not in text and b"Inf" not in text:
        return text
    if not text.isascii() and len(text.translate(None, _STAND_INS)) < len(text):
        return text  # it is not UTF-8
    if text.count(b'"') <= _FEW_QUOTES and b"\\" not in text:
        # Each quote begins or ends a string, so every other part is outside of strings.
        parts = text.split(b'"')
        parts[::2] = map(_rewritten, parts[::2])
        return b'"'.join(parts)
    return _rewritten(_with_hidden_words(text)).translate(_SHOWN)


def without_words(data: bytes) -> bytes:
    """Rewrite the words that are strings in `data`, a valid JSON list of numbers."""
    rewritten = bytearray()
    begin = 0
    while begin < len(data):
        end = data.find(b",", begin + _BLOCK) + 1 or len(data)  # no word holds a comma
        block = data[begin:end]
        for word, instead in _WORDS_AS_STRINGS:
            block = word.sub(instead, block)
        rewritten += block
        begin = end
    return bytes(rewritten)


def words_in_place(array: Array, values: list[Any], strict: bool) -> None:
    """Replace what is not finite in `values`, the elements of `array`, by its word: a string if `strict`."""
    flat = array.reshape(-1)
    for index in np.flatnonzero(~np.isfinite(flat)).tolist():
        value = float(flat[index])
        word = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
        values[index] = word if strict else msgspec.Raw(word.encode())


def shown_word(value: object) -> str | None:
    """Return how a caller may have written `value`, found in rewritten data; None for other values."""
    if value is None:
        return "null or NaN"
    return {1: "Infinity", -1: "-Infinity"}.get(value[""]) if isinstance(value, dict) and [*value] == [""] else None


def _rewritten(text: bytes) -> bytes:
    for word, instead in _REWRITTEN:
        text = text.replace(word, instead)
    return text


def _with_hidden_words(text: bytes) -> bytes:
    """Return `text` with no "N" and "I" in its strings, and no escaped quotes; `_SHOWN` brings them back."""
    text = text.replace(b"\\\\", _BACKSLASH * 2).replace(b'\\"', _BACKSLASH + _ESCAPED_QUOTE)
    octets = np.frombuffer(bytearray(text), np.uint8)
    # Each quote that is left begins or ends a string.
    in_strings = np.logical_xor.accumulate(octets == ord('"'))
    np.copyto(octets, np.frombuffer(text.translate(_HIDDEN), np.uint8), where=in_strings)
    return octets.tobytes()
