"""Reads the headers that identify a request: x-request-id, and traceparent of W3C Trace Context."""

from __future__ import annotations

import re

REQUEST_ID = b"x-request-id"
TRACEPARENT = b"traceparent"

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?=(-.*)?\Z)", re.DOTALL
)
_TRACEPARENT_LENGTH = 55


def request_id(value: bytes) -> bytes | None:
    """Return the caller's id of its request; None if it is not safe in a header or a log line."""
    return value if _REQUEST_ID.fullmatch(value) else None


def traceparent(value: bytes) -> str:
    """Return the caller's traceparent, `version-trace-parent-flags`; empty if the header is not valid.

    As the standard requires, invalid headers are ignored, and of a future version the known part is used.
    """
    if _TRACEPARENT.match(value) and (len(value) == _TRACEPARENT_LENGTH or value[:2] != b"00"):
        return value[:_TRACEPARENT_LENGTH].decode("ascii")
    return ""
