from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from workbench.live.batches import COARSE, FINE_TICKS, FIRST_RECORDS, MAX_RECORDS, BatchLog


def told(log: BatchLog, *firsts: int) -> list[object]:
    return list(log.parts(np.array(firsts, np.int64)))


def test_batches_are_added_up_part_by_part() -> None:
    log = BatchLog()
    log.add(0, {"idle": {"1": 2}, "full": {"8": 1}}, 0)
    log.add(1, {"idle": {"1": 1, "3": 1}}, 0)
    log.add(2, {}, 0)
    log.add(3, {"full": {"8": 4}}, 0)
    assert told(log, 0, 2) == [{"idle": {"1": 3, "3": 1}, "full": {"8": 1}}, {"full": {"8": 4}}]
    assert told(log, 0, 1, 2, 3) == [
        {"idle": {"1": 2}, "full": {"8": 1}},
        {"idle": {"1": 1, "3": 1}},
        None,
        {"full": {"8": 4}},
    ]


def test_what_came_before_the_first_part_is_in_none() -> None:
    log = BatchLog()
    log.add(0, {"idle": {"1": 2}}, 0)
    log.add(5, {"idle": {"1": 7}}, 0)
    assert told(log, 3) == [{"idle": {"1": 7}}]


def test_nothing_was_run() -> None:
    assert told(BatchLog(), 0, 10) == [None, None]


def test_ticks_that_nobody_needs_any_more_make_room() -> None:
    log = BatchLog()
    for tick in range(10_000):
        log.add(tick, {"idle": {"1": 1}}, oldest=tick - 20)
    assert log.nbytes == 12 * FIRST_RECORDS
    assert told(log, 9990) == [{"idle": {"1": 10}}]


def test_many_kinds_of_batches_take_a_bounded_room_and_keep_their_counts() -> None:
    """64 sizes in each tick of 15 minutes: what is old is known by seconds, and nothing of it is lost."""
    log = BatchLog()
    every = {"full": {str(rows): 1 for rows in range(1, 65)}}
    ticks = 3600
    for tick in range(ticks):
        log.add(tick, every, oldest=0)
    assert log.nbytes <= 12 * MAX_RECORDS
    parts = log.parts(np.arange(0, ticks, 10 * COARSE))
    assert all(part is not None and set(part["full"]) == set(every["full"]) for part in parts)
    total = Counter[str]()
    for part in parts:
        assert part is not None
        total.update(part["full"])
    assert set(total.values()) == {ticks}
    fine = log.parts(np.arange(ticks - FINE_TICKS, ticks))
    assert fine == [every] * FINE_TICKS


def test_more_kinds_than_there_is_room_for_lose_the_oldest() -> None:
    log = BatchLog()
    for tick in range(300):
        log.add(tick, {"full": {str(rows): 1 for rows in range(1, 1001)}}, oldest=0)
    assert log.nbytes <= 12 * MAX_RECORDS
    (newest,) = log.parts(np.array([299]))
    assert newest is not None
    assert len(newest["full"]) == 1000


@pytest.mark.parametrize("rows", ["1", "65536", "99999999"])
def test_a_batch_of_any_size_is_counted(rows: str) -> None:
    log = BatchLog()
    log.add(0, {"alone": {rows: 3}}, 0)
    ((part),) = told(log, 0)
    assert part == {"alone": {str(min(int(rows), (1 << 24) - 1)): 3}}
