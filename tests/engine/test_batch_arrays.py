from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.engine.batch_arrays import NotRows, join, split


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_what_was_joined_splits_into_what_it_was(counts: list[int]) -> None:
    members = [{"a": np.full((n, 3), i), "b": np.full((n,), -i)} for i, n in enumerate(counts)]
    joined = join(members, ["a", "b"])
    parts = split([joined["b"], joined["a"]], counts, ["b", "a"])
    assert len(parts) == len(members)
    for part, member in zip(parts, members, strict=True):
        assert list(part) == ["b", "a"]
        np.testing.assert_array_equal(part["a"], member["a"])
        np.testing.assert_array_equal(part["b"], member["b"])


def test_a_lone_member_is_not_copied() -> None:
    x = np.ones((2, 3))
    assert join([{"x": x}], ["x"])["x"] is x


def test_parts_are_views_of_the_batch() -> None:
    output = np.arange(6).reshape(3, 2)
    first, second = split([output], [1, 2], ["y"])
    assert np.shares_memory(first["y"], output)
    assert np.shares_memory(second["y"], output)


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), ()])
def test_an_output_with_other_rows_than_the_batch_is_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(NotRows, match="batch of 3 rows"):
        split([np.zeros(shape)], [1, 2], ["y"])
