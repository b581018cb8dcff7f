"""Reads typed elements of a large gRPC message from its wire format, block by block, as `grpc_contents` reads those of
a parsed one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.core.tensor import BYTES, DTYPES, Array
from workbench.core.turns import give_way
from workbench.errors import InvalidInput, TooLarge
from workbench.protocols.binary import string_bytes
from workbench.protocols.grpc_contents import FIELDS, check_fits, miscounted, wrong_field
from workbench.protocols.grpc_wire import FIXED32, FIXED64, LENGTH, VARINT, Span, broken, fields, strings

_NUMBERS: Final = {
    "bool_contents": 1,
    "int_contents": 2,
    "int64_contents": 3,
    "uint_contents": 4,
    "uint64_contents": 5,
    "fp32_contents": 6,
    "fp64_contents": 7,
    "bytes_contents": 8,
}
_NAMES: Final = {number: name for name, number in _NUMBERS.items()}
_FIXED: Final = {6: (FIXED32, "<f4"), 7: (FIXED64, "<f8")}
_NARROW: Final = {2: np.int32, 4: np.uint32}

_BLOCK: Final = 64 * 1024
"""Bytes of varints decoded at once."""

_MOST_PARTS: Final = 65_536
"""The most fields in which the numbers of one tensor may come: they are packed into one by every library."""

_Octets: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class WireContents:
    """The typed elements of a tensor, counted."""

    message: bytes
    spans: Sequence[Span]
    tensor: str
    datatype: str
    shape: tuple[int, ...]
    count: int
    parts: Sequence[_Octets]
    """Of numbers: their text in the message."""

    @property
    def memory_bytes(self) -> int:
        """What `array` takes."""
        if self.datatype == BYTES:
            return string_bytes(self.count, sum(stop - start for start, stop in self.spans))
        return self.count * DTYPES[self.datatype].itemsize

    def array(self, max_string_bytes: int) -> Array:
        """Raises InvalidInput for an element out of range, and TooLarge."""
        if self.datatype == BYTES:
            return self._strings(max_string_bytes)
        array = np.empty(self.count, DTYPES[self.datatype])
        done = 0
        for values in self._values():
            check_fits(values, done, self.tensor, self.datatype)
            array[done : done + len(values)] = values
            done += len(values)
            give_way()
        return array.reshape(self.shape)

    def _strings(self, max_bytes: int) -> Array:
        array = np.empty(self.count, np.object_)
        for index, (start, stop) in enumerate(strings(self.message, self.spans)):
            if stop - start > max_bytes:
                raise TooLarge(
                    f"{self.tensor}: element {index} has {stop - start} bytes; max_string_bytes is {max_bytes}"
                )
            array[index] = self.message[start:stop]
        return array.reshape(self.shape)

    def _values(self) -> Iterator[NDArray[Any]]:
        number = _NUMBERS[FIELDS[self.datatype]]
        for part in self.parts:
            if number in _FIXED:
                yield part.view(_FIXED[number][1])
                continue
            at = 0
            while at < len(part):
                values, size = _varints(part[at : at + _BLOCK])
                at += size
                yield values != 0 if number == 1 else values.view(np.int64) if number == 3 else _narrow(values, number)


def count_contents(
    message: bytes, spans: Sequence[Span], tensor: str, datatype: str, shape: tuple[int, ...], count: int
) -> WireContents:
    """Count the elements in `spans`, an InferTensorContents in parts. Raises InvalidInput as `array_from_contents`."""
    field = FIELDS.get(datatype)
    if field is None:
        raise InvalidInput(f"{tensor}: {datatype} has no typed contents; send it in raw_input_contents")
    if datatype == BYTES:
        found = sum(1 for _ in strings(message, spans))
        if not found:
            _parts(message, spans, 8, tensor, datatype)  # says where they are instead
        parts: list[_Octets] = []
    else:
        number = _NUMBERS[field]
        parts = _parts(message, spans, number, tensor, datatype)
        if number in _FIXED:
            size = np.dtype(_FIXED[number][1]).itemsize
            if any(len(part) % size for part in parts):
                raise broken()
            found = sum(map(len, parts)) // size
        else:
            found = sum(_count_varints(part) for part in parts)
    if found != count:
        raise miscounted(tensor, datatype, shape, count, found)
    return WireContents(message, spans, tensor, datatype, shape, count, parts)


def _parts(message: bytes, spans: Sequence[Span], number: int, tensor: str, datatype: str) -> list[_Octets]:
    """The bytes of all elements, whether they are packed or not."""
    kind_of_one = _FIXED[number][0] if number in _FIXED else VARINT
    parts: list[_Octets] = []
    for begin, end in spans:
        for found, kind, _, start, stop in fields(message, begin, end):
            if found == number and kind in (LENGTH, kind_of_one):
                parts.append(np.frombuffer(message, np.uint8, stop - start, start))
            elif found in _NAMES and stop > start:
                raise wrong_field(tensor, datatype, _NAMES[found])
            if len(parts) > _MOST_PARTS:
                raise TooLarge(f"{tensor}: its elements come in more than {_MOST_PARTS} fields; send them packed")
    return parts


def _count_varints(part: _Octets) -> int:
    if len(part) and part[-1] >= 0x80:
        raise broken()
    found = 0
    for at in range(0, len(part), 1 << 20):
        found += int(np.count_nonzero(part[at : at + (1 << 20)] < 0x80))
        give_way()
    return found


def _varints(octets: _Octets) -> tuple[NDArray[np.uint64], int]:
    """The whole varints that begin in `octets`, and their size."""
    ends = np.flatnonzero(octets < 0x80)
    if not len(ends):
        raise broken()
    size = int(ends[-1]) + 1
    if len(ends) == size:
        return octets[:size].astype(np.uint64), size
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise broken()
    values = (octets[starts] & 0x7F).astype(np.uint64)
    for place in range(1, int(lengths.max())):
        longer = np.flatnonzero(lengths > place)
        values[longer] |= (octets[starts[longer] + place] & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values, size


def _narrow(values: NDArray[np.uint64], number: int) -> NDArray[Any]:
    if number == 2:
        return values.astype(np.uint32).view(np.int32)
    return values.astype(np.uint32) if number == 4 else values
