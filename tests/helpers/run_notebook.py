"""Runs a notebook of `notebooks/` top to bottom in a real kernel, and tells what its cells put out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def executed(name: str, changes: Mapping[str, str] | None = None, timeout_s: int = 100) -> nbformat.NotebookNode:
    """The notebook with its outputs. `changes` are made to its source before, each in the one cell that holds it;
    no cell may take longer than `timeout_s`."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)  # type: ignore[no-untyped-call]
    for before, after in (changes or {}).items():
        (cell,) = [each for each in notebook.cells if before in each.source]
        cell.source = cell.source.replace(before, after)
    client = NotebookClient(notebook, timeout=timeout_s, resources={"metadata": {"path": str(NOTEBOOKS)}})
    return client.execute()


def outputs(notebook: nbformat.NotebookNode, source: str) -> list[nbformat.NotebookNode]:
    """What the one cell that holds `source` put out, by kind of data; nothing but what it shows is expected."""
    (cell,) = [each for each in notebook.cells if source in each.source and each.cell_type == "code"]
    assert all(output.output_type in ("execute_result", "display_data") for output in cell.outputs), cell.outputs
    return [output.data for output in cell.outputs]


def shown(notebook: nbformat.NotebookNode, source: str) -> str:
    """The same as text."""
    return "\n".join(data["text/plain"] for data in outputs(notebook, source))


def shown_by_each(notebook: nbformat.NotebookNode, source: str) -> list[str]:
    """What each cell that holds `source` put out, as text on one line."""
    cells = [each for each in notebook.cells if each.cell_type == "code" and source in each.source]
    return [" ".join(" ".join(output.data["text/plain"] for output in cell.outputs).split()) for cell in cells]
