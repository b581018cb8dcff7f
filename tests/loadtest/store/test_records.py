from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.store.records import OUTCOMES, WARM_UP, Records

nan = math.nan
SOME = Records.of(
    [
        (0.0, 0.001, 0.010, 0.011, 0, WARM_UP, 100, 50, 1),
        (0.5, 0.500, 0.520, 0.525, 0, 0, 100, 50, 4),
        (0.6, 0.900, nan, 1.600, OUTCOMES.index("timeout"), 0, 100, 0, 4),
        (0.7, nan, nan, 1.700, OUTCOMES.index("connection"), 1, 0, 0, 4),
    ]
)


def test_latency_counts_from_when_a_request_was_due() -> None:
    assert SOME.latency_s == pytest.approx([0.011, 0.025, 1.0, 1.0])
    assert SOME.late_s[:3] == pytest.approx([0.001, 0.0, 0.3])
    assert math.isnan(SOME.late_s[3])


def test_the_warm_up_and_what_failed_can_be_left_out() -> None:
    assert len(SOME.measured) == 3
    assert len(SOME.ok) == 2 and len(SOME.measured.ok) == 1
    assert SOME.step(1).counts() == {"connection": 1}
    assert SOME.counts() == {"ok": 2, "connection": 1, "timeout": 1}
    assert SOME[1:3].rows.tolist() == [4, 4]


def test_chunks_join_and_travel_as_bytes() -> None:
    again = Records.from_bytes(Records.joined([SOME[:1], Records.of(), SOME[1:]]).to_bytes())
    assert np.array_equal(again.data.tobytes(), SOME.data.tobytes())
    assert len(Records.from_bytes(Records.of().to_bytes())) == len(Records.joined([])) == 0


def test_bytes_that_are_cut_short_or_of_another_kind_are_refused() -> None:
    data = SOME.to_bytes()
    for wrong, said in ((data[:-1], "cut short"), (b"IWR2" + data[4:], "another version"), (b"", "too few")):
        with pytest.raises(InvalidInput, match=said):
            Records.from_bytes(wrong)
