from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.convert.export_check import row_values


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (np.array([[1.0, 2.5], [3.25, 4.0]]), "3.25, 4"),
        (np.arange(12.0).reshape(2, 6), "6, 7, 8, 9, …"),
        (np.zeros((2, 3, 8, 8)), "0, 0, 0, 0, …"),
        (np.array([1, 7]), "7"),
        (pd.DataFrame({"age": [31, 40], "city": ["Bern", "Basel"]}), "age=40, city='Basel'"),
        (pd.Series(["one", "a longer text"]), "'a longer text'"),
        (["one", "x" * 100], "'x"),
        ({"ids": np.zeros((2, 5), int), "scale": np.array([0.5, 2.0])}, "ids=int64[5], scale=2"),
    ],
    ids=["numbers", "many", "image", "vector", "frame", "series", "long text", "dict"],
)
def test_a_row_is_shown_by_a_few_of_its_values(rows: Any, shown: str) -> None:
    found = row_values(rows, 1)
    assert found.startswith(shown)
    assert len(found) < 60
