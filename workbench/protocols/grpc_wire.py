"""Walks a protobuf message in its wire format, so that what is in it is counted before it is parsed.

An empty tensor has two bytes in a message and takes 88 when it is parsed; and a parser holds the interpreter's lock
until it has come to the end, and copies every tensor. So of a large message only what is beside the tensors' elements
is parsed, once its fields were counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from workbench.core.tensor import MAX_RANK
from workbench.core.turns import give_way
from workbench.core.varint import read_varint, varint
from workbench.errors import InvalidInput, TooLarge

LARGE: Final = 64 * 1024
"""Bytes of a message above which it is walked; what a smaller one can cost is bounded by its size."""

MAX_HEAD_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of a message beside the elements of tensors."""

_FIELDS, _FIELDS_PER_TENSOR = 4096, 256
"""The most fields beside the elements of tensors."""

Span: TypeAlias = tuple[int, int]
"""(start, stop) in a message."""

BYTES_FIELD: Final = b"\x2a"
"""The tag of field 5: of a request its inputs, of a tensor its contents."""

_STRING: Final = 0x42
"""The tag of field 8 of a tensor's contents, bytes_contents."""

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED: Final = {FIXED64: 8, FIXED32: 4}


@dataclass(frozen=True, slots=True)
class WalkedRequest:
    """A ModelInferRequest without its elements."""

    head: bytes
    """The message without raw_input_contents and without the contents of inputs."""
    raw: Sequence[Span]
    contents: Sequence[Sequence[Span]]
    """Of each input, its typed contents: one part, or several, which are merged."""


def fields(message: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (number, wire type, begin of its tag, begin and end of its value) of each field. Raises InvalidInput."""
    try:
        while at < end:
            begin = at
            tag = message[at]
            at += 1
            if tag >= 0x80:
                tag, at = read_varint(message, begin)
            kind = tag & 7
            if tag < 8:
                raise broken()
            start = at
            if kind == LENGTH:
                size = message[at]
                if size < 0x80:
                    start += 1
                else:
                    size, start = read_varint(message, at)
                at = start + size
            elif kind == VARINT:
                _, at = read_varint(message, at)
            elif kind in _FIXED:
                at += _FIXED[kind]
            else:
                raise broken()  # groups have never been in these messages
            if at > end:
                raise broken()
            yield tag >> 3, kind, begin, start, at
    except (IndexError, ValueError):
        raise broken() from None


def strings(message: bytes, spans: Sequence[Span]) -> Iterator[Span]:
    """Yield each element of bytes_contents, field 8. Raises InvalidInput."""
    found = 0
    try:
        for at, end in spans:
            while at < end:
                if message[at] == _STRING and message[at + 1] < 0x80:  # mostly
                    start = at + 2
                    at = start + message[at + 1]
                    if at > end:
                        raise broken()
                    yield start, at
                else:
                    number, kind, _, start, at = next(fields(message, at, end))
                    if number == _STRING >> 3 and kind == LENGTH:
                        yield start, at
                found += 1
                if not found & 4095:
                    give_way()
    except IndexError:
        raise broken() from None


def walk_request(message: bytes, max_tensors: int) -> WalkedRequest:
    """Walk a ModelInferRequest. Raises InvalidInput if it is none, and TooLarge over the caps."""
    most = _FIELDS + _FIELDS_PER_TENSOR * max_tensors
    kept: list[bytes] = []
    raw: list[Span] = []
    contents: list[list[Span]] = []
    size = found = 0
    for number, kind, begin, start, stop in fields(message, 0, len(message)):
        found += 1
        part = b""
        if number == 7 and kind == LENGTH:
            raw.append((start, stop))
        elif number == 5 and kind == LENGTH:
            spans: list[Span] = []
            parts: list[bytes] = []
            for inner, inner_kind, inner_begin, inner_start, inner_stop in fields(message, start, stop):
                found += 1
                if found > most:
                    break
                if inner == 5 and inner_kind == LENGTH:
                    spans.append((inner_start, inner_stop))
                elif inner == 3 and inner_stop - inner_start > 10 * MAX_RANK:
                    raise InvalidInput(f"the shape of an input has more than {MAX_RANK} dimensions, the most there are")
                else:
                    parts.append(_kept(message, inner_begin, inner_stop))
            tensor = b"".join(parts)
            contents.append(spans)
            part = b"%b%b%b" % (BYTES_FIELD, varint(len(tensor)), tensor)
        else:
            part = _kept(message, begin, stop)
        size += len(part)
        kept.append(part)
        if found > most:
            raise TooLarge(f"the message has more than {most} fields beside its tensors' elements")
        if size > MAX_HEAD_BYTES:
            raise _over()
    return WalkedRequest(b"".join(kept), raw, contents)


def names_in(message: bytes) -> tuple[str, str, str]:
    """Return model, version and id of a ModelInferRequest as far as they are among its first fields."""
    found = {1: b"", 2: b"", 3: b""}
    try:
        for count, (number, kind, _, start, stop) in enumerate(fields(message, 0, len(message))):
            if count >= 64:
                break
            if number in found and kind == LENGTH:
                found[number] = message[start : min(stop, start + 4096)]
    except InvalidInput:
        pass
    model, version, id = (text.decode("utf-8", "replace") for text in found.values())
    return model, version, id


def is_quick(message: bytes) -> bool:
    """Return whether a ModelInferRequest is quickly read: it has few fields, and no elements but raw ones that are
    numbers."""
    try:
        for count, (number, _, _, start, stop) in enumerate(fields(message, 0, len(message))):
            if count >= 64 or (number != 7 and (stop - start > 1024 or b"BYTES" in message[start:stop])):
                return False
    except InvalidInput:
        pass  # as soon as it is known
    return True


def check_fields(message: bytes, most: int) -> None:
    """Raise TooLarge if `message` has more fields, InvalidInput if it is no message."""
    for count, _ in enumerate(fields(message, 0, len(message))):
        if count >= most:
            raise TooLarge(f"the message has more than {most} fields, the most there may be")


def broken() -> InvalidInput:
    return InvalidInput("the message is not a ModelInferRequest")


def _kept(message: bytes, begin: int, stop: int) -> bytes:
    if stop - begin > MAX_HEAD_BYTES:
        raise _over()
    return message[begin:stop]


def _over() -> TooLarge:
    return TooLarge(f"the message has more than {MAX_HEAD_BYTES} bytes beside its tensors' elements")
