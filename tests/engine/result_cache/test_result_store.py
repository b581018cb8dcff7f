"""What is kept stays within its bytes and its time, and is nobody else's memory."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.tensor import Array
from workbench.engine.result_cache.result_store import ARRAY_BYTES, ENTRY_BYTES, ResultStore


def outputs(value: float = 1, size: int = 100) -> dict[str, Array]:
    return {"y": np.full(size, value, np.float32)}


ONE = ENTRY_BYTES + ARRAY_BYTES + 400
"""Bytes of an entry of `outputs`."""


def test_an_answer_is_found_until_it_is_too_old() -> None:
    store = ResultStore(10 * ONE, 60)
    assert store.get(b"a", 0) is None
    assert store.put(b"a", outputs(3), 0.005, 0)
    kept = store.get(b"a", 59.9)
    assert kept is not None
    np.testing.assert_array_equal(kept.outputs["y"], outputs(3)["y"])
    assert kept.cost_s == 0.005
    assert store.get(b"a", 60) is None
    assert (len(store), store.size_bytes, store.expired, store.evicted) == (0, 0, 1, 0)


def test_without_a_time_answers_do_not_age() -> None:
    store = ResultStore(10 * ONE, 0)
    store.put(b"a", outputs(), 0, 0)
    assert store.get(b"a", 1e9) is not None


def test_the_one_not_asked_for_the_longest_goes_first() -> None:
    store = ResultStore(3 * ONE, 0)
    for key in (b"a", b"b", b"c"):
        store.put(key, outputs(), 0, 0)
    store.get(b"a", 1)
    store.put(b"d", outputs(), 0, 1)
    assert [key for key in (b"a", b"b", b"c", b"d") if store.get(key, 2)] == [b"a", b"c", b"d"]
    assert (store.evicted, store.size_bytes) == (1, 3 * ONE)


def test_what_is_larger_than_all_is_not_kept_and_drives_nothing_out() -> None:
    store = ResultStore(2 * ONE, 0)
    store.put(b"a", outputs(), 0, 0)
    assert not store.put(b"b", outputs(size=10_000), 0, 0)
    assert store.get(b"a", 0) is not None


def test_a_smaller_limit_and_a_shorter_time_hold_at_once() -> None:
    store = ResultStore(10 * ONE, 0)
    for number in range(10):
        store.put(bytes([number]), outputs(), 0, number)
    store.configure(5 * ONE, 0, 10)
    assert (len(store), store.evicted) == (5, 5)
    store.configure(5 * ONE, 3, 10)
    assert (len(store), store.expired) == (2, 3)
    store.configure(0, 0, 10)
    assert (len(store), store.size_bytes) == (0, 0)


def test_a_kept_answer_is_a_copy_that_cannot_be_written_to() -> None:
    batch = np.zeros((1000, 100), np.float32)
    store = ResultStore(10 * ONE, 0)
    store.put(b"a", {"y": batch[3]}, 0, 0)
    batch[:] = 7
    kept = store.get(b"a", 0)
    assert kept is not None
    assert not kept.outputs["y"].any()
    assert kept.outputs["y"].base is None  # it does not keep the whole batch alive
    with pytest.raises(ValueError, match="read-only"):
        kept.outputs["y"][0] = 1


steps = st.lists(
    st.tuples(st.sampled_from(["put", "get", "limit", "ttl"]), st.integers(0, 5), st.integers(0, 300)), max_size=60
)


@given(steps)
def test_bytes_are_counted_exactly_and_stay_within_the_limit(steps: list[tuple[str, int, int]]) -> None:
    store = ResultStore(3 * ONE, 20)
    held: dict[bytes, int] = {}
    now = 0.0
    for what, which, size in steps:
        now += which
        key = bytes([which])
        match what:
            case "put" if store.put(key, outputs(size=size), 0, now):
                held[key] = ENTRY_BYTES + ARRAY_BYTES + 4 * size
            case "limit":
                store.configure(size * 10, store.ttl_s, now)
            case "ttl":
                store.configure(store.limit_bytes, which, now)
            case _:
                store.get(key, now)
        assert store.size_bytes <= store.limit_bytes
        assert store.size_bytes == sum(held[key] for key in store._kept)


def test_the_memory_that_is_counted_is_what_it_takes() -> None:
    def filled(make: object) -> tuple[int, int]:
        gc.collect()
        tracemalloc.start()
        store = ResultStore(1 << 30, 60)
        for number in range(5000):
            store.put(number.to_bytes(16, "big"), make(), 0.1, float(number) / 1e6)  # type: ignore[operator]
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return taken, store.size_bytes

    def words() -> dict[str, Array]:
        array = np.empty(10, dtype=object)
        array[:] = [bytes(10) + str(each).encode() for each in range(10)]
        return {"y": array}

    for make in (outputs, words, lambda: {name: np.zeros(1) for name in "abcd"}):
        taken, counted = filled(make)
        assert 0.75 * counted < taken < 1.1 * counted
