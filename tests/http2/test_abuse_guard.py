"""The budget for useless frames, with a clock moved by hand."""

from __future__ import annotations

import pytest

from workbench.http2 import abuse_guard
from workbench.http2.abuse_guard import (
    ADDRESS_CAPACITY,
    ADDRESS_REFILL_PER_S,
    ANSWER_CREDIT,
    CAPACITY,
    FREE,
    REFILL_PER_S,
    AbuseBudget,
    AddressBudgets,
)
from workbench.http2.frames import ErrorCode, H2ConnectionError


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.budget = AbuseBudget(lambda: self.now_s)
        self.addresses = AddressBudgets(lambda: self.now_s)

    def stranger(self, address: str) -> AbuseBudget:
        """Of a new connection."""
        return AbuseBudget(lambda: self.now_s, lambda cost: self.addresses.take(address, cost))

    def tolerated(self, budget: AbuseBudget | None = None, most: int = 100_000) -> int:
        """How many frames the budget has left."""
        for count in range(most):
            try:
                (budget or self.budget).spend()
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


def test_a_stranger_who_connects_anew_does_not_begin_anew_but_may_still_show_a_token() -> None:
    clock = Clock()
    counts = [clock.tolerated(clock.stranger("here")) for _ in range(100)]
    assert sum(counts) <= ADDRESS_CAPACITY + 101 * FREE
    assert counts[-1] == FREE
    clock.now_s += 10
    assert clock.tolerated(clock.stranger("here")) == CAPACITY
    assert clock.tolerated(clock.stranger("here")) == CAPACITY
    assert clock.tolerated(clock.stranger("here")) <= 10 * ADDRESS_REFILL_PER_S - 2 * CAPACITY + 4 * FREE


def test_neither_other_addresses_nor_who_has_shown_a_token_pays_for_it() -> None:
    clock = Clock()
    while clock.tolerated(clock.stranger("here")) > FREE:
        pass
    assert clock.tolerated(clock.stranger("there")) == CAPACITY
    owner = clock.stranger("here")
    owner.spend(FREE)
    owner.trust()
    assert clock.tolerated(owner) == CAPACITY - FREE


def test_addresses_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse_guard, "MAX_ADDRESSES", 10)
    clock = Clock()
    for number in range(100):
        assert clock.addresses.take(f"address {number}", 1)
    assert len(clock.addresses._buckets) == 10
