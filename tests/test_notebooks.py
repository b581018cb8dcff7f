"""The notebooks, run top to bottom in a real kernel, and what they show."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@cache
def executed(name: str) -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(NOTEBOOKS)}})
    return client.execute()


def shown(source: str) -> str:
    """The text that the one cell of the quickstart which holds `source` put out."""
    (cell,) = [each for each in executed("01_quickstart.ipynb").cells if source in each.source and "outputs" in each]
    assert all(output.output_type in ("execute_result", "display_data") for output in cell.outputs), cell.outputs
    return "\n".join(output.data["text/plain"] for output in cell.outputs)


def test_the_model_that_is_loaded_says_what_was_done() -> None:
    report = shown("%infer load digits clf")
    assert "digits version 1 serves on" in report
    assert "KNeighborsClassifier exported to ONNX" in report
    assert "compared with the original on 360 rows of yours: label equal, probabilities within" in report
    assert "X FP32[rows, 64] → label INT64[rows], probabilities FP32[rows, 10]" in report
    assert "batched: rows do not influence each other" in report


def test_every_prediction_is_the_estimators_alone_and_in_company() -> None:
    assert shown('same = answer["label"]') == "'360 of 360 predictions are the same'"
    assert shown("answers = list(pool.map") == "'360 of 360 predictions are the same'"


def test_concurrent_rows_travel_together() -> None:
    counts = re.findall(r"^(\d+) +(\d+)$", shown("sizes.value_counts"), re.MULTILINE)
    sizes = {int(size): int(rows) for size, rows in counts}
    assert sum(sizes.values()) == 360
    assert max(sizes) > 1


def test_the_figures_are_those_of_the_burst() -> None:
    figures = shown("figures = next(watching)")
    requests, batches, largest = (
        int(re.search(rf"{name} +(\d+)", figures)[1])  # type: ignore[index]
        for name in ("requests", "batches", "largest batch")
    )
    assert 0 < batches <= requests <= 360
    assert largest > 1


def test_a_retrained_model_is_swapped_in_without_a_failed_call() -> None:
    assert "digits version 2 serves on" in shown("%infer load digits better --sample")
    counts = re.fullmatch(
        r"\{'answered by version': \{'1': (\d+), '2': (\d+)\}, 'failed': 0\}", shown("answered by version")
    )
    assert counts is not None, shown("answered by version")


def test_the_same_model_again_is_unchanged() -> None:
    cells = [each for each in executed("01_quickstart.ipynb").cells if each.source == "%infer load digits better"]
    assert "digits is unchanged, version 2 serving" in cells[0].outputs[0].data["text/plain"]


def test_a_resnet_answers_for_an_image() -> None:
    assert "unbatched: the first axis of input 'gpu_0/data_0' is fixed at 1" in shown("%infer load resnet")
    assert "float32[1, 1000]" in shown("%infer predict resnet image")


def test_every_verb_shows_itself_as_html_too() -> None:
    for cell in executed("01_quickstart.ipynb").cells:
        if cell.source.startswith("%infer"):
            assert "<div>" in cell.outputs[0].data["text/html"] or "<table>" in cell.outputs[0].data["text/html"]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_stores_no_outputs_and_each_cell_has_a_word_before_it(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert before is not None
            assert before.cell_type == "markdown", cell.source
