"""Every table of a cell in a real browser: one line a row, numbers to the right, and no long name breaks one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.cell_tables import LONG, outputs, page

MEASURE = """
() => [...document.querySelectorAll("section")].map(section => ({
  name: section.id,
  wide: section.scrollWidth - section.clientWidth,
  page: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  tables: [...section.querySelectorAll("table")].filter(each => each.querySelector("thead")).map(table => ({
    wide: table.offsetWidth - table.parentElement.clientWidth,
    lines: [...table.rows].filter(row => row.offsetHeight).map(row => {
      const style = getComputedStyle(row.cells[0]);
      const line = parseFloat(style.fontSize) * 1.5;
      const padding = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
      return (row.offsetHeight - padding) / line;
    }),
    cut: [...table.querySelectorAll("td, th")].filter(cell => cell.scrollWidth > cell.clientWidth + 1)
      .map(cell => ({
        text: cell.textContent,
        title: cell.title,
        number: cell.tagName === "TD" && getComputedStyle(cell).textAlign !== "left",
      })),
  })),
}))
"""
"""Of each output: by how much it is wider than the page; of its tables the lines of each row, and what is cut off."""


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 900, "height": 800})
    yield page
    page.close()


@pytest.mark.parametrize("width", [900, 250])
@pytest.mark.parametrize("name", ["digits", LONG], ids=["short", "long"])
def test_a_row_is_one_line_and_no_name_breaks_it(opened: Page, name: str, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.set_content(page(outputs(name)))
    found = {each["name"]: each for each in opened.evaluate(MEASURE)}
    assert list(found) == list(outputs())
    too_wide = {each["name"]: table["wide"] for each in found.values() for table in each["tables"] if table["wide"] > 0}
    assert width < 900 or not too_wide, "px"
    for output, measured in found.items():
        assert measured["page"] == measured["wide"] == 0, output
        for table in measured["tables"]:
            assert max(table["lines"]) < 1.5, output
            for cell in table["cut"]:
                assert cell["title"] == cell["text"].removeprefix("● "), output
                assert not cell["number"], output


def test_why_a_model_is_batched_is_one_click_away(opened: Page) -> None:
    opened.set_content(page(outputs()))
    cell = opened.locator("#models td").filter(has_text="64 rows").first
    reason = cell.get_by_text("each row is computed alone")
    assert not reason.is_visible()
    cell.locator("summary").click()
    assert reason.is_visible()


def test_numbers_stand_at_the_right_with_their_unit(opened: Page) -> None:
    opened.set_content(page(outputs()))
    aligned = opened.evaluate(
        """() => [...document.querySelectorAll("section:not(#compare) td")].filter(each =>
          /^[\\d.,]+ ?(ms|s|MB|kB|[/]s|%)?$/.test(
          each.textContent.trim()) && !/version|run/.test(
          each.closest("table").tHead?.rows[0].cells[each.cellIndex]?.textContent ?? "version"))
          .map(each => [each.closest("section").id, each.textContent, getComputedStyle(each).textAlign])"""
    )
    assert len(aligned) > 60
    assert not [each for each in aligned if each[2] != "right"]
