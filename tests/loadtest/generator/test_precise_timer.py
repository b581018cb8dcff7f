from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from workbench.loadtest.generator import precise_timer as timers
from workbench.loadtest.generator.precise_timer import PreciseTimer, precise_timer

pytestmark = pytest.mark.serial

Make = Callable[[asyncio.AbstractEventLoop, Callable[[], None]], PreciseTimer]


@pytest.fixture(params=["system", "spinning"])
def make(request: pytest.FixtureRequest) -> Make:
    """Both kinds, whatever this system has."""
    return precise_timer if request.param == "system" else timers._Spinning


async def test_it_rings_once_and_not_before_its_moment(make: Make) -> None:
    rang = list[float]()
    ringing = asyncio.Event()

    def ring() -> None:
        rang.append(time.monotonic())
        ringing.set()

    each = make(asyncio.get_running_loop(), ring)
    due_s = time.monotonic() + 0.02
    each.set(due_s)
    await asyncio.wait_for(ringing.wait(), 20)
    assert len(rang) == 1 and rang[0] >= due_s
    each.close()


async def test_a_moment_that_has_passed_rings_in_the_next_turn(make: Make) -> None:
    ringing = asyncio.Event()
    each = make(asyncio.get_running_loop(), ringing.set)
    for moment in (0.0, time.monotonic() - 1):
        ringing.clear()
        each.set(moment)
        assert not ringing.is_set()
        await asyncio.wait_for(ringing.wait(), 20)
    each.close()


async def test_a_later_moment_replaces_the_one_before(make: Make) -> None:
    rang = list[float]()
    each = make(asyncio.get_running_loop(), lambda: rang.append(time.monotonic()))
    each.set(time.monotonic() + 0.01)
    due_s = time.monotonic() + 0.03
    each.set(due_s)
    await asyncio.sleep(0.05)
    assert len(rang) == 1 and rang[0] >= due_s
    each.close()


async def test_one_that_is_closed_never_rings(make: Make) -> None:
    rang = list[float]()
    each = make(asyncio.get_running_loop(), lambda: rang.append(0.0))
    each.set(time.monotonic() + 0.005)
    each.close()
    each.close()
    await asyncio.sleep(0.02)
    assert not rang
