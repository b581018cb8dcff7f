"""Inference over the Open Inference Protocol's JSON, with Triton's binary tensor data behind it.

This is the hot path: a body is decoded in two steps of typed msgspec decoders, first everything but the numbers, then
each tensor's numbers by a decoder for its datatype. What is wrong with a body is an InvalidInput, TooLarge
or Unsupported that says which tensor, what was found and what was expected.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Raw, Struct

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse, Parameter, ReleaseReason, Timings
from workbench.core.tensor import Array, datatype_of, dtype_of
from workbench.errors import InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols.binary import array_from_bytes, bytes_from_array
from workbench.protocols.json_data import array_from_json, check_finite, json_values

MAX_RANK = 32
"""Dimensions of one tensor; as many as every numpy can hold."""

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(slots=True)
class AnswerFormat:
    """How a request wants its answer."""

    binary: bool = False
    """For the outputs that say nothing themselves."""
    binary_of: Mapping[str, bool] = field(default_factory=lambda: _NONE)
    """Output -> binary, for those that do."""
    timings: bool = False


class _Tensor(Struct, gc=False):
    """An input of a request, an output of a response."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Parameter] | None = None
    data: Raw = Raw(b"")


class _OutputAsked(Struct, gc=False):
    name: str
    parameters: dict[str, Parameter] | None = None


class _Request(Struct, gc=False):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Parameter] | None = None
    outputs: list[_OutputAsked] | None = None


class _Response(Struct, gc=False):
    outputs: list[_Tensor]
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Parameter] | None = None


class _JsonTensor(Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any]


class _BinaryTensor(Struct, gc=False):
    name: str
    shape: tuple[int, ...]
    datatype: str
    parameters: dict[str, int]


class _Answer(Struct, gc=False, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_JsonTensor | _BinaryTensor]
    id: str = ""
    parameters: dict[str, Parameter] | None = None


_request = msgspec.json.Decoder(_Request)
_response = msgspec.json.Decoder(_Response)
_encode = msgspec.json.Encoder().encode

_JSON_ANSWER = AnswerFormat()
_BINARY_ANSWER = AnswerFormat(binary=True)

_CLIENT_LIMITS = Limits(
    max_tensors=1 << 20, max_elements=1 << 48, max_string_bytes=1 << 32, max_json_depth=512, max_name_length=1 << 20
)


# The service's side


def decode_request(
    model: str, version: str | None, body: bytes, header_length: int | None, limits: Limits, now: float
) -> tuple[InferRequest, AnswerFormat]:
    """The request that `body` holds, and how it wants its answer.

    `header_length` is Inference-Header-Content-Length, None without that header; `now` is on the engine's clock and
    begins the request's timeout. Binary inputs are read-only views of `body`.
    """
    head, start = _split(body, header_length)
    found: _Request = _decoded(_request, head, limits.max_json_depth, "the request")
    if len(found.inputs) > limits.max_tensors:
        raise TooLarge(f"the request has {len(found.inputs)} inputs; max_tensors is {limits.max_tensors}")
    if len(found.id) > limits.max_name_length:
        raise TooLarge(f"the id has {len(found.id)} characters; max_name_length is {limits.max_name_length}")
    inputs = _arrays("input", found.inputs, body, start, limits)
    request = InferRequest(model, inputs, version, id=found.id)
    answer = _JSON_ANSWER
    if found.parameters:
        answer = _read_parameters(found.parameters, request, now)
    if found.outputs:
        answer = _read_outputs(found.outputs, request, answer, limits)
    return request, answer


def encode_response(
    response: InferResponse, answer: AnswerFormat, limits: Limits
) -> tuple[list[bytes | memoryview] | bytes, int | None]:
    """The body, and how much of it is JSON; None: all. Where binary data follows, the body comes in parts.

    Raises InvalidInput for an output that JSON cannot carry, TooLarge for one over max_response_bytes.
    """
    outputs: list[_JsonTensor | _BinaryTensor] = []
    parts: list[bytes | memoryview] = []
    floats = False
    size = 0
    for name, array in response.outputs.items():
        datatype = datatype_of(array)
        size += array.nbytes
        if size > limits.max_response_bytes:
            raise _over(size, limits)
        if answer.binary_of.get(name, answer.binary):
            part = bytes_from_array(array, f"output {name!r}", datatype)
            parts.append(part)
            outputs.append(_BinaryTensor(name, array.shape, datatype, {"binary_data_size": len(part)}))
        else:
            values = json_values(array, f"output {name!r}", datatype)
            floats = floats or array.dtype.kind == "f"
            outputs.append(_JsonTensor(name, array.shape, datatype, values))
    timings = _timings_out(response.timings) if answer.timings else None
    head = _encode(_Answer(response.model, response.version, outputs, response.id, timings))
    if floats and b"null" in head:
        # msgspec writes NaN and infinities as null; a name may hold that word too.
        for output in outputs:
            if isinstance(output, _JsonTensor):
                check_finite(response.outputs[output.name], f"output {output.name!r}")
    if not parts:
        _check_size(len(head), limits)
        return head, None
    _check_size(len(head) + sum(map(len, parts)), limits)
    return [head, *parts], len(head)


