"""Codecs of inference over the Open Inference Protocol's gRPC messages.

Tensors come raw (`raw_input_contents`, one element per input) or typed, never both in one message; ours are always sent
raw, as Triton's are. An invalid message raises InvalidInput, TooLarge or Unsupported, which names the tensor, what was
found and what was expected.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import DecodeError, EncodeError

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse, Parameter
from workbench.core.tensor import BYTES, Array, datatype_of, dtype_of
from workbench.core.triton_config import EPOCH
from workbench.core.varint import varint
from workbench.errors import InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols import pb
from workbench.protocols.binary import array_from_bytes, bytes_from_array, raw_bytes
from workbench.protocols.classification import read_classes
from workbench.protocols.counted_request import CountedRequest
from workbench.protocols.grpc_contents import array_from_contents
from workbench.protocols.grpc_parse_cache import Layouts, MessageLayout, RawTensor
from workbench.protocols.grpc_wire import LARGE, Span, WalkedRequest, is_quick, names_in, walk_request
from workbench.protocols.grpc_wire_contents import WireContents, count_contents
from workbench.protocols.oip_tensors import TensorsOf, count_elements, no_tensors, shared_memory_error, widened
from workbench.protocols.parameters import CACHE, schedule_parameters, take_flag, take_schedule, timings_in, timings_out
from workbench.protocols.region_params import RegionSlice, Shared, place_of, read_shared
from workbench.protocols.status_codes import GRPC_CODE_KEY, error_of_code

MAX_MESSAGE_BYTES: Final = (1 << 31) - 1
"""Largest protobuf message."""

_Request: Final = pb.message("ModelInferRequest")
_Response: Final = pb.message("ModelInferResponse")
_StreamResponse: Final = pb.message("ModelStreamInferResponse")


_CLIENT_LIMITS: Final = Limits(max_tensors=1 << 20, max_elements=1 << 48, max_string_bytes=1 << 32)


_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GrpcAnswer:
    """How a request wants its response."""

    timings: bool = False
    final: bool = False
    """Whether the last response to a request of a stream is marked as the last."""
    classes: Mapping[str, int] = field(default_factory=lambda: _NONE)
    """Output -> how many of its largest elements are wanted instead."""
    places: Mapping[str, RegionSlice] = field(default_factory=lambda: _NONE)
    """Output -> its place in shared memory, instead of the message."""


_PLAIN: Final = GrpcAnswer()

_INFER_RESPONSE: Final = b"\x12"
"""The tag of field 2 of a ModelStreamInferResponse, infer_response."""


# The service's side


class Decoder:
    """Decodes requests, with a cache of message layouts. For the event loop and threads."""

    def __init__(self, limits: Limits, tensors_of: TensorsOf = no_tensors) -> None:
        """`tensors_of` is asked where max_tensors is exceeded, since a model may have more."""
        self._limits = limits
        self._tensors_of = tensors_of
        self._layouts = Layouts()

    def decode(self, message: bytes, now: float, shared: Shared | None = None) -> tuple[InferRequest, GrpcAnswer]:
        """Decode a ModelInferRequest, and how it wants its response.

        `now`, on the engine's clock, begins its timeout; `shared` is the shared memory that tensors may be in.
        Tensors may be read-only views of `message`.
        """
        layout = self._layouts.of(message)
        if layout is not None:
            return self._known(message, layout)
        if len(message) > LARGE:
            return self.count(message, now, shared).decode()
        found = parse(_Request, message)
        request, answer = _decoded(found, self._limits, now, shared, self._tensors_of)
        if answer is _PLAIN and not found.id and not found.parameters:
            self._learn(message, found, request, list(map(len, found.raw_input_contents)))
        return request, answer

    def takes_long(self, message: bytes) -> bool:
        """Return whether decoding is more than a few steps, as that of large tensors of numbers is not."""
        layout = self._layouts.of(message)
        return any(each.datatype == BYTES for each in layout.tensors) if layout is not None else not is_quick(message)

    def count(self, message: bytes, now: float, shared: Shared | None = None) -> CountedRequest[GrpcAnswer]:
        """Count a request, so that one over the caps is refused before it is decoded; see `decode`."""
        layout = self._layouts.of(message)
        if layout is not None:
            size = sum(raw_bytes(each.start, each.size, each.datatype, each.count) for each in layout.tensors)
            return CountedRequest(size, partial(self._known, message, layout))
        model, version, _ = names_in(message)
        most = max(self._limits.max_tensors, self._tensors_of(model, version or None))
        walked = walk_request(message, most)
        found = parse(_Request, walked.head)
        size, contents = _counted(found, walked, message, self._limits)
        return CountedRequest(size, partial(self._walked, message, found, walked, contents, now, shared))

    def _walked(
        self,
        message: bytes,
        found: Any,
        walked: WalkedRequest,
        contents: Mapping[int, WireContents],
        now: float,
        shared: Shared | None,
    ) -> tuple[InferRequest, GrpcAnswer]:
        elements = _Elements(message, walked.raw, contents)
        request, answer = _decoded(found, self._limits, now, shared, self._tensors_of, elements)
        if answer is _PLAIN and not found.id and not found.parameters:
            self._learn(message, found, request, [stop - start for start, stop in walked.raw])
        return request, answer

    def _known(self, message: bytes, layout: MessageLayout) -> tuple[InferRequest, GrpcAnswer]:
        most = self._limits.max_string_bytes
        inputs = {
            each.name: array_from_bytes(
                message, each.start, each.size, each.what, each.datatype, each.shape, each.count, most
            )
            for each in layout.tensors
        }
        return InferRequest(layout.model, inputs, layout.version, layout.outputs), _PLAIN

    def _learn(self, message: bytes, found: Any, request: InferRequest, sizes: list[int]) -> None:
        if len(sizes) != len(request.inputs):
            return
        tensors = [
            RawTensor(tensor.name, f"input {tensor.name!r}", tensor.datatype, array.shape, array.size, 0, size)
            for tensor, array, size in zip(found.inputs, request.inputs.values(), sizes, strict=True)
        ]
        layout = MessageLayout(request.model, request.version, request.outputs, tuple(tensors), b"", ())
        self._layouts.learn(message, _Request, layout)


def decode_request(message: bytes, limits: Limits, now: float) -> tuple[InferRequest, GrpcAnswer]:
    """As `Decoder.decode`, without a cache."""
    return _decoded(parse(_Request, message), limits, now)


def encode_response(response: InferResponse, answer: GrpcAnswer, limits: Limits) -> bytes:
    """Encode a ModelInferResponse. Raises TooLarge over max_response_bytes."""
    return b"".join(_response_parts(response, answer, limits))


def encode_stream_response(response: InferResponse, answer: GrpcAnswer, limits: Limits) -> bytes:
    """Encode a ModelStreamInferResponse with outputs. Raises TooLarge over max_response_bytes."""
    parts = _response_parts(response, answer, limits)
    return b"".join((_INFER_RESPONSE, varint(sum(map(len, parts))), *parts))


def encode_stream_error(error: WorkbenchError, request_id: str) -> bytes:
    """Encode a ModelStreamInferResponse with the error of one request; the stream goes on."""
    message = error.message.encode("utf-8", "replace").decode()
    answer = _StreamResponse(error_message=message, infer_response=_Response(id=request_id))
    answer.infer_response.parameters[GRPC_CODE_KEY].string_param = error.code
    return bytes(answer.SerializeToString())


def named_in(message: bytes) -> tuple[str, str, str]:
    """Return model, version and id of a refused ModelInferRequest, each empty if it cannot be read."""
    if len(message) > LARGE:
        return names_in(message)
    try:
        found = _Request.FromString(message)
    except DecodeError:
        return "", "", ""
    return found.model_name, found.model_version, found.id


# The client's side


def encode_request(
    request: InferRequest, *, now: float | None = None, of_inputs: Sequence[Mapping[str, Parameter]] = ()
) -> bytes:
    """Encode a ModelInferRequest. The deadline is sent as the time left at `now`; None means time.monotonic().

    `of_inputs` are parameters of the inputs themselves, in their order, for servers that read some.
    """
    message = _Request(model_name=request.model, model_version=request.version or "", id=request.id)
    for name, array in request.inputs.items():
        datatype = datatype_of(array)
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(bytes(bytes_from_array(array, f"input {name!r}", datatype)))
    for tensor, own in zip(message.inputs, of_inputs, strict=False):
        write_parameters(tensor.parameters, own)
    for name in request.outputs:
        message.outputs.add(name=name)
    parameters = schedule_parameters(request, time.monotonic() if now is None else now)
    write_parameters(message.parameters, parameters)
    try:
        return bytes(message.SerializeToString())
    except EncodeError:
        raise TooLarge(
            f"the request has more than {MAX_MESSAGE_BYTES} bytes, which no gRPC message may have; send fewer rows"
        ) from None


def decode_response(message: bytes) -> InferResponse:
    """Decode a ModelInferResponse. Raises WorkbenchError if it cannot be read: then the service is at fault."""
    return _answer(_parsed_answer(_Response, message))


def decode_stream_response(message: bytes) -> InferResponse | WorkbenchError:
    """Decode the response or the error in a ModelStreamInferResponse. Raises as `decode_response` does."""
    found = _parsed_answer(_StreamResponse, message)
    if not found.error_message:
        return _answer(found.infer_response)
    return error_of_code(found.infer_response.parameters[GRPC_CODE_KEY].string_param, found.error_message)


def _parsed_answer(kind: Any, message: bytes) -> Any:
    try:
        return parse(kind, message)
    except InvalidInput as error:
        raise _unreadable(error) from None


def _answer(found: Any) -> InferResponse:
    try:
        outputs = _read_tensors("output", found.outputs, found.raw_output_contents, _CLIENT_LIMITS)
        parameters = read_parameters(found.parameters, "the answer", _CLIENT_LIMITS)
    except (InvalidInput, Unsupported) as error:
        raise _unreadable(error) from None
    epoch = parameters.get(EPOCH)
    return InferResponse(
        found.model_name,
        found.model_version,
        outputs,
        found.id,
        timings_in(parameters),
        epoch if isinstance(epoch, str) else "",
    )


def _unreadable(error: WorkbenchError) -> WorkbenchError:
    return WorkbenchError(f"the service's answer cannot be read: {error.message}")


# Both


def parse(kind: Any, message: bytes) -> Any:
    """Parse a message of `kind`. Raises InvalidInput."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise InvalidInput(f"the message is not a {kind.DESCRIPTOR.name}") from None


