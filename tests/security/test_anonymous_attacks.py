"""What callers without a token can use up that others need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.http2.raw import data, headers, plain
from tests.http2.service import head
from tests.security.attackers import connect_http2, push
from tests.security.watched_service import AT_LEAST_S, MB, Watched, watched_service

pytestmark = pytest.mark.serial

CHECK = plain(head(b"/grpc.health.v1.Health/Check"))
HALF = b"\0\0\0\x0f\xff" + bytes(4_090)
"""Of a message of 4095 bytes, the most that a public method takes."""
STREAMS = 100


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Bodies of 16 MiB may be under way at once, so that few connections can fill that."""
    limits = {"INFER_WORKBENCH_MAX_BODY_BYTES_IN_FLIGHT": str(16 << 20)}
    with watched_service(tmp_path_factory.mktemp("small"), environment=limits) as watched:
        yield watched


def test_half_sent_grpc_calls_without_a_token_take_nothing_from_those_with_one(small: Watched) -> None:
    calls = b"".join(headers(n, CHECK).encoded() + data(n, HALF).encoded() for n in range(1, 2 * STREAMS, 2))
    with small.attack() as seen, ExitStack() as stack:
        for _ in range(60):
            push(stack.enter_context(connect_http2(small.serve.grpc)), calls, 0.2)
        time.sleep(AT_LEAST_S)
    seen.others_were_served()
    assert seen.grown_bytes < 20 * MB, seen
