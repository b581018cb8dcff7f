"""The protocol between the generator and its parent process, over the generator's stdin and stdout. Pure.

A frame is a kind, a length and that many bytes. In: the spec, the requests, GO, perhaps STOP; the end of the stream
means that the parent is gone. Out: when it began, rows and progress as they come, messages of failed requests, DONE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgspec

from workbench.errors import InvalidInput
from workbench.loadtest.generator.load_runner import Request
from workbench.loadtest.patterns import pattern_from_json
from workbench.loadtest.plan import Inputs, Plan, Target

MAX_FRAME_BYTES = 1 << 30

_HEAD = struct.Struct("<BI")
_ROWS = struct.Struct("<I")


class MessageKind(IntEnum):
    SPEC = 1
    REQUEST = 2
    GO = 3
    STOP = 4
    BEGAN = 10
    ROWS = 11
    PROGRESS = 12
    SAID = 13
    DONE = 14


@dataclass(frozen=True, slots=True)
class Spec:
    """All that the generator needs except the requests."""

    plan: Plan
    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    """For gRPC calls; an HTTP request has it in its bytes."""
    token_file: str = ""
    """The file from which it is read again when it was replaced; empty: none is known."""
    own: bool = False
    """As of the target."""
    ca_file: str = ""


class Frames:
    """Splits a stream that arrives in pieces into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete now. Raises InvalidInput for data that is no frame."""
        self._data += data
        while len(self._data) >= _HEAD.size:
            kind, size = _HEAD.unpack_from(self._data)
            if size > MAX_FRAME_BYTES:
                raise InvalidInput("this is not what a load generator says")
            end = _HEAD.size + size
            if len(self._data) < end:
                return
            body = bytes(self._data[_HEAD.size : end])
            del self._data[:end]
            yield kind, body


def frame(kind: MessageKind, body: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(body)) + body


def message(kind: MessageKind, value: Mapping[str, Any]) -> bytes:
    return frame(kind, msgspec.json.encode(value))


def encode_spec(spec: Spec) -> bytes:
    plan = spec.plan
    described = {**plan.described(), "pattern": plan.pattern.to_json()}
    value = {"plan": described, "host": spec.host, "port": spec.port, "token": spec.token}
    value |= {"token_file": spec.token_file, "own": spec.own, "ca_file": spec.ca_file}
    return frame(MessageKind.SPEC, msgspec.json.encode(value))


def decode_spec(body: bytes) -> Spec:
    found = msgspec.json.decode(body)
    plan = found["plan"]
    pattern = pattern_from_json(plan["pattern"])
    fields = {**plan, "target": Target(**plan["target"]), "pattern": pattern, "inputs": Inputs()}
    names = ("host", "port", "token", "token_file", "own", "ca_file")
    return Spec(Plan(**fields), *(found[name] for name in names))


def encode_request(request: Request) -> bytes:
    return frame(MessageKind.REQUEST, _ROWS.pack(request.rows) + request.data)


def decode_request(body: bytes) -> Request:
    return Request(body[_ROWS.size :], _ROWS.unpack_from(body)[0])
