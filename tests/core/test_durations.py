from __future__ import annotations

import pytest

from workbench.core.durations import parse_seconds
from workbench.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(5, 5.0), (0.5, 0.5), ("5ms", 0.005), (" 200 us ", 2e-4), ("-3s", -3.0), ("1e-3s", 1e-3), ("2m", 120.0), ("0", 0)],
)
def test_a_time_is_a_number_of_seconds_or_a_text_with_its_unit(value: object, seconds: float) -> None:
    assert parse_seconds("delay", value, ("us", "ms", "s", "m")) == pytest.approx(seconds)


def test_a_bare_text_is_seconds_where_that_is_allowed() -> None:
    assert parse_seconds("window", "60", ("s", "m"), bare=True) == 60.0


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("5", "delay needs a unit: 5ms or 5s"),
        ("5m", "delay must be a time with its unit (5ms, 5s), got '5m'"),
        ("5 hours", "got '5 hours'"),
        ("ms", "got 'ms'"),
        ("1.2.3s", "got '1.2.3s'"),
        ("nans", "got 'nans'"),
        ("1e999s", "delay must be finite"),
        (True, "got 'True'"),
        (None, "got 'None'"),
    ],
)
def test_what_is_no_time_is_refused_with_the_units_that_fit(value: object, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_seconds("delay", value, ("ms", "s"))
    assert says in caught.value.message
