"""How much of a peer is borne, by a clock moved by hand."""

from __future__ import annotations

import pytest

from workbench.http2.abuse_guard import ANSWER_CREDIT, CAPACITY, REFILL_PER_S, AbuseBudget
from workbench.http2.frames import ErrorCode, H2ConnectionError


@pytest.fixture(autouse=True)
def _the_service_lives_on() -> None:
    """There is none: the one of the tests beside these is not begun for them."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.patience = AbuseBudget(lambda: self.now_s)

    def borne(self, most: int = 100_000) -> int:
        """How many there may be now."""
        for count in range(most):
            try:
                self.patience.spend()
            except H2ConnectionError as error:
                assert error.code == ErrorCode.ENHANCE_YOUR_CALM
                return count
        return most


def test_a_burst_is_borne_and_no_more_than_that() -> None:
    assert Clock().borne() == CAPACITY


def test_what_comes_no_faster_than_it_is_forgiven_is_borne_forever() -> None:
    clock = Clock()
    for _ in range(3 * int(CAPACITY)):
        clock.now_s += 1.01 / REFILL_PER_S
        clock.patience.spend()


def test_long_quiet_earns_no_more_than_one_burst() -> None:
    clock = Clock()
    clock.now_s += 1e6
    assert clock.borne() <= 2 * CAPACITY + 1  # the one that it began with, and one more


def test_each_answer_makes_up_for_a_few() -> None:
    clock = Clock()
    for _ in range(int(CAPACITY)):
        for _ in range(int(ANSWER_CREDIT)):
            clock.patience.spend()
        clock.patience.earn()
    for _ in range(int(CAPACITY)):
        clock.patience.earn()
    assert clock.borne() <= CAPACITY + ANSWER_CREDIT  # however many answers there were


def test_what_costs_more_is_borne_less_often() -> None:
    clock = Clock()
    for _ in range(int(CAPACITY) // 100):
        clock.patience.spend(100)
    with pytest.raises(H2ConnectionError):
        clock.patience.spend(1)
