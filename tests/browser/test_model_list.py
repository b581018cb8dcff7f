"""Many models: a line each, in an order that does not jump, found by typing, walked through with the keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import OpenPage, pages
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, call_wrongly, calling, open_panel
from tests.helpers.waiting import until
from workbench.api import Workbench

SCREEN_PX = 900


def load_many(wb: Workbench, path: Path, count: int) -> None:
    for number in range(count):
        wb.load(f"model-{number:03}", path)


class ModelList:
    """The lines of the models in the panel."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.section = panel.root.get_by_role("region", name=re.compile("^Models"))
        self.rows = self.section.get_by_role("list", name="Models").get_by_role("listitem")
        self.filter = self.section.get_by_role("searchbox", name="Filter models")

    def line(self, name: str) -> Locator:
        return self.panel.card(name).locator(".iw-ModelLine")

    def names(self) -> list[str]:
        """Of the rows in the page, from the top."""
        found: list[str] = self.rows.evaluate_all("rows => rows.map(row => row.dataset.model)")
        return found

    def mark(self, name: str, kind: str) -> Locator:
        return self.line(name).locator(f'[data-mark="{kind}"]')


@pytest.fixture(scope="module")
def thirty(lab: Jupyter, browser: Browser) -> Iterator[ModelList]:
    """One page with thirty models, for the tests that change none of them."""
    with lab.served() as wb, pages(browser) as open_page:
        for name in list(wb):
            wb.unload(name)
        load_many(wb, lab.root / "plus-one.onnx", 30)
        listed = ModelList(open_panel(open_page(height=SCREEN_PX), lab))
        expect(listed.line("model-000")).to_be_visible()
        yield listed


def focused(page: Page) -> str:
    name: str = page.evaluate("() => document.activeElement?.closest('[data-model]')?.dataset.model ?? ''")
    return name


def test_thirty_models_are_thirty_lines_on_two_screens(thirty: ModelList) -> None:
    expect(thirty.section).to_have_accessible_name("Models (30)")
    expect(thirty.rows).to_have_count(30)
    high: int = thirty.section.evaluate("section => section.offsetHeight")
    assert high <= 2 * SCREEN_PX
    assert thirty.panel.barriers() == []
    line = thirty.line("model-007")
    assert line.get_attribute("aria-expanded") == "false"
    line.click()
    card = thirty.panel.card("model-007")
    expect(card.locator(".iw-Card-state")).to_contain_text("Ready")
    tops = [card.locator(f'[data-figure="{name}"]').bounding_box() for name in ("p50_s", "p95_s", "p99_s")]
    assert len({top["y"] for top in tops if top}) == 1  # in one row
    assert thirty.panel.barriers() == []
    line.click()
    expect(card.locator(".iw-Card-state")).to_have_count(0)


def test_a_model_is_found_by_a_few_letters(thirty: ModelList) -> None:
    thirty.filter.fill("01")
    expect(thirty.rows).to_have_count(11)  # 001, 010 to 019
    expect(thirty.section.get_by_text("11 of 30")).to_be_visible()
    thirty.filter.press("ArrowDown")
    assert focused(thirty.panel.page) == "model-001"
    thirty.filter.fill("no such")
    expect(thirty.section.get_by_text("No model is called so.")).to_be_visible()
    thirty.filter.press("Escape")
    expect(thirty.rows).to_have_count(30)


def test_the_keys_walk_through_the_list_which_is_one_stop_of_the_tab_key(thirty: ModelList) -> None:
    page = thirty.panel.page
    thirty.filter.focus()
    page.keyboard.press("Tab")  # the order
    page.keyboard.press("Tab")
    assert focused(page) != ""
    moves = {"Home": "model-000", "ArrowDown": "model-001", "End": "model-029", "PageUp": "model-019"}
    for key, name in moves.items():
        page.keyboard.press(key)
        until(lambda name=name: focused(page) == name)  # type: ignore[misc]
    page.keyboard.type("model-015")
    until(lambda: focused(page) == "model-015")
    line = thirty.line("model-015")
    for key, is_open in (("Enter", "true"), ("ArrowLeft", "false"), ("ArrowRight", "true"), ("Enter", "false")):
        page.keyboard.press(key)
        expect(line).to_have_attribute("aria-expanded", is_open)
    page.keyboard.press("Tab")
    assert focused(page) == ""  # behind the list, not at the next of thirty


def test_the_models_that_are_asked_come_first_but_not_under_the_pointer(thirty: ModelList, lab: Jupyter) -> None:
    page = thirty.panel.page
    page.mouse.move(10, 10)
    assert thirty.names()[:2] == ["model-000", "model-001"]
    with lab.served() as wb, calling(wb, "model-020"):
        until(lambda: thirty.names()[:2] == ["model-020", "model-000"])
        expect(thirty.line("model-020").locator('[data-figure="requests_per_s"]')).to_have_text(re.compile("[1-9]"))
        thirty.line("model-003").hover()
        shown = thirty.names()
        with calling(wb, "model-010"):
            moved = thirty.line("model-010").locator('[data-figure="requests_per_s"]')
            expect(moved).to_have_text(re.compile("[1-9]"))
            page.wait_for_timeout(2500)  # longer than it takes to look at who is asked
            assert thirty.names() == shown
            page.mouse.move(10, 10)
            until(lambda: thirty.names()[:2] == ["model-010", "model-020"])
    thirty.section.get_by_role("combobox", name="Order of the models").select_option("By name")
    until(lambda: thirty.names()[:2] == ["model-000", "model-001"])


def test_marks_say_a_split_a_share_and_errors(lab: Jupyter, wb: Workbench, open_page: OpenPage) -> None:
    load_many(wb, lab.root / "plus-one.onnx", 5)  # more than are unfolded by themselves
    wb.set("model-001", versions="latest:2")
    wb.load("model-001", lab.root / "plus two.onnx", route=False)
    wb.route("model-001", {wb.versions("model-001")[-1].version: 0.25})
    wb.share("model-002", label="team-a")
    call_wrongly(lab, "model-003")
    panel = open_panel(open_page(), lab)
    listed = ModelList(panel)
    expect(listed.mark("model-001", "canary")).to_have_text(re.compile("^25 %"))
    expect(listed.mark("model-002", "share")).to_have_attribute("title", "Shared: team-a")
    expect(listed.mark("model-003", "alert")).to_be_visible()
    expect(listed.mark("model-004", "alert")).to_be_hidden()
    assert panel.barriers() == []


def test_up_to_four_models_are_unfolded_and_a_fifth_folds_none(panel: Panel, wb: Workbench, lab: Jupyter) -> None:
    load_many(wb, lab.root / "plus-one.onnx", 4)
    listed = ModelList(panel)
    for number in range(4):
        panel.expect_model(f"model-{number:03}")
    wb.load("model-004", lab.root / "plus-one.onnx")
    expect(listed.line("model-004")).to_have_attribute("aria-expanded", "false")
    panel.expect_model("model-000")
    expect(listed.filter).to_have_count(0)  # from eight on
