"""The panel where it may be opened: behind a base URL, in Notebook 7, in the dark, beside another version."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

import workbench
from tests import models
from tests.browser.conftest import OpenPage
from tests.browser.jupyter import TOKEN, Jupyter
from tests.browser.panel import DASHBOARD, PANEL, SEEN_S, WATCH, Panel, Plots, open_lab, open_panel

ROOT = Path(workbench.__file__).parents[1]

OTHER_VERSION = """
import importlib.metadata
true = importlib.metadata.version
importlib.metadata.version = lambda name: "0.9.0" if name == "infer-workbench" else true(name)
"""
"""As `sitecustomize`: a server extension that says it is of another version."""


def test_make_lab_opens_the_quickstart_with_the_panel_beside_it(jupyter: Jupyter, open_page: OpenPage) -> None:
    shutil.copytree(ROOT / "notebooks", jupyter.root / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (jupyter.home / "workspaces").mkdir()
    workspace = ROOT / "binder" / "quickstart.jupyterlab-workspace"
    command = [sys.executable, "-m", "jupyter", "lab", "workspaces", "import", "--name", "quickstart", str(workspace)]
    subprocess.run(command, env=jupyter.environment, check=True, capture_output=True, timeout=60)
    jupyter.start()
    page = open_page()
    page.goto(f"{jupyter.url}lab/workspaces/quickstart?token={TOKEN}")
    expect(page.get_by_role("heading", name="Quickstart: from a notebook cell to a served model")).to_be_visible()
    Panel(page).expect_state("Stopped")


def test_behind_a_base_url(jupyter: Jupyter, open_page: OpenPage) -> None:
    jupyter.base_url = "/user/alice/"
    models.save(models.add_constant(1.0), jupyter.root / "plus-one.onnx")
    jupyter.start()
    panel = open_panel(open_page(), jupyter)
    panel.expect_state("Stopped")
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    with jupyter.served() as wb:
        wb["plus-one"](np.ones((1, 4), np.float32))
    expect(panel.figure("plus-one", "queued")).to_have_text("0")


def test_in_notebook_7_by_the_view_menu(jupyter: Jupyter, open_page: OpenPage) -> None:
    jupyter.application = "notebook"
    models.save(models.add_constant(1.0), jupyter.root / "plus-one.onnx")
    jupyter.start()
    page = open_page(forgive=r"reading 'schema'")  # Notebook 7.6.5 says so without us too
    page.goto(f"{jupyter.url}tree?token={TOKEN}")
    page.locator(".jp-DirListing-item").filter(has_text="plus-one.onnx").wait_for()
    page.get_by_role("menuitem", name="View", exact=True).click()
    page.locator(".lm-Menu-item").filter(has_text="Show the Inference Panel").click()
    panel = Panel(page)
    panel.expect_state("Stopped")
    panel.load("plus-one.onnx")
    panel.expect_model("plus-one")
    form = panel.part("plus-one", "Try it")
    form.get_by_role("button", name="Send").click()
    expect(form.get_by_role("status")).to_contain_text("Version 1 answered in")
    expect(panel.live.value("throughput", "requests_per_s")).to_be_attached()
    assert panel.barriers() == []
    panel.button("Show the dashboard").click()
    dashboard = Plots(page.locator(f"#{DASHBOARD}"))
    expect(dashboard.value("throughput", "requests_per_s")).to_be_visible()
    area, plot = (each.bounding_box() for each in (dashboard.root, dashboard.plot("throughput")))
    assert area is not None and plot is not None
    assert plot["y"] + plot["height"] <= area["y"] + area["height"]  # short as it is, a whole plot is in sight
    assert panel.barriers(f"#{DASHBOARD}") == []
    dashboard.button("Open Latency of plus-one in a tab").click()
    alone = Plots(page.locator("#infer-workbench-plot-latency-plus-one"))
    expect(alone.value("latency", "p99_s")).to_be_visible()


@pytest.mark.long
def test_a_model_of_the_services_own_repository_is_loaded_by_its_name(
    jupyter: Jupyter, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = jupyter.home / "repository" / "stored" / "1"
    stored.mkdir(parents=True)
    models.save(models.add_constant(1.0), stored / "model.onnx")
    monkeypatch.setenv("INFER_WORKBENCH_MODEL_REPOSITORIES", str(jupyter.home / "repository"))
    jupyter.start()
    with jupyter.served() as wb:
        panel = open_panel(open_page(), jupyter)
        panel.expect_model("stored")
        wb.unload("stored")
        panel.button("Load stored").click()
        panel.expect_model("stored")
        assert list(wb) == ["stored"]


@pytest.mark.long
def test_a_service_that_cannot_start_says_why_with_the_end_of_its_log(
    jupyter: Jupyter, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_LOG_FORMAT", "verse")
    jupyter.start()
    panel = open_panel(open_page(forgive="status of 50"), jupyter)
    panel.button("Start").click()
    panel.expect_state("Failed")
    expect(panel.state).to_contain_text("log_format")
    expect(panel.root.get_by_role("log")).to_be_visible()
    assert panel.barriers() == []
    panel.button("Logs").click()
    expect(panel.page.locator(".iw-Logs-text")).to_be_visible()


@pytest.mark.long
def test_a_server_extension_of_another_version_is_said_in_one_line(
    jupyter: Jupyter, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = jupyter.home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(OTHER_VERSION)
    monkeypatch.setenv("PYTHONPATH", str(site))
    jupyter.start()
    panel = open_panel(open_page(), jupyter)
    expect(panel.root).to_contain_text("The front end is 0.1.0, the server extension 0.9.0")
    panel.expect_state("Stopped")


def test_without_the_server_extension_the_panel_says_what_to_do_and_does_not_ask_again(
    jupyter: Jupyter, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")  # what the user says goes before what was installed
    off = jupyter.home / "config" / "jupyter_server_config.d" / "off.json"
    off.parent.mkdir(parents=True)
    off.write_text('{"ServerApp": {"jpserver_extensions": {"workbench.jupyter": false}}}')
    jupyter.start()
    page = open_page(forgive="status of 404")
    open_lab(page, jupyter)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator(f'li[data-id="{PANEL}"]').click()
    notice = page.locator(f"#{PANEL}").get_by_role("alert")
    expect(notice).to_contain_text("jupyter server extension list")
    assert Panel(page).barriers() == []
    page.wait_for_timeout(2000)
    assert len([url for url in asked if "infer-workbench/api" in url]) == 1
    notice.get_by_role("button", name="Try again").click()
    expect(notice).to_be_visible()


@pytest.mark.long
def test_in_the_dark_and_narrow_everything_can_be_read(jupyter: Jupyter, open_page: OpenPage) -> None:
    jupyter.settings["@jupyterlab/apputils-extension/themes"] = {"theme": "JupyterLab Dark"}
    models.save(models.add_constant(1.0), jupyter.root / "plus-one.onnx")
    jupyter.start()
    with jupyter.served() as wb:
        wb.load("a-model-with-a-rather-long-name-as-they-have", jupyter.root / "plus-one.onnx")
        panel = open_panel(open_page(width=700), jupyter)
        panel.expect_model("a-model-with-a-rather-long-name-as-they-have")
        panel.button("Load a model").click()
        name = "a-model-with-a-rather-long-name-as-they-have"
        panel.part(name, "Settings")
        form = panel.part(name, "Try it")
        form.get_by_role("button", name="Send").click()
        expect(form.locator('[data-tensor="y"]')).to_be_visible()
        assert panel.root.evaluate(OVERFLOWS) == []
        assert panel.root.evaluate(CONTRAST) >= 4.5


OVERFLOWS = """panel => {
    const right = panel.getBoundingClientRect().right;
    return [...panel.querySelectorAll("button, input, dd, p, h3")]
        .filter(each => !each.closest(".iw-Tensor-scroll"))
        .filter(each => each.getBoundingClientRect().right > right + 1).map(each => each.outerHTML.slice(0, 200));
}"""
"""What reaches out of the panel."""

CONTRAST = """panel => {
    const light = colour => {
        const [r, g, b] = colour.match(/[0-9.]+/g).map(Number)
            .map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = light(getComputedStyle(panel).backgroundColor);
    return Math.min(...[...panel.querySelectorAll("dt, dd, p, h3, .iw-State")].filter(each => each.textContent)
        .map(each => light(getComputedStyle(each).color))
        .map(ink => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)));
}"""
"""The least contrast between what is written and the ground, as WCAG 2 defines it."""


@pytest.mark.serial
def test_from_the_service_to_the_pixel(
    jupyter: Jupyter, open_page: OpenPage, record_property: Callable[[str, object], None]
) -> None:
    models.save(models.add_constant(1.0), jupyter.root / "plus-one.onnx")
    jupyter.start()
    row = np.ones((1, 4), np.float32)
    with jupyter.served() as wb:
        wb.load("plus", jupyter.root / "plus-one.onnx")
        panel = open_panel(open_page(), jupyter)
        figure = panel.figure("plus", "requests_per_s")
        delays = []
        for _ in range(9):
            expect(figure).to_have_text("0")
            figure.evaluate(WATCH)
            wb["plus"](row)
            called = time.time()
            delays.append(figure.evaluate("() => window.seen") / 1000 - called)
    median = statistics.median(delays)
    record_property("event_to_pixel_median_s", median)
    print(f"from a request's end to its pixel: median {median * 1000:.0f} ms, most {max(delays) * 1000:.0f} ms")
    assert median < SEEN_S
