"""A minute of changes at full load: no answer is wrong, none fails, and the memory comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.version_changes import measure, report

pytestmark = [pytest.mark.long, pytest.mark.serial]


def test_50_swaps_20_rollbacks_and_20_weights_in_a_minute_cost_no_caller_an_answer(tmp_path: Path) -> None:
    found = measure(tmp_path, 60.0)
    report(found)
    assert found.seen.answered > 10_000
    assert (found.seen.failed, found.seen.wrong) == (0, 0), found.seen.told
    assert found.seen.versions > 40
    assert found.after_bytes <= found.before_bytes * 1.1
    assert found.p99_ratio < 6, "the benchmark says what it is on a quiet machine"
