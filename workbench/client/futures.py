"""A job that runs in the background and can be asked for its result, awaited, cancelled or displayed."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from enum import StrEnum
from typing import Any, Generic, TypeVar

from workbench.client import sync
from workbench.client.formatting import escape, milliseconds
from workbench.client.load_progress import LoadProgress, Step
from workbench.errors import Cancelled
from workbench.visible_text import visible

T = TypeVar("T")


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Generic[T]):
    """One call that runs on the client's background loop while the notebook does other work.

    It ends with the process.
    """

    def __init__(self, what: str, call: Callable[[LoadProgress], Coroutine[Any, Any, T]]) -> None:
        self.what = what
        """What it does, such as "predict digits"."""
        self._progress = LoadProgress()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._future = sync.start(call(self._progress))
        self._future.add_done_callback(self._note_end)

    def done(self) -> bool:
        """Return True once it has ended, with or without success."""
        return self._future.done()

    @property
    def state(self) -> JobState:
        if not self._future.done():
            return JobState.RUNNING
        if self._future.cancelled():
            return JobState.CANCELLED
        return JobState.FAILED if self._future.exception() else JobState.DONE

    @property
    def step(self) -> Step:
        """The current step."""
        return self._progress.step

    @property
    def seconds(self) -> float:
        """Seconds that it has run."""
        return (self._ended or time.monotonic()) - self._began

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result. Raises the job's error, Cancelled, or TimeoutError after `timeout` seconds.

        After a timeout or an interrupt the job goes on.
        """
        try:
            return self._future.result(timeout)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None
        except TimeoutError:
            if self._future.done():
                raise
            raise TimeoutError(f"{self.what} is not done after {timeout:g} s; it goes on") from None

    def cancel(self) -> bool:
        """Cancel it, dropping what has not been run. Returns False if it had already ended."""
        return self._future.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        """As `result`, for coroutines. Cancelling the wait does not cancel the job."""
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        try:
            return await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            if self._future.cancelled():
                raise self._cancelled() from None
            raise

    async def ended(self) -> None:
        """Wait until it has ended, with or without success."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def tell(future: object) -> None:
            with suppress(RuntimeError):  # the waiting loop has been closed
                loop.call_soon_threadsafe(over.set)

        self._future.add_done_callback(tell)
        await over.wait()

    def _cancelled(self) -> Cancelled:
        return Cancelled(f"{self.what} was cancelled")

    def _note_end(self, future: object) -> None:
        self._ended = time.monotonic()

    def _headline(self) -> str:
        took = milliseconds(self.seconds)
        state = self.state
        if state is JobState.RUNNING:
            step = str(self.step)
            return f"{self.what}: running for {took}" + (f"; {step}" if step else "")
        if state is JobState.FAILED:
            error = self._future.exception()
            return visible(f"{self.what}: failed after {took}; {type(error).__name__}: {error}")
        return f"{self.what}: {state} after {took}"

    def __repr__(self) -> str:
        lines = [self._headline()]
        if self.state is JobState.DONE:
            lines.append(repr(self._future.result()))
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        html = f"<b>{escape(self._headline())}</b>"
        state = self.state
        if state is JobState.RUNNING:
            html += bar(self.step)
        elif state is JobState.DONE:
            result: object = self._future.result()
            shown = getattr(result, "_repr_html_", None)
            html += shown() if shown else f"<pre>{escape(repr(result))}</pre>"
        return {"text/plain": repr(self), "text/html": f"<div>{html}</div>"}


def bar(step: Step) -> str:
    """Return the browser's own progress bar as HTML; without a known total it is an animation."""
    share = step.share
    value = "" if share is None else f' value="{share:.3f}"'
    return f' <progress max="1"{value} style="width:16em;vertical-align:middle"></progress>'
