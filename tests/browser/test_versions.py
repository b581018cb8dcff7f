"""The versions of a model on its card: seen, split, labelled, compared, promoted, taken back, unloaded."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests import models
from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, calling, open_panel
from workbench.api import Workbench


def versions(panel: Panel, name: str = "plus") -> Locator:
    """The part of the card, unfolded."""
    button = panel.card(name).get_by_role("button", name="Versions", exact=True)
    expect(button).to_be_visible()
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    return panel.card(name).get_by_role("group", name=f"Versions of {name}")


def agree(panel: Panel, label: str) -> None:
    panel.page.get_by_role("dialog").get_by_role("button", name=label, exact=True).click()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_versions_are_seen_split_compared_promoted_and_taken_back(
    lab: Jupyter, wb: Workbench, open_page: OpenPage, dark: bool
) -> None:
    wb.load("plus", lab.root / "plus-one.onnx", versions="latest:2")
    panel = open_panel(open_page(dark=dark, forgive="status of 40[09]"), lab)
    panel.expect_model("plus")
    card = panel.card("plus")
    expect(card.get_by_role("button", name="Versions", exact=True)).to_have_count(0)  # one alone
    wb.load("plus", models.save(models.add_constant(3.0), lab.root / "better.onnx"), route=False)
    expect(card).to_contain_text("Called by its name")
    part = versions(panel)
    one, two = (part.get_by_role("listitem", name=f"Version {n}") for n in (1, 2))
    expect(one).to_contain_text("Serves")
    expect(two).to_contain_text("Called by its name")

    part.get_by_role("button", name="Label version 2").click()
    form = part.get_by_role("form", name="Labels of version 2")
    form.get_by_role("textbox").fill("v3")
    form.get_by_role("button", name="Set").click()
    expect(part.get_by_role("alert")).to_contain_text("v3")  # looks like a version
    form.get_by_role("textbox").fill("canary")
    form.get_by_role("button", name="Set").click()
    expect(two).to_contain_text("Labels: canary")

    part.get_by_role("button", name="Split the calls").click()
    split = part.get_by_role("form", name="Split the calls")
    percent = split.get_by_role("textbox", name="Version 2, in %")
    percent.fill("110")
    expect(split).to_contain_text("must be from 0 to 100 %")
    percent.fill("25")
    split.get_by_role("button", name="Split", exact=True).click()
    expect(panel.page.get_by_role("dialog")).to_contain_text("version 2 25 %")
    agree(panel, "Split")
    expect(part.get_by_role("status")).to_have_text("The calls are split: version 1 gets 75 %, version 2 gets 25 %")
    expect(two).to_contain_text("25 %")

    with calling(wb, "plus"):
        part.get_by_role("button", name="Compare version 2").click()
        compared = part.get_by_role("group", name="Version 2 beside version 1")
        expect(compared).to_contain_text(re.compile(r"live for \d+ s; [1-9]"))
        expect(compared.locator('[data-compared="errors"]')).to_contain_text("0.0 %")
        part.get_by_role("button", name="What served when").click()
        expect(part).to_contain_text("canary=2")
        assert panel.barriers() == []
        compared.get_by_role("button", name="Promote 2").click()
        agree(panel, "Promote")
        expect(part.get_by_role("status")).to_contain_text("Version 2 serves instead of version 1; it took")
        expect(two).to_contain_text("Serves")
        expect(one).to_contain_text("A rollback goes back to it")
        part.get_by_role("button", name="Roll back to version 1").click()
        agree(panel, "Roll back")
        expect(part.get_by_role("status")).to_contain_text("Version 1 serves instead of version 2")
    assert wb["plus"].status.version == "1"
    part.get_by_role("button", name="Unload version 2").click()
    agree(panel, "Unload")
    expect(part.get_by_role("status")).to_have_text("Version 2 is unloaded")
    expect(part.get_by_role("button", name="Unload version 2")).to_have_count(0)
