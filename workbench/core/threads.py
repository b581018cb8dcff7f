"""Blocking work off the event loop, on daemon threads: work that never ends must not keep the process from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar, cast

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], abandoned: Callable[[], None] | None = None) -> Result:
    """What `work` returns or raises, run on a thread of its own.

    A thread cannot be cancelled: a caller that is cancelled goes on at once and so does the work. When that has ended,
    `abandoned` is called on a thread, once, to give back what nobody waits for any more.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    lock = threading.Lock()
    ended = left = False

    def end(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast(Result, result))

    def run() -> None:
        nonlocal ended
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with lock:
            ended = True
            wanted = not left
        if wanted:
            try:
                loop.call_soon_threadsafe(end, result, error)
            except RuntimeError:  # the loop is closed: whoever waited is gone
                wanted = False
        if not wanted and abandoned is not None:
            abandoned()

    threading.Thread(target=run, name="infer-work", daemon=True).start()
    try:
        return await future
    except asyncio.CancelledError:
        with lock:
            left = True
            too_late = ended
        if too_late and abandoned is not None:  # it ended before it could know
            threading.Thread(target=abandoned, name="infer-work", daemon=True).start()
        raise
