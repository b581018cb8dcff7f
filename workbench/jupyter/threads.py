"""Blocking work off the event loop, on daemon threads: a network file system that hangs must not keep Jupyter from
ending, as a thread of the loop's own pool would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result]) -> Result:
    """What `work` returns or raises. Whoever is cancelled goes on at once, and the work ends for nobody."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def end(settle: Callable[[], None]) -> None:
        if not future.done():
            settle()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            raised = error
            settle: Callable[[], None] = lambda: future.set_exception(raised)  # noqa: E731
        else:
            settle = lambda: future.set_result(result)  # noqa: E731
        try:
            loop.call_soon_threadsafe(end, settle)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    threading.Thread(target=run, name="infer-workbench", daemon=True).start()
    return await future
