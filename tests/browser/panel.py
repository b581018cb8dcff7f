"""The side panel as a person sees it: found by what it says, not by how it is built."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import CDPSession, Locator, Page, expect

import workbench
from tests.browser.jupyter import TOKEN, Jupyter
from workbench.api import Workbench
from workbench.errors import Unavailable

PANEL = "infer-workbench-panel"
DASHBOARD = "infer-workbench-dashboard"

AXE = Path(workbench.__file__).parents[1] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
"""The accessibility checker, which comes with the panel's other development packages."""


class Plots:
    """Live plots of one model, wherever they are drawn."""

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.group = root.get_by_role("group", name="Live figures of")
        self.slowest = root.get_by_role("region", name="Slowest requests")

    def plot(self, name: str) -> Locator:
        return self.root.locator(f'[data-plot="{name}"]')

    def value(self, plot: str, column: str) -> Locator:
        """What is written beside the caption of a plot."""
        return self.plot(plot).locator(f'[data-series="{column}"]')

    def canvas(self, plot: str) -> Locator:
        return self.plot(plot).get_by_role("img")

    def pixels(self, plot: str) -> str:
        """The picture itself, to be compared with a later one."""
        drawn: str = self.canvas(plot).evaluate("canvas => canvas.toDataURL()")
        return drawn

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)


class Panel:
    """The side panel of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(f"#{PANEL}")
        self.service = self.root.get_by_role("region", name="Service", exact=True)
        self.state = self.service.get_by_role("status")
        self.live = Plots(self.root.get_by_role("region", name="Live", exact=True))

    def card(self, name: str) -> Locator:
        return self.root.get_by_role("listitem", name=name, exact=True)

    def figure(self, model: str, name: str) -> Locator:
        return self.card(model).locator(f'[data-figure="{name}"]')

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def part(self, model: str, name: str) -> Locator:
        """A part of a card, unfolded."""
        card = self.card(model)
        button = card.get_by_role("button", name=name, exact=True)
        expect(button).to_be_visible()
        if button.get_attribute("aria-expanded") == "false":
            button.click()
        return card.get_by_role("form", name={"Try it": "Try", "Settings": "Settings of"}[name])

    def meter(self, name: str) -> tuple[str | None, str | None]:
        """A bar of what is used: percent, and in words."""
        bar = self.service.get_by_role("meter", name=name, exact=True).first
        expect(bar).to_be_visible()
        return bar.get_attribute("aria-valuenow"), bar.get_attribute("aria-valuetext")

    def barriers(self, within: str = f"#{PANEL}") -> list[str]:
        """What keeps people from using the panel, or another part of the page, as it is now."""
        return barriers(self.page, within)

    def load(self, path: str, name: str = "") -> None:
        """By the form; the model is not waited for."""
        file = self.root.get_by_label("ONNX file")
        opener = self.button("Load a model")  # where models are served, the form is put away
        expect(file.or_(opener).first).to_be_visible()
        if not file.is_visible():
            opener.click()
        file.fill(path)
        if name:
            self.root.get_by_label("Name", exact=True).fill(name)
        self.button("Load").click()

    def expect_state(self, word: str, within_s: float = 20.0) -> None:
        expect(self.state).to_contain_text(word, timeout=within_s * 1000)

    def expect_model(self, name: str, word: str = "Ready", within_s: float = 30.0) -> None:
        expect(self.card(name).locator(".iw-Card-state")).to_contain_text(word, timeout=within_s * 1000)


def barriers(page: Page, within: str) -> list[str]:
    """What keeps people from using what the selector `within` finds, as axe sees it: rule, element, and what to do."""
    expect(page.locator(within)).to_be_visible()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(BARRIERS, within)
    return found


BARRIERS = """async within => {
    const { violations } = await axe.run(within, { resultTypes: ["violations"] });
    return violations.filter(({ impact }) => impact === "serious" || impact === "critical").flatMap(({ id, nodes }) =>
        nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)}: ${failureSummary}`));
}"""
"""Violations of the rules of WCAG 2 and of good practice that are serious or worse."""


@contextmanager
def calling(wb: Workbench, name: str, every_s: float = 0.05) -> Iterator[None]:
    """Somebody calls the model some times a second, and goes on while the service is away. At the end it must not have
    been away still, and nothing else may have gone wrong: that is raised, beside what the test itself found."""
    stop = threading.Event()

    def call() -> None:
        row = np.ones((1, 4), np.float32)
        away: Unavailable | None = None
        while not stop.wait(every_s):
            try:
                wb[name](row)
            except Unavailable as error:
                away = error
            else:
                away = None
        if away is not None:
            raise away

    with ThreadPoolExecutor(1) as callers:
        caller = callers.submit(call)
        try:
            yield
        finally:
            stop.set()
            caller.result()


def call_wrongly(jupyter: Jupyter, name: str) -> None:
    """One request with too few columns, which the service refuses."""
    record = jupyter.record()
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    request = urllib.request.Request(
        f"{record.url}/v2/models/{name}/infer",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {record.token}", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    caught.value.close()


def busy(session: CDPSession, page: Page, seconds: float = 8.0) -> float:
    """The part of some time in which the page's thread ran a task."""

    def read() -> tuple[float, float]:
        found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return found["TaskDuration"], time.monotonic()

    task, then = read()
    page.wait_for_timeout(seconds * 1000)
    later, now = read()
    return (later - task) / (now - then)


def open_lab(page: Page, jupyter: Jupyter, path: str = "lab") -> None:
    """JupyterLab, until it can be used."""
    page.goto(f"{jupyter.url}{path}?reset&token={TOKEN}")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.locator("#jp-main-dock-panel").wait_for()


def open_panel(page: Page, jupyter: Jupyter, path: str = "lab") -> Panel:
    """JupyterLab with the panel open."""
    open_lab(page, jupyter, path)
    # JupyterLab gives the main area the focus some time after it is drawn, and would take it from the panel.
    page.wait_for_function("() => document.activeElement?.closest('#jp-main-dock-panel')")
    page.locator(f'li[data-id="{PANEL}"]').click()
    panel = Panel(page)
    expect(panel.service).to_be_visible()
    return panel


def wear(page: Page, dark: bool) -> None:
    """Choose the theme from the menu, as it then stays for the tests that follow."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    for item in ("Theme", "JupyterLab Dark" if dark else "JupyterLab Light"):
        page.locator(".lm-Menu-itemLabel").filter(has_text=re.compile(f"^{item}$")).click()
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", str(not dark).lower())


WATCH = """figure => {
    window.seen = new Promise(resolve => {
        const observer = new MutationObserver(() => {
            if (figure.textContent !== "0") {
                observer.disconnect();
                requestAnimationFrame(() => resolve(Date.now()));
            }
        });
        observer.observe(figure, { childList: true, characterData: true, subtree: true });
    });
    return null;
}"""
"""Note when the figure is drawn anew."""

SEEN_S = 1.0
"""What the end of a request and its pixel may lie apart, also on a busy machine: a tick is 0.25 s."""