def read_parameters(parameters: Any, what: str, limits: Limits) -> dict[str, Parameter]:
    """Return a map of InferParameter as plain values. Raises InvalidInput for one without a value."""
    if len(parameters) > limits.max_tensors:
        raise TooLarge(f"{what} has {len(parameters)} parameters; max_tensors is {limits.max_tensors}")
    found: dict[str, Parameter] = {}
    for name, value in parameters.items():
        choice = value.WhichOneof("parameter_choice")
        if choice is None:
            raise InvalidInput(f"{what}: the parameter {name[:80]!r} has no value")
        found[name] = getattr(value, choice)
    return found


def write_parameters(into: Any, parameters: Mapping[str, Parameter]) -> None:
    """Put `parameters` into a map of InferParameter. Raises InvalidInput for a number that fits none of its types."""
    for name, value in parameters.items():
        parameter = into[name]
        try:
            if isinstance(value, bool):
                parameter.bool_param = value
            elif isinstance(value, int):
                setattr(parameter, "uint64_param" if value >= 1 << 63 else "int64_param", value)
            elif isinstance(value, float):
                parameter.double_param = value
            else:
                parameter.string_param = value
        except (ValueError, TypeError):
            raise InvalidInput(f"the parameter {name!r} is {str(value)[:40]!r}, which gRPC cannot carry") from None


