"""The pictures of README and docs, taken from a real JupyterLab: `make pictures`."""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import onnx
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import workbench
from tests.browser.conftest import chromium
from tests.browser.jupyter import Jupyter
from tests.browser.panel import DASHBOARD, PANEL, Panel, Plots, open_panel
from tests.helpers import small_bundles
from workbench.api import Workbench, connect
from workbench.errors import LimitExceeded

ROOT = Path(workbench.__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"

THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
WATCHED_S = 45.0
"""For how long the callers call before a picture, so that the small plots have something to show."""


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        shutil.copytree(ROOT / "notebooks", home / "root" / "notebooks", ignore=shutil.ignore_patterns(".*"))
        jupyter = Jupyter(home, home / "root").start()
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            quickstart(browser, jupyter)
            panel(browser, jupyter)
            with jupyter.served() as wb:
                versions(browser, jupyter, wb)
                thirty(browser, jupyter, wb)
        finally:
            browser.close()
            jupyter.end()


def quickstart(browser: Browser, jupyter: Jupyter) -> None:
    """The notebook in the middle of its work, the panel beside it."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    seen = open_panel(page, jupyter, "lab/tree/notebooks/01_quickstart.ipynb")
    page.keyboard.press("Control+B")  # the file browser makes room
    widen(page)
    page.get_by_role("button", name="Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    seen.expect_model("digits")
    expect(page.get_by_text("360 of 360 predictions are the same").first).to_be_visible(timeout=60_000)
    page.get_by_role("heading", name="Serve it").scroll_into_view_if_needed()
    page.mouse.move(600, 400)
    page.wait_for_timeout(1500)
    page.screenshot(path=PICTURES / "quickstart.png")
    page.close()


def panel(browser: Browser, jupyter: Jupyter) -> None:
    """The panel, a card and the dashboard, with two models under load, in both themes."""
    X, y = load_digits(return_X_y=True)
    image = np.zeros((1, 3, 224, 224), np.float32)
    with jupyter.served() as wb:
        wb.load("digits", KNeighborsClassifier(3).fit(X, y))
        wb.load("resnet", Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx")
        with called(wb, *[("digits", X[:1], 0.02)] * 4, ("resnet", image, 0.3)):
            for theme in in_each_theme(jupyter):
                with wide_panel(browser, jupyter) as seen:
                    seen.expect_model("resnet")
                    seen.live.root.get_by_role("combobox").select_option("digits")
                    seen.page.wait_for_timeout(WATCHED_S * 1000)
                    seen.page.mouse.move(600, 700)
                    seen.root.screenshot(path=PICTURES / f"panel-{theme}.png")
                    card(seen).screenshot(path=PICTURES / f"card-{theme}.png")
                dashboard(browser, jupyter, theme)
                tried_picture(browser, jupyter, theme, wb)
                endpoint(browser, jupyter, theme, wb, X[:1])


def dashboard(browser: Browser, jupyter: Jupyter, theme: str) -> None:
    """Both models side by side, at a moment under the pointer."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    panel = open_panel(page, jupyter)
    panel.expect_model("resnet")
    page.keyboard.press("Control+B")
    panel.live.root.get_by_role("combobox").select_option("digits")
    panel.button("Show the dashboard").click()
    shown = page.locator(f"#{DASHBOARD}")
    expect(shown.get_by_role("region", name="digits", exact=True)).to_be_visible()
    shown.get_by_role("group", name="Models").get_by_role("button", name="resnet", exact=True).click()
    page.locator(f'li[data-id="{PANEL}"]').click()
    both = [Plots(shown.get_by_role("region", name=name, exact=True)) for name in ("digits", "resnet")]
    for each in both:
        expect(each.value("latency", "p50_s")).to_be_visible()
    over = both[0].plot("latency").locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    page.wait_for_timeout(1500)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
    page.wait_for_timeout(700)
    shown.screenshot(path=PICTURES / f"dashboard-{theme}.png")
    page.close()


def tried_picture(browser: Browser, jupyter: Jupyter, theme: str, wb: Workbench) -> None:
    """The cards of a pipeline that takes a picture and of a model that finds names in a text, each with its answer."""
    made = (small_bundles.pictures, small_bundles.moods, small_bundles.names)
    for make in made:
        wb.load(make.__name__, make(jupyter.root))
    wb.pipeline("mood-of-picture", "pictures >> moods", mapping={"moods.text": "pictures.label"})
    with wide_panel(browser, jupyter) as seen:
        tried = seen.part("mood-of-picture", "Try it")
        tried.get_by_label("Picture file for image").set_input_files(
            {"name": "sunset.png", "mimeType": "image/png", "buffer": sunset()}
        )
        tried.get_by_role("button", name="Send").click()
        expect(tried.get_by_role("list", name="Stages")).to_be_visible()
        seen.page.mouse.move(600, 700)
        seen.card("mood-of-picture").screenshot(path=PICTURES / f"try-picture-{theme}.png")
        tried = seen.part("names", "Try it")
        tried.get_by_label("text", exact=True).fill("Ada was born in London and lived in Paris.")
        tried.get_by_role("button", name="Send").click()
        expect(tried.get_by_role("group", name="Answer")).to_be_visible()
        seen.page.mouse.move(600, 700)
        seen.card("names").screenshot(path=PICTURES / f"try-text-{theme}.png")
    for name in ("mood-of-picture", *(make.__name__ for make in made)):
        wb.unload(name)


def sunset() -> bytes:
    """A PNG file of colours that run into each other."""
    y, x = np.mgrid[0:120, 0:180]
    file = io.BytesIO()
    Image.fromarray(np.stack([200 - y, 60 + x // 3, 40 + y // 2], -1).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def endpoint(browser: Browser, jupyter: Jupyter, theme: str, wb: Workbench, row: object) -> None:
    """A share that a teammate uses, now and then beyond its rate, and a new one with its link."""
    used = wb.share("digits", label="team-a", rate=20, quota=10_000, expires="30d", show_token=True)
    with connect(used.url, used.token) as teammate:
        digits = teammate["digits"]
        for _ in range(40):
            with suppress(LimitExceeded):
                digits(row)
    with wide_panel(browser, jupyter) as seen:
        section = seen.root.get_by_role("region", name="Endpoint", exact=True)
        section.get_by_role("textbox", name="With").fill("team-b")
        section.get_by_role("button", name="Share", exact=True).click()
        expect(section.get_by_label("Link for team-b")).to_be_visible()
        expect(section.get_by_role("listitem", name="team-b")).to_be_visible()
        seen.page.mouse.move(600, 700)
        seen.page.wait_for_timeout(1000)
        section.screenshot(path=PICTURES / f"endpoint-{theme}.png")
    for label in ("team-a", "team-b"):
        wb.revoke(label)


def thirty(browser: Browser, jupyter: Jupyter, wb: Workbench) -> None:
    """The panel with thirty models of which some are called, one shared and one split, in both themes."""
    X, y = load_digits(return_X_y=True)
    for name in list(wb):
        wb.unload(name)
    teams = ("churn", "digits", "fraud", "intent", "price", "ranking")
    names = [f"{team}-{kind}" for team in teams for kind in ("daily", "hourly", "v2-eu", "v2-us", "trial")]
    model = KNeighborsClassifier(3).fit(X, y)
    for name in names:
        wb.load(name, model)
    wb.load("fraud-daily", KNeighborsClassifier(5).fit(X, y), versions="latest:2")
    wb.route("fraud-daily", {wb.versions("fraud-daily")[0].version: 0.1})
    wb.share("price-daily", label="team-a")
    every_s = {
        "fraud-daily": 0.02,
        "price-daily": 0.05,
        "digits-hourly": 0.1,
        "ranking-v2-eu": 0.2,
        "intent-daily": 0.4,
    }
    with called(wb, *((name, X[:1], pause_s) for name, pause_s in every_s.items())):
        for theme in in_each_theme(jupyter):
            with wide_panel(browser, jupyter) as seen:
                seen.page.wait_for_timeout(WATCHED_S * 1000)
                seen.card("digits-hourly").locator(".iw-ModelLine").click()
                seen.page.mouse.move(600, 700)
                seen.page.wait_for_timeout(1000)
                seen.root.screenshot(path=PICTURES / f"thirty-{theme}.png")
    wb.revoke("team-a")


def versions(browser: Browser, jupyter: Jupyter, wb: Workbench) -> None:
    """The card of a model with a part of its calls on a newer version, and the two compared, in both themes."""
    X, y = load_digits(return_X_y=True)
    for name in list(wb):
        wb.unload(name)
    wb.load("digits", KNeighborsClassifier(3).fit(X[:900], y[:900]), versions="latest:2")
    wb.load("digits", KNeighborsClassifier(3).fit(X, y), route=False)
    second = wb.versions("digits")[-1].version
    wb.label("digits", canary=second)
    wb.route("digits", {second: 0.3})
    with called(wb, ("digits", X[:1], 0.01)):
        for theme in in_each_theme(jupyter):
            with wide_panel(browser, jupyter) as seen:
                seen.expect_model("digits")
                shown = seen.card("digits")
                shown.get_by_role("button", name="Versions", exact=True).click()
                shown.get_by_role("button", name=f"Compare version {second}").click()
                compared = shown.get_by_role("group", name=f"Version {second} beside version")
                expect(compared).to_contain_text("chance would not explain")
                seen.page.mouse.move(600, 700)
                seen.page.wait_for_timeout(1000)
                shown.screenshot(path=PICTURES / f"versions-{theme}.png")


def card(panel: Panel) -> Locator:
    """A card with a request tried and settings to turn; alone in sight."""
    panel.page.set_viewport_size({"width": 1280, "height": 1230})
    panel.button("Service").click()
    panel.button("Live").click()
    tried = panel.part("digits", "Try it")
    tried.get_by_label("Rows").fill("3")
    tried.get_by_role("button", name="Send").click()
    expect(tried.get_by_role("group", name="Answer")).to_be_visible()
    settings = panel.part("digits", "Settings")
    settings.locator('[data-setting="max_queue_delay_s"]').fill("2")
    panel.page.mouse.move(600, 700)
    panel.page.wait_for_timeout(1000)
    return panel.card("digits")


def in_each_theme(jupyter: Jupyter) -> Iterator[str]:
    """Start JupyterLab anew in one theme after the other, and tell which it is."""
    for theme, name in THEMES.items():
        jupyter.stop()
        jupyter.settings["@jupyterlab/apputils-extension/themes"] = {"theme": name}
        jupyter.start()
        yield theme


@contextmanager
def wide_panel(browser: Browser, jupyter: Jupyter) -> Iterator[Panel]:
    """The panel on a page of its own, wide enough to be easily read."""
    page = browser.new_page(viewport={"width": 1280, "height": 1230}, device_scale_factor=2)
    seen = open_panel(page, jupyter)
    page.keyboard.press("Control+B")  # the file browser makes room
    widen(page)
    yield seen
    page.close()


@contextmanager
def called(wb: Workbench, *calls: tuple[str, object, float]) -> Iterator[None]:
    """A caller for each (model, rows, seconds between two calls), as long as the context lasts."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(calls)) as callers:
        for name, rows, pause_s in calls:
            callers.submit(call, wb, name, rows, pause_s, stop)
        try:
            yield
        finally:
            stop.set()


def widen(page: Page) -> None:
    """Drag the panel's edge to a width at which it is easily read."""
    left = page.locator("#jp-right-stack").bounding_box()
    assert left is not None
    page.mouse.move(left["x"] - 2, 300)
    page.mouse.down()
    page.mouse.move(left["x"] - 100, 300, steps=5)
    page.mouse.up()


def call(wb: Workbench, name: str, row: object, pause_s: float, stop: threading.Event) -> None:
    while not stop.wait(pause_s):
        wb[name](row)


if __name__ == "__main__":
    main()
