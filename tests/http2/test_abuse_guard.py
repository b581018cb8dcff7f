"""The budget for useless frames, with a clock moved by hand."""

from __future__ import annotations

import pytest

from workbench.http2.abuse_guard import ANSWER_CREDIT, CAPACITY, REFILL_PER_S, AbuseBudget
from workbench.http2.frames import ErrorCode, H2ConnectionError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.budget = AbuseBudget(lambda: self.now_s)

    def tolerated(self, most: int = 100_000) -> int:
        """How many frames the budget has left."""
        for count in range(most):
            try:
                self.budget.spend()
            except H2ConnectionError as error:
                assert error.code == ErrorCode.ENHANCE_YOUR_CALM
                return count
        return most


def test_a_burst_is_tolerated_up_to_the_capacity() -> None:
    assert Clock().tolerated() == CAPACITY


def test_frames_no_faster_than_the_refill_are_tolerated_forever() -> None:
    clock = Clock()
    for _ in range(3 * int(CAPACITY)):
        clock.now_s += 1.01 / REFILL_PER_S
        clock.budget.spend()


def test_a_long_silence_refills_one_burst() -> None:
    clock = Clock()
    clock.now_s += 1e6
    assert clock.tolerated() <= 2 * CAPACITY + 1  # the one that it began with, and one more


def test_each_answer_earns_a_few_frames() -> None:
    clock = Clock()
    for _ in range(int(CAPACITY)):
        for _ in range(int(ANSWER_CREDIT)):
            clock.budget.spend()
        clock.budget.earn()
    for _ in range(int(CAPACITY)):
        clock.budget.earn()
    assert clock.tolerated() <= CAPACITY + ANSWER_CREDIT  # however many answers there were


def test_costlier_frames_are_tolerated_less_often() -> None:
    clock = Clock()
    for _ in range(int(CAPACITY) // 100):
        clock.budget.spend(100)
    with pytest.raises(H2ConnectionError):
        clock.budget.spend(1)
