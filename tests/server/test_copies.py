"""How often the bytes of a tensor are copied between the socket and the runtime."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.engine.fakes import FakeSession
from tests.server.conftest import TOKEN
from tests.server.listening import listening
from workbench.config import Limits
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import Array

pytestmark = pytest.mark.serial

IMAGE = np.random.default_rng(0).random((1, 3, 224, 224), np.float32)
SMALL = 64 * 1024
"""What all else that a request needs may take: headers, objects, the part of the body that is being read."""


class Weighing(FakeSession):
    """Notes how much memory Python and numpy hold when the runtime is given its input."""

    weighed = 0
    last: Array | None = None

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        self.weighed = tracemalloc.get_traced_memory()[1]
        self.last = inputs["x"]
        return [np.zeros((len(inputs["x"]), 1), np.float32) for _ in outputs]


def request() -> bytes:
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(IMAGE.shape),
        "parameters": {"binary_data_size": IMAGE.nbytes},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    head += b" " * (-len(head) % 64)  # numbers that lie unaligned are copied once more
    return (
        (
            b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n"
            b"Content-Length: %d\r\n\r\n" % (TOKEN.encode(), len(head), len(head) + IMAGE.nbytes)
        )
        + head
        + IMAGE.tobytes()
    )


def exchange(address: tuple[str, int], sent: bytes, answer: bytearray) -> None:
    """In a thread, into memory that is there already: what is weighed is the service's."""
    with socket.create_connection(address) as connection:
        connection.sendall(sent)
        connection.recv_into(answer)


def test_an_image_is_copied_once_between_the_socket_and_the_runtime(tmp_path: Path, runner: asyncio.Runner) -> None:
    signature = Signature((TensorSpec("x", "FP32", (FREE, 3, 224, 224)),), (TensorSpec("y", "FP32", (FREE, 1)),))
    session = Weighing(signature=signature, runner_threads=1)
    sent, answer = request(), bytearray(4096)

    async def weigh() -> int:
        async with listening(tmp_path, session, Limits()) as service:
            await asyncio.to_thread(exchange, service.address, sent, answer)  # what is made once is made
            assert answer.startswith(b"HTTP/1.1 200")
            session.last = None
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                await asyncio.to_thread(exchange, service.address, sent, answer)
            finally:
                tracemalloc.stop()
            return session.weighed - before

    taken = runner.run(weigh())
    assert answer.startswith(b"HTTP/1.1 200")
    assert session.last is not None
    assert np.array_equal(session.last, IMAGE)
    # Room for a body grows by an eighth at a time.
    assert IMAGE.nbytes <= taken <= 1.25 * IMAGE.nbytes + SMALL
