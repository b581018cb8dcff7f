"""The only table from error codes to HTTP and gRPC errors, and back for clients."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from workbench import errors
from workbench.errors import WorkbenchError

UNFORESEEN = "internal error; see the service's log"
"""The message that a caller gets for an unexpected error."""

HTTP_STATUS: dict[str, int] = {
    "invalid_argument": 400,
    "too_large": 413,
    "unsupported_media_type": 415,
    "method_not_allowed": 405,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "model_not_found": 404,
    "conflict": 409,
    "signature_changed": 409,
    "unavailable": 503,
    "draining": 503,
    "circuit_open": 503,
    "queue_full": 503,
    "too_many_requests": 429,
    "limit_exceeded": 429,
    "deadline_exceeded": 504,
    "cancelled": 499,
    "unsupported": 501,
    "model_error": 400,
    "untrusted_model": 400,
    "storage": 507,
    "execution": 500,
    "internal": 500,
}
"""Error code -> HTTP status. 499 is what proxies log for a client that left, which does not read it."""

GRPC_STATUS: dict[str, int] = {
    "invalid_argument": 3,
    "too_large": 3,
    "unsupported_media_type": 3,
    "method_not_allowed": 12,
    "unauthenticated": 16,
    "forbidden": 7,
    "not_found": 5,
    "model_not_found": 5,
    "conflict": 9,
    "signature_changed": 9,
    "unavailable": 14,
    "draining": 14,
    "circuit_open": 14,
    "queue_full": 14,
    "too_many_requests": 8,
    "limit_exceeded": 8,
    "deadline_exceeded": 4,
    "cancelled": 1,
    "unsupported": 12,
    "model_error": 3,
    "untrusted_model": 3,
    "storage": 8,
    "execution": 13,
    "internal": 13,
}
"""Error code -> number of the gRPC status: 1 CANCELLED, 3 INVALID_ARGUMENT, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND,
7 PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED, 9 FAILED_PRECONDITION, 12 UNIMPLEMENTED, 13 INTERNAL, 14 UNAVAILABLE,
16 UNAUTHENTICATED."""

GRPC_CODE_KEY = "workbench-code"
"""Name of the trailing metadata with the error's code, which is more precise than the status."""


class _Body(msgspec.Struct):
    error: str
    code: str = ""


class _Misfit(msgspec.Struct):
    msg: str
    loc: tuple[str | int, ...] = ()


class _Detailed(msgspec.Struct):
    detail: str | list[_Misfit]


_decode = msgspec.json.Decoder(_Body)
_decode_detail = msgspec.json.Decoder(_Detailed)


def http_status(error: WorkbenchError) -> int:
    return HTTP_STATUS[error.code]


def error_body(error: WorkbenchError) -> bytes:
    """Return `{"error": message, "code": code}`; characters that UTF-8 does not have are replaced."""
    message = error.message.encode("utf-8", "replace").decode()
    return msgspec.json.encode(_Body(message, error.code))


def error_from_http(status: int, body: bytes) -> WorkbenchError:
    """Decode a service's error: of the class of the code in the body, else of one that fits the status."""
    try:
        found = _decode.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        said = _detail(body) or body[:200].decode("utf-8", "replace").strip()
        found = _Body(f"HTTP status {status}: {said or 'no further word'}")
    kind = _BY_CODE.get(found.code)
    if kind is None or HTTP_STATUS[kind.code] != status:
        kind = _BY_STATUS.get(status, errors.InvalidInput if 400 <= status < 500 else WorkbenchError)
    return kind(found.error)


def _detail(body: bytes) -> str:
    """Return FastAPI's message about an invalid request, which MLServer sends; empty for other bodies."""
    try:
        found = _decode_detail.decode(body).detail
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ""
    if isinstance(found, str):
        return found[:200]
    return "; ".join(f"{' > '.join(map(str, each.loc))}: {each.msg}" for each in found[:3])[:400]


def grpc_status(error: WorkbenchError) -> int:
    return GRPC_STATUS[error.code]


def error_from_grpc(status: int, message: str, code: str = "") -> WorkbenchError:
    """Decode a service's error: of the class of the code in the metadata, else of one that fits `status`."""
    kind = _BY_CODE.get(code)
    if kind is None or GRPC_STATUS[kind.code] != status:
        kind = _BY_GRPC_STATUS.get(status, WorkbenchError)
    return kind(message or f"gRPC status {status}, and no further word")


def error_of_code(code: str, message: str) -> WorkbenchError:
    """Make the error with this code; an unknown code gives the root class."""
    return _BY_CODE.get(code, WorkbenchError)(message)


def _classes(root: type[WorkbenchError]) -> Iterator[type[WorkbenchError]]:
    yield root
    for below in root.__subclasses__():
        yield from _classes(below)


# Only classes of workbench.errors: a package's own class may need more than a message to be made.
_BY_CODE = {kind.code: kind for kind in _classes(WorkbenchError) if kind.__module__ == errors.__name__}
_BY_STATUS: dict[int, type[WorkbenchError]] = {
    400: errors.InvalidInput,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    409: errors.Conflict,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.TooManyRequests,
    500: errors.ExecutionError,
    501: errors.Unsupported,
    503: errors.Unavailable,
    504: errors.DeadlineExceeded,
    507: errors.StorageError,
}
_BY_GRPC_STATUS: dict[int, type[WorkbenchError]] = {
    1: errors.Cancelled,
    3: errors.InvalidInput,
    4: errors.DeadlineExceeded,
    5: errors.NotFound,
    7: errors.Forbidden,
    8: errors.TooManyRequests,
    9: errors.Conflict,
    11: errors.InvalidInput,
    12: errors.Unsupported,
    13: errors.ExecutionError,
    14: errors.Unavailable,
    16: errors.Unauthenticated,
}