# The client's side


def encode_request(
    request: InferRequest, *, binary: bool = True, now: float | None = None
) -> tuple[list[bytes | memoryview], int | None]:
    """The parts of a body, and how much of it is JSON; None: all, with no binary data anywhere.

    The deadline travels as what is left of it at `now`; None: time.monotonic().
    """
    inputs: list[_JsonTensor | _BinaryTensor] = []
    parts: list[bytes | memoryview] = []
    for name, array in request.inputs.items():
        datatype = datatype_of(array)
        if binary:
            part = bytes_from_array(array, f"input {name!r}", datatype)
            parts.append(part)
            inputs.append(_BinaryTensor(name, array.shape, datatype, {"binary_data_size": len(part)}))
        else:
            check_finite(array, f"input {name!r}")
            inputs.append(_JsonTensor(name, array.shape, datatype, json_values(array, f"input {name!r}", datatype)))
    parameters: dict[str, Parameter] = dict(request.parameters)
    if request.priority:
        parameters["priority"] = request.priority
    if request.deadline is not None:
        left_s = request.deadline - (time.monotonic() if now is None else now)
        # 0 would mean no deadline at all.
        parameters["timeout"] = max(1, round(left_s * 1e6))
    if binary:
        parameters["binary_data_output"] = True
    message: dict[str, object] = {"inputs": inputs}
    if request.id:
        message["id"] = request.id
    if parameters:
        message["parameters"] = parameters
    if request.outputs:
        message["outputs"] = [{"name": name} for name in request.outputs]
    head = _encode(message)
    return [head, *parts], len(head) if binary else None


def decode_response(body: bytes, header_length: int | None) -> InferResponse:
    """The answer to an inference. Arrays that came as binary are read-only views of `body`.

    Raises WorkbenchError when it cannot be read: the service is at fault then, not the caller.
    """
    try:
        head, start = _split(body, header_length)
        found: _Response = _decoded(_response, head, _CLIENT_LIMITS.max_json_depth, "the answer")
        outputs = _arrays("output", found.outputs, body, start, _CLIENT_LIMITS)
    except (InvalidInput, Unsupported) as error:
        raise WorkbenchError(f"the service's answer cannot be read: {error.message}") from None
    timings = _timings_in(found.parameters or _NONE)
    return InferResponse(found.model_name, found.model_version, outputs, found.id, timings)


# Reading


def _split(body: bytes, header_length: int | None) -> tuple[bytes, int]:
    """The JSON, and where the binary data begins."""
    if header_length is None:
        return body, len(body)
    if header_length == 0:
        raise Unsupported(
            "Inference-Header-Content-Length is 0: a raw request without JSON is not supported; send the JSON part"
        )
    if not 0 < header_length <= len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {str(header_length)[:40]}, and the body has {len(body)} bytes"
        )
    return body[:header_length], header_length


def _decoded(decoder: msgspec.json.Decoder[Any], head: bytes, max_depth: int, what: str) -> Any:
    try:
        found = decoder.decode(head)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what} does not follow the protocol: {error}") from None
    except msgspec.DecodeError as error:
        hint = "; JSON has no NaN or Infinity: send binary data" if _NON_FINITE.search(head) else ""
        raise InvalidInput(f"{what} is not valid JSON: {error}{hint}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{what} is not valid JSON: it is not UTF-8") from None
    except RecursionError:
        raise _too_deep(what, max_depth) from None
    # What has few brackets is not deep, and most bodies have few.
    if head.count(b"[") + head.count(b"{") > max_depth and _depth(head) > max_depth:
        raise _too_deep(what, max_depth)
    return found


_NON_FINITE = re.compile(rb"[\[,:\s-](NaN|Infinity)\b")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(octet for octet in range(256) if octet not in b"[]{}")


def _depth(head: bytes) -> int:
    """How deep valid JSON is nested, without a Python step per bracket."""
    brackets = np.frombuffer(_STRING.sub(b"", head).translate(None, _ALL_BUT_BRACKETS), np.uint8)
    if not len(brackets):
        return 0
    # Closing brackets, "]" 0x5d and "}" 0x7d, have the bit 0x04; opening ones, 0x5b and 0x7b, do not.
    steps = 1 - ((brackets & 4) >> 1).astype(np.int8)
    return int(np.cumsum(steps, dtype=np.int32).max())


def _too_deep(what: str, max_depth: int) -> InvalidInput:
    return InvalidInput(f"{what} is nested too deep; max_json_depth is {max_depth}")


