"""A notebook of some cells, open in a real JupyterLab: written, run, saved."""

from __future__ import annotations

import json
from typing import Any

import nbformat
from playwright.sync_api import Page, expect

from tests.browser.jupyter import TOKEN, Jupyter

NAME = "cells.ipynb"


def write_notebook(jupyter: Jupyter, *cells: str) -> None:
    made = [nbformat.v4.new_code_cell(cell, id=f"cell-{i}") for i, cell in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=made, metadata=kernel), jupyter.root / NAME)


def open_notebook(page: Page, jupyter: Jupyter) -> None:
    page.goto(f"{jupyter.url}lab/tree/{NAME}?reset&token={TOKEN}")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").first.click()


def run(page: Page, cells: int = 1) -> None:
    """Run the next so many, without waiting for any."""
    for _ in range(cells):
        page.keyboard.press("Shift+Enter")


def save(page: Page, jupyter: Jupyter) -> dict[str, Any]:
    """The notebook, saved by the page."""
    with page.expect_response(lambda answer: answer.request.method == "PUT" and NAME in answer.url) as answer:
        page.keyboard.press("Control+s")
    assert answer.value.ok
    return dict(json.loads((jupyter.root / NAME).read_text()))
