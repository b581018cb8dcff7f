"""Plots where people want them: a single one in a tab of its own, and the dashboard with all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests import models
from tests.browser.conftest import pages
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, Plots, barriers, calling, open_panel, wear
from workbench.api import Workbench

PLOT = "infer-workbench-plot"
SOME = re.compile(r"[1-9]")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    """A JupyterLab with a document, whose service serves `plus` and `minus`."""
    home = tmp_path_factory.mktemp("composed")
    (home / "root").mkdir()
    jupyter = Jupyter(home, home / "root")
    models.save(models.add_constant(1.0), jupyter.root / "plus.onnx")
    (jupyter.root / "notes.txt").write_text("What I found out.\n")
    jupyter.start()
    with jupyter.served() as wb:
        for name in ("plus", "minus"):
            wb.load(name, jupyter.root / "plus.onnx")
    yield jupyter
    jupyter.end()


@pytest.fixture(scope="module")
def wb(lab: Jupyter) -> Iterator[Workbench]:
    with lab.served() as wb:
        yield wb


@pytest.fixture(scope="module")
def panel(lab: Jupyter, browser: Browser) -> Iterator[Panel]:
    """One page for all tests here, with the panel beside the document."""
    with pages(browser) as open_page:
        panel = open_panel(open_page(), lab, "lab/tree/notes.txt")
        panel.expect_model("plus")
        panel.live.root.get_by_role("combobox").select_option("plus")
        yield panel


def tab(page: Page, plot: str, name: str = "plus") -> Locator:
    """The tab with a single plot, but for its title."""
    return page.locator(f'[id="{PLOT}-{plot}-{name}"] .iw-PlotTab')


def saved(page: Page, text: str) -> object:
    """Waits until the workspace is saved with a text in it."""

    def keeps(answer: Response) -> bool:
        body = (answer.request.post_data or "").replace("\\", "").replace(" ", "")
        return "api/workspaces" in answer.url and answer.request.method == "PUT" and text in body

    return page.expect_response(keeps)


def test_one_plot_opens_beside_the_document_and_comes_back_with_the_workspace(panel: Panel, wb: Workbench) -> None:
    page = panel.page
    with calling(wb, "plus"):
        panel.live.button("Open Latency of plus in a tab").click()
        latency = tab(page, "latency")
        shown = Plots(latency)
        expect(shown.value("latency", "p99_s")).to_have_text(SOME)
        assert shown.root.locator("[data-plot]").count() == 1
        document, beside = (each.bounding_box() for each in (page.locator(".jp-FileEditor"), latency))
        assert document is not None and beside is not None
        assert beside["x"] >= document["x"] + document["width"]
        picture = shown.canvas("latency").bounding_box()
        assert picture is not None and picture["height"] > 0.75 * beside["height"]  # as high as its tab
        with saved(page, '"plot":"latency","window_s":300'):
            shown.button("5 min").click()
        page.reload()
        expect(shown.value("latency", "p99_s")).to_have_text(SOME)
        expect(shown.button("5 min")).to_have_attribute("aria-pressed", "true")
        again = latency.bounding_box()
        assert again is not None and abs(again["x"] - beside["x"]) < 5


def test_the_view_menu_opens_a_plot_that_is_asked_for_below_the_other(panel: Panel, wb: Workbench) -> None:
    page = panel.page
    page.get_by_role("menuitem", name="View", exact=True).click()
    page.locator(".lm-Menu-item").filter(has_text="Open a Live Plot in a Tab").click()
    for what, button in (("Queue", "Next"), ("minus", "Open")):
        dialog = page.locator(".jp-Dialog")
        dialog.locator("select").select_option(what)
        dialog.get_by_role("button", name=button).click()
    queue = tab(page, "queue", "minus")
    expect(queue.locator("canvas")).to_be_visible()
    first, second = (each.bounding_box() for each in (tab(page, "latency"), queue))
    assert first is not None and second is not None
    assert second["y"] > first["y"] + first["height"] and abs(second["x"] - first["x"]) < 5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nobody_is_kept_out_of_a_single_plot(panel: Panel, wb: Workbench, dark: bool) -> None:
    page = panel.page
    wear(page, dark)
    with calling(wb, "plus", every_s=0.2):
        shown = Plots(tab(page, "latency"))
        over = shown.plot("latency").locator(".u-over")
        box = over.bounding_box()
        assert box is not None
        over.click(position={"x": box["width"] - 3, "y": box["height"] / 2})
        expect(shown.slowest).to_be_visible()
        assert barriers(page, f'[id="{PLOT}-latency-plus"]') == []
        shown.slowest.get_by_role("button", name="Close the list").click()
