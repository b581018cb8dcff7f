"""`wb.watch()`: the live figures of one model in a cell's output.

With our server extension, the page gets its figures from the Jupyter server, past the kernel. Without it (VS Code,
Colab, plain Jupyter), this process reads them from the service and sends them over the widget's comm. In both cases a
busy kernel stops nothing. The output also holds a picture, which a saved notebook shows where nothing can be live. It
is redrawn after cells in which something was served, and when the plot is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from workbench.client import sync
from workbench.live.relay import MAX_WINDOW_S
from workbench.notebook.kernel_feed import Channel, Feed
from workbench.notebook.svg_snapshot import History, described, picture
from workbench.rendezvous.folder import host_name
from workbench.rendezvous.service_record import ServiceState
from workbench.visible_text import visible

MIME = "application/vnd.infer-workbench.live+json"
"""MIME type that the front-end extension draws by itself, even in a notebook without a kernel."""

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"

API = 1
"""Version of the data under MIME and of the comm's messages."""

POINTS = 180
"""Points of the history that a page is sent."""

PICTURE_POINTS = 90
"""Points of the history in a picture, which is saved with the notebook."""

UNHEARD_S = 2.0
"""Seconds after which a silent page is sent figures: its message may wait in a busy kernel."""

REFRESH_S = 2.0
"""Shortest time between two redraws of the pictures."""

_FOLDER = Path(__file__).parent
_BUNDLE = _FOLDER / "static" / "live.js"


class LivePlot(anywidget.AnyWidget):
    """The live figures of one model, or of the busiest if none is named, until it is closed.

    `model` and `window_s` may be set; every cell that shows the plot follows.
    """

    _esm = re.sub(r"(?m)^ *(//|/\*\*).*\n", "", (_FOLDER / "loader.js").read_text(encoding="utf-8"))

    model = traitlets.Unicode(None, allow_none=True, help="Whose figures; None: of the busiest.").tag(sync=True)
    window_s = traitlets.Float(60.0, min=1.0, max=MAX_WINDOW_S, help="The seconds that are shown.").tag(sync=True)
    _shared = traitlets.Bool(True).tag(sync=True)
    _host = traitlets.Unicode("").tag(sync=True)

    def __init__(self, feed: Feed, model: str | None = None, window_s: float = 60.0, *, shared: bool = True) -> None:
        feed.hold(self)
        super().__init__(model=model, window_s=window_s, _shared=shared, _host=host_name())
        self._feed = feed
        self._wire = _Wire(feed, self._say, self._first_order)
        self._shown: list[_Shown] = []
        self._drawn_until = 0.0
        self.on_msg(self._hear)
        self.observe(lambda change: self.redraw(), ("model", "window_s"))

    @property
    def closed(self) -> bool:
        return self.comm is None

    def close(self) -> None:
        """Stop updating; cells keep the last picture. A second call does nothing."""
        if self.closed:
            return
        final = {name: value for name, value in self._bundle().items() if name not in (MIME, WIDGET_MIME)}
        self._wire.close()
        super().close()
        self._feed.let_go(self)
        shown, self._shown = self._shown, []
        for place in shown:
            place.put(final)

    @property
    def behind(self) -> bool:
        """Whether something was served that the picture does not show yet."""
        _, history, _ = self._look()
        times, rates = history.get("time", ()), history.get("requests_per_s", ())
        return any(rate for moment, rate in zip(times, rates, strict=True) if (moment or 0.0) > self._drawn_until)

    def __enter__(self) -> LivePlot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def redraw(self) -> None:
        """Redraw the picture in every cell that shows this plot."""
        if not self.closed and self._shown:
            bundle = self._bundle()
            for place in self._shown:
                place.put(bundle)

    def svg(self) -> str:
        """Return the picture: an SVG of the window up to now."""
        name, history, words = self._look()
        return picture(name, history, self.window_s, words)

    def __repr__(self) -> str:
        if self.closed:
            return "<LivePlot, closed>"
        name, history, words = self._look()
        return visible(f"<LivePlot of {described(name, history, self.window_s, words)}>")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._bundle(), {}

    def _ipython_display_(self) -> None:
        """Display it with a display id, so that the picture can be replaced."""
        bundle = self._bundle()
        handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        if handle is None:
            return
        cell = cell_id()
        self._shown = [*self._shown, _Shown(handle, cell)][-3:]
        if not self.closed:
            self._wire.expect()
            _pictures.add(self, cell)

    def _bundle(self) -> dict[str, Any]:
        """Return a cell's output: the widget, the data for our front end, and a picture for all others."""
        name, history, words = self._look()
        self._drawn_until = next(reversed(history.get("time", ())), None) or 0.0
        bundle: dict[str, Any] = {
            "text/plain": described(name, history, self.window_s, words),
            "image/svg+xml": picture(name, history, self.window_s, words),
        }
        if not self.closed and is_interactive():
            bundle[WIDGET_MIME] = {"version_major": 2, "version_minor": 1, "model_id": self.model_id}
            if self._shared:
                bundle[MIME] = {"api": API, "model": self.model, "window_s": self.window_s, "host": self._host}
        return bundle

    def _look(self) -> tuple[str | None, History, str]:
        """Return the drawn model, its figures, and a note to show with them."""
        found = self._feed.history(None if self.model is None else [self.model], self.window_s, PICTURE_POINTS)
        models: dict[str, History] = found["models"]
        name = self.model if self.model is not None else _busiest(models)
        history = models.get(name, {}) if name is not None else {}
        service = self._feed.service
        if service.state is not ServiceState.READY:
            why = f": {service.reason}" if service.reason else ""
            return name, history, f"The service is {service.state.value}{why}"
        if name is None:
            return None, {}, "No model is served yet"
        if not history and name not in {status["name"] for status in self._feed.models}:
            return name, {}, f"No model {name!r} is served"
        return name, history, ""

    def _first_order(self) -> str:
        """Return the subscription that is assumed for a silent page."""
        name, _, _ = self._look()
        detail = [] if name is None else [name]
        return json.dumps(
            {"type": "subscribe", "models": "*", "window_s": self.window_s, "points": POINTS, "detail": detail}
        )

    # The comm. Messages may come on any thread: on the main one, or a subshell's.

    def _hear(self, widget: object, message: Any, buffers: Sequence[Any]) -> None:
        match message:
            case {"type": "bundle"}:
                self.send({"type": "bundle"}, buffers=[_bundled()])
            case {"type": "join"}:
                self._wire.join()
            case {"type": "order", "text": str(text)}:
                self._wire.handle_message(text)
            case {"type": "leave"}:
                self._wire.leave()

    def _say(self, text: str) -> None:
        if not self.closed:
            self.send({"type": "frame", "text": text})


