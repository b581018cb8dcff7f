"""Looking stops where it does not pay, and is tried again."""

from __future__ import annotations

from workbench.engine.result_cache.cache_worth import (
    CALLS_JUDGED,
    FIRST_REST,
    LEAST_HITS,
    LONGEST_REST,
    CacheWorth,
)


def judged(worth: CacheWorth, hits: int) -> bool:
    """CALLS_JUDGED calls that look, of which so many find; whether it rests from then on."""
    rests = []
    for call in range(CALLS_JUDGED):
        assert worth.looks()
        rests.append(worth.found(call < hits))
    assert not any(rests[:-1])
    return rests[-1]


def rest(worth: CacheWorth) -> int:
    calls = 0
    while not worth.looks():
        calls += 1
    return calls


def test_it_goes_on_while_one_call_in_a_hundred_finds() -> None:
    worth = CacheWorth()
    assert not judged(worth, LEAST_HITS)
    assert worth.looks()


def test_it_rests_twice_as_long_each_time_that_it_did_not_pay_up_to_a_limit() -> None:
    worth = CacheWorth()
    rests = []
    for _ in range(6):
        assert judged(worth, LEAST_HITS - 1)
        assert worth.last_hits == LEAST_HITS - 1
        rests.append(rest(worth))
    assert rests == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST, 8 * FIRST_REST, LONGEST_REST, LONGEST_REST]


def test_a_time_that_paid_makes_the_next_rest_short_again() -> None:
    worth = CacheWorth()
    judged(worth, 0)
    rest(worth)
    judged(worth, 0)
    rest(worth)
    assert not judged(worth, CALLS_JUDGED)
    judged(worth, 0)
    assert rest(worth) == FIRST_REST
