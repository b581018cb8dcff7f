"""The wall clock jumps by days in a running service, and nothing ends, nothing starts anew, nobody is forgotten."""

from __future__ import annotations

import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

import workbench
from tests.helpers.waiting import until
from tests.models import add_constant
from tests.stories.actors import running
from tests.stories.jumping_clock import JumpingClock
from workbench.client.shared_service import SharedService
from workbench.rendezvous.leases import holders
from workbench.rendezvous.process_identity import this_process

ROW = np.zeros((1, 4), np.float32)
DAY_S = 86_400
IDLE_END_S = 2.0


def goes_on(shared: SharedService, seconds: float) -> None:
    """For so long nothing ends, and all that is due in that time is done."""
    before = running(shared)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert shared.record() == before
        assert before.worker is not None
        assert before.worker.alive
        time.sleep(0.1)


@pytest.mark.parametrize("days", [1, pytest.param(-1, marks=pytest.mark.long)])
def test_a_clock_that_jumps_ends_nothing_and_puts_off_nothing(
    workplace: SharedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    clock = JumpingClock(tmp_path)
    monkeypatch.setattr(sys, "executable", str(clock.python))
    monkeypatch.setenv("INFER_WORKBENCH_IDLE_END_S", str(IDLE_END_S))
    monkeypatch.setenv("INFER_WORKBENCH_DEAF_LIMIT_S", "1.5")
    monkeypatch.setenv("INFER_WORKBENCH_RUN_LIMIT_S", "1.5")
    with workbench.connect() as wb:
        wb.load("plus", add_constant(1.0))
        before = running(workplace)
        clock.jump(days * DAY_S)
        goes_on(workplace, 1.5 * IDLE_END_S)
        assert str(wb.status()["state"]) == "Ready"
        assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
        assert holders(workplace.rendezvous.leases) == [this_process()]
        wb.load("plus", add_constant(2.0))
        assert wb["plus"](ROW).array.tolist() == [[2, 2, 2, 2]]
        wb.restart()
        after = running(workplace)
        assert after.keeper == before.keeper
        assert wb["plus"](ROW).array.tolist() == [[2, 2, 2, 2]]
        # Both processes did read the clock that jumped.
        assert abs(after.since - time.time() - days * DAY_S) < 60
        jumped = str(date.today() + timedelta(days=days))
        assert {jumped} <= {line[:10] for line in workplace.logs(100) if "workbench.serve: ready" in line}
    workplace.release()
    began = time.monotonic()
    clock.jump(0)  # back
    goes_on(workplace, 0.5 * IDLE_END_S)
    until(lambda: not after.keeper.alive)
    assert time.monotonic() - began < IDLE_END_S + 5
    assert workplace.ended()[0] == f"idle: no client for {IDLE_END_S:g} s"
