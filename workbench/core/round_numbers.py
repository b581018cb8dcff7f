"""Round numbers for axes: 1, 2 or 5 times a power of ten."""

from __future__ import annotations

import math


def nearest_round(value: float) -> float:
    """The round number nearest to a positive `value`."""
    return min(_candidates(value), key=lambda each: abs(each - value))


def next_round(value: float) -> float:
    """The least round number that is not below a positive `value`, give or take 0.1 %."""
    return next(each for each in _candidates(value) if each >= value * 0.999)


def _candidates(value: float) -> tuple[float, ...]:
    power = 10.0 ** math.floor(math.log10(value))
    return power, 2 * power, 5 * power, 10 * power
