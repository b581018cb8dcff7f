"""What a caller with a token does with answers that it asks for and does not read, beside others who are served."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests import models
from tests.http2.raw import PREFACE, data, headers, message, plain, settings
from tests.http2.service import INFER, head, inference
from tests.security.attackers import connect
from tests.security.watched_service import MB, watched_service
from workbench.http2.frames import END_STREAM, HEAD, HEADERS, INITIAL_WINDOW_SIZE

pytestmark = pytest.mark.serial

CALLS = 1_000
AT_ONCE = 100
BUDGET = 100 * MB
LIMITS = {
    "INFER_WORKBENCH_MAX_BODY_BYTES": str(BUDGET // 10),
    "INFER_WORKBENCH_MAX_BODY_BYTES_IN_FLIGHT": str(BUDGET),
}


def test_a_thousand_answers_behind_a_shut_window(tmp_path: Path) -> None:
    wide = numpy_helper.from_array(np.zeros((1, MB // 4), np.float32), "wide")
    proto = models.model(
        [helper.make_node("Add", ["x", "wide"], ["y"])],
        [models.value("x", "FP32", ("batch", 1))],
        [models.value("y", "FP32", ("batch", MB // 4))],
        [wide],
    )
    models.save(proto, tmp_path / "repository" / "wide" / "1" / "model.onnx")
    with watched_service(tmp_path, environment=LIMITS) as watched:
        fields = plain(head(INFER, token=watched.serve.token))
        body = message(inference([[1.0]], "wide"))
        calls = [
            headers(number, fields).encoded() + data(number, body, end=True).encoded()
            for number in range(1, 2 * CALLS, 2)
        ]
        with watched.attack() as seen, connect(watched.serve.grpc) as attacker:
            attacker.sendall(PREFACE + settings({INITIAL_WINDOW_SIZE: 0}).encoded())
            answered: dict[int, bool] = {}
            for at in range(0, CALLS, AT_ONCE):  # what runs under way hold is in no budget
                attacker.sendall(b"".join(calls[at : at + AT_ONCE]))
                answered |= heads(attacker, AT_ONCE)
        # They may be late: a thousand runs of a megabyte take the cores for a while
        assert not seen.replaced
        assert not seen.span.wrongs, seen
        assert seen.grown_bytes < CALLS * MB * 0.6, seen
        assert 0 < len(answered) - sum(answered.values()) <= BUDGET / MB / 2, "answers that wait"


def heads(connection: socket.socket, count: int) -> dict[int, bool]:
    """Of so many streams that were answered, whether their first header block ended them."""
    found: dict[int, bool] = {}
    while len(found) < count:
        high, low, kind, flags, number = HEAD.unpack(exactly(connection, HEAD.size))
        exactly(connection, high << 8 | low)
        if kind == HEADERS:
            found[number] = bool(flags & END_STREAM)
    return found


def exactly(connection: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        more = connection.recv(size - len(content))
        assert more, "the service closed the connection"
        content += more
    return content
