"""Reads JSON text in blocks: which of it is outside of strings, and where a list ends, without a Python step per token.

A decoder holds the interpreter's lock for as long as it runs, and a hostile text can make it make many objects. So a
long text is counted and cut here, block by block, and others have their turn between blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from workbench.core.turns import give_way
from workbench.errors import InvalidInput

BLOCK: Final = 128 * 1024
"""Bytes of text looked at or decoded at once: about a millisecond."""

_FIRST: Final = 1024
"""Bytes in which most lists of a request with many tensors end."""

_STEP: Final = 1024 * 1024


def find(text: bytes, what: bytes, begin: int) -> int:
    """As `text.find(what, begin)`, in steps."""
    while begin < len(text):
        if (found := text.find(what, begin, begin + _STEP + len(what) - 1)) >= 0:
            return found
        begin += _STEP
        give_way()
    return -1


def blocks(text: memoryview, size: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield (block, the same with strings as zeros) of JSON that begins outside of a string.

    In the second all of a string, its quotes included, is b"0", so that commas and brackets in it are structure. A
    block without strings is yielded twice. No block ends between a backslash and what it escapes. The first block has
    `size` bytes, and each further one four times as many as the one before, up to BLOCK; 0: all have BLOCK.
    """
    size = min(size, BLOCK) or BLOCK
    begin, in_string = 0, False
    while begin < len(text):
        block = bytes(text[begin : begin + size])
        if (len(block) - len(block.rstrip(b"\\"))) % 2:
            block = bytes(text[begin : begin + size + 1])
        begin += len(block)
        size = min(4 * size, BLOCK)
        if not in_string and b'"' not in block:
            yield block, block
            continue
        plain = block
        if b"\\" in block:
            plain = block.replace(b"\\\\", b"00").replace(b'\\"', b"00")
        octets = np.frombuffer(plain, np.uint8)
        quotes = (octets == ord('"')).view(np.uint8)
        inside = np.bitwise_xor.accumulate(quotes)
        if in_string:
            inside ^= 1
        in_string = bool(inside[-1])
        inside |= quotes
        inside *= 255
        yield block, ((octets & ~inside) | (inside & ord("0"))).tobytes()


def without_strings(text: bytes) -> bytes:
    """`text`, valid JSON, with each octet of its strings as b"0"."""
    return b"".join(plain for _, plain in blocks(memoryview(text)))


@dataclass(frozen=True, slots=True)
class ElementList:
    """A list in a text, found by its brackets. Whether it is valid JSON is not known."""

    text: memoryview
    """With its outer brackets."""
    commas: int
    """Outside of strings."""
    lists: int
    """With itself."""
    depth: int
    """How many lists begin at its beginning; not known of what comes later."""


_SPACE: Final = b" \t\r\n"


def list_at(text: bytes, begin: int) -> ElementList:
    """The list whose bracket is at `begin`. Raises InvalidInput if it has no end."""
    view = memoryview(text)
    commas = lists = level = 0
    at = begin
    for block, plain in blocks(view[begin:], _FIRST):
        closing = plain.count(b"]")
        opening = plain.count(b"[")
        # Lists of numbers go on in a block that has neither strings nor the end of an object. Where brackets are wrong
        # all the same it ends too late, and that is found when it is read.
        goes_on = plain is block and b"}" not in plain and level + opening > closing
        if not goes_on and level <= closing and (end := _end(plain, level)):
            plain = plain[:end]
            found = view[begin : at + end]
            first = bytes(found[:4096]).translate(None, _SPACE)
            depth = len(first) - len(first.lstrip(b"["))
            return ElementList(found, commas + plain.count(b","), lists + plain.count(b"["), depth)
        level += opening - closing
        lists += opening
        commas += plain.count(b",")
        at += len(block)
        give_way()
    raise InvalidInput("a list of elements has no end: the JSON is cut off, or a bracket is missing")


def _end(plain: bytes, level: int) -> int:
    """Where the list ends that is `level` deep before `plain`; 0: not in it."""
    octets = np.frombuffer(plain, np.uint8)
    at = np.flatnonzero((octets == ord("[")) | (octets == ord("]")))
    ends = np.flatnonzero(level + np.cumsum(steps(octets[at]), dtype=np.int64) == 0)
    return int(at[ends[0]]) + 1 if len(ends) else 0


def steps(brackets: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """1 for each opening bracket, -1 for each closing one."""
    # "]" 0x5d and "}" 0x7d have the bit 0x04; "[" 0x5b and "{" 0x7b do not.
    return 1 - ((brackets & 4) >> 1).astype(np.int8)
