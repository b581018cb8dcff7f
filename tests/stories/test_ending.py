"""Calls that meet a service which is about to end: what was not begun is done by the next one, unasked."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.stories.actors import kill, running
from tests.stories.waiting import until
from workbench.api import Workbench
from workbench.client.launch import SharedService
from workbench.errors import WorkbenchError

ROW = np.zeros((1, 4), np.float32)


@pytest.mark.parametrize("attempt", range(3))
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
