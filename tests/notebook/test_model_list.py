from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import workbench
from workbench.notebook.model_list import (
    ASKED_FOR_S,
    FILTER_FROM,
    Rank,
    arranged,
    filtered,
    last_asked,
    line_of,
    rank_of,
)

NOW = 1000.0
LIST = Path(workbench.__file__).parents[1] / "labextension/src/modelList"


def version(state: str = "Ready", **more: Any) -> dict[str, Any]:
    return {"version": "1", "state": state, "routed": True, **more}


OPEN = {"state": "open"}


@pytest.mark.parametrize(
    ("versions", "asked_at", "rank"),
    [
        ([version()], 0.0, Rank.IDLE),
        ([version()], NOW - 5, Rank.ASKED),
        ([version()], NOW - ASKED_FOR_S, Rank.IDLE),
        ([version("Failed")], NOW - 5, Rank.TROUBLE),
        ([version(circuit=OPEN)], NOW - 5, Rank.TROUBLE),
        ([version(circuit={"state": "closed"})], 0.0, Rank.IDLE),
        ([version(), version("Loading", routed=False)], 0.0, Rank.UNDER_WAY),
        ([version("Failed", routed=False), version()], 0.0, Rank.IDLE),
    ],
)
def test_the_ranks_are_those_of_the_side_panel(versions: Any, asked_at: float, rank: Rank) -> None:
    assert rank_of(versions, asked_at, NOW) is rank


def test_busy_and_failed_models_stand_first_then_names() -> None:
    models = {name: [version()] for name in ("b", "a", "busy")} | {"zero": [version("Failed")]}
    assert arranged(models, {"busy": NOW - 1}, NOW) == ["zero", "busy", "a", "b"]


def test_both_panels_have_the_same_bounds() -> None:
    order, search = ((LIST / name).read_text(encoding="utf-8") for name in ("modelOrder.ts", "modelSearch.ts"))
    assert re.search(rf"ASKED_FOR_S = {ASKED_FOR_S:g};", order)
    assert re.search(rf"FILTER_FROM = {FILTER_FROM};", search)


def test_a_line_says_what_is_to_know() -> None:
    assert line_of("m", [version()]) == "● m"
    assert line_of("m", [version("Warming")]) == "○ m · Warming up…"
    assert line_of("m", [version("Failed")]) == "○ m · Failed"
    assert line_of("m", [version(circuit=OPEN)]) == "○ m · circuit open"
    canary = version(version="2", routed=False, weight=0.1)
    assert line_of("m", [version(weight=0.9), canary]) == "● m · 10 % to version 2"
    long = line_of("m" * 128, [version()])
    assert long.endswith("…") and len(long) == 50


def test_names_are_found_by_all_words() -> None:
    assert filtered(["digits-v1", "Digits-v2", "iris"], "v2 digits") == ["Digits-v2"]
    assert filtered(["a", "b"], " ") == ["a", "b"]


def test_a_model_was_asked_last_at_its_last_point_with_requests() -> None:
    history = {
        "a": {"time": [1.0, 2.0, 3.0], "requests_per_s": [4.0, 5.0, 0.0]},
        "b": {"time": [1.0], "requests_per_s": [None]},
    }
    assert last_asked(history) == {"a": 2.0}
