from __future__ import annotations

import asyncio
import threading

import pytest

from workbench.core.threads import in_thread


async def test_what_the_work_returns_or_raises_comes_back() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_a_cancelled_caller_goes_on_at_once_and_what_was_made_is_given_back() -> None:
    began, go, given_back = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert go.wait(30)

    task = asyncio.ensure_future(in_thread(work, given_back.set))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not given_back.is_set()
    go.set()
    assert await asyncio.to_thread(given_back.wait, 30)


async def test_work_that_ended_just_before_its_caller_was_cancelled_is_given_back_too() -> None:
    ended, given_back = threading.Event(), threading.Event()
    task = asyncio.ensure_future(in_thread(ended.set, given_back.set))
    await asyncio.sleep(0)
    assert ended.wait(30)  # the event loop is held here, so the result has not come
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(given_back.wait, 30)


async def test_nothing_is_given_back_that_was_taken() -> None:
    given_back = threading.Event()
    await in_thread(lambda: None, given_back.set)
    assert not given_back.is_set()
