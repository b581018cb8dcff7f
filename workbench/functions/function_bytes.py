"""The bytes of a function's arrays, as the service gives and takes them; `worker.function_arrays` is the other side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.core.tensor import BYTES, Array, dtype_of, element_count


def packed_bytes(array: Array) -> memoryview | bytes:
    if array.dtype != object:
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""
    parts: list[bytes] = []
    for each in array.reshape(-1).tolist():
        parts += (len(each).to_bytes(4, "little"), each)
    return b"".join(parts)


def unpacked_array(datatype: str, shape: Sequence[int], part: Any) -> Array:
    """Raises ValueError where the bytes are no array of that shape."""
    shape = tuple(int(size) for size in shape)
    if datatype != BYTES:
        return np.frombuffer(part, dtype_of(datatype)).reshape(shape)
    data, elements, offset = bytes(part), [], 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "little")
        elements.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    if len(elements) != element_count(shape):
        raise ValueError
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)
