"""The side panel on a real JupyterLab, in a real browser, on a real service."""

from __future__ import annotations

import os
import re
import signal

import numpy as np
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import PANEL, Panel, calling, open_panel
from workbench.api import Workbench

SOME = re.compile(r"[1-9]")
"""A figure that is neither missing nor zero."""


def test_the_quickstart_turns_ready_in_the_panel_and_its_figures_move(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    page = open_page()
    panel = open_panel(page, lab, "lab/tree/notebooks/01_quickstart.ipynb")
    expect(panel.root.get_by_text("No model is served yet")).to_be_visible()
    page.get_by_role("button", name="Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    panel.expect_model("digits")
    expect(panel.figure("digits", "requests_per_s")).to_have_text(SOME)
    expect(panel.figure("digits", "p99_s")).to_have_text(SOME)
    expect(panel.card("digits").locator(".iw-Spark-line")).to_have_attribute("d", SOME)


def test_a_model_is_loaded_by_its_path_and_unloaded_from_its_card(panel: Panel, wb: Workbench) -> None:
    panel.load("plus two.onnx")
    panel.expect_model("plus_two")
    assert wb["plus_two"](np.ones((1, 4), np.float32))["y"][0, 0] == 3.0
    panel.button("What to do with plus_two").click()
    panel.page.get_by_role("menuitem", name="Unload").click()
    asked = panel.page.get_by_role("dialog")
    expect(asked).to_contain_text("Unload plus_two?")
    asked.get_by_role("button", name="Cancel").click()
    panel.expect_model("plus_two")
    panel.button("What to do with plus_two").click()
    panel.page.get_by_role("menuitem", name="Unload").click()
    asked.get_by_role("button", name="Unload").click()
    expect(panel.card("plus_two")).to_be_hidden()
    assert list(wb) == []


def test_a_file_that_is_no_model_is_refused_where_it_was_asked_for(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    panel = open_panel(open_page(forgive="status of 40[04]"), lab)
    panel.load("broken.onnx", "mine")
    alert = panel.root.get_by_role("alert").filter(has_text="mine was not loaded")
    expect(alert).to_contain_text("ONNX")
    panel.load("nowhere.onnx", "other")
    other = panel.root.get_by_role("alert").filter(has_text="other was not loaded from nowhere.onnx")
    expect(other).to_be_visible()
    expect(alert).to_be_hidden()
    other.get_by_role("button", name="Dismiss").click()
    expect(panel.root.get_by_role("alert")).to_have_count(0)
    assert list(wb) == []


def test_a_right_click_on_a_file_serves_it(panel: Panel, wb: Workbench) -> None:
    page = panel.page
    file = page.locator(".jp-DirListing-item").filter(has_text="plus-one.onnx")
    file.click(button="right")
    page.get_by_role("menuitem", name="Serve This Model").click()
    panel.expect_model("plus-one")
    page.locator(".jp-DirListing-item").filter(has_text="notebooks").click(button="right")
    expect(page.locator(".lm-Menu")).to_be_visible()
    expect(page.get_by_role("menuitem", name="Serve This Model")).to_be_hidden()
    page.keyboard.press("Escape")


def test_what_a_right_click_serves_is_brought_into_sight_and_what_others_load_is_not(
    panel: Panel, lab: Jupyter, wb: Workbench
) -> None:
    for number in range(30):
        wb.load(f"model-{number}", lab.root / "plus-one.onnx")
    wb.load("others", lab.root / "plus-one.onnx")
    expect(panel.root.get_by_role("region", name="Models (31)")).to_be_visible()
    expect(panel.service).to_be_in_viewport()  # nothing was scrolled
    panel.page.locator(".jp-DirListing-item").filter(has_text="plus-one.onnx").click(button="right")
    panel.page.get_by_role("menuitem", name="Serve This Model").click()
    panel.expect_model("plus-one")
    expect(panel.card("plus-one")).to_be_in_viewport()
    expect(panel.service).not_to_be_in_viewport()


def test_a_killed_service_is_said_within_two_seconds_and_comes_back(panel: Panel, lab: Jupyter, wb: Workbench) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel.expect_model("plus")
    with calling(wb, "plus"):
        expect(panel.figure("plus", "requests_per_s")).to_have_text(SOME)
        worker = lab.record().worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        panel.expect_state("Restarting", within_s=2)
        panel.expect_state("Ready")
        panel.expect_model("plus")
        expect(panel.figure("plus", "requests_per_s")).to_have_text(SOME)
    assert lab.record().worker != worker


def test_the_service_is_stopped_and_started_from_the_panel(panel: Panel, lab: Jupyter, wb: Workbench) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel.expect_model("plus")
    panel.button("Stop the service").click()
    dialog = panel.page.get_by_role("dialog")
    expect(dialog).to_contain_text("1 model is served")
    dialog.get_by_role("button", name="Stop").click()
    panel.expect_state("Stopped")
    panel.button("Start").click()
    panel.expect_state("Ready")
    panel.expect_model("plus")


def test_a_restart_of_jupyter_is_survived_and_the_models_are_still_there(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    panel = open_panel(open_page(forgive="ERR_|status of 5|Connection lost|Failed to fetch"), lab)
    panel.expect_model("plus")
    lab.stop()
    expect(panel.root.get_by_text("Connection to Jupyter lost")).to_be_visible()
    lab.start()
    expect(panel.root.get_by_text("Connection to Jupyter lost")).to_be_hidden()
    panel.expect_model("plus")
    with calling(wb, "plus"):
        expect(panel.figure("plus", "requests_per_s")).to_have_text(SOME)


def test_a_hidden_panel_asks_for_nothing_and_is_told_no_figures(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx")
    page = open_page()
    ticks: list[str] = []
    asked: list[str] = []

    def hear(frame: str | bytes) -> None:
        if isinstance(frame, str) and frame.startswith('{"type":"figures"'):
            ticks.append(frame)

    page.on("websocket", lambda socket: socket.on("framereceived", hear))
    page.on("request", lambda request: asked.append(request.url))
    panel = open_panel(page, lab)
    tab = page.locator(f'li[data-id="{PANEL}"]')
    with calling(wb, "plus"):
        expect(panel.figure("plus", "requests_per_s")).to_have_text(SOME)
        panel.service.get_by_role("button", name="Log", exact=True).click()
        expect(panel.root.get_by_role("log")).to_contain_text("listening")
        page.wait_for_timeout(1000)
        assert ticks
        tab.click()
        expect(panel.root).to_be_hidden()
        page.wait_for_timeout(500)  # what was on its way
        ticks.clear()
        asked.clear()
        page.wait_for_timeout(3000)
        assert not ticks
        assert not [url for url in asked if "infer-workbench" in url]
        tab.click()
        expect(panel.figure("plus", "requests_per_s")).to_have_text(SOME)
