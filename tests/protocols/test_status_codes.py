from __future__ import annotations

import json

import pytest

from workbench import errors
from workbench.errors import WorkbenchError
from workbench.protocols.status_codes import (
    GRPC_STATUS,
    HTTP_STATUS,
    error_body,
    error_from_grpc,
    error_from_http,
    grpc_status,
    http_status,
)


def classes(root: type[WorkbenchError] = WorkbenchError) -> list[type[WorkbenchError]]:
    return [root, *(each for below in root.__subclasses__() for each in classes(below))]


def test_the_table_has_every_code_and_no_other() -> None:
    assert (
        set(HTTP_STATUS) == set(GRPC_STATUS) == {kind.code for kind in classes() if kind.__module__ == errors.__name__}
    )


@pytest.mark.parametrize("kind", [k for k in classes() if k.__module__ == errors.__name__], ids=lambda kind: kind.code)
def test_an_error_comes_back_as_it_was_sent(kind: type[WorkbenchError]) -> None:
    sent = kind("asked 'x', found nothing, try \"y\"")
    back = error_from_http(http_status(sent), error_body(sent))
    assert type(back) is kind
    assert back.message == sent.message
    assert json.loads(error_body(sent))["error"] == sent.message
    over_grpc = error_from_grpc(grpc_status(sent), sent.message, sent.code)
    assert type(over_grpc) is kind
    assert over_grpc.message == sent.message


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (404, b'{"error": "no model"}', errors.NotFound, "no model"),
        (503, b'{"error": "later", "code": "too_many_requests"}', errors.Unavailable, "later"),
        (418, b'{"error": "teapot", "code": "who knows"}', errors.InvalidInput, "teapot"),
        (502, b"<html>Bad gateway</html>", WorkbenchError, "HTTP status 502: <html>Bad gateway</html>"),
        (400, b"", errors.InvalidInput, "HTTP status 400: no further word"),
        (400, b'{"error": "\xff"}', errors.InvalidInput, "HTTP status 400"),
        (400, b"[" * 100_000, errors.InvalidInput, "HTTP status 400"),
        (400, b'{"error": 3}', errors.InvalidInput, "HTTP status 400"),
        (422, b'{"detail": "no such thing"}', errors.InvalidInput, "HTTP status 422: no such thing"),
        (
            422,
            b'{"detail": [{"type": "missing", "loc": ["body", "inputs", 0], "msg": "Field required", "input": {}}]}',
            errors.InvalidInput,
            "HTTP status 422: body > inputs > 0: Field required",
        ),
    ],
)
def test_what_other_servers_and_proxies_answer_becomes_the_nearest_error(
    status: int, body: bytes, kind: type[WorkbenchError], message: str
) -> None:
    found = error_from_http(status, body)
    assert type(found) is kind
    assert message in found.message


def test_a_name_that_is_no_text_can_be_told() -> None:
    assert json.loads(error_body(errors.NotFound("no model '\udcff'")))["error"] == r"no model '\udcff'"


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (5, "no model", "", errors.NotFound),
        (8, "Received message larger than max", "", errors.TooManyRequests),
        (14, "later", "too_many_requests", errors.Unavailable),
        (14, "", "", errors.Unavailable),
        (15, "lost", "who knows", WorkbenchError),
    ],
)
def test_an_error_of_another_grpc_server_gets_the_class_that_fits_its_status(
    status: int, message: str, code: str, kind: type[WorkbenchError]
) -> None:
    back = error_from_grpc(status, message, code)
    assert type(back) is kind
    assert message in back.message
