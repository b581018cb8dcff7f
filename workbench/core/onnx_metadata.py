"""Writes entries into an ONNX file's metadata, without reading the model: any size, in pieces.

A ModelProto is a sequence of fields, and metadata_props may come anywhere and several times. So all fields are copied
as they are, but for entries of the same key, and the new ones are appended. Data beside the file are not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO, Final

from workbench.core.varint import read_varint, varint
from workbench.errors import ModelError

MAX_ENTRY: Final = 1024 * 1024
"""Longer entries are copied without a look at their key."""

_METADATA_PROPS: Final = 14
_PIECE: Final = 1024 * 1024
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def with_metadata(source: BinaryIO, target: BinaryIO, entries: Mapping[str, str]) -> None:
    """Copy the ONNX model of `source` to `target`, with these metadata in place of those of the same keys.

    Blocks. Raises ModelError where `source` is no protobuf message.
    """
    keys = {key.encode() for key in entries}
    while head := _varint(source):
        number, kind = head[0] >> 3, head[0] & 7
        if kind == _VARINT:
            target.write(head[1] + _taken(_varint(source))[1])
        elif kind in (_FIXED32, _FIXED64):
            target.write(head[1] + _read(source, 4 if kind == _FIXED32 else 8))
        elif kind == _LENGTH:
            size, octets = _taken(_varint(source))
            if number == _METADATA_PROPS and size <= MAX_ENTRY:
                content = _read(source, size)
                if _key(content) not in keys:
                    target.write(head[1] + octets + content)
                continue
            target.write(head[1] + octets)
            while size:
                piece = _read(source, min(size, _PIECE))
                target.write(piece)
                size -= len(piece)
        else:
            raise _no_model()
    for key, value in entries.items():
        entry = b"".join(_field(at, text.encode()) for at, text in ((1, key), (2, value)))
        target.write(_field(_METADATA_PROPS, entry))


def _field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | _LENGTH) + varint(len(content)) + content


def _key(entry: bytes) -> bytes:
    """The key of a StringStringEntryProto; empty where there is none."""
    at, found = 0, b""
    try:
        while at < len(entry):
            head, at = read_varint(entry, at)
            if head & 7 != _LENGTH:
                return b""
            size, at = read_varint(entry, at)
            if head >> 3 == 1:
                found = entry[at : at + size]
            at += size
    except (IndexError, ValueError):
        return b""
    return found


def _varint(source: BinaryIO) -> tuple[int, bytes] | None:
    """The number that comes next, and its octets; None at the end."""
    octets = b""
    while octet := source.read(1):
        octets += octet
        if octet[0] < 0x80:
            return read_varint(octets, 0)[0], octets
        if len(octets) == 10:
            raise _no_model()
    if octets:
        raise _no_model()
    return None


def _taken(found: tuple[int, bytes] | None) -> tuple[int, bytes]:
    if found is None:
        raise _no_model()
    return found


def _read(source: BinaryIO, size: int) -> bytes:
    content = source.read(size)
    if len(content) != size:
        raise _no_model()
    return content


def _no_model() -> ModelError:
    return ModelError("the file is no ONNX model, or a truncated one")
