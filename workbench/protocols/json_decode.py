"""Decodes JSON into typed structs, with readable errors."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from workbench.errors import InvalidInput
from workbench.protocols.json_blocks import steps, without_strings
from workbench.protocols.json_non_finite import without_bare_words


def decode_json(decoder: msgspec.json.Decoder[Any], head: bytes, max_depth: int, what: str, strict: bool) -> Any:
    """Decode `head` with `decoder`; `what` names it in errors. If not `strict`, the words NaN and Infinity are read.

    Raises InvalidInput if it does not fit or is too deep.
    """
    try:
        found = decoder.decode(head)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} does not follow the protocol: {error}") from None
    except msgspec.DecodeError as error:
        rewritten = without_bare_words(head)
        if rewritten == head:
            raise InvalidInput(f"{what} is not valid JSON: {error if head else 'it is empty'}") from None
        if strict:
            raise InvalidInput(
                f"{what} is not valid JSON: {error}; the setting strict_json is on, so send NaN and infinities as the "
                'strings "NaN", "Infinity" and "-Infinity", or as binary data'
            ) from None
        return decode_json(decoder, rewritten, max_depth, what, strict=True)
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not valid JSON: it is not UTF-8") from None
    except RecursionError:
        raise too_deep(what, max_depth) from None
    if head.count(b"[") + head.count(b"{") > max_depth:  # JSON with few brackets is not deep, and most bodies have few
        check_depth(head, max_depth, what)
    return found


def check_depth(text: bytes, max_depth: int, what: str) -> None:
    """Raise InvalidInput if `text` is nested deeper than `max_depth`. Of JSON that is not valid it tells little."""
    if _depth(text) > max_depth:
        raise too_deep(what, max_depth)


_ALL_BUT_BRACKETS = bytes(octet for octet in range(256) if octet not in b"[]{}")
_BLOCK = 1 << 20


def _depth(head: bytes) -> int:
    """Return how deep `head` is nested, without a Python step per bracket."""
    brackets = np.frombuffer(without_strings(head).translate(None, _ALL_BUT_BRACKETS), np.uint8)
    deepest = level = 0
    for begin in range(0, len(brackets), _BLOCK):
        levels = np.cumsum(steps(brackets[begin : begin + _BLOCK]), dtype=np.int32)
        deepest = max(deepest, level + int(levels.max()))
        level += int(levels[-1])
    return deepest


def too_deep(what: str, max_depth: int) -> InvalidInput:
    return InvalidInput(f"{what} is nested too deep; max_json_depth is {max_depth}")
