"""Shows the progress of a call below its cell: one display, updated at most four times a second."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from types import TracebackType
from typing import Any, Self

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from workbench.client import sync
from workbench.client.formatting import escape, milliseconds
from workbench.client.futures import Job, bar
from workbench.client.load_progress import TOLD_EVERY_S, Step
from workbench.visible_text import visible

_display: Any = display
_new_display: Any = DisplayHandle

SHOWN_AFTER_S = 0.5
"""Seconds before a bar is shown."""

_WIDTH = 24


class Bar:
    """A progress bar for `progress=`. It appears if the call takes long, and ends as one line with the outcome."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._step = Step()
        self._shown: Any = None

    def __enter__(self) -> Self:
        return self

    def __call__(self, step: Step) -> None:
        """Show the step if the call has taken long enough."""
        self._step = step
        if time.monotonic() - self._began >= SHOWN_AFTER_S:
            self._draw(f"{self._title}: {step}", f"{escape(self._title)}: {bar(step)} {escape(step)}", _text_bar(step))

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._shown is not None:
            took = milliseconds(time.monotonic() - self._began)
            how = f"done in {took}" if kind is None else f"stopped after {took} ({self._step})"
            line = f"{self._title}: {how}"
            self._draw(line, f"<small>{escape(line)}</small>")
            if isinstance(self._shown, _Line):
                self._shown.end()

    def _draw(self, text: str, html: str, before: str = "") -> None:
        bundle = {"text/plain": before + visible(text), "text/html": f"<div>{html}</div>"}
        if self._shown is not None:
            self._shown.update(bundle, raw=True)
        elif in_notebook():
            self._shown = (
                _new_display()
            )  # first: an interrupt may come while it is drawn, and the bar is ended then too
            self._shown.display(bundle, raw=True)
        else:
            self._shown = _Line()
            self._shown.update(bundle)


class _Line:
    """One line of a terminal that is overwritten; writes nothing if stderr is a file."""

    def __init__(self) -> None:
        self._width = 0

    def update(self, bundle: dict[str, str], raw: bool = True) -> None:
        if sys.stderr.isatty():
            text = bundle["text/plain"]
            sys.stderr.write(f"\r{text.ljust(self._width)}")
            sys.stderr.flush()
            self._width = len(text)

    def end(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\n")


def show_job(job: Job[Any]) -> None:
    """Show a job. In a notebook, keep the display up to date until the job has ended, while other cells run."""
    if job.done() or not in_notebook():
        _display(job._repr_mimebundle_(), raw=True)
        return
    handle: Any = _display(job._repr_mimebundle_(), raw=True, display_id=True)
    # In a context of its own, updates belong to the cell that runs then, as nbclient expects it.
    contextvars.Context().run(sync.start, _followed(job, handle))


async def _followed(job: Job[Any], handle: Any) -> None:
    ended = asyncio.ensure_future(job.ended())
    while not job.done():
        await asyncio.wait([ended], timeout=TOLD_EVERY_S)
        handle.update(job._repr_mimebundle_(), raw=True)


def in_notebook() -> bool:
    """Return whether displays can be updated: in a kernel, but not in a terminal."""
    return getattr(get_ipython(), "kernel", None) is not None


def _text_bar(step: Step) -> str:
    share = step.share
    return "" if share is None else f"[{'#' * round(share * _WIDTH):<{_WIDTH}}] {share:4.0%} "
