"""`%infer watch` and `%infer panel` in real notebooks: moving while the kernel is busy, and what is left of them."""

from __future__ import annotations

import base64
import json
import re

import nbformat
import numpy as np
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Locator, Page, WebSocket, expect

from tests import models
from tests.browser.conftest import OpenPage
from tests.browser.jupyter import TOKEN, Jupyter
from tests.browser.notebook_page import NAME, open_notebook, run, save, write_notebook
from workbench.api import Workbench, connect
from workbench.notebook.live import MIME, WIDGET_MIME

LOAD = "%load_ext workbench\n%infer load plus plus.onnx"
WATCH = "%infer watch plus"
BUSY = "import time\nuntil = time.time() + 600\nwhile time.time() < until: time.sleep(0.05)"
"""A cell that runs until its kernel ends."""

FIRST_BYTES = 250_000
"""The most that the kernel may send for a first display."""

SECONDS = 4
"""Long enough for a kernel that tells pages unasked to have begun."""

NO_EXTENSION = r"404"
"""The one error of a page without our server extension: it asks whether that is there."""


def notebook(jupyter: Jupyter, *cells: str) -> None:
    """A notebook of these cells, and a model beside it."""
    models.save(models.add_constant(1.0), jupyter.root / "plus.onnx")
    write_notebook(jupyter, *cells)


def without_server_extension(jupyter: Jupyter) -> None:
    config = jupyter.home / "config" / "jupyter_server_config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"ServerApp": {"jpserver_extensions": {"workbench.jupyter": False}}}))


def expect_busy(page: Page) -> None:
    """A cell runs. The state of the kernel would not tell: it is that of a thread of it, too."""
    expect(page.locator(".jp-InputPrompt").filter(has_text="[*]:")).to_be_visible()


def live(page: Page) -> Locator:
    return page.locator(".jp-OutputArea .iw-Live")


def words(page: Page) -> Locator:
    return live(page).locator(".iw-Live-words")


def figures(page: Page) -> Locator:
    """The plots, or the sentence in their place."""
    return live(page).get_by_role("group", name="Live figures of")


def expect_to_move(page: Page, wb: Workbench) -> None:
    """Requests that are made now are seen there."""
    throughput = live(page).locator('[data-plot="throughput"] figcaption')
    row = np.ones((1, 4), np.float32)
    for _ in range(200):
        wb["plus"](row)
        if re.search(r"[1-9]", throughput.inner_text()):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"nothing moved: {live(page).inner_text()}")


class Sockets:
    """What a page hears from now on."""

    def __init__(self, page: Page) -> None:
        self.kernel_bytes = 0
        self.stream: WebSocket | None = None
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        if "/channels" in socket.url:
            socket.on("framereceived", self._heard)
        elif socket.url.endswith("infer-workbench/stream"):
            self.stream = socket

    def _heard(self, data: str | bytes) -> None:
        self.kernel_bytes += len(data)


def test_a_plot_moves_past_a_busy_kernel_and_is_live_again_after_a_reload(
    jupyter: Jupyter, open_page: OpenPage
) -> None:
    notebook(jupyter, LOAD, WATCH, BUSY)
    jupyter.start()
    page = open_page()
    sockets = Sockets(page)
    open_notebook(page, jupyter)
    run(page, 3)
    expect(figures(page)).to_be_visible()
    expect_busy(page)
    with jupyter.served() as wb:
        expect_to_move(page, wb)
        assert sockets.kernel_bytes < FIRST_BYTES
        before = sockets.kernel_bytes
        assert sockets.stream is not None
        for _ in range(4 * SECONDS):
            sockets.stream.wait_for_event("framereceived")
        assert sockets.kernel_bytes - before < 2_000  # what goes on is told by the server alone
        save(page, jupyter)
        page.reload()
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        expect_to_move(page, wb)