@dataclass(frozen=True, slots=True)
class _Elements:
    """The elements of a request's inputs where they were not parsed."""

    message: bytes
    raw: Sequence[Span]
    contents: Mapping[int, WireContents]
    """Of the inputs that have typed contents, by their index."""


def _counted(found: Any, walked: WalkedRequest, message: bytes, limits: Limits) -> tuple[int, dict[int, WireContents]]:
    """Return the memory that the elements take beside the message, and those that are typed."""
    size = used = 0
    contents: dict[int, WireContents] = {}
    for index, tensor in enumerate(found.inputs):
        what = f"input {tensor.name[: limits.max_name_length]!r}"
        shape = tuple(tensor.shape)
        dtype_of(tensor.datatype)
        count = count_elements(shape, what, limits.max_elements)
        spans = walked.contents[index]
        shared = any(parameter.startswith("shared_memory_") for parameter in tensor.parameters)
        if any(stop > start for start, stop in spans) or not (walked.raw or shared):
            contents[index] = count_contents(message, spans, what, tensor.datatype, shape, count)
            size += contents[index].memory_bytes
        elif not shared and used < len(walked.raw):
            start, stop = walked.raw[used]
            used += 1
            size += raw_bytes(start, stop - start, tensor.datatype, count)
    return size, contents


