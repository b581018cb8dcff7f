"""When Redis is asked, as a table of what happened and when."""

from __future__ import annotations

from workbench.server.redis_rest import FAILURES, FIRST_REST_S, LONGEST_REST_S, RedisRest


def failed(rest: RedisRest, now: float) -> None:
    for _ in range(FAILURES):
        rest.went(False, now)


def test_a_few_failures_in_a_row_and_it_is_left_alone() -> None:
    rest = RedisRest()
    for _ in range(FAILURES - 1):
        rest.went(False, 0)
        assert rest.allows(0)
    rest.went(True, 0)
    failed(rest, 0)
    assert rest.resting
    assert not rest.allows(FIRST_REST_S - 0.01)


def test_one_call_finds_out_whether_it_is_back() -> None:
    rest = RedisRest()
    failed(rest, 0)
    assert rest.allows(FIRST_REST_S)
    rest.asked()
    assert not rest.allows(FIRST_REST_S)
    rest.went(True, FIRST_REST_S)
    assert rest.allows(FIRST_REST_S)
    assert not rest.resting


def test_each_rest_is_twice_as_long_up_to_a_limit() -> None:
    rest, now, rests = RedisRest(), 0.0, []
    failed(rest, now)
    for _ in range(8):
        begun = now
        while not rest.allows(now):
            now += 0.25
        rests.append(now - begun)
        rest.asked()
        rest.went(False, now)
    assert rests == [0.5, 1, 2, 4, 8, 16, LONGEST_REST_S, LONGEST_REST_S]


def test_failures_of_calls_from_before_do_not_prolong_a_rest() -> None:
    rest = RedisRest()
    failed(rest, 0)
    for _ in range(10):
        rest.went(False, 0.1)
    assert rest.allows(FIRST_REST_S)


def test_a_call_of_which_nothing_is_known_makes_room_for_the_next() -> None:
    rest = RedisRest()
    failed(rest, 0)
    rest.asked()
    rest.unknown()
    assert rest.allows(FIRST_REST_S)
    assert rest.resting
