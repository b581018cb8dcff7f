from __future__ import annotations

import pytest

from workbench.core.round_numbers import nearest_round, next_round


@pytest.mark.parametrize(
    ("value", "nearest", "following"),
    [
        (1, 1, 1),
        (1.4, 1, 2),
        (1.6, 2, 2),
        (3.6, 5, 5),
        (9, 10, 10),
        (0.0042, 0.005, 0.005),
        (2.001, 2, 2),
        (700, 500, 1000),
    ],
)
def test_a_round_number_is_one_two_or_five_times_a_power_of_ten(value: float, nearest: float, following: float) -> None:
    assert nearest_round(value) == pytest.approx(nearest)
    assert next_round(value) == pytest.approx(following)
