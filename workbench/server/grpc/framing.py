"""gRPC upon HTTP/2: what a call's head says, how its messages are framed, and how it ends.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import math
import re
from typing import Final

from workbench.core.varint import varint
from workbench.errors import CircuitOpen, InvalidInput, LimitExceeded, TooLarge, Unsupported, WorkbenchError
from workbench.http2.headers import block_of
from workbench.protocols.status_codes import GRPC_CODE_KEY, grpc_status
from workbench.server.compression import CODINGS, decompressed
from workbench.server.gate.in_flight import InFlightBytes

PREFIX_BYTES: Final = 5
"""Before each message: whether it is compressed, and its length."""

RESOURCE_EXHAUSTED: Final = 8
INTERNAL: Final = 13

_STATUS_200: Final = (b":status", b"200")
_CONTENT_TYPE: Final = (b"content-type", b"application/grpc")

ANSWER_HEAD: Final = block_of(_STATUS_200, _CONTENT_TYPE)
SUCCESS: Final = block_of((b"grpc-status", b"0"))
"""The trailers of a call that went well."""

_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])")
_UNIT_S: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_CAP: Final = "that this method takes (max_body_bytes where it takes tensors or files, or the max_body of a share)"

_LONGEST_MESSAGE: Final = 4096
"""Of a status: with the rest it has to fit into the headers that clients take, mostly 8 KiB."""


class MessageTooLarge(TooLarge):
    """Over the cap for messages, which gRPC has a status of its own for."""


class UnsupportedEncoding(InvalidInput):
    """A compressed message without a grpc-encoding, which gRPC has laid down as INTERNAL."""


_STATUS: Final[dict[type[WorkbenchError], int]] = {MessageTooLarge: RESOURCE_EXHAUSTED, UnsupportedEncoding: INTERNAL}


def speaks_grpc(content_type: bytes) -> bool:
    """Whether this Content-Type is gRPC's, whatever its messages are made of."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def timeout_s(value: bytes) -> float:
    """Of the header grpc-timeout. InvalidInput."""
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise InvalidInput(f"grpc-timeout is {_shown(value)}; it takes up to 8 digits and a unit: H, M, S, m, u or n")
    return int(found[1]) * _UNIT_S[found[2]]


def coding(value: bytes) -> bytes:
    """Of the header grpc-encoding: what compressed messages are compressed with; empty: none is. Unsupported."""
    if value in (b"", b"identity"):
        return b""
    if value in CODINGS:
        return value
    raise Unsupported(f"grpc-encoding {_shown(value)} is not served; messages may be gzip, deflate or identity")


def message_length(prefix: bytes, most: int) -> int:
    """Of the message that begins with these PREFIX_BYTES. InvalidInput, MessageTooLarge."""
    if prefix[0] > 1:
        raise InvalidInput(f"a message begins with {prefix[0]}, which says neither compressed (1) nor plain (0)")
    length = int.from_bytes(prefix[1:PREFIX_BYTES], "big")
    if length > most:
        raise MessageTooLarge(f"the message has {length} bytes; {most} is the most {_CAP}")
    return length


async def inflated(message: bytes, with_coding: bytes, most: int, held: InFlightBytes) -> bytes:
    """A compressed message as it was, which `held` has counted when this returns.

    InvalidInput, MessageTooLarge, TooLarge, TooManyRequests.
    """
    if not with_coding:
        raise UnsupportedEncoding("a message says that it is compressed, and no grpc-encoding says how")
    counted = 0

    def grown(size: int) -> None:
        nonlocal counted
        if size > most:
            raise MessageTooLarge(f"the message has more than {most} bytes when decompressed, the most {_CAP}")
        held.take(size - counted)
        counted = size

    try:
        return await decompressed(message, with_coding, grown)
    except BaseException:
        held.give_back(counted)
        raise


def framed(message: bytes) -> bytes:
    return b"\0%b%b" % (len(message).to_bytes(4, "big"), message)


def success(*metadata: tuple[bytes, bytes]) -> bytes:
    """The trailers of a call that went well, with something to tell."""
    return SUCCESS + block_of(*metadata)


def failure(error: WorkbenchError, metadata: tuple[tuple[bytes, bytes], ...], *, head: bool) -> bytes:
    """The trailers of a call that failed; `head`: which are also all of its answer."""
    status = _STATUS.get(type(error)) or grpc_status(error)
    fields = [
        (b"grpc-status", str(status).encode()),
        (b"grpc-message", percent_encoded(error.message)),
        *metadata,
        (GRPC_CODE_KEY.encode(), error.code.encode()),
    ]
    if isinstance(error, LimitExceeded | CircuitOpen):
        fields.append((b"grpc-retry-pushback-ms", str(math.ceil(error.retry_after_s * 1000)).encode()))
        fields.append((b"grpc-status-details-bin", _details(status, error)))
    if isinstance(error, Unsupported):
        fields.append((b"grpc-accept-encoding", b"identity,deflate,gzip"))
    return block_of(*((_STATUS_200, _CONTENT_TYPE) if head else ()), *fields)


def _details(status: int, error: LimitExceeded | CircuitOpen) -> bytes:
    """A google.rpc.Status that holds a google.rpc.RetryInfo, in base64 as binary metadata travels."""
    seconds, nanos = divmod(math.ceil(error.retry_after_s * 1e9), 1_000_000_000)
    delay = b"\x08" + varint(seconds) + b"\x10" + varint(nanos)
    retry = _field(1, b"type.googleapis.com/google.rpc.RetryInfo") + _field(2, _field(1, delay))
    message = error.message.encode("utf-8", "replace")[:_LONGEST_MESSAGE]
    return base64.b64encode(b"\x08" + varint(status) + _field(2, message) + _field(3, retry)).rstrip(b"=")


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    return bytes((number << 3 | 2,)) + varint(len(content)) + content


def not_grpc(status: int) -> bytes:
    """All of an answer to what is no gRPC: its HTTP status."""
    return block_of((b":status", str(status).encode()))


def percent_encoded(text: str) -> bytes:
    """For the header grpc-message, cut where it is very long."""
    found = bytearray()
    for byte in text.encode("utf-8", "replace"):
        if 0x20 <= byte <= 0x7E and byte != 0x25:
            found.append(byte)
        else:
            found += b"%%%02X" % byte
        if len(found) >= _LONGEST_MESSAGE:
            break
    # What is empty or begins or ends with a space is no header.
    return bytes(found).strip()


def _shown(value: bytes) -> str:
    return repr(value[:40].decode("utf-8", "replace"))
