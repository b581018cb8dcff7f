"""Memory after a burst of large bodies: when it is given back, and that a real service is as small as before."""

from __future__ import annotations

import ctypes
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from tests import models
from tests.helpers.service_process import Serve
from tests.helpers.waiting import until
from workbench.config import MIB
from workbench.server.memory_release import LEAST_BYTES, CalmPolicy, Load, trim_heap, tune_heap

COLUMNS = 5_000_000
"""Of FP32: 20 MB."""


def load(mib: int = 500, cpu_s: float = 0.0, held: int = 0, changing: bool = False) -> Load:
    return Load(mib * MIB, cpu_s, held, changing)


def test_it_is_time_after_so_many_seconds_of_calm() -> None:
    policy = CalmPolicy(10)
    asked = [policy.due(now, load(cpu_s=now * 0.1)) for now in range(12)]
    assert asked == [False] * 10 + [True, True]
    policy.given_back(400 * MIB)
    assert not policy.due(12, load(400, 1.2))
    assert policy.due(13, load(400 + LEAST_BYTES // MIB, 1.3))


@pytest.mark.parametrize(
    "busy", [{"cpu_s": 5.3}, {"held": 1 << 20}, {"changing": True}], ids=["computes", "holds a body", "loads"]
)
def test_it_is_never_time_while_there_is_something_to_do(busy: dict[str, float]) -> None:
    policy = CalmPolicy(10)
    for now in range(5):
        assert not policy.due(now, load(cpu_s=0))
    assert not policy.due(5, load(**busy))  # type: ignore[arg-type]
    spent_s = busy.get("cpu_s", 0.0)
    asked = [policy.due(now, load(cpu_s=spent_s)) for now in range(6, 16)]
    assert asked == [False] * 9 + [True]


def test_memory_that_went_by_itself_counts_as_given_back() -> None:
    policy = CalmPolicy(1)
    policy.given_back(1000 * MIB)
    for now, mib in enumerate((1000, 300, 350)):
        assert not policy.due(now, load(mib))
    assert policy.due(3, load(370))


def test_zero_means_never() -> None:
    policy = CalmPolicy(0)
    assert not any(policy.due(now, load()) for now in range(100))


def test_the_heap_can_be_trimmed_here_and_tuned_unless_its_user_did(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trim_heap()
    tuned: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            tuned.append((parameter, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert not tune_heap({"MALLOC_ARENA_MAX": "1"})
    assert not tuned
    assert tune_heap({"PATH": "/bin"})
    assert tuned == [(-8, 2), (-3, 32 * MIB), (-1, 256 * MIB)]


@pytest.mark.serial
@pytest.mark.timeout(180)
def test_a_service_is_as_small_as_before_after_a_burst_of_large_bodies(tmp_path: Path) -> None:
    path = models.save(models.identity(shape=("batch", "n")), tmp_path / "m.onnx")
    environment = {"INFER_WORKBENCH_MEMORY_RELEASE_S": "1"}
    with Serve(tmp_path, "--load", f"m={path}", environment=environment) as serve:
        serve.ready()
        workers = [each for each in psutil.Process(serve.process.pid).children() if "--worker" in each.cmdline()]
        assert len(workers) == 1

        def resident() -> int:
            return int(workers[0].memory_info().rss)

        array = np.random.default_rng(0).random((1, COLUMNS), dtype=np.float32)
        small = array[:, :10]
        for ask in (http, grpc):
            ask(serve, small)
        before = resident()
        for ask in (http, grpc):
            grown = burst(lambda ask=ask: ask(serve, array), resident)  # type: ignore[misc]
            assert grown > before + 100 * MIB  # or this test would show nothing
            until(lambda: resident() < before + 80 * MIB, 60)
            ask(serve, small)


def burst(ask: Callable[[], None], resident: Callable[[], int]) -> int:
    """16 at once, three times; the most that the process was seen to hold meanwhile, in bytes."""
    most = 0
    for _ in range(3):
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                most = max(most, resident())
                thread.join(0.01)
    return max(most, resident())


def http(serve: Serve, array: np.ndarray) -> None:
    shape = {"name": "x", "datatype": "FP32", "shape": list(array.shape)}
    asked = {
        "inputs": [{**shape, "parameters": {"binary_data_size": array.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    head = json.dumps(asked).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    status, answer = serve.call("POST", "/v2/models/m/infer", head + array.tobytes(), **headers)
    assert status == 200
    assert answer.endswith(array.tobytes())


def grpc(serve: Serve, array: np.ndarray) -> None:
    given = triton.InferInput("x", array.shape, "FP32")
    given.set_data_from_numpy(array)
    with triton.InferenceServerClient(serve.grpc) as client:
        result = client.infer("m", [given], headers={"authorization": f"Bearer {serve.token}"})
        assert np.array_equal(result.as_numpy("y"), array)
