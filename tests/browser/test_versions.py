"""The versions of a model on its card: seen, split, labelled, compared, promoted, taken back, unloaded."""

from __future__ import annotations

import re
import threading
from contextlib import suppress

import numpy as np
import pytest
from playwright.sync_api import Locator, expect

from tests import models
from tests.browser.conftest import OpenPage
from tests.browser.jupyter import Jupyter
from tests.browser.panel import Panel, calling, open_panel
from workbench.api import Workbench
from workbench.errors import WorkbenchError


def versions(panel: Panel, name: str = "plus") -> Locator:
    """The part of the card, unfolded."""
    button = panel.card(name).get_by_role("button", name="Versions", exact=True)
    expect(button).to_be_visible()
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    return panel.card(name).get_by_role("group", name=f"Versions of {name}")


def agree(panel: Panel, label: str) -> None:
    panel.page.get_by_role("dialog").get_by_role("button", name=label, exact=True).click()


@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.long)], ids=["light", "dark"])
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


ROWS = 10


class Callers:
    """Two callers without a pause, until the context is left."""

    def __init__(self, wb: Workbench, name: str) -> None:
        self.faulty = False
        """Every other row is the one that the new version does not know."""
        self._wb, self._name = wb, name
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(first,)) for first in (0, 5)]

    def __enter__(self) -> Callers:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join()

    def _call(self, number: int) -> None:
        while not self._over.is_set():
            number += 1
            with suppress(WorkbenchError):
                row = ROWS - 1 if self.faulty and number % 2 else number % (ROWS - 1)
                self._wb.predict(self._name, np.array([[row]]))


def test_a_rollout_goes_its_steps_is_taken_back_by_its_guard_halted_resumed_and_stopped(
    lab: Jupyter, wb: Workbench, open_page: OpenPage
) -> None:
    wb.load("known", models.save(models.lookup(ROWS), lab.root / "known.onnx"))
    wb.load("known", models.save(models.lookup(ROWS - 1), lab.root / "fewer.onnx"), route=False)
    panel = open_panel(open_page(forgive="status of 40[09]"), lab)
    panel.expect_model("known")
    part = versions(panel, "known")
    toast = panel.page.get_by_role("alert").filter(has_text="Rollout of known")

    form = part.get_by_role("form", name="Roll out")
    send = form.get_by_role("button", name="Roll out version 2")

    def fill(steps: str, every: str, guard: str) -> None:
        part.get_by_role("button", name="Roll out", exact=True).click()
        for label, text in (("Steps, in % of the calls", steps), ("Each for", every), ("What must hold", guard)):
            form.get_by_role("textbox", name=label).fill(text)

    fill("50, 20", "6s", "speed<5%")
    expect(form).to_contain_text("Rising, up to 100 %")
    expect(send).to_be_disabled()
    form.get_by_role("textbox", name="Steps").fill("30, 60, 100")
    send.click()
    agree(panel, "Roll out")
    expect(part.get_by_role("alert")).to_contain_text("A guard's clauses are errors<0.5%")
    form.get_by_role("textbox", name="What must hold").fill("errors<5%")
    rollout = part.get_by_role("group", name="Rollout of version 2")
    clause = rollout.locator('[data-clause="errors<5%"]')
    with Callers(wb, "known") as callers:
        send.click()
        expect(panel.page.get_by_role("dialog")).to_contain_text("It gets 30 %, then 60 %, then 100 %")
        agree(panel, "Roll out")
        expect(rollout).to_contain_text("Step 1 of 3: version 2 gets 30 % of the calls")
        expect(clause).to_contain_text("Holds")
        expect(rollout).to_contain_text("Step 2 of 3: version 2 gets 60 % of the calls")
        callers.faulty = True
        expect(rollout).to_contain_text("Rolled back")
    expect(clause).to_contain_text("Breached")
    expect(rollout).to_contain_text("Version 2 gets no calls but those that name it")
    expect(toast).to_contain_text("errors<5% is breached")
    expect(part.get_by_role("listitem", name="Version 2")).to_contain_text("Called by its name")
    assert panel.barriers() == []

    toast.get_by_role("button", name="Show").click()
    fill("25, 100", "10m", "errors<5%")
    send.click()
    agree(panel, "Roll out")
    expect(rollout).to_contain_text("Step 1 of 2: version 2 gets 25 % of the calls, for 9 min")
    expect(rollout.locator("[aria-current]")).to_have_text("25 %")
    expect(toast).to_contain_text("step 1 of 2, 25 %")
    expect(toast).to_have_count(1)
    expect(part.get_by_role("button", name="Roll out", exact=True)).to_have_count(0)
    assert panel.barriers() == []
    wb.route("known", {"2": 0.4})
    expect(rollout).to_contain_text("Halted")
    expect(toast).to_contain_text("routed by hand")
    rollout.get_by_role("button", name="Resume").click()
    expect(rollout).to_contain_text("Under way")
    rollout.get_by_role("button", name="Stop the rollout").click()
    agree(panel, "Stop")
    expect(rollout).to_contain_text("Stopped")
    expect(part.get_by_role("button", name="What served when")).to_be_visible()
    assert {wb.predict("known", np.array([[0]])).version for _ in range(8)} == {"1"}
