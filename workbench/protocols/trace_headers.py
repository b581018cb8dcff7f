"""The headers that name a request: x-request-id, and traceparent of W3C Trace Context."""

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
    """What a caller calls its request; None where that cannot go into a header or a line of a log as it is."""
    return value if _REQUEST_ID.fullmatch(value) else None


def traceparent(value: bytes) -> str:
    """The caller's place in its trace, as `version-trace-parent-flags`; empty where the header is not valid.

    As the standard has it: what is not valid is passed over, and of a version to come the known part is taken.
    """
    if _TRACEPARENT.match(value) and (len(value) == _TRACEPARENT_LENGTH or value[:2] != b"00"):
        return value[:_TRACEPARENT_LENGTH].decode("ascii")
    return ""