def _decoded(
    found: Any,
    limits: Limits,
    now: float,
    shared: Shared | None = None,
    tensors_of: TensorsOf = no_tensors,
    elements: _Elements | None = None,
) -> tuple[InferRequest, GrpcAnswer]:
    if max(len(found.inputs), len(found.outputs)) > limits.max_tensors:
        limits = widened(limits, tensors_of(found.model_name, found.model_version or None))
    if len(found.id) > limits.max_name_length:
        raise TooLarge(f"the id has {len(found.id)} characters; max_name_length is {limits.max_name_length}")
    inputs = _read_tensors("input", found.inputs, found.raw_input_contents, limits, shared, elements)
    request = InferRequest(found.model_name, inputs, found.model_version or None, id=found.id)
    answer = _PLAIN
    if found.parameters:
        parameters = read_parameters(found.parameters, "the request", limits)
        take_flag(parameters, "binary_data_output")
        timings = take_flag(parameters, "timings")
        final = take_flag(parameters, "triton_enable_empty_final_response")
        if timings or final:
            answer = GrpcAnswer(timings, final)
        take_schedule(parameters, request, now)
        if parameters:
            request.parameters = parameters
    if found.outputs:
        answer = _read_outputs(found.outputs, request, answer, limits, shared)
    return request, answer


def _response_parts(response: InferResponse, answer: GrpcAnswer, limits: Limits) -> list[bytes | memoryview]:
    """Return a ModelInferResponse in pieces, the tensors last, so that they are copied only once.

    `raw_output_contents` has the highest field number, so protobuf would write them last too.
    """
    parts: list[bytes | memoryview] = [b""]
    specs = []
    size = 0
    for name, array in response.outputs.items():
        datatype = datatype_of(array)
        specs.append((name, datatype, array.shape))
        if name in answer.places:  # written to shared memory; clients find the others by their index
            parts.append(_raw_output(0))
            continue
        raw = bytes_from_array(array, f"output {name!r}", datatype)
        length = len(raw)
        size += length
        if size > limits.max_response_bytes:
            raise _over(size, limits.max_response_bytes)
        parts.append(_raw_output(length))
        parts.append(raw)
    head = _plain_head(response.model, response.version, response.epoch, tuple(specs))
    if response.id or answer is not _PLAIN or response.timings.cache:
        head = _with_particulars(head, response, answer)
    parts[0] = head
    if (size := sum(map(len, parts))) > min(limits.max_response_bytes, MAX_MESSAGE_BYTES):
        raise _over(size, min(limits.max_response_bytes, MAX_MESSAGE_BYTES))
    return parts


@lru_cache(maxsize=1024)
def _plain_head(model: str, version: str, epoch: str, outputs: tuple[tuple[str, str, tuple[int, ...]], ...]) -> bytes:
    """Encode a ModelInferResponse without its id, its tensors' bytes and all parameters but the epoch."""
    message = _Response(model_name=model, model_version=version)
    if epoch:
        message.parameters[EPOCH].string_param = epoch
    for name, datatype, shape in outputs:
        message.outputs.add(name=name, datatype=datatype, shape=shape)
    return bytes(message.SerializeToString())


def _with_particulars(head: bytes, response: InferResponse, answer: GrpcAnswer) -> bytes:
    message = _Response.FromString(head)
    message.id = response.id
    for output in message.outputs:
        if (place := answer.places.get(output.name)) is not None:
            write_parameters(output.parameters, place.parameters)
    if answer.timings:
        write_parameters(message.parameters, timings_out(response.timings))
    if response.timings.cache:
        message.parameters[CACHE].string_param = response.timings.cache.value
    if answer.final:
        message.parameters["triton_final_response"].bool_param = True
    return bytes(message.SerializeToString())


