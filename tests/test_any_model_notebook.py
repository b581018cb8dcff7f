"""The notebook of all kinds of models, run top to bottom in a real kernel, and what it shows."""

from __future__ import annotations

import re
from functools import cache

import nbformat
import pytest

from tests.helpers import run_notebook
from tests.helpers.run_notebook import executed

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # it trains and exports torch modules, half a minute in all


@cache
def notebook() -> nbformat.NotebookNode:
    return executed("04_any_model.ipynb", timeout_s=120)


def shown(source: str) -> str:
    return run_notebook.shown(notebook(), source)


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        (
            "%infer load cnn",
            r"exported Sequential \(torch .* · batch axis free · .*max \|diff\| \S+ on \d+ rows · serving in ",
        ),
        ("%%infer load progress", r"exported Pipeline of ColumnTransformer and Ridge .* max \|diff\| "),
        ("%infer load booster", r"exported LGBMRegressor \(lightgbm .* max \|diff\| "),
        ("%infer load mood", r"exported BertForSequenceClassification with its tokenizer .* labels equal, "),
        ("%%infer function prepare", r"predict served from its source .* max \|diff\| 0 on "),
        ("%infer pipeline reader", r"joined prepare >> cnn · serving in "),
    ],
    ids=lambda value: value.split()[2] if value.startswith("%") else "",
)
def test_each_model_is_served_and_says_so_in_one_line(cell: str, line: str) -> None:
    assert re.search(f"^{line}", shown(cell), re.MULTILINE), shown(cell)


def test_the_answers_are_those_of_the_objects() -> None:
    read = [re.search(r"(\d+)% of 297", shown(f"%infer predict {name}")) for name in ("cnn", "reader")]
    first, second = (int(each[1]) for each in read if each is not None)
    assert first == second > 80
    assert "equal to the pipeline's own: True" in shown("%infer predict progress test")
    assert re.search(r"good .*\n.* bad ", shown("%infer predict mood"))


def test_a_model_tells_where_it_came_from() -> None:
    assert re.search(r"exported from +Sequential \(torch ", shown("%infer show cnn"))
    assert "cnn, version 1, is exported" in shown("wb.export")