class _Wire:
    """Connects the feed with the pages of one widget while one of them wants figures. Any thread may call."""

    def __init__(self, feed: Feed, say: Callable[[str], None], first_order: Callable[[], str]) -> None:
        self._feed = feed
        self._say = say
        self._first_order = first_order
        self._lock = threading.Lock()
        self._channel: Channel | None = None
        self._heard = False
        self._closed = False
        self._waiting: Future[None] | None = None

    def expect(self) -> None:
        """Expect a page to open the plot; if it stays silent, send it figures anyway."""
        with self._lock:
            if not self._heard and self._waiting is None:
                self._waiting = sync.start(self._wait(self._first_order()))

    def join(self) -> None:
        """Start sending to a page, from the beginning."""
        with self._lock:
            self._heard = True
            self._open()

    def handle_message(self, order: str) -> None:
        with self._lock:
            if self._channel is not None:
                self._channel.handle_message(order)

    def leave(self) -> None:
        """Stop sending: no page wants figures."""
        with self._lock:
            self._heard = True
            self._end()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._end()
            if self._waiting is not None:
                self._waiting.cancel()

    async def _wait(self, order: str) -> None:
        await asyncio.sleep(UNHEARD_S)
        told = self._feed.told_by_server()
        with self._lock:
            if not (self._heard or told):
                self._open()
                if self._channel is not None:
                    self._channel.handle_message(order)

    def _open(self) -> None:
        self._end()
        if not self._closed:
            self._channel = self._feed.join(self._say)

    def _end(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


@dataclass(frozen=True, slots=True)
class _Shown:
    """One cell output that shows a plot."""

    handle: DisplayHandle
    cell: str
    """The id of the notebook's cell; empty if unknown."""

    def put(self, bundle: Mapping[str, Any]) -> None:
        self.handle.update(bundle, raw=True)  # type: ignore[no-untyped-call]


class _Pictures:
    """Updates the pictures of all plots of this process."""

    def __init__(self) -> None:
        self._plots: weakref.WeakSet[LivePlot] = weakref.WeakSet()
        self._drawn_at = 0.0
        self._shell: object = None

    def add(self, plot: LivePlot, cell: str) -> None:
        """Add a plot, and close plots that only `cell` showed: it was run again, so they are gone."""
        for other in list(self._plots):
            if cell and other is not plot and {place.cell for place in other._shown} == {cell}:
                other.close()
        self._plots.add(plot)
        shell = get_ipython()
        if shell is not None and shell is not self._shell:
            self._shell = shell
            shell.events.register("post_run_cell", self.refresh)

    def refresh(self, *_: object) -> None:
        """Redraw the plots with new figures, after a cell has run."""
        now = time.monotonic()
        if now - self._drawn_at >= REFRESH_S:
            self._drawn_at = now
            for plot in list(self._plots):
                if not plot.closed and plot.behind:
                    plot.redraw()


_pictures = _Pictures()


def _busiest(models: Mapping[str, History]) -> str | None:
    """Return the model with the most requests in its history; of equals the first."""

    def served(name: str) -> float:
        return sum(value for value in models[name]["requests_per_s"] if value is not None)

    return max(models, key=served, default=None)


def is_interactive() -> bool:
    """Return whether widgets can be live here. They cannot in a notebook that a program executes, which takes no input
    either; it keeps the picture."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    asked = kernel.get_parent().get("content", {}).get("allow_stdin", True)
    return bool(asked) or "voila" in os.environ.get("SERVER_SOFTWARE", "").lower()


def cell_id() -> str:
    """Return the id of the running cell; empty if the front end does not send it."""
    kernel = getattr(get_ipython(), "kernel", None)
    return "" if kernel is None else str(kernel.get_parent().get("metadata", {}).get("cellId", ""))


def _bundled() -> bytes:
    try:
        return _BUNDLE.read_bytes()
    except OSError:
        return _NOT_BUILT


_NOT_BUILT = b"""export const API = 1;
export function render({ el }) { el.textContent = 'The drawing was not built: run `make panel` in the checkout.'; }
"""
