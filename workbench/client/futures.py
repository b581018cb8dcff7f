"""Work under way in the background: ask it for its result, await it, cancel it, or look at it."""

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

T = TypeVar("T")


class JobState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Generic[T]):
    """One call that runs on the client's own loop, whatever the notebook does meanwhile. It ends with the process."""

    def __init__(self, what: str, call: Callable[[LoadProgress], Coroutine[Any, Any, T]]) -> None:
        self.what = what
        """As "predict digits"."""
        self._progress = LoadProgress()
        self._began = time.monotonic()
        self._ended: float | None = None
        self._future = sync.start(call(self._progress))
        self._future.add_done_callback(self._note_end)

    def done(self) -> bool:
        """True once it has ended, however it did."""
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
        """How far it has come."""
        return self._progress.step

    @property
    def seconds(self) -> float:
        """For how long it has run, or ran."""
        return (self._ended or time.monotonic()) - self._began

    def result(self, timeout: float | None = None) -> T:
        """What it came to, waited for. Raises its error, Cancelled where it was cancelled, and TimeoutError when
        `timeout` seconds were not enough; it goes on then, as it does when the wait is interrupted."""
        try:
            return self._future.result(timeout)
        except concurrent.futures.CancelledError:
            raise self._cancelled() from None
        except TimeoutError:
            if self._future.done():
                raise
            raise TimeoutError(f"{self.what} is not done after {timeout:g} s; it goes on") from None

    def cancel(self) -> bool:
        """End it; what of it has not been run is dropped. False where it had ended already."""
        return self._future.cancel()

    def __await__(self) -> Generator[Any, None, T]:
        """As `result`, for code that awaits. Being cancelled there leaves the job alone."""
        return self._awaited().__await__()

    async def _awaited(self) -> T:
        try:
            return await asyncio.shield(asyncio.wrap_future(self._future))
        except asyncio.CancelledError:
            if self._future.cancelled():
                raise self._cancelled() from None
            raise

    async def ended(self) -> None:
        """Return as soon as it has ended, however it did."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def tell(future: object) -> None:
            with suppress(RuntimeError):  # whoever waited has gone, and their loop
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
            return f"{self.what}: failed after {took}; {type(error).__name__}: {error}"
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
    """How far, as HTML: the browser's own progress bar, which moves by itself where nobody knows how far."""
    share = step.share
    value = "" if share is None else f' value="{share:.3f}"'
    return f' <progress max="1"{value} style="width:16em;vertical-align:middle"></progress>'