def _arrays(kind: str, tensors: list[_Tensor], body: bytes, start: int, limits: Limits) -> dict[str, Array]:
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
        count = _count(shape, what, limits.max_elements)
        size = _binary_size(tensor.parameters, what) if tensor.parameters else None
        if size is None:
            if not tensor.data:
                raise InvalidInput(f"{what} has neither data nor the parameter binary_data_size")
            arrays[name] = array_from_json(tensor.data, what, tensor.datatype, shape, count, limits.max_string_bytes)
            continue
        if tensor.data:
            raise InvalidInput(f"{what} has both data and the parameter binary_data_size; send one of them")
        if size > len(body) - start:
            raise InvalidInput(
                f"{what}: binary_data_size is {str(size)[:40]}, and {len(body) - start} bytes are left in the body "
                "after the JSON and the tensors before; is Inference-Header-Content-Length the JSON's length?"
            )
        arrays[name] = array_from_bytes(body, start, size, what, tensor.datatype, shape, count, limits.max_string_bytes)
        start += size
    if start != len(body):
        raise InvalidInput(f"{len(body) - start} bytes are left over in the body after the last {kind}")
    return arrays


def _count(shape: tuple[int, ...], what: str, max_elements: int) -> int:
    """How many elements `shape` holds, before anything is made that large."""
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
            raise _shared_memory(what)
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidInput(f"{what}: binary_data_size is {str(size)[:40]!r}; it takes a whole number of bytes from 0")
    return size


def _shared_memory(what: str) -> Unsupported:
    return Unsupported(f"{what}: client shared memory is disabled; send the data in the body")


def _read_parameters(parameters: dict[str, Parameter], request: InferRequest, now: float) -> AnswerFormat:
    """Take what the service reads out of `parameters`; the rest goes along with the request."""
    binary = _flag(parameters, "binary_data_output")
    timings = _flag(parameters, "timings")
    request.priority = _whole(parameters, "priority")
    timeout_us = _whole(parameters, "timeout")
    if timeout_us:
        request.deadline = now + timeout_us / 1e6
    if parameters:
        request.parameters = parameters
    if timings:
        return AnswerFormat(binary, timings=True)
    return _BINARY_ANSWER if binary else _JSON_ANSWER


def _read_outputs(
    asked: list[_OutputAsked], request: InferRequest, answer: AnswerFormat, limits: Limits
) -> AnswerFormat:
    if len(asked) > limits.max_tensors:
        raise TooLarge(f"the request asks for {len(asked)} outputs; max_tensors is {limits.max_tensors}")
    names: dict[str, None] = {}
    binary_of: dict[str, bool] = {}
    for output in asked:
        name = output.name
        if len(name) > limits.max_name_length:
            raise TooLarge(
                f"output {name[:40]!r}... has a name of {len(name)} characters; "
                f"max_name_length is {limits.max_name_length}"
            )
        if name in names:
            raise InvalidInput(f"output {name!r} is asked for twice")
        names[name] = None
        for parameter, value in (output.parameters or _NONE).items():
            if parameter.startswith("shared_memory_"):
                raise _shared_memory(f"output {name!r}")
            if parameter == "classification":
                raise Unsupported(f"output {name!r}: the parameter classification is not supported; ask for the scores")
            if parameter == "binary_data":
                if not isinstance(value, bool):
                    raise InvalidInput(f"output {name!r}: binary_data is {str(value)[:40]!r}; it takes true or false")
                binary_of[name] = value
    request.outputs = tuple(names)
    return AnswerFormat(answer.binary, binary_of, answer.timings) if binary_of else answer


def _flag(parameters: dict[str, Parameter], name: str) -> bool:
    value = parameters.pop(name, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"the parameter {name} is {str(value)[:40]!r}; it takes true or false")
    return value


def _whole(parameters: dict[str, Parameter], name: str) -> int:
    value = parameters.pop(name, 0)
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise InvalidInput(f"the parameter {name} is {str(value)[:40]!r}; it takes a whole number from 0")
    return value


# Writing


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_response_bytes:
        raise _over(size, limits)


def _over(size: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"the response would have {size} bytes or more; max_response_bytes is {limits.max_response_bytes}: "
        "ask for fewer outputs or send fewer rows"
    )


_TIMES = (("queue_us", "queued_s"), ("batch_us", "batched_s"), ("compute_us", "ran_s"), ("split_us", "split_s"))


def _timings_out(timings: Timings) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {name: round(getattr(timings, field) * 1e6, 1) for name, field in _TIMES}
    found["batch_size"] = timings.batch_size
    found["batch_requests"] = timings.batch_requests
    found["release_reason"] = str(timings.release_reason)
    return found


def _timings_in(parameters: Mapping[str, Any]) -> Timings:
    """The timings among a response's parameters; what is missing or unknown stays at its default."""
    try:
        queued, batched, ran, split = (float(parameters.get(name, 0.0)) / 1e6 for name, _ in _TIMES)
        reason = ReleaseReason(parameters.get("release_reason", ReleaseReason.IDLE))
        size, requests = int(parameters.get("batch_size", 0)), int(parameters.get("batch_requests", 0))
        return Timings(queued, batched, ran, split, size, requests, reason)
    except (TypeError, ValueError, OverflowError):
        return Timings()