@lru_cache(maxsize=1024)
def _raw_output(length: int) -> bytes:
    """Return the tag and length before `size` bytes of raw_output_contents, field 6."""
    return b"\x32" + varint(length)


def _over(size: int, most: int) -> TooLarge:
    return TooLarge(
        f"the response would have {size} bytes or more; {most} is the most (max_response_bytes): "
        "ask for fewer outputs or send fewer rows"
    )


def _read_outputs(
    asked: Any, request: InferRequest, answer: GrpcAnswer, limits: Limits, shared: Shared | None
) -> GrpcAnswer:
    if len(asked) > limits.max_tensors:
        raise TooLarge(f"the request asks for {len(asked)} outputs; max_tensors is {limits.max_tensors}")
    names: dict[str, None] = {}
    classes: dict[str, int] = {}
    places: dict[str, RegionSlice] = {}
    for output in asked:
        name = output.name
        _check_name("output", name, limits)
        what = f"output {name!r}"
        if name in names:
            raise InvalidInput(f"{what} is asked for twice")
        names[name] = None
        if not output.parameters:
            continue
        parameters = read_parameters(output.parameters, what, limits)
        if any(parameter.startswith("shared_memory_") for parameter in parameters):
            if shared is None:
                raise shared_memory_error(what)
            places[name] = place_of(parameters, what)
            shared.claim(places[name], what)
        if "classification" in parameters and (most := read_classes(parameters["classification"], what)):
            classes[name] = most
    request.outputs = tuple(names)
    if classes and places:
        raise InvalidInput("classes are not written into shared memory; ask for them in the message")
    return replace(answer, classes=classes, places=places) if classes or places else answer


def _read_tensors(
    kind: str,
    tensors: Any,
    raw: Sequence[bytes],
    limits: Limits,
    shared: Shared | None = None,
    elements: _Elements | None = None,
) -> dict[str, Array]:
    """Decode name -> array. `kind` is "input" or "output". A tensor in shared memory has no element of `raw`.

    With `elements` it is they that are read, and `raw` is empty.
    """
    if len(tensors) > limits.max_tensors:
        raise TooLarge(f"there are {len(tensors)} {kind}s; max_tensors is {limits.max_tensors}")
    arrays: dict[str, Array] = {}
    used = 0
    raws = len(raw) if elements is None else len(elements.raw)
    most = limits.max_string_bytes
    for index, tensor in enumerate(tensors):
        name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
        _check_name(kind, name, limits)
        what = f"{kind} {name!r}"
        if name in arrays:
            raise InvalidInput(f"{what} is given twice")
        dtype_of(datatype)
        count = count_elements(shape, what, limits.max_elements)
        if any(parameter.startswith("shared_memory_") for parameter in tensor.parameters):
            if shared is None:
                raise shared_memory_error(what)
            parameters = read_parameters(tensor.parameters, what, limits)
            arrays[name] = read_shared(shared, parameters, what, datatype, shape, count, limits)
        elif not raws:
            if elements is None:
                arrays[name] = array_from_contents(tensor.contents, what, datatype, shape, count, most)
            else:
                arrays[name] = elements.contents[index].array(most)
        elif (tensor.HasField("contents") and tensor.contents.ByteSize()) or (elements and index in elements.contents):
            raise InvalidInput(f"{what} has typed contents, and there are raw_{kind}_contents; send one of them")
        elif used == raws:
            raise _miscounted(kind, raws, len(tensors))
        elif elements is not None:
            start, stop = elements.raw[used]
            used += 1
            arrays[name] = array_from_bytes(elements.message, start, stop - start, what, datatype, shape, count, most)
        else:
            octets = raw[used]
            used += 1
            arrays[name] = array_from_bytes(octets, 0, len(octets), what, datatype, shape, count, most)
    if used != raws:
        raise _miscounted(kind, raws, len(tensors))
    return arrays


def _miscounted(kind: str, raw: int, tensors: int) -> InvalidInput:
    return InvalidInput(
        f"raw_{kind}_contents has {raw} elements for {tensors} {kind}s; it takes one for each, in order, but for those "
        "in shared memory"
    )


def _check_name(kind: str, name: str, limits: Limits) -> None:
    if len(name) > limits.max_name_length:
        raise TooLarge(
            f"{kind} {name[:40]!r}... has a name of {len(name)} characters; max_name_length is {limits.max_name_length}"
        )
