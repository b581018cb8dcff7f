from __future__ import annotations

import numpy as np

from workbench.client.array_table import grids


def text(index: list[object] | None = None, **outputs: object) -> list[str]:
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    return [line for grid in grids(arrays, index) for line in grid.text()]


def html(**outputs: object) -> str:
    return "".join(grid.html() for grid in grids({name: np.asarray(value) for name, value in outputs.items()}))


def test_numbers_of_one_output_have_the_same_places() -> None:
    assert text(y=[1.5, -120.25, 7.0])[1:] == ["0      1.5", "1   -120.2", "2      7.0"]
    assert text(y=[1e-6, 2e-5])[1:] == ["0   1.000e-06", "1   2.000e-05"]
    assert text(y=[np.nan, np.inf, 0.5])[1:] == ["0     nan", "1     inf", "2   0.500"]


def test_the_first_rows_are_shown_and_the_others_counted() -> None:
    lines = text(y=np.arange(100))
    assert lines[1:] == ["0   0", "1   1", "2   2", "3   3", "4   4", "5   5", "⋮ 94 more rows"]
    assert text(y=np.arange(7))[-1] == "⋮ 1 more row"


def test_of_many_columns_the_first_and_the_last_are_shown() -> None:
    heads, row = text(y=np.arange(1000).reshape(1, -1))[1:]
    assert heads.split() == ["0", "1", "2", "3", "4", "5", "6", "7", "…", "999"]
    assert row.split() == ["0", "0", "1", "2", "3", "4", "5", "6", "7", "…", "999"]


def test_outputs_without_common_rows_stand_below_each_other() -> None:
    assert text(a=[1, 2], loss=3.5) == ["    a", "0   1", "1   2", " loss", "3.500"]


def test_text_is_cut_and_kept_on_its_line() -> None:
    cut = text(y=np.array(["a" * 50, "two\nlines"], dtype=object))
    assert cut[1:] == ["0   " + "a" * 39 + "…", "1   two lines"]


def test_rows_carry_the_names_that_were_sent() -> None:
    assert text(index=["monday", "tuesday"], y=[1, 2])[1:] == [" monday   1", "tuesday   2"]


def test_arrays_of_any_shape_are_shown() -> None:
    assert text(y=np.zeros((0, 3)))[1:] == ["   0  1  2"]
    assert text(y=np.zeros((2, 0)))[1:] == ["0   -", "1   -"]
    assert len(text(y=np.zeros((2, 3, 224, 224)))) == 3
    assert text(y=np.float32(2.5))[1:] == ["2.500"]


def test_html_has_a_cell_a_value_under_its_index() -> None:
    shown = html(label=[1, 2], scores=[[0.1, 0.9], [0.8, 0.2]])
    assert shown.count("<td") == 2 * 4  # the row's label, one label, two scores
    assert 'colspan="2"' in shown
    assert "text-align:right;font-variant-numeric:tabular-nums" in shown
    assert "&lt;b&gt;" in html(y=np.array(["<b>"], dtype=object))
