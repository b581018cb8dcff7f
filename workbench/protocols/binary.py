"""Converts between numpy arrays and raw tensors of Triton's binary tensor data extension.

They are row-major and little-endian, as is every machine that ONNX Runtime has a wheel for. A BYTES element is its
length as uint32, then its bytes. BOOL is one byte, 0 or 1.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from workbench.core.tensor import BYTES, DTYPES, STRING_BYTES, Array
from workbench.core.turns import give_way
from workbench.errors import InvalidInput, TooLarge

_LENGTH: Final = struct.Struct("<I")

_MANY = 1024
"""From as many elements on, it is worth a look whether they repeat a few."""

_COPIED_BELOW = 64 * 1024
"""Size in bytes up to which a copy is cheaper than keeping a view."""


def array_from_bytes(
    body: bytes,
    offset: int,
    size: int,
    tensor: str,
    datatype: str,
    shape: tuple[int, ...],
    count: int,
    max_string_bytes: int,
) -> Array:
    """Return the array in `body[offset : offset + size]`, as a read-only view where possible.

    Raises InvalidInput if `size` does not fit `shape`.
    """
    if datatype == BYTES:
        return strings_at(body, offset, size, tensor, count, max_string_bytes).reshape(shape)
    dtype = DTYPES[datatype]
    if size != count * dtype.itemsize:
        raise InvalidInput(
            f"{tensor}: {datatype} of shape {list(shape)} takes {count * dtype.itemsize} bytes; "
            f"its binary data has {size}"
        )
    if count == 0:
        return np.empty(shape, dtype)
    if datatype == "BOOL":
        octets = np.frombuffer(body, np.uint8, count, offset)
        if octets.max() > 1:
            raise InvalidInput(f"{tensor}: a BOOL is a byte 0 or 1; found {octets.max()} at [{octets.argmax()}]")
    array = np.frombuffer(body, dtype, count, offset).reshape(shape)
    return array if array.flags.aligned else array.copy()


def string_bytes(count: int, size: int) -> int:
    """Return the memory that a BYTES tensor of `count` elements takes, which have `size` bytes together."""
    return STRING_BYTES * count + size


def raw_bytes(start: int, size: int, datatype: str, count: int) -> int:
    """Return the memory that `array_from_bytes` takes, of `size` bytes at `start` of a body."""
    if datatype == BYTES:
        return string_bytes(min(count, size // 4), size)
    return size if start % DTYPES[datatype].itemsize else 0  # a copy, which is aligned


def bytes_from_array(array: Array, tensor: str, datatype: str) -> bytes | memoryview:
    """Encode the elements of `array`; a large contiguous array gives a view."""
    if datatype == BYTES:
        if array.size >= _MANY:
            elements = array.reshape(-1).tolist()
            if set(map(type, elements)) == {bytes}:
                different = set(elements)
                if len(different) < len(elements) // 4:  # as in a column of categories: each is framed once
                    framed = {element: frame(element, tensor) for element in different}
                    return b"".join(map(framed.__getitem__, elements))
                return _framed(elements)
        return b"".join([part for element in array.flat for part in _element(element, tensor)])
    if array.nbytes <= _COPIED_BELOW:
        return array.tobytes()
    # As uint8, because memoryview does not know BF16.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _framed(elements: list[bytes]) -> bytes:
    """All of them, each behind its length, in a third of the time of one after the other."""
    lengths = np.fromiter(map(len, elements), "<u4", len(elements))
    parts = [b""] * (2 * len(elements))
    parts[::2] = lengths.view("V4").tolist()
    parts[1::2] = elements
    return b"".join(parts)


def frame(element: object, tensor: str) -> bytes:
    """One element of BYTES. Raises InvalidInput where it is no bytes or str."""
    return b"".join(_element(element, tensor))


def _element(element: object, tensor: str) -> tuple[bytes, bytes]:
    if isinstance(element, str):
        element = element.encode("utf-8", "surrogatepass")
    if not isinstance(element, bytes):
        raise InvalidInput(f"{tensor}: a BYTES tensor holds bytes or str; found {type(element).__name__}")
    return _LENGTH.pack(len(element)), element


def strings_at(body: bytes, offset: int, size: int, tensor: str, count: int, max_bytes: int) -> Array:
    """The `count` elements of BYTES in `body[offset : offset + size]`, flat. Raises InvalidInput and TooLarge."""
    if size < count * 4:
        raise InvalidInput(
            f"{tensor}: {count} BYTES elements take {count * 4} bytes at least; its binary data has {size}"
        )
    array = np.empty(count, np.object_)
    at, end = offset, offset + size
    unpack = _LENGTH.unpack_from
    for begin in range(0, count, 4096):
        give_way()
        found: list[bytes] = []
        for _ in range(min(4096, count - begin)):
            start = at + 4
            if start > end:
                raise InvalidInput(f"{tensor}: its binary data ends before element {begin + len(found)} of {count}")
            at = start + unpack(body, at)[0]
            if at > end or at - start > max_bytes:
                raise _bad_length(tensor, begin + len(found), at - start, end - start, max_bytes)
            found.append(body[start:at])
        array[begin : begin + len(found)] = found
    if at != end:
        raise InvalidInput(f"{tensor}: {end - at} bytes are left over after its {count} elements")
    return array


def _bad_length(tensor: str, index: int, length: int, left: int, max_bytes: int) -> InvalidInput | TooLarge:
    if length > left:
        return InvalidInput(f"{tensor}: element {index} says {length} bytes, and {left} are left")
    return TooLarge(f"{tensor}: element {index} has {length} bytes; max_string_bytes is {max_bytes}")
