"""Reads the wire format of an ONNX file under caps, before any parser builds objects of it.

A parser takes hundreds of bytes for a message that has two in the file, so that 8 MB become gigabytes. This walk builds
nothing: it goes from field to field by the types that the `onnx` package describes, in one pass and in constant memory,
and counts. What passes is of a size that the parsers after it can take, and means the same to each of them: a field
that may occur once occurs once, and none has another wire type than its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import onnx

from workbench.core.varint import read_varint, varint
from workbench.errors import ModelError

MAX_DEPTH: Final = 100
"""Messages inside each other; protobuf reads no more."""
MAX_MESSAGES: Final = 4_000_000
MAX_OF_KIND: Final = {
    "NodeProto": 500_000,
    "TensorProto": 500_000,
    "AttributeProto": 2_000_000,
    "FunctionProto": 20_000,
}
"""Messages of one type in a file, however deep. The largest graphs that exporters write have some ten thousand
nodes."""
MAX_NAMES: Final = 8_000_000
"""Texts in a file: names, inputs and outputs of nodes, documentation."""
MAX_NAME_BYTES: Final = 16_384
"""Of a text other than documentation and metadata."""

_LONG_TEXTS: Final = frozenset({"doc_string", "value"})
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_WIRE_TYPES: Final = {
    **dict.fromkeys((3, 4, 5, 8, 13, 14, 17, 18), _VARINT),
    **dict.fromkeys((1, 6, 16), _FIXED64),
    **dict.fromkeys((2, 7, 15), _FIXED32),
    **dict.fromkeys((9, 11, 12), _LENGTH),
}
"""Protobuf's number of a field's type -> its wire type. Groups have none: no ONNX message holds one."""
_STRING, _MESSAGE = 9, 11


class _Field(NamedTuple):
    """What is expected behind one tag of one message type."""

    wire: int
    once: int
    """A bit of its own in the mask of fields that were seen; 0: it may occur any number of times."""
    message: _Message | None
    most_bytes: int
    """Of a text; 0: it is none."""
    run: re.Pattern[bytes] | None
    """Of a repeated number: it and all that follow it at once."""


@dataclass(slots=True)
class _Message:
    name: str
    fields: dict[int, _Field]
    """By tag, so by number and wire type."""
    numbers: frozenset[int]


def check_wire(content: bytes) -> None:
    """Raises ModelError where `content` is no message of ONNX's, or has more of something than a model has."""
    message, at, end, seen = _message(onnx.ModelProto.DESCRIPTOR), 0, len(content), 0
    above: list[tuple[_Message, int, int]] = []
    counts = dict.fromkeys(MAX_OF_KIND, 0)
    messages = names = 0
    try:
        while True:
            if at >= end:
                if at > end:
                    raise _corrupt()
                if not above:
                    return
                message, end, seen = above.pop()
                continue
            tag = content[at]
            at += 1
            if tag > 0x7F:
                tag, at = _varint(content, at - 1)
            field = message.fields.get(tag)
            if field is None:
                if tag >> 3 in message.numbers or not tag >> 3:
                    raise ModelError(
                        f"the file is no ONNX model, or a corrupt one: field {tag >> 3} of {message.name} is not of "
                        "its type"
                    )
                wire = tag & 7  # of a field that a newer ONNX may have
            else:
                wire = field.wire
                if field.once:
                    if seen & field.once:
                        raise ModelError(
                            "the file is no ONNX model, or a corrupt one: it has a field of "
                            f"{message.name} twice, where one may be ({tag >> 3})"
                        )
                    seen |= field.once
            if wire == _LENGTH:
                size = content[at]
                at += 1
                if size > 0x7F:
                    size, at = _varint(content, at - 1)
                if at + size > end:
                    raise _corrupt()
                if field is None:
                    at += size
                elif field.message is None:
                    at += size
                    if field.most_bytes:
                        names += 1
                        if size > field.most_bytes or names > MAX_NAMES:
                            raise _too_much(f"a name of {size} bytes" if names <= MAX_NAMES else f"{names} names")
                else:
                    messages += 1
                    kind = field.message.name
                    if kind in counts:
                        counts[kind] += 1
                        if counts[kind] > MAX_OF_KIND[kind]:
                            raise _too_much(f"over {MAX_OF_KIND[kind]} {kind}")
                    if messages > MAX_MESSAGES:
                        raise _too_much(f"over {MAX_MESSAGES} messages")
                    if size:
                        above.append((message, end, seen))
                        if len(above) >= MAX_DEPTH:
                            raise ModelError(
                                f"the graphs of the model are nested too deep ({MAX_DEPTH} messages inside each other)"
                            )
                        message, end, seen = field.message, at + size, 0
            elif field is not None and field.run is not None:
                found = field.run.match(content, at, end)
                if found is None:
                    raise _corrupt()
                at = found.end()
            elif wire == _VARINT:
                if content[at] > 0x7F:
                    _, at = _varint(content, at)
                else:
                    at += 1
            elif wire == _FIXED32:
                at += 4
            elif wire == _FIXED64:
                at += 8
            else:
                raise _corrupt()
    except IndexError:
        raise _corrupt() from None


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """As read_varint. Raises IndexError at the end of the file, ModelError for a number of more than 64 bits."""
    try:
        value, at = read_varint(content, at)
    except ValueError:
        raise _corrupt() from None
    if value >> 64:
        raise _corrupt()
    return value, at


_known: dict[str, _Message] = {}


def _message(descriptor: Any) -> _Message:
    found = _known.get(descriptor.full_name)
    if found is not None:
        return found
    # Known before its fields are: graphs hold nodes, which hold attributes, which hold graphs.
    found = _known[descriptor.full_name] = _Message(descriptor.name, {}, frozenset(descriptor.fields_by_number))
    for place, field in enumerate(descriptor.fields):
        wire, repeated = _WIRE_TYPES[field.type], _is_repeated(field)
        most_bytes = (2**31 if field.name in _LONG_TEXTS else MAX_NAME_BYTES) if field.type == _STRING else 0
        if field.containing_oneof is not None:  # of which one may be
            place = len(descriptor.fields) + descriptor.oneofs.index(field.containing_oneof)
        tag = field.number << 3
        found.fields[tag | wire] = _Field(
            wire,
            0 if repeated else 1 << place,
            _message(field.message_type) if field.type == _MESSAGE else None,
            most_bytes,
            _run(tag | wire, wire) if repeated and wire != _LENGTH else None,
        )
        if repeated and wire != _LENGTH:  # packed: all numbers in one
            found.fields[tag | _LENGTH] = _Field(_LENGTH, 0, None, 0, None)
    return found


def _is_repeated(field: Any) -> bool:
    # `label` is deprecated from protobuf 6.31 on, `is_repeated` is not there before.
    found = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if found is None else found)


def _run(tag: int, wire: int) -> re.Pattern[bytes]:
    """The rest of a number whose tag was read, and all numbers with the same tag that follow."""
    number = {_VARINT: rb"[\x80-\xff]{0,9}+[\x00-\x7f]", _FIXED32: rb".{4}", _FIXED64: rb".{8}"}[wire]
    again = re.escape(varint(tag))
    return re.compile(number + rb"(?:" + again + number + rb")*+", re.DOTALL)


def _corrupt() -> ModelError:
    return ModelError(
        "the file is no ONNX model, or a corrupt or truncated one: copy the whole file again, or export it again"
    )


def _too_much(what: str) -> ModelError:
    return ModelError(f"the model has {what}, more than any model needs; it was not read further")
