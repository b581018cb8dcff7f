"""Decodes the tensors of an inference in JSON, with their data in the JSON or after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from msgspec import UNSET, Raw, Struct, UnsetType

from workbench.config import Limits
from workbench.core.messages import Parameter
from workbench.core.tensor import BYTES, MAX_RANK, Array, dtype_of
from workbench.errors import InvalidInput, TooLarge, Unsupported
from workbench.protocols import dictionary
from workbench.protocols.binary import array_from_bytes, string_bytes
from workbench.protocols.json_blocks import ElementList
from workbench.protocols.json_data import array_from_elements, array_from_json
from workbench.protocols.json_streaming import memory_bytes
from workbench.protocols.region_params import REGION, Shared, read_shared

TensorsOf: TypeAlias = Callable[[str, str | None], int]
"""(model, version) -> inputs or outputs that the model has, whichever are more; 0 if it is not known."""


NO_LISTS: Final[Mapping[bytes, ElementList]] = {}


def no_tensors(model: str, version: str | None) -> int:
    """The TensorsOf where no model is known."""
    return 0


class Tensor(Struct, gc=False):
    """An input of a request or an output of a response."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Parameter] | None = None
    data: Raw = Raw(b"")


class JsonTensor(Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any]


class BinaryTensor(Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, Parameter] | UnsetType = UNSET


def read_tensors(
    kind: str,
    tensors: list[Tensor],
    body: bytes,
    start: int,
    limits: Limits,
    shared: Shared | None = None,
    lists: Mapping[bytes, ElementList] = NO_LISTS,
    strict: bool = False,
) -> dict[str, Array]:
    """Decode name -> array. Binary data begins at `start` of `body` and must end with it. `kind` is "input" or
    "output".

    `shared` is the shared memory that tensors may be in; None if they may not. `lists` are the data that was cut out
    of the JSON, by what stands there instead; in it NaN and infinities are no bare words if `strict`.
    """
    arrays: dict[str, Array] = {}
    for tensor in tensors:
        name = tensor.name
        if len(name) > limits.max_name_length:
            raise TooLarge(
                f"{kind} {name[:40]!r}... has a name of {len(name)} characters; "
                f"max_name_length is {limits.max_name_length}"
            )
        what = f"{kind} {name!r}"
        if name in arrays:
            raise InvalidInput(f"{what} is given twice")
        dtype_of(tensor.datatype)
        shape = tuple(tensor.shape)
        count = count_elements(shape, what, limits.max_elements)
        parameters = tensor.parameters
        if parameters and shared is not None and REGION in parameters:
            arrays[name] = read_shared(shared, parameters, what, tensor.datatype, shape, count, limits)
            continue
        size = _binary_size(parameters, what) if parameters else None
        if parameters is None or size is None:
            if not tensor.data:
                raise InvalidInput(f"{what} has neither data nor the parameter binary_data_size")
            if lists and (found := lists.get(bytes(tensor.data))):
                most = limits.max_string_bytes
                arrays[name] = array_from_elements(found, what, tensor.datatype, shape, count, most, strict)
                continue
            arrays[name] = array_from_json(tensor.data, what, tensor.datatype, shape, count, limits.max_string_bytes)
            continue
        if tensor.data:
            raise InvalidInput(f"{what} has both data and the parameter binary_data_size; send one of them")
        if size > len(body) - start:
            raise InvalidInput(
                f"{what}: binary_data_size is {str(size)[:40]}, and {len(body) - start} bytes are left in the body "
                "after the JSON and the tensors before; is Inference-Header-Content-Length the JSON's length?"
            )
        most = limits.max_string_bytes
        if len(parameters) > 1 and (words := parameters.get(dictionary.PARAMETER)) is not None:
            if tensor.datatype != BYTES:
                raise InvalidInput(f"{what}: only a BYTES tensor may have a dictionary; this one is {tensor.datatype}")
            arrays[name] = dictionary.decode(body, start, size, what, words, shape, count, most)
        else:
            arrays[name] = array_from_bytes(body, start, size, what, tensor.datatype, shape, count, most)
        start += size
    if start != len(body):
        raise InvalidInput(f"{len(body) - start} bytes are left over in the body after the last {kind}")
    return arrays


def tensor_bytes(
    kind: str, tensors: list[Tensor], body_bytes: int, lists: Mapping[bytes, ElementList], limits: Limits
) -> int:
    """Return the bytes that `read_tensors` will take beside a body of `body_bytes`, about. Raises InvalidInput and
    TooLarge."""
    size = used = 0
    for tensor in tensors:
        what = f"{kind} {tensor.name[: limits.max_name_length]!r}"
        shape = tuple(tensor.shape)
        count = count_elements(shape, what, limits.max_elements)
        dtype_of(tensor.datatype)
        if found := lists.get(bytes(tensor.data)):
            used += 1
            size += memory_bytes(found, what, tensor.datatype, shape, count)
        elif tensor.datatype == BYTES:
            size += string_bytes(min(count, body_bytes // 2), body_bytes)
    if used != len(lists):  # nobody has looked at what is in them
        raise InvalidInput(f"the JSON has long lists called data that are not the data of any {kind}, or two of one")
    return size


def widened(limits: Limits, tensors: int) -> Limits:
    """Return `limits` with room for a model that has so many inputs or outputs."""
    return replace(limits, max_tensors=max(limits.max_tensors, tensors))


def count_elements(shape: tuple[int, ...], what: str, max_elements: int) -> int:
    """Return the number of elements of `shape`, before memory is allocated. Raises InvalidInput and TooLarge."""
    if len(shape) > MAX_RANK:
        raise InvalidInput(f"{what}: shape has {len(shape)} dimensions; {MAX_RANK} at most")
    count = 1
    for size in shape:
        if size < 0:
            raise InvalidInput(f"{what}: shape {_shown(shape)} has a negative dimension; a request gives exact sizes")
        if size > max_elements:
            raise _too_many(what, shape, max_elements)
        count *= size
    if count > max_elements:
        raise _too_many(what, shape, max_elements)
    return count


def _too_many(what: str, shape: tuple[int, ...], max_elements: int) -> TooLarge:
    return TooLarge(f"{what}: shape {_shown(shape)} holds too many elements; max_elements is {max_elements}")


def _shown(shape: tuple[int, ...]) -> str:
    return str(list(shape)) if max(shape, default=0) < 1 << 64 else "of overflowing size"


def _binary_size(parameters: Mapping[str, Parameter], what: str) -> int | None:
    for name in parameters:
        if name.startswith("shared_memory_"):
            raise shared_memory_error(what)
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidInput(f"{what}: binary_data_size must be a whole number of bytes from 0, got {str(size)[:40]!r}")
    return size


def shared_memory_error(what: str) -> Unsupported:
    return Unsupported(f"{what}: client shared memory is disabled; send the data in the body")