@pytest.mark.parametrize(
    "busy_at_once", [pytest.param(False, marks=pytest.mark.long), True], ids=["busy later", "busy at once"]
)
def test_without_a_server_extension_the_kernel_tells_the_plot_while_it_is_busy(
    jupyter: Jupyter, open_page: OpenPage, busy_at_once: bool
) -> None:
    notebook(jupyter, LOAD, WATCH, BUSY)
    without_server_extension(jupyter)
    jupyter.start()
    page = open_page(forgive=NO_EXTENSION)
    sockets = Sockets(page)
    open_notebook(page, jupyter)
    run(page, 3 if busy_at_once else 2)
    expect(figures(page)).to_be_visible()
    expect(page.locator(".iw-Live-picture")).to_be_hidden()  # it stood in for the plot
    if not busy_at_once:
        run(page)
    expect_busy(page)
    record = jupyter.record()
    with connect(record.url, record.token) as wb:
        expect_to_move(page, wb)
    assert sockets.kernel_bytes < FIRST_BYTES


def test_a_notebook_that_is_read_later_shows_what_was_seen(jupyter: Jupyter, open_page: OpenPage) -> None:
    ask = "wb = __import__('workbench').connect()\nfor _ in range(300): wb['plus']([[1, 2, 3, 4]])"
    # A picture is drawn anew after a cell, two seconds after the one before at the earliest.
    notebook(jupyter, LOAD, WATCH, ask, "import time; time.sleep(3)", "1")
    jupyter.start()
    page = open_page()
    open_notebook(page, jupyter)
    run(page, 5)
    expect(page.locator(".jp-InputPrompt").filter(has_text="[5]:")).to_be_visible()
    saved = save(page, jupyter)
    (output,) = saved["cells"][1]["outputs"]
    assert set(output["data"]) == {MIME, WIDGET_MIME, "image/svg+xml", "text/plain"}
    assert "answered" in "".join(output["data"]["text/plain"])
    svg = "".join(output["data"]["image/svg+xml"])
    assert len(svg) < 15_000
    assert "widgets" not in saved["metadata"]
    html, _ = HTMLExporter().from_notebook_node(nbformat.reads(json.dumps(saved), 4))
    assert svg in html or base64.b64encode(svg.encode()).decode() in html.replace("\n", "")
    jupyter.api("stop", {})
    page.context.close()
    jupyter.stop()
    jupyter.start()  # without its kernels
    page = open_page()
    page.goto(f"{jupyter.url}lab/tree/{NAME}?reset&token={TOKEN}")
    expect(words(page)).to_contain_text("The service is stopped")
    expect(live(page).get_by_role("img", name=re.compile("plus, the last 60 seconds: .*answered"))).to_be_visible()


def test_a_cell_says_why_nothing_can_be_shown_until_something_can(jupyter: Jupyter, open_page: OpenPage) -> None:
    notebook(jupyter, f"%load_ext workbench\n{WATCH}")
    jupyter.start()
    page = open_page()
    open_notebook(page, jupyter)
    run(page)
    expect(words(page)).to_contain_text("The service is stopped: it has not been started yet")
    jupyter.api("start", {})
    expect(words(page)).to_contain_text("No model plus is served; the figures begin when it is.")
    jupyter.api("models/plus/load", {"path": "plus.onnx", "config": {}, "force": False})
    expect(words(page)).to_have_text("")
    expect(figures(page)).to_be_visible()


@pytest.mark.parametrize(
    "extension", [True, pytest.param(False, marks=pytest.mark.long)], ids=["with extension", "without"]
)
def test_the_panel_below_a_cell_loads_and_tries_a_model(jupyter: Jupyter, open_page: OpenPage, extension: bool) -> None:
    notebook(jupyter, "%load_ext workbench\n%infer panel")
    if not extension:
        without_server_extension(jupyter)
    jupyter.start()
    page = open_page(height=1400, forgive="" if extension else NO_EXTENSION)
    open_notebook(page, jupyter)
    run(page)
    output = page.locator(".jp-OutputArea").first
    expect(output.get_by_text(re.compile("Stopped: it has not been started yet"))).to_be_visible()
    output.get_by_label("ONNX file").fill("plus.onnx")
    output.get_by_role("button", name="Load", exact=True).click()
    expect(output.get_by_text("plus version 1 serves").first).to_be_visible()
    output.get_by_text("Try it", exact=True).click()
    output.get_by_role("button", name="Send").click()
    expect(output.get_by_text("FP32 [1, 4]")).to_be_visible()
    expect(figures(page)).to_be_visible()
