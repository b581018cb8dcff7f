from __future__ import annotations

import pytest

from workbench.client.formatting import milliseconds


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.00 ms"), (1e-5, "0.01 ms"), (0.0042, "4.2 ms"), (0.25, "250 ms"), (2.5, "2.50 s")]
)
def test_times_are_shown_at_the_precision_that_matters(seconds: float, shown: str) -> None:
    assert milliseconds(seconds) == shown
