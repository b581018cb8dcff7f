from __future__ import annotations

import pytest

from workbench.graph.batch_axis.symbolic_sizes import (
    BATCH,
    Number,
    add,
    divide,
    equal,
    exactly,
    fresh,
    greater,
    multiply,
    named,
    of_batch,
    product,
    subtract,
)

STEPS, PAST = named("steps"), named("past")


def test_what_was_multiplied_is_divided_again() -> None:
    rows = product([BATCH, STEPS, 12])
    assert exactly(rows, multiply(STEPS, 12)) == BATCH
    assert exactly(rows, BATCH) == multiply(12, STEPS)
    assert divide(rows, 4) == product([STEPS, 3, BATCH])
    assert subtract(add(PAST, STEPS), PAST) == STEPS
    assert subtract(rows, rows) == 0
    window = subtract(divide(STEPS, 2), 1)
    assert exactly(product([BATCH, window, 8]), multiply(window, 8)) == BATCH
    assert exactly(multiply(add(STEPS, PAST), add(STEPS, 1)), add(STEPS, PAST)) == add(STEPS, 1)
    assert exactly(add(multiply(STEPS, STEPS), 1), add(STEPS, 1)) is None


def test_what_does_not_divide_is_a_size_of_its_own() -> None:
    half = divide(STEPS, 2)
    assert half == divide(STEPS, 2) != divide(PAST, 2)
    assert exactly(STEPS, 2) is None
    assert multiply(half, 2) != STEPS
    assert fresh() != fresh()


@pytest.mark.parametrize(("left", "right", "quotient"), [(7, 2, 3), (-7, 2, -3), (7, -2, -3), (-7, -2, 3), (-6, 2, -3)])
def test_whole_numbers_divide_towards_zero(left: int, right: int, quotient: int) -> None:
    assert divide(left, right) == quotient


def test_what_depends_on_the_batch_size_is_known_to() -> None:
    assert of_batch(divide(add(BATCH, 1), 2))
    assert of_batch(product([STEPS, BATCH]))
    assert not of_batch(divide(STEPS, 2))
    assert not of_batch(subtract(multiply(BATCH, 2), add(BATCH, BATCH)))


@pytest.mark.parametrize(
    ("left", "right", "same", "larger"),
    [
        (3, 3, True, False),
        (BATCH, BATCH, True, False),
        (BATCH, -1, False, True),
        (BATCH, 0, False, True),  # a batch has a row
        (STEPS, 0, None, None),
        (STEPS, -1, False, True),
        (add(STEPS, 1), STEPS, False, True),
        (BATCH, 1, None, None),
        (-1, STEPS, False, False),
        (STEPS, PAST, None, None),
    ],
)
def test_sizes_are_compared_where_they_can_be(
    left: Number, right: Number, same: bool | None, larger: bool | None
) -> None:
    assert equal(left, right) is same
    assert greater(left, right) is larger


def test_long_computations_end_in_a_symbol() -> None:
    total: Number = 1
    for index in range(40):
        total = multiply(add(total, named(f"size {index}")), BATCH)
    assert of_batch(total)
    assert len(str(total)) < 1000
