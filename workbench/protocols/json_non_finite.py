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
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WORD = re.compile(rb'"(NaN|-?Infinity)"')


def without_bare_words(text: bytes) -> bytes:
    """Rewrite the bare words in `text` outside its strings. What was wrong JSON otherwise stays so."""
    if b"NaN" not in text and b"Inf" not in text:
        return text
    parts: list[bytes] = []
    end = 0
    for string in _STRING.finditer(text):
        parts += _rewritten(text[end : string.start()]), string.group()
        end = string.end()
    parts.append(_rewritten(text[end:]))
    return b"".join(parts)


def without_words(data: bytes) -> bytes:
    """Rewrite the words that are strings in `data`, a list of numbers."""
    return _WORD.sub(lambda found: _rewritten(found[1]), data)


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
