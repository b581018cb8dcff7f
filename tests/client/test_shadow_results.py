"""What is shown of a shadow, and what comes over the wire."""

from __future__ import annotations

import json

import ml_dtypes
import msgspec
import numpy as np
import pytest

from workbench.client.shadow_results import ShadowReport
from workbench.core.shadow_figures import ShadowExample, ShadowFigures, ShadowOutput
from workbench.errors import WorkbenchError
from workbench.protocols.shadow_json import decode_shadow, encode_shadow

FIGURES = ShadowFigures(
    "digits",
    "2",
    "1",
    0.25,
    1_000_000.0,
    by="user",
    keep_rows=5,
    compared=90,
    failed=2,
    dropped={"busy": 7, "refused": 1},
    last_error="it broke",
    rows=200,
    differing=3,
    outputs=(
        ShadowOutput("label", 200, 197, True),
        ShadowOutput("scores", 180, 177, False, 0.125, 0.25, 1, 20, "the shapes differ: [1, 2] and [1, 3]"),
    ),
    examples=1,
)


def test_a_report_says_what_was_found_and_what_became_of_the_copies() -> None:
    shown = repr(ShadowReport(FIGURES))
    for said in (
        "digits version 2 as a shadow of version 1: a copy of 25 % of the calls by user",
        "100 calls to copy: 90 compared, 2 failed, 8 dropped (7 since callers left no time for it, 1 since the shadow",
        "3 of 200 rows with another label, class or NaN",
        "98.5 %",
        "0.125",
        "25 %",
        "1 row with NaN in one alone; 20 rows not compared: the shapes differ: [1, 2] and [1, 3]",
        "the last error: it broke",
    ):
        assert said in shown
    assert "<table" in ShadowReport(FIGURES)._repr_html_()
    table = ShadowReport(FIGURES).df
    assert table["flips"].tolist() == [3, 3]


def test_figures_and_rows_of_any_datatype_come_over_the_wire_as_they_are() -> None:
    row = {"a": np.array([[np.nan, np.inf]], np.float32), "b": np.array([b"\xff", b""], object)}
    answer = {"y": np.array([1.5], ml_dtypes.bfloat16)}
    sent = msgspec.json.encode(encode_shadow(FIGURES, [ShadowExample(row, answer, answer, 1, 0.5)]))
    figures, (example,) = decode_shadow(json.loads(sent))
    assert figures == FIGURES
    assert np.isnan(example.inputs["a"][0, 0])
    assert example.inputs["a"][0, 1] == np.inf
    assert example.inputs["b"].tolist() == [b"\xff", b""]
    assert example.shadow["y"].dtype == ml_dtypes.bfloat16
    assert (example.flips, example.difference) == (1, 0.5)
    assert decode_shadow({"shadow": None}) == (None, [])


def test_what_does_not_fit_is_an_error_of_ours() -> None:
    with pytest.raises(WorkbenchError, match="does not fit"):
        decode_shadow({"shadow": {"model": 3}})
