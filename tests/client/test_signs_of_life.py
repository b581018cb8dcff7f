from __future__ import annotations

import asyncio

import pytest

from workbench.client.signs_of_life import while_alive


async def test_a_call_may_last_as_long_as_the_service_answers() -> None:
    asked = 0
    ready = asyncio.Event()

    async def alive() -> bool:
        nonlocal asked
        asked += 1
        if asked == 20:
            ready.set()
        return True

    async def call() -> str:
        await ready.wait()
        return "loaded"

    # Twenty looks take longer than a silent service is given.
    assert await while_alive(call(), alive, silent_s=0.01, look_s=0.005) == "loaded"
    assert asked >= 20


@pytest.mark.parametrize("answers", [False, True], ids=["no answer", "refused"])
async def test_a_silent_service_is_given_up_and_the_call_is_cancelled(answers: bool) -> None:
    cancelled = asyncio.Event()

    async def call() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def alive() -> bool:
        return False if answers else await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await while_alive(call(), alive, silent_s=0.02, look_s=0.005)
    assert cancelled.is_set()


async def test_what_the_call_raises_is_raised_and_who_leaves_cancels_it() -> None:
    async def alive() -> bool:
        return True

    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await while_alive(broken(), alive)
    started, ended = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(while_alive(call(), alive))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended.is_set()
