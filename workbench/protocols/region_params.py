"""Triton's system shared memory extension: the place of a tensor that is not in the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from workbench.config import Limits
from workbench.core.messages import Parameter
from workbench.core.tensor import Array, datatype_of
from workbench.errors import InvalidInput, TooLarge
from workbench.protocols.binary import array_from_bytes, bytes_from_array

REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_SIZE = "shared_memory_byte_size"


@dataclass(frozen=True, slots=True)
class RegionSlice:
    """A part of a shared memory region."""

    region: str
    offset: int
    size: int

    @property
    def parameters(self) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {REGION: self.region, _SIZE: self.size}
        if self.offset:
            found[_OFFSET] = self.offset
        return found


class Shared(Protocol):
    """The regions of one request: those that it named stay until the request ends."""

    def read(self, place: RegionSlice, what: str) -> bytes:
        """Return a copy, so that the caller cannot change it while the model runs.

        Raises InvalidInput if it is missing.
        """
        ...

    def claim(self, place: RegionSlice, what: str) -> None:
        """Check that `write` will succeed. Raises InvalidInput."""
        ...

    def write(self, place: RegionSlice, data: bytes | memoryview, what: str) -> None:
        """Write `data`. Raises InvalidInput if it is longer than the place or cannot be written."""
        ...


def place_of(parameters: Mapping[str, Parameter], what: str) -> RegionSlice:
    """Decode the place of a tensor. Raises InvalidInput."""
    region = parameters.get(REGION)
    if not isinstance(region, str):
        raise InvalidInput(f"{what}: {REGION} is missing or not a string")
    return RegionSlice(
        region, _whole(parameters.get(_OFFSET, 0), _OFFSET, what), _whole(parameters.get(_SIZE), _SIZE, what)
    )


def read_shared(
    shared: Shared,
    parameters: Mapping[str, Parameter],
    what: str,
    datatype: str,
    shape: tuple[int, ...],
    count: int,
    limits: Limits,
) -> Array:
    """Read an input from its region. Raises InvalidInput and TooLarge."""
    place = place_of(parameters, what)
    if place.size > limits.max_body_bytes:
        raise TooLarge(f"{what}: {_SIZE} is {place.size}; max_body_bytes is {limits.max_body_bytes}")
    data = shared.read(place, what)
    return array_from_bytes(data, 0, len(data), what, datatype, shape, count, limits.max_string_bytes)


def write_shared(shared: Shared, places: Mapping[str, RegionSlice], outputs: Mapping[str, Array]) -> None:
    """Write each output that has a place into its region. Raises InvalidInput."""
    for name, place in places.items():
        what = f"output {name!r}"
        shared.write(place, bytes_from_array(outputs[name], what, datatype_of(outputs[name])), what)


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    byte_size: int
    offset: int = 0


def decode_registration(body: bytes) -> Registration:
    try:
        return msgspec.json.decode(body, type=Registration)
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidInput('a region is registered with JSON {"key": "...", "offset": 0, "byte_size": N}') from None


def _whole(value: object, name: str, what: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InvalidInput(f"{what}: {name} must be a whole number of bytes from 0, got {str(value)[:40]!r}")
    return value
