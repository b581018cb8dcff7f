"""Codecs of inference over the Open Inference Protocol's JSON, with Triton's binary tensor data after it.

This is the hot path. A body is decoded by typed msgspec decoders in two steps: first all but the numbers, then each
tensor's numbers by a decoder for its datatype. An invalid body raises InvalidInput, TooLarge or Unsupported, which
names the tensor, what was found and what was expected.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse, Parameter
from workbench.core.tensor import BYTES, Array, datatype_of
from workbench.errors import InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols import dictionary
from workbench.protocols.binary import bytes_from_array
from workbench.protocols.classification import read_classes
from workbench.protocols.counted_request import CountedRequest
from workbench.protocols.json_blocks import ElementList
from workbench.protocols.json_cutting import LARGE, MAX_HEAD_BYTES, check_values, cut_elements
from workbench.protocols.json_data import FLOATS, json_values
from workbench.protocols.json_decode import check_depth, decode_json, too_deep
from workbench.protocols.json_non_finite import words_in_place
from workbench.protocols.oip_tensors import (
    NO_LISTS,
    BinaryTensor,
    JsonTensor,
    Tensor,
    TensorsOf,
    no_tensors,
    read_tensors,
    shared_memory_error,
    tensor_bytes,
    widened,
)
from workbench.protocols.parameters import CACHE, schedule_parameters, take_flag, take_schedule, timings_in, timings_out
from workbench.protocols.region_params import RegionSlice, Shared, place_of

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(slots=True)
class AnswerFormat:
    """How a request wants its response."""

    binary: bool = False
    """Whether outputs without a setting of their own are sent as binary."""
    binary_of: Mapping[str, bool] = field(default_factory=lambda: _NONE)
    """Output -> whether it is sent as binary, for those with a setting."""
    classes: Mapping[str, int] = field(default_factory=lambda: _NONE)
    """Output -> how many of its largest elements are wanted instead."""
    places: Mapping[str, RegionSlice] = field(default_factory=lambda: _NONE)
    """Output -> its place in shared memory, instead of the body."""
    timings: bool = False
    narrowed: str | None = None
    """Names of the inputs whose numbers were rounded, where the request asked for that."""


class _OutputAsked(Struct, gc=False):
    name: str
    parameters: dict[str, Parameter] | None = None


class _Request(Struct, gc=False):
    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Parameter] | None = None
    outputs: list[_OutputAsked] | None = None


class _Response(Struct, gc=False):
    outputs: list[Tensor]
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Parameter] | None = None


class _Answer(Struct, gc=False, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[JsonTensor | BinaryTensor]
    id: str = ""
    parameters: dict[str, Parameter] | None = None


_request = msgspec.json.Decoder(_Request)
_response = msgspec.json.Decoder(_Response)
_encode = msgspec.json.Encoder().encode

_JSON_ANSWER = AnswerFormat()
BINARY_ANSWER = AnswerFormat(binary=True)

_CLIENT_LIMITS = Limits(
    max_tensors=1 << 20, max_elements=1 << 48, max_string_bytes=1 << 32, max_json_depth=512, max_name_length=1 << 20
)


# The service's side


def decode_request(
    model: str,
    version: str | None,
    body: bytes,
    header_length: int | None,
    limits: Limits,
    now: float,
    shared: Shared | None = None,
    tensors_of: TensorsOf = no_tensors,
    strict: bool = False,
    cut: tuple[_Request, Mapping[bytes, ElementList]] | None = None,
) -> tuple[InferRequest, AnswerFormat]:
    """Decode the request in `body`, and how it wants its response. `strict`: NaN and infinities are no bare words.
    `cut`: what `count_request` has decoded of it.

    `header_length` is Inference-Header-Content-Length, None without that header; `now` is on the engine's clock and
    begins the request's timeout; `shared` is the shared memory that tensors may be in. `tensors_of` is asked where
    max_tensors is exceeded, since a model may have more. Binary inputs are read-only views of `body`.
    """
    head, start = _split(body, header_length)
    if cut is not None:
        found, lists = cut
    elif len(head) > LARGE:
        return count_request(model, version, body, header_length, limits, now, shared, tensors_of, strict).decode()
    else:
        found, lists = decode_json(_request, head, limits.max_json_depth, "the request", strict), NO_LISTS
    if len(found.inputs) > limits.max_tensors or (found.outputs and len(found.outputs) > limits.max_tensors):
        limits = widened(limits, tensors_of(model, version))
    if len(found.inputs) > limits.max_tensors:
        raise TooLarge(f"the request has {len(found.inputs)} inputs; max_tensors is {limits.max_tensors}")
    if len(found.id) > limits.max_name_length:
        raise TooLarge(f"the id has {len(found.id)} characters; max_name_length is {limits.max_name_length}")
    inputs = read_tensors("input", found.inputs, body, start, limits, shared, lists, strict)
    request = InferRequest(model, inputs, version, id=found.id)
    answer = _JSON_ANSWER
    if found.parameters:
        answer = _read_parameters(found.parameters, request, now)
        if take_flag(found.parameters, "report_narrowed"):
            answer = replace(answer, narrowed=",".join(_narrowed(found.inputs, inputs, limits, lists, strict)))
    if found.outputs:
        answer = _read_outputs(found.outputs, request, answer, limits, shared)
    return request, answer


def count_request(
    model: str,
    version: str | None,
    body: bytes,
    header_length: int | None,
    limits: Limits,
    now: float,
    shared: Shared | None = None,
    tensors_of: TensorsOf = no_tensors,
    strict: bool = False,
) -> CountedRequest[AnswerFormat]:
    """Count the request in `body`, so that one over the caps is refused before it is decoded; see `decode_request`."""
    if header_length is not None and MAX_HEAD_BYTES < header_length < len(body):
        raise TooLarge(
            f"Inference-Header-Content-Length is {header_length}; JSON before binary data has {MAX_HEAD_BYTES} bytes "
            "at most: send these tensors as binary data too"
        )
    head, _ = _split(body, header_length)
    most = max(limits.max_tensors, tensors_of(model, version))
    found, lists = _decode_cut(_request, head, limits.max_json_depth, "the request", strict, most)
    if len(found.inputs) > most:
        raise TooLarge(f"the request has {len(found.inputs)} inputs; max_tensors is {limits.max_tensors}")
    size = tensor_bytes("input", found.inputs, len(body), lists, limits)
    if found.parameters and found.parameters.get("report_narrowed"):
        size += 32 * sum(each.commas + 1 for each in lists.values())
    cut = found, lists
    decode = partial(decode_request, model, version, body, header_length, limits, now, shared, tensors_of, strict, cut)
    return CountedRequest(size, decode)


def encode_response(
    response: InferResponse, answer: AnswerFormat, limits: Limits, strict: bool = False
) -> tuple[list[bytes | memoryview] | bytes, int | None]:
    """Return the body, and the length of its JSON, None if it is all JSON. With binary data, the body is in parts.
    NaN and infinities are bare words in JSON; strings if `strict`.

    Raises InvalidInput for an output that JSON cannot carry, TooLarge for one over max_response_bytes.
    """
    outputs: list[JsonTensor | BinaryTensor] = []
    parts: list[bytes | memoryview] = []
    floats = False
    places = answer.places
    size = 0
    for name, array in response.outputs.items():
        datatype = datatype_of(array)
        size += array.nbytes
        if size > limits.max_response_bytes:
            raise _over(size, limits)
        if places and name in places:  # written to shared memory; the C++ client takes any parameter for a binary size
            outputs.append(BinaryTensor(name, array.shape, datatype))
        elif answer.binary_of.get(name, answer.binary):
            part = bytes_from_array(array, f"output {name!r}", datatype)
            parts.append(part)
            outputs.append(BinaryTensor(name, array.shape, datatype, {"binary_data_size": len(part)}))
        else:
            values = json_values(array, f"output {name!r}", datatype)
            floats = floats or datatype in FLOATS
            outputs.append(JsonTensor(name, array.shape, datatype, values))
    asked = answer.timings or answer.narrowed is not None or response.timings.cache
    told = _told(response, answer) if asked else None
    head = _encode(_Answer(response.model, response.version, outputs, response.id, told))
    if floats and b"null" in head:
        # msgspec writes NaN and infinities as null; a name may hold that word too.
        for output in outputs:
            if isinstance(output, JsonTensor) and output.datatype in FLOATS:
                words_in_place(response.outputs[output.name], output.data, strict)
        head = _encode(_Answer(response.model, response.version, outputs, response.id, told))
    if not parts:
        _check_size(len(head), limits)
        return head, None
    _check_size(len(head) + sum(map(len, parts)), limits)
    return [head, *parts], len(head)


# The client's side


def encode_request(
    request: InferRequest, *, binary: bool = True, now: float | None = None, dictionaries: bool = False
) -> tuple[list[bytes | memoryview], int | None]:
    """Return the parts of a body, and the length of its JSON, None if there is no binary data.

    The deadline is sent as the time left at `now`; None means time.monotonic(). `dictionaries`: texts that repeat are
    sent by a dictionary, which not every server reads.
    """
    inputs: list[JsonTensor | BinaryTensor] = []
    parts: list[bytes | memoryview] = []
    for name, array in request.inputs.items():
        datatype = datatype_of(array)
        if binary:
            sent: dict[str, Parameter] = {}
            part: bytes | memoryview
            if dictionaries and datatype == BYTES and (found := dictionary.encode(array, f"input {name!r}")):
                part, sent[dictionary.PARAMETER] = found
            else:
                part = bytes_from_array(array, f"input {name!r}", datatype)
            sent["binary_data_size"] = len(part)
            parts.append(part)
            inputs.append(BinaryTensor(name, array.shape, datatype, sent))
        else:
            values = json_values(array, f"input {name!r}", datatype)
            if datatype in FLOATS:
                words_in_place(array, values, strict=False)
            inputs.append(JsonTensor(name, array.shape, datatype, values))
    parameters = schedule_parameters(request, time.monotonic() if now is None else now)
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
    """Decode a response. Arrays that came as binary are read-only views of `body`.

    Raises WorkbenchError if it cannot be read: then the service is at fault, not the caller.
    """
    try:
        head, start = _split(body, header_length)
        limits, lists = _CLIENT_LIMITS, NO_LISTS
        if len(head) > LARGE:
            found, lists = _decode_cut(_response, head, limits.max_json_depth, "the answer", False, limits.max_tensors)
        else:
            found = decode_json(_response, head, limits.max_json_depth, "the answer", strict=False)
        outputs = read_tensors("output", found.outputs, body, start, limits, lists=lists)
    except (InvalidInput, TooLarge, Unsupported) as error:
        raise WorkbenchError(f"the service's answer cannot be read: {error.message}") from None
    timings = timings_in(found.parameters or _NONE)
    return InferResponse(found.model_name, found.model_version, outputs, found.id, timings)


# Reading


def _split(body: bytes, header_length: int | None) -> tuple[bytes, int]:
    """Return the JSON, and where the binary data begins."""
    if header_length is None:
        return body, len(body)
    if not 0 < header_length <= len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {str(header_length)[:40]}, and the body has {len(body)} bytes"
        )
    return body[:header_length], header_length


def _decode_cut(
    decoder: msgspec.json.Decoder[Any], text: bytes, max_depth: int, what: str, strict: bool, max_tensors: int
) -> tuple[Any, Mapping[bytes, ElementList]]:
    """Decode large JSON, whose long lists of elements stay what they are. Raises InvalidInput and TooLarge."""
    cut = cut_elements(text, max_tensors)
    if any(each.depth + _LIST_DEPTH > max_depth for each in cut.lists.values()):
        raise too_deep(what, max_depth)
    check_depth(cut.head, max_depth, what)
    check_values(cut.head, max_tensors)
    try:
        return decode_json(decoder, cut.head, max_depth, what, strict), cut.lists
    except InvalidInput as error:
        raise InvalidInput(_PLACE.sub("", error.message)) from None


_LIST_DEPTH: Final = 3
"""Of objects and lists around the data of a tensor."""

_PLACE: Final = re.compile(r" \(byte \d+\)")
"""In errors of the decoder: of what it was given, not of what was sent."""


def _read_parameters(parameters: dict[str, Parameter], request: InferRequest, now: float) -> AnswerFormat:
    """Take the parameters that the service reads out of `parameters`; the others stay with the request."""
    binary = take_flag(parameters, "binary_data_output")
    timings = take_flag(parameters, "timings")
    take_schedule(parameters, request, now)
    if parameters:
        request.parameters = parameters
    if timings:
        return AnswerFormat(binary, timings=True)
    return BINARY_ANSWER if binary else _JSON_ANSWER


def _read_outputs(
    asked: list[_OutputAsked], request: InferRequest, answer: AnswerFormat, limits: Limits, shared: Shared | None
) -> AnswerFormat:
    if len(asked) > limits.max_tensors:
        raise TooLarge(f"the request asks for {len(asked)} outputs; max_tensors is {limits.max_tensors}")
    names: dict[str, None] = {}
    binary_of: dict[str, bool] = {}
    classes: dict[str, int] = {}
    places: dict[str, RegionSlice] = {}
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
                if shared is None:
                    raise shared_memory_error(f"output {name!r}")
                if name not in places:
                    places[name] = place_of(output.parameters or _NONE, f"output {name!r}")
                    shared.claim(places[name], f"output {name!r}")
            if parameter == "classification" and (most := read_classes(value, f"output {name!r}")):
                classes[name] = most
            if parameter == "binary_data":
                if not isinstance(value, bool):
                    raise InvalidInput(f"output {name!r}: binary_data must be true or false, got {str(value)[:40]!r}")
                binary_of[name] = value
    request.outputs = tuple(names)
    if classes and places:
        raise InvalidInput("classes are not written into shared memory; ask for them in the body")
    if binary_of or classes or places:
        return AnswerFormat(answer.binary, binary_of, classes, places, answer.timings, answer.narrowed)
    return answer


def _narrowed(
    tensors: list[Tensor],
    arrays: Mapping[str, Array],
    limits: Limits,
    lists: Mapping[bytes, ElementList],
    strict: bool,
) -> Iterator[str]:
    """Yield the names of FP16 and BF16 inputs in JSON of which a number is not quite what was sent."""
    for tensor in tensors:
        array = arrays[tensor.name]
        if tensor.datatype in ("FP16", "BF16") and tensor.data:
            wide = Tensor(tensor.name, tensor.shape, "FP64", data=tensor.data)
            (sent,) = read_tensors("input", [wide], b"", 0, limits, None, lists, strict).values()
            if not np.array_equal(sent, array.astype(np.float64), equal_nan=True):
                yield tensor.name


# Writing


def _told(response: InferResponse, answer: AnswerFormat) -> dict[str, Parameter]:
    told = timings_out(response.timings) if answer.timings else {}
    if response.timings.cache:
        told[CACHE] = response.timings.cache.value
    if answer.narrowed is not None:
        told["narrowed"] = answer.narrowed
    return told


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.max_response_bytes:
        raise _over(size, limits)


def _over(size: int, limits: Limits) -> TooLarge:
    return TooLarge(
        f"the response would have {size} bytes or more; max_response_bytes is {limits.max_response_bytes}: "
        "ask for fewer outputs or send fewer rows"
    )
