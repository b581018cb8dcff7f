"""The notebooks, run top to bottom in a real kernel, and what they show."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import nbformat
import pytest

from tests.helpers import run_notebook
from tests.helpers.run_notebook import NOTEBOOKS, executed

pytestmark = pytest.mark.timeout(300)  # the first test of a notebook runs all of it, which takes long under load


@cache
def notebook(name: str) -> nbformat.NotebookNode:
    return executed(name)


def outputs(source: str, name: str = "01_quickstart.ipynb") -> list[nbformat.NotebookNode]:
    return run_notebook.outputs(notebook(name), source)


def shown(source: str, name: str = "01_quickstart.ipynb") -> str:
    return run_notebook.shown(notebook(name), source)


def test_the_model_that_is_loaded_says_what_was_done() -> None:
    report = shown("%infer load digits clf")
    assert "digits version 1 serves on" in report
    assert re.search(
        r"^exported KNeighborsClassifier \(scikit-learn .* labels equal, max \|diff\| ", report, re.MULTILINE
    )
    assert re.search(r"compared with the original on 3\d\d rows of yours: label equal, probabilities within", report)
    assert "X FP32[rows, 64] → label INT64[rows], probabilities FP32[rows, 10]" in report
    assert "batches of up to 64 rows" in report


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
    cells = [each for each in notebook("01_quickstart.ipynb").cells if each.source == "%infer load digits better"]
    assert "digits is unchanged, version 2 serving" in cells[0].outputs[-1].data["text/plain"]


def test_a_resnet_answers_for_an_image() -> None:
    assert "unbatched: the first axis of input 'gpu_0/data_0' is fixed at 1" in shown("%infer load resnet")
    assert "float32[1, 1000]" in shown("%infer predict resnet image")


def test_every_verb_shows_itself_as_html_too() -> None:
    for cell in notebook("01_quickstart.ipynb").cells:
        if cell.source.startswith("%infer"):
            assert "<div" in cell.outputs[0].data["text/html"]


def test_make_lab_opens_copies_so_that_running_them_leaves_the_clone_as_it_is(tmp_path: Path) -> None:
    root = NOTEBOOKS.parent
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks", ignore=shutil.ignore_patterns(".*"))
    (tmp_path / "labextension").mkdir()
    make = ["make", "-s", "-f", str(root / "Makefile"), "lab/notebooks"]
    subprocess.run(make, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    copy = tmp_path / "lab" / "notebooks" / LIVE
    assert copy.read_bytes() == (NOTEBOOKS / LIVE).read_bytes()
    copy.write_text("with outputs")
    (tmp_path / "notebooks" / "07_new.ipynb").write_text("new")
    subprocess.run(make, cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    assert copy.read_text() == "with outputs", "what was done to a copy stays"
    assert (copy.parent / "07_new.ipynb").exists()
    assert "/lab/" in (root / ".gitignore").read_text().splitlines()
    assert (
        "root_dir="
        in subprocess.run(["make", "-n", "lab"], cwd=root, check=True, capture_output=True, text=True).stdout
    )


LIVE = "02_live.ipynb"


def test_what_a_cell_makes_is_served() -> None:
    report = shown("%%infer load digits", LIVE)
    assert re.search(r"digits version \d+ serves on", report)
    assert "Pipeline of StandardScaler" in report


def test_the_window_tells_of_the_callers() -> None:
    table = shown("%infer models --window", LIVE)
    assert table.startswith("the last ")
    assert re.search(r"^digits +\d+ +Ready +[1-9]", table, re.MULTILINE)
    assert "digits" in shown('recent.df.set_index(["model", "version"])', LIVE)


@pytest.mark.parametrize("cell", ["recent.plot()", "digits.slowest()[:5].plot()"])
def test_a_finished_figure_is_kept_as_data_without_the_library(cell: str) -> None:
    (data,) = outputs(cell, LIVE)
    figure = data["application/vnd.plotly.v1+json"]
    assert figure["data"]
    assert "text/html" not in data


def test_rows_travel_together_until_a_knob_says_otherwise() -> None:
    batches = dict(re.findall(r"^(together|alone) .* ([\d.]+)$", shown("pd.concat", LIVE), re.MULTILINE))
    assert float(batches["together"]) > 1
    assert float(batches["alone"]) < float(batches["together"])


def test_a_model_is_shown_down_to_its_operators_and_run_times() -> None:
    card = shown("%infer show digits", LIVE)
    for fact in ("skl2onnx", "parameters", "operators", "in memory", "runs on", "run times"):
        assert fact in card
    assert "rows_per_s" in shown('wb.show("digits").run_times', LIVE)


def test_a_job_is_left_to_the_background_and_comes_back_whole() -> None:
    assert shown("%%infer predict digits --bg", LIVE).startswith(("predict digits: running", "predict digits: done"))
    assert re.fullmatch(r"'19,800 scans in [\d.]+ s'", shown("job.result(", LIVE))


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_stores_no_outputs_and_each_cell_has_a_word_before_it(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells  # type: ignore[no-untyped-call]
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None
            assert before is not None
            assert before.cell_type == "markdown", cell.source
