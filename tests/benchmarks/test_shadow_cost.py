"""A shadow at 100 % beside a model at half of its capacity: no request fails, and what was planted is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.shadow import measure, report

pytestmark = [pytest.mark.long, pytest.mark.serial]


def test_a_shadow_of_all_calls_costs_no_caller_an_answer_and_finds_what_was_planted(tmp_path: Path) -> None:
    for batching, capacity, seen in measure(tmp_path, 6, 1.0):
        report(batching, capacity, seen)  # an error where one failed, or where something else was found
        assert sum(each.compared for each in seen.found) > 50
        assert seen.ratio() < 6, "the benchmark says what it is on a quiet machine"
