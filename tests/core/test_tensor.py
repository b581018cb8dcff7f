from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from workbench.core.tensor import STRING_BYTES, Array, memory_bytes


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (np.zeros((2, 3), np.float32), 24),
        (np.zeros((2, 3), ml_dtypes.bfloat16), 12),
        (np.zeros((4, 100), np.float32)[:, :1], 16),
        (np.zeros((0, 3), np.float32), 0),
        (np.array([[b"abc", b""], [b"\xff", b"de"]], object), 4 * STRING_BYTES + 6),
    ],
)
def test_the_memory_of_an_array_is_that_of_its_elements_and_of_their_texts(array: Array, size: int) -> None:
    assert memory_bytes(array) == size
