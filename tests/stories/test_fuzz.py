"""Some seconds of what `python -m benchmarks.fuzz` does for minutes: mutated requests harm nobody."""

from __future__ import annotations

from pathlib import Path

from benchmarks.fuzz import measure, report

SECONDS = 6.0


def test_mutated_requests_are_refused_and_the_others_are_answered_right(tmp_path: Path) -> None:
    figures = measure(SECONDS, tmp_path, seed=7)
    assert figures["good"], report(figures)
    assert figures["tally"]["right"] > 20
    answers = figures["tally"]["answers"]
    assert {"HTTP 200", "HTTP 400", "HTTP 401", "gRPC OK", "gRPC INVALID_ARGUMENT", "stream invalid_argument"} <= set(
        answers
    ), report(figures)
