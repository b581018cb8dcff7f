from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from workbench.core.messages import InferResponse
from workbench.core.tensor import Array
from workbench.errors import InvalidInput
from workbench.protocols.classification import classified


def classes(array: Array, most: int, batched: bool = True, labels: tuple[str, ...] = ()) -> Any:
    response = InferResponse("m", "1", {"y": array, "z": np.zeros(1)}, "seven")
    found = classified(response, {"y": most}, batched=batched, labels={"y": labels})
    assert found.id == "seven" and found.outputs["z"].dtype == np.float64
    return found.outputs["y"].tolist()


def test_each_row_of_a_batch_has_its_own_classes() -> None:
    assert classes(np.array([[0.25, 0.5, 0.125], [3, 1, 2]], np.float32), 2) == [
        [b"0.500000:1", b"0.250000:0"],
        [b"3.000000:0", b"2.000000:2"],
    ]


def test_an_unbatched_answer_is_one_list() -> None:
    assert classes(np.array([[1, 9], [7, 3]], np.int64), 3, batched=False) == [b"9:1", b"7:2", b"3:3"]


def test_labels_follow_the_index_where_there_are_some() -> None:
    assert classes(np.array([[1.0, 2.0, 3.0]]), 3, labels=("cat", "dog")) == [
        [b"3.000000:2", b"2.000000:1:dog", b"1.000000:0:cat"]
    ]


def test_of_equal_ones_the_first_comes_first_and_nan_last() -> None:
    assert classes(np.array([[np.nan, 1, 1, np.inf]]), 9) == [[b"inf:3", b"1.000000:1", b"1.000000:2", b"nan:0"]]


@pytest.mark.parametrize("datatype", [np.uint64, np.int64, np.int8])
def test_whole_numbers_are_ordered_to_their_ends(datatype: type) -> None:
    info = np.iinfo(datatype)
    assert classes(np.array([[info.min, info.max, 1]], datatype), 1) == [[f"{info.max}:1".encode()]]


@pytest.mark.parametrize("array", [np.array([[b"a"]], object), np.array([[True]])])
def test_what_has_no_order_has_no_classes(array: Array) -> None:
    with pytest.raises(InvalidInput, match="no classes"):
        classes(array, 1)


@given(npst.arrays(np.float32, npst.array_shapes(min_dims=1, max_dims=4, min_side=0)), st.integers(1, 9), st.booleans())
def test_any_shape_has_classes(array: Array, most: int, batched: bool) -> None:
    found = classified(InferResponse("m", "1", {"y": array}), {"y": most}, batched=batched).outputs["y"]
    if array.size:
        rows = array.shape[0] if batched else 1
        assert found.size == rows * min(most, array.size // rows)
