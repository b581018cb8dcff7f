"""The side panel as a person sees it: found by what it says, not by how it is built."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.jupyter import TOKEN, Jupyter

PANEL = "infer-workbench-panel"


class Panel:
    """The side panel of one page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.root = page.locator(f"#{PANEL}")
        self.service = self.root.get_by_role("region", name="Service", exact=True)
        self.state = self.service.get_by_role("status")

    def card(self, name: str) -> Locator:
        return self.root.get_by_role("listitem", name=name, exact=True)

    def figure(self, model: str, name: str) -> Locator:
        return self.card(model).locator(f'[data-figure="{name}"]')

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

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


def open_lab(page: Page, jupyter: Jupyter, path: str = "lab") -> None:
    """JupyterLab, until it can be used."""
    page.goto(f"{jupyter.url}{path}?reset&token={TOKEN}")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    page.locator("#jp-main-dock-panel").wait_for()


def open_panel(page: Page, jupyter: Jupyter, path: str = "lab") -> Panel:
    """JupyterLab with the panel open."""
    open_lab(page, jupyter, path)
    page.locator(f'li[data-id="{PANEL}"]').click()
    panel = Panel(page)
    expect(panel.service).to_be_visible()
    return panel
