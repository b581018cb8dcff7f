from __future__ import annotations

import threading
import time

import pytest

from workbench.core import turns
from workbench.core.turns import give_way, in_turns


def test_one_runs_at_a_time_and_each_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", 0.0)
    monkeypatch.setattr(turns, "_STEP_S", 0.0)
    seen: set[int] = set()
    running: list[int] = []
    most = 0
    end = time.monotonic() + 30

    def work(number: int) -> None:
        nonlocal most
        while len(seen) < 3 and time.monotonic() < end:  # nobody ends before all have begun
            running.append(number)
            most = max(most, len(running))
            seen.add(number)
            running.remove(number)
            give_way()

    threads = [threading.Thread(target=in_turns, args=(lambda number=number: work(number),)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {0, 1, 2} and most == 1


def test_it_returns_and_raises_what_the_work_does_and_ends_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_STEP_S", 0.0)
    assert in_turns(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        in_turns(lambda: 1 // 0)
    assert in_turns(lambda: give_way() or 2) == 2
    # Who takes no turns is not held up.
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it slept"))
    give_way()
