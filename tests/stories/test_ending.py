"""Calls that meet a service which is about to end: what was not begun is done by the next one, unasked."""

from __future__ import annotations

import http.client
import json
import threading
import time

import numpy as np
import pytest

import workbench
from tests.helpers.waiting import until
from tests.models import add_constant
from tests.stories.actors import kill, running
from workbench.api import Workbench
from workbench.client.shared_service import SharedService
from workbench.errors import WorkbenchError

ROW = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize("attempt", [0, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 2))])
def test_a_call_right_after_the_keepers_death_waits_for_the_next_service(
    wb: Workbench, workplace: SharedService, attempt: int
) -> None:
    model = wb["plus"]
    before = running(workplace)
    assert before.worker is not None
    assert model(ROW).array.tolist() == [[1, 1, 1, 1]]  # on a connection that is kept
    kill(before.keeper.pid)
    until(lambda: not before.keeper.alive)
    assert model(ROW).array.tolist() == [[1, 1, 1, 1]]
    assert running(workplace).keeper != before.keeper


def test_who_calls_without_a_lease_keeps_it_and_who_only_looks_does_not(
    workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_IDLE_END_S", "1")
    with workbench.connect() as wb:
        wb.load("plus", add_constant(1.0))
    record = running(workplace)
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]})

    def call(method: str, path: str) -> int:
        connection = http.client.HTTPConnection(record.url.removeprefix("http://"), timeout=30)
        try:
            headers = {"Authorization": f"Bearer {record.token}", "Content-Type": "application/json"}
            connection.request(method, path, body if method == "POST" else None, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    workplace.release()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert call("POST", "/v2/models/plus/infer") == 200
        time.sleep(0.2)
    with pytest.raises((OSError, http.client.HTTPException)):
        until(lambda: call("GET", "/metrics") == call("GET", "/v2/health/ready") == 503)
    assert time.monotonic() - end < 10
    until(lambda: not record.keeper.alive)
    assert workplace.ended()[0] == "idle: no client for 1 s"


def test_nobody_who_calls_all_the_time_notices_a_restart(wb: Workbench, workplace: SharedService) -> None:
    done = threading.Event()
    failed: list[WorkbenchError] = []
    answered = [0] * 4
    model = wb["plus"]

    def call(number: int) -> None:
        while not done.is_set():
            try:
                assert model(ROW).array.tolist() == [[1, 1, 1, 1]]
                answered[number] += 1
            except WorkbenchError as error:
                failed.append(error)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(len(answered))]
    for caller in callers:
        caller.start()
    try:
        for _ in range(3):
            before = list(answered)
            wb.restart()
            until(lambda before=before: all(now > then for now, then in zip(answered, before, strict=True)))
    finally:
        done.set()
        for caller in callers:
            caller.join()
    assert failed == []
