"""Plots where people want them: a single one in a tab of its own, and the dashboard with all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, Response, expect

from tests import models
from tests.browser.conftest import pages
from tests.browser.jupyter import Jupyter
from tests.browser.panel import DASHBOARD, Panel, Plots, barriers, calling, open_panel, wear
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
    expect(Plots(queue).group).to_be_visible()
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


@pytest.fixture(scope="module")
def dashboard(panel: Panel, wb: Workbench) -> Locator:
    """The dashboard with both models, in the place of the plots that were opened before."""
    page = panel.page
    for icon in reversed(page.locator('.lm-TabBar-tab:has-text(" of ") .lm-TabBar-tabCloseIcon').all()):
        icon.click()
    panel.button("Show the dashboard").click()
    shown = page.locator(f"#{DASHBOARD} .iw-Dashboard")
    for name in ("plus", "minus"):
        toggle = shown.get_by_role("group", name="Models").get_by_role("button", name=name, exact=True)
        expect(toggle).to_be_visible()
        if toggle.get_attribute("aria-pressed") == "false":
            toggle.click()
        expect(column(shown, name).root).to_be_visible()
    return shown


def column(dashboard: Locator, name: str) -> Plots:
    return Plots(dashboard.get_by_role("region", name=name, exact=True))


def test_the_rows_of_the_dashboard_align_and_its_scales_are_shared(dashboard: Locator, wb: Workbench) -> None:
    both = [column(dashboard, name) for name in ("plus", "minus")]
    with calling(wb, "plus", every_s=0.02), calling(wb, "minus", every_s=0.4):
        for each in both:
            expect(each.value("latency", "p99_s")).to_have_text(SOME)
            expect(each.value("throughput", "requests_per_s")).to_have_text(SOME)
        for plot in PLOTS:
            left, right = (each.plot(plot).locator("canvas").bounding_box() for each in both)
            assert left is not None and right is not None
            assert abs(left["y"] - right["y"]) < 1 and left["x"] < right["x"], plot
        assert both[0].plot("throughput").evaluate(HAS_INK)
        expect(both[0].plot("errors")).to_contain_text("No errors")
        assert not both[0].plot("errors").evaluate(HAS_INK)  # no line where there was none
        ends = [each.plot("throughput").locator("canvas") for each in both]
        dashboard.page.wait_for_function(DIFFER, arg=[end.element_handle() for end in ends])
        dashboard.get_by_role("button", name="Same scales").click()
        dashboard.page.wait_for_function(AGREE, arg=[end.element_handle() for end in ends])
        dashboard.get_by_role("combobox", name="Scale of latency").select_option("log")
        for each in both:
            expect(each.plot("latency").locator("canvas")).to_have_attribute("data-axis", re.compile("^log "))
            expect(each.plot("latency").get_by_text("log scale")).to_be_visible()


def test_the_list_of_slow_requests_leaves_the_plots_where_they_are(dashboard: Locator, wb: Workbench) -> None:
    with calling(wb, "minus", every_s=0.1):
        dashboard.locator(".iw-Dashboard-columns").evaluate("columns => { columns.scrollTop = 300; }")
        over = column(dashboard, "minus").plot("stages").locator(".u-over")
        expect(over).to_be_in_viewport()
        before = over.bounding_box()
        assert before is not None
        over.click(position={"x": before["width"] - 3, "y": before["height"] / 2})
        slowest = dashboard.get_by_role("region", name="Slowest requests")
        expect(slowest.get_by_role("listitem").first).to_contain_text("compute")
        dashboard.page.wait_for_timeout(300)  # for anything that would still move
        plots = dashboard.locator(".iw-Dashboard-columns")
        after, listed, around = over.bounding_box(), slowest.bounding_box(), plots.bounding_box()
        assert after is not None and abs(after["y"] - before["y"]) < 3
        assert listed is not None and around is not None
        assert listed["x"] >= around["x"] + around["width"]  # at the side
        assert plots.evaluate("columns => columns.scrollTop") > 0
        slowest.get_by_role("button", name="Close the list").click()
        expect(slowest).to_be_hidden()


def test_of_many_models_each_can_be_chosen_and_found(lab: Jupyter, dashboard: Locator, wb: Workbench) -> None:
    names = [f"a-model-of-many-{number:02}" for number in range(24)]
    for name in names:
        wb.load(name, lab.root / "plus.onnx")
    models = dashboard.get_by_role("group", name="Models")
    expect(models.get_by_role("button")).to_have_count(26)
    assert models.evaluate("models => models.scrollWidth <= models.clientWidth")
    for name in ("plus", "minus"):  # what is drawn is in sight, though it is late in the alphabet
        assert models.get_by_role("button", name=name, exact=True).evaluate(IN_SIGHT)
    last = models.get_by_role("button", name=names[-1])
    last.scroll_into_view_if_needed()
    assert last.evaluate(IN_SIGHT)
    dashboard.get_by_role("searchbox", name="Filter models").fill("many 07")
    expect(models.get_by_role("button")).to_have_text(["plus", "minus", "a-model-of-many-07"])
    dashboard.get_by_role("searchbox", name="Filter models").fill("")
    for name in names:
        wb.unload(name)


PLOTS = ("throughput", "latency", "stages", "queue", "errors", "batches")

AGREE = "canvases => new Set(canvases.map(canvas => canvas.dataset.axis)).size === 1"
DIFFER = "canvases => new Set(canvases.map(canvas => canvas.dataset.axis)).size > 1"
"""Whether the axes of some plots have the same ends."""

HAS_INK = """figure => {
    const canvas = figure.querySelector("canvas");
    const { backgroundColor } = getComputedStyle(figure.querySelector(".iw-Plot-swatch"));
    const [red, green, blue] = backgroundColor.match(/[0-9]+/g).map(Number);
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
        const near = Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue);
        if (data[i + 3] > 200 && near < 60) return true;
    }
    return false;
}"""
"""Whether anything is drawn in the colour of the plot."""

IN_SIGHT = """button => {
    const { top, bottom } = button.getBoundingClientRect(), list = button.parentElement.getBoundingClientRect();
    return top >= list.top - 1 && bottom <= list.bottom + 1;
}"""
