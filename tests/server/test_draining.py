"""SIGTERM while clients call: who was accepted is answered, and is told which answer is the last."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests import models
from tests.helpers.waiting import until
from tests.server.real_service import serving
from workbench.protocols import pb

BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})


class Callers:
    """Threads that call until nobody listens, and what became of their calls."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []

    def http(self, address: str, *, keep: bool) -> None:
        def call() -> None:
            connection = http.client.HTTPConnection(address, timeout=30)
            while True:
                if connection.sock is None:
                    try:
                        connection.connect()
                    except ConnectionRefusedError:
                        return
                try:
                    connection.request("POST", "/v2/models/m/infer", BODY, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    response.read()
                except OSError as error:
                    self.seen[f"HTTP {error!r}"] += 1
                    connection.close()
                    continue
                told = response.getheader("connection", "kept")
                self.seen[f"HTTP {response.status} {told if response.status != 200 else ''}"] += 1
                if not keep:
                    connection.close()

        self._start(call)

    def grpc(self, address: str, ended: threading.Event) -> None:
        message = service_pb2.ModelInferRequest(model_name="m")
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4]).contents.fp32_contents.extend([1, 2, 3, 4])
        sent = message.SerializeToString()

        def call() -> None:
            with grpc.insecure_channel(address) as channel:
                infer = channel.unary_unary(f"/{pb.SERVICE}/ModelInfer")
                while not ended.is_set():
                    waiting = infer.future(sent, wait_for_ready=True)
                    until(lambda waiting=waiting: waiting.done() or ended.is_set())
                    if waiting.done():  # else it waits for a service that does not come, as it was told
                        self.seen[f"gRPC {waiting.code().name}"] += 1
                    waiting.cancel()

        self._start(call)

    def _start(self, call: object) -> None:
        assert callable(call)
        self._threads.append(threading.Thread(target=call))
        self._threads[-1].start()

    def join(self) -> None:
        for each in self._threads:
            each.join()


@pytest.mark.parametrize("times", [1, pytest.param(12, marks=pytest.mark.long)])
def test_no_caller_of_a_service_that_ends_is_left_without_an_answer(tmp_path: Path, times: int) -> None:
    for _ in range(times):
        with serving(tmp_path, {"m": models.identity()}, "--no-auth") as serve:
            callers, ended = Callers(), threading.Event()
            for keep in (True, True, False, False):
                callers.http(serve.address, keep=keep)
            callers.grpc(serve.grpc, ended)
            until(lambda callers=callers: callers.seen["HTTP 200 "] > 50 and callers.seen["gRPC OK"] > 5)  # type: ignore[misc]
            try:
                assert serve.stop() == 0
            finally:
                serve.process.kill()
                ended.set()
                callers.join()
        assert set(callers.seen) <= {"HTTP 200 ", "HTTP 503 close", "gRPC OK"}
