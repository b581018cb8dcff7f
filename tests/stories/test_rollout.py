"""A rollout over real processes: a fault that calls show is found, and a killed worker ends nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.server.real_service import serving
from workbench import connect
from workbench.api import Workbench
from workbench.core.tensor import Array
from workbench.errors import WorkbenchError

ROWS = 10


def looked_up(entries: int, amount: float) -> ModelProto:
    """y is `amount` for the rows 0 to `entries` - 1 of a table; other indices fail in ONNX Runtime."""
    return of_table(np.full(entries, amount, np.float32), "FP32")


def of_table(values: Array, datatype: str) -> ModelProto:
    """y is the entry at x."""
    table = numpy_helper.from_array(values, "table")
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    return models.model(
        [node], [models.value("x", "INT64", ["batch"])], [models.value("y", datatype, ["batch"])], [table]
    )


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with serving(tmp_path, {"m": looked_up(ROWS, 1)}) as serve:
        yield serve


@pytest.fixture
def wb(serve: Serve, tmp_path: Path) -> Iterator[Workbench]:
    """Beside version 1 there is a version 2, which knows all rows but the last."""
    with connect(serve.published["url"], token_file=serve.published["token_file"]) as wb:
        wb.load("m", looked_up(ROWS - 1, 2), route=False)
        yield wb


def versions_of(wb: Workbench, calls: int) -> set[str]:
    """Which versions answer rows that both know."""
    return {wb.predict("m", np.array([number % (ROWS - 1)])).version for number in range(calls)}


def test_a_rollout_outlives_its_worker(serve: Serve, wb: Workbench) -> None:
    wb.rollout("m", 2, steps=[0.5, 1], every="10m")
    assert versions_of(wb, 8) == {"1", "2"}
    worker = worker_of(serve)
    worker.kill()
    until(lambda: worker_of(serve).pid != worker.pid)
    until(lambda: {each.version for each in wb.versions("m") if each.state == "Ready"} == {"1", "2"})
    rollout = wb.rollout("m")
    assert rollout.status == "running"
    assert "the service was restarted in this step, so its calls are counted anew" in rollout.reason
    assert versions_of(wb, 8) == {"1", "2"}
    assert rollout.stop().status == "stopped"
    assert versions_of(wb, 8) == {"1"}


@pytest.mark.long
def test_a_fault_that_calls_show_is_found_and_taken_back(wb: Workbench) -> None:
    seen: dict[str, list[str]] = {"answered": [], "failed": []}
    over = threading.Event()

    def call(first: int) -> None:
        number = first
        while not over.wait(0.005):
            number += 1
            try:
                seen["answered"].append(wb.predict("m", np.array([number % ROWS])).version)
            except WorkbenchError as error:
                seen["failed"].append(str(error))

    callers = [threading.Thread(target=call, args=(first,)) for first in (0, 5)]
    for each in callers:
        each.start()
    try:
        rollout = wb.rollout("m", 2, steps=[0.5, 1], every="5m", guard="errors<1%,p99<5x")
        rollout.wait(timeout_s=120)
        failed = len(seen["failed"])
        answered = len(seen["answered"])
        until(lambda: len(seen["answered"]) > answered + 200)
    finally:
        over.set()
        for each in callers:
            each.join()
    assert rollout.view.status == "rolled back"
    assert "errors<1% is breached" in rollout.reason, repr(rollout)
    assert seen["failed"] and all("indices element out of data bounds" in each for each in seen["failed"])
    assert len(seen["failed"]) <= failed + len(callers)  # those that were on their way
    assert set(seen["answered"][answered + len(callers) :]) == {"1"}


def test_labels_that_disagree_are_found_by_copies_of_calls_after_a_restart_too(tmp_path: Path) -> None:
    labels = np.arange(ROWS)
    with (
        serving(tmp_path, {"m": of_table(labels, "INT64")}) as serve,
        connect(serve.published["url"], token_file=serve.published["token_file"]) as wb,
    ):
        wb.load("m", of_table(np.where(labels == 3, 4, labels), "INT64"), route=False)
        rollout = wb.rollout("m", 2, steps=[0.1], every="10s", guard="agreement>99%")
        worker = worker_of(serve)
        worker.kill()
        until(lambda: worker_of(serve).pid != worker.pid)
        until(lambda: {each.version for each in wb.versions("m") if each.state == "Ready"} == {"1", "2"})

        def disagrees() -> bool:
            assert wb.predict("m", labels).version in ("1", "2")
            return bool(rollout.refresh().status != "running")

        until(disagrees)
        assert rollout.status == "rolled back"
        assert rollout.reason == "agreement>99% is breached: 90 %"
        assert versions_of(wb, 8) == {"1"}
