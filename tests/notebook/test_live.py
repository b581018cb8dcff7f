"""`wb.watch()` without a browser: what the kernel keeps, shows and sends."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from tests.models import add_constant
from workbench.api import Workbench, connect
from workbench.client import sync
from workbench.client.shared_service import SharedService
from workbench.errors import InvalidInput
from workbench.live.remote_watch import RemoteWatch
from workbench.notebook.kernel_feed import Channel, Feed
from workbench.notebook.live import MIME, WIDGET_MIME, LivePlot

SOON_S = 60.0
ROW = np.ones((1, 4), np.float32)


class Comm:
    """What a page would get of one plot, and what it says."""

    def __init__(self, plot: LivePlot) -> None:
        self.plot = plot
        self.said: queue.Queue[tuple[dict[str, Any], Any]] = queue.Queue()
        self.threads: set[str] = set()
        plot.send = self._take  # type: ignore[method-assign]

    def _take(self, content: Any, buffers: Any = None) -> None:
        self.threads.add(threading.current_thread().name)
        self.said.put((content, buffers))

    def say(self, **message: Any) -> None:
        self.plot._hear(self.plot, message, [])

    def order(self, **order: Any) -> None:
        self.say(type="order", text=json.dumps(order))

    def frame(self, kind: str) -> dict[str, Any]:
        """The next frame of this kind."""
        while True:
            content, _ = self.said.get(timeout=SOON_S)
            if content["type"] == "frame" and (frame := json.loads(content["text"]))["type"] == kind:
                return dict(frame)


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


@pytest.fixture
def shared(workplace: SharedService) -> Iterator[Workbench]:
    """A workbench on a shared service that serves `plus`."""
    with connect() as wb:
        wb.load("plus", add_constant(1.0))
        yield wb


def asked(wb: Workbench, comm: Comm) -> dict[str, Any]:
    """The figures of a tick in which `plus` was asked for something."""
    while True:
        wb["plus"](ROW)
        figures = comm.frame("figures")["models"].get("plus", {})
        if figures.get("requests_per_s", 0) > 0:
            return dict(figures)


def test_a_page_without_our_server_is_told_by_the_kernel_what_the_stream_would_tell_it(shared: Workbench) -> None:
    with LivePlot(shared.feed) as plot:
        comm = Comm(plot)
        comm.say(type="join")
        assert comm.frame("hello")["api"] == 1
        assert comm.frame("service")["service"]["state"] == "Ready"
        comm.order(type="subscribe", models="*", window_s=60, points=60, detail=["plus"])
        assert "models" in comm.frame("history")
        assert asked(shared, comm)["p50_s"] > 0
        assert comm.threads == {"infer-workbench-client"}


def test_of_a_service_that_says_nothing_of_use_the_feed_tells_that() -> None:
    class Strange:
        url = "http://127.0.0.1:9"

        async def service(self) -> dict[str, Any]:
            return {}

        async def close(self) -> None: ...

    feed = Feed(lambda relay: RemoteWatch(Strange(), relay, logging.getLogger("feed")))  # type: ignore[arg-type]
    feed.hold(feed)
    assert (feed.service.state.value, feed.service.reason) == ("Stopped", "its figures cannot be read (KeyError)")
    sync.run(feed._let_go(feed))


def test_a_page_that_leaves_or_orders_nonsense_costs_nothing_more(shared: Workbench) -> None:
    with LivePlot(shared.feed) as plot:
        comm = Comm(plot)
        comm.say(type="join")
        comm.order(type="subscribe", models=7)
        assert "does not fit" in comm.frame("error")["message"]
        comm.say(type="leave")
        comm.say(type="nothing of ours")
        comm.order(type="subscribe")
        assert sync.run(pages(shared)) == 0


async def pages(wb: Workbench) -> int:
    """How many pages are told, once what was cancelled has ended."""
    while any(task.cancelling() for task in asyncio.all_tasks()):
        await asyncio.sleep(0)
    return len(wb.feed._relay.subscribers)


def test_a_kernel_whose_server_tells_its_pages_sends_nothing_unasked(
    shared: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not shared.feed.told_by_server()
    monkeypatch.setattr(os, "getppid", os.getpid)  # this process holds a lease, as the server extension does
    assert shared.feed.told_by_server()


def test_closing_the_last_plot_ends_the_reading(shared: Workbench) -> None:
    first, second = shared.watch(), shared.watch("plus")
    first.close()
    first.close()
    assert shared.feed._following is not None
    second.close()
    sync.run(until_idle(shared))
    assert repr(second) == "<LivePlot, closed>"
    again = shared.watch()
    assert shared.feed._following is not None
    again.close()


async def until_idle(wb: Workbench) -> None:
    async with asyncio.timeout(SOON_S):
        while wb.feed._following is not None:
            await asyncio.sleep(0.01)


def test_without_a_name_the_busiest_is_drawn(shared: Workbench) -> None:
    shared.load("idle", add_constant(2.0))
    with shared.watch() as plot:
        comm = Comm(plot)
        comm.say(type="join")
        comm.order(type="subscribe")
        asked(shared, comm)
        assert "<LivePlot of plus, the last 60 seconds: answered" in repr(plot)
        assert "p50" in plot.svg()


def test_what_cannot_be_shown_is_said(shared: Workbench) -> None:
    with shared.watch("nobody") as plot:
        assert "No model &#x27;nobody&#x27; is served" in plot.svg()
    with pytest.raises(InvalidInput, match="cannot name a model"):
        shared.watch("no/name")
    with pytest.raises(InvalidInput, match="1s to 15m"):
        shared.watch("plus", window="16m")
    with shared.watch() as plot:
        comm = Comm(plot)
        comm.say(type="join")
        shared.stop()
        while comm.frame("service")["service"]["state"] != "Stopped":
            pass
        assert "The service is Stopped" in repr(plot)


def test_a_service_by_its_url_is_watched_too(wb: Workbench) -> None:
    wb.load("plus", add_constant(1.0))
    with wb.watch("plus") as plot:
        assert not plot._shared
        assert MIME not in plot._bundle()
        comm = Comm(plot)
        comm.say(type="join")
        comm.order(type="subscribe", models=["plus"])
        assert asked(wb, comm)["requests_per_s"] > 0


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """The shell of this process, as `display` looks for it."""
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)
    InteractiveShell.clear_instance()


def test_a_plain_shell_is_given_a_picture_and_a_line(shared: Workbench, shell: InteractiveShell) -> None:
    shell.user_ns["wb"] = shared
    with capture_output() as captured:
        shell.run_cell("wb.watch('plus')").raise_error()
    (output,) = captured.outputs
    assert set(output.data) == {"text/plain", "image/svg+xml"}


def test_little_is_kept_with_a_notebook_that_saves_its_widgets(shared: Workbench) -> None:
    with shared.watch() as plot:
        assert len(json.dumps(plot.get_state())) < 4_000
        assert WIDGET_MIME not in plot._bundle()  # nobody looks here


def test_a_channel_that_is_closed_twice_and_spoken_to_is_silent(shared: Workbench) -> None:
    said: list[str] = []
    channel = Channel(shared.feed._relay, said.append)
    channel.close()
    channel.close()
    channel.handle_message('{"type": "pause"}')
    assert sync.run(pages(shared)) == 0
