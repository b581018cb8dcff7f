"""Inference messages to core types and back, and messages that mean harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2

from tests.protocols.grpc_messages import asking, equal, mutated, parametrised, request, seeds
from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse, ReleaseReason, SequenceStep, Timings
from workbench.core.tensor import BYTES, DTYPES, Array, datatype_of
from workbench.errors import DeadlineExceeded, InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols import pb
from workbench.protocols.grpc_contents import FIELDS
from workbench.protocols.oip_grpc import (
    Decoder,
    GrpcAnswer,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    encode_stream_error,
    encode_stream_response,
    named_in,
)
from workbench.protocols.region_params import RegionSlice

LIMITS = Limits()
PLAIN = GrpcAnswer()


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Of every datatype, of up to 4 dimensions, empty ones included."""
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    if datatype == BYTES:
        count = int(np.prod(shape))
        flat = np.empty(count, np.object_)
        flat[:] = draw(st.lists(st.binary(max_size=20), min_size=count, max_size=count))
        return flat.reshape(shape)
    dtype = DTYPES[datatype]
    if datatype == "BOOL":
        return draw(hnp.arrays(np.bool_, shape))
    return draw(hnp.arrays(np.uint8, (*shape, dtype.itemsize))).view(dtype).reshape(shape)


parameters = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(
        lambda name: name not in ("timings", "timeout", "priority", "binary_data_output") and "sequence_" not in name
    ),
    st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    max_size=4,
)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(
    st.dictionaries(names, arrays(), max_size=3),
    parameters,
    st.lists(names, max_size=3, unique=True),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
def test_a_request_arrives_as_it_was_sent(
    inputs: dict[str, Array], given: dict[str, Any], outputs: list[str], name: str
) -> None:
    given = {key: value for key, value in given.items() if key.isprintable()}
    sent = InferRequest("m", inputs, "3", tuple(outputs), name, priority=2, parameters=given)
    got, answer = decode_request(encode_request(sent), LIMITS, 0.0)
    assert (got.model, got.version, got.outputs, got.id, got.priority) == ("m", "3", tuple(outputs), name, 2)
    assert dict(got.parameters) == given
    assert {key: type(value) for key, value in got.parameters.items()} == {k: type(v) for k, v in given.items()}
    assert list(got.inputs) == list(inputs)
    assert all(equal(got.inputs[key], array) for key, array in inputs.items())
    assert answer == PLAIN


@pytest.mark.parametrize("id", [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, "1", "é"])
@pytest.mark.parametrize(("start", "end"), [(False, False), (True, False), (False, True)])
def test_the_place_in_a_sequence_survives(id: int | str, start: bool, end: bool) -> None:
    step = SequenceStep(id, start, end)
    found, _ = decode_request(encode_request(InferRequest("m", {}, sequence=step), now=0.0), LIMITS, 0.0)
    assert found.sequence == step and not found.parameters


def test_the_upper_half_of_the_ids_is_sent_as_negative_numbers() -> None:
    message = parametrised(sequence_id=-1)
    assert decode_request(message.SerializeToString(), LIMITS, 0.0)[0].sequence == SequenceStep((1 << 64) - 1)


@pytest.mark.parametrize("id", [0, ""])
def test_an_id_that_is_none_means_no_sequence(id: int | str) -> None:
    assert decode_request(parametrised(sequence_id=id).SerializeToString(), LIMITS, 0.0)[0].sequence is None


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)
@given(st.dictionaries(names, arrays(), max_size=3))
def test_a_response_arrives_as_it_was_sent(outputs: dict[str, Array]) -> None:
    times = Timings(0.25, 0.5, 1.0, 0.125, 8, 3, ReleaseReason.FULL)
    sent = InferResponse("m", "3", outputs, "seven", times)
    got = decode_response(encode_response(sent, GrpcAnswer(timings=True), LIMITS))
    assert (got.model, got.version, got.id, got.timings) == ("m", "3", "seven", times)
    assert all(equal(got.outputs[name], array) for name, array in outputs.items())


def test_what_is_left_of_a_deadline_travels() -> None:
    sent = InferRequest("m", {}, deadline=102.5)
    assert decode_request(encode_request(sent, now=100.0), LIMITS, 7.0)[0].deadline == pytest.approx(9.5)
    past = decode_request(encode_request(sent, now=200.0), LIMITS, 7.0)[0].deadline
    assert past == pytest.approx(7.0, abs=1e-5)


# Typed contents


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(arrays().filter(lambda array: datatype_of(array) in FIELDS))
def test_typed_contents_hold_what_raw_ones_do(array: Array) -> None:
    datatype = datatype_of(array)
    message = service_pb2.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=array.shape)
    getattr(tensor.contents, FIELDS[datatype]).extend(array.reshape(-1).tolist())
    got = decode_request(message.SerializeToString(), LIMITS, 0.0)[0].inputs["x"]
    if array.dtype.kind == "f":  # a signalling NaN comes back a quiet one
        np.testing.assert_array_equal(got, array)
    else:
        assert equal(got, array)


@pytest.mark.parametrize(
    ("datatype", "field", "values", "said"),
    [
        ("FP16", "fp32_contents", [1, 2], "raw_input_contents"),
        ("BF16", "fp32_contents", [1, 2], "raw_input_contents"),
        ("FP32", "fp64_contents", [1, 2], "belong in fp32_contents; found fp64_contents"),
        ("INT64", "int_contents", [1, 2], "belong in int64_contents"),
        ("INT8", "int_contents", [1, 128], "element 1 is 128, which INT8 cannot hold"),
        ("INT16", "int_contents", [-40_000, 1], "element 0 is -40000"),
        ("UINT8", "uint_contents", [1, 256], "UINT8 cannot hold"),
        ("FP32", "fp32_contents", [1], "takes 2 elements; fp32_contents has 1"),
        ("BYTES", "bytes_contents", [b"1", b"2", b"3"], "takes 2 elements"),
        ("FP32", "fp32_contents", [], "takes 2 elements"),
    ],
)
def test_typed_contents_that_do_not_fit(datatype: str, field: str, values: list[Any], said: str) -> None:
    message = service_pb2.ModelInferRequest(model_name="m")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(tensor.contents, field).extend(values)
    with pytest.raises(InvalidInput, match=said):
        decode_request(message.SerializeToString(), LIMITS, 0.0)


# What is wrong with a message


def doubled(message: Any) -> None:
    message.inputs.add().CopyFrom(message.inputs[0])
    message.raw_input_contents.append(message.raw_input_contents[0])


WRONG: dict[str, tuple[Callable[[], Any], type[InvalidInput] | type[Unsupported], str]] = {
    "truncated": (lambda: request(raw=b"\0" * 15), InvalidInput, "takes 16 bytes"),
    "too long": (lambda: request(raw=b"\0" * 17), InvalidInput, "takes 16 bytes"),
    "negative dimension": (lambda: request(shape=(-1, 4)), InvalidInput, "negative"),
    "the most negative": (lambda: request(shape=(-(1 << 63), 4)), InvalidInput, "negative"),
    "a product that overflows": (lambda: request(shape=(1 << 62, 1 << 62)), TooLarge, "max_elements"),
    "a product that overflows to 4": (lambda: request(shape=((1 << 32) + 1, 1 << 32, 4)), TooLarge, "max_elements"),
    "huge with zero": (lambda: request(shape=(0, 1 << 62), raw=b""), TooLarge, "max_elements"),
    "too many dimensions": (lambda: request(shape=[1] * 33), InvalidInput, "33 dimensions"),
    "unknown datatype": (lambda: request(datatype="FP8"), InvalidInput, "FP8"),
    "no datatype": (lambda: request(datatype=""), InvalidInput, "datatype"),
    "a BOOL of 2": (lambda: request((1,), b"\2", "BOOL"), InvalidInput, "0 or 1"),
    "a string that goes on": (lambda: request((1,), b"\xff\xff\xff\xff", "BYTES"), InvalidInput, "says 4294967295"),
    "strings too few": (lambda: request((2,), b"\0\0\0\0", "BYTES"), InvalidInput, "2 BYTES elements"),
    "strings too many": (lambda: request((1,), b"\0\0\0\0" * 2, "BYTES"), InvalidInput, "left over"),
    "billions of strings": (lambda: request((1 << 28,), b"", "BYTES"), InvalidInput, "take"),
    "a name too long": (lambda: with_name("x" * 2000), TooLarge, "max_name_length"),
    "an id too long": (lambda: request(id="x" * 2000), TooLarge, "max_name_length"),
    "raw for nobody": (lambda: with_raw(2), InvalidInput, "has 2 elements for 1 input"),
    "raw without inputs": (lambda: without_inputs(), InvalidInput, "for 0 inputs"),
    "raw and typed": (lambda: mixed(), InvalidInput, "typed contents"),
    "twice the same": (lambda: changed(doubled), InvalidInput, "given twice"),
    "too many inputs": (lambda: many(300), TooLarge, "max_tensors"),
    "too many outputs": (lambda: asking(*map(str, range(300))), TooLarge, "max_tensors"),
    "an output twice": (lambda: asking("y", "y"), InvalidInput, "asked for twice"),
    "too many parameters": (lambda: parametrised(**{f"p{n}": 1 for n in range(300)}), TooLarge, "max_tensors"),
    "a parameter without a value": (lambda: changed(lambda m: m.parameters["p"]), InvalidInput, "no value"),
    "a negative timeout": (lambda: parametrised(timeout=-1), InvalidInput, "timeout"),
    "a priority in words": (lambda: parametrised(priority="high"), InvalidInput, "priority"),
    "shared memory": (
        lambda: changed(lambda m: shared(m.inputs[0].parameters)),
        Unsupported,
        "client shared memory is disabled",
    ),
    "shared memory for an output": (
        lambda: changed(lambda m: shared(m.outputs.add(name="y").parameters)),
        Unsupported,
        "client shared memory is disabled",
    ),
    "classification": (
        lambda: changed(lambda m: setattr(m.outputs.add(name="y").parameters["classification"], "int64_param", -3)),
        InvalidInput,
        "must be a number of classes from 1",
    ),
}


def changed(change: Callable[[Any], object]) -> Any:
    message = request()
    change(message)
    return message


def with_name(name: str) -> Any:
    return changed(lambda message: setattr(message.inputs[0], "name", name))


def with_raw(count: int) -> Any:
    return changed(lambda message: message.raw_input_contents.extend([b""] * (count - 1)))


def without_inputs() -> Any:
    return service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b""])


def mixed() -> Any:
    return changed(lambda message: message.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4]))


def many(count: int) -> Any:
    message = service_pb2.ModelInferRequest(model_name="m")
    for index in range(count):
        message.inputs.add(name=str(index), datatype="FP32", shape=[0])
    return message


def shared(parameters: Any) -> None:
    parameters["shared_memory_region"].string_param = "secret"


@pytest.mark.parametrize("case", WRONG)
def test_a_message_that_cannot_be_used_says_why(case: str) -> None:
    build, kind, said = WRONG[case]
    with pytest.raises(kind, match=said) as failed:
        decode_request(build().SerializeToString(), LIMITS, 0.0)
    assert "secret" not in failed.value.message


@pytest.mark.parametrize(
    "body", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\0" * 100, b'{"inputs": []}', b"\x0a\x02\xff\xfe"]
)
def test_bytes_that_are_no_message(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a ModelInferRequest"):
        decode_request(body, LIMITS, 0.0)


def test_mutated_messages_are_read_or_refused() -> None:
    rng = random.Random(7)
    bodies = seeds()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(4000):
        body = mutated(rng.choice(bodies), rng)
        try:
            decode_request(body, LIMITS, 0.0)
            outcomes["read"] += 1
        except (InvalidInput, Unsupported):
            outcomes["refused"] += 1
        named_in(body)
        try:
            decode_response(body)
        except WorkbenchError:
            pass
    assert min(outcomes.values()) > 100


# Answers


def test_an_answer_over_the_cap_is_refused() -> None:
    limits = Limits(max_response_bytes=100)
    strings = np.array([b"x" * 60, b"y" * 60], np.object_)
    for array in (np.zeros(26, np.float32), strings):
        with pytest.raises(TooLarge, match="max_response_bytes"):
            encode_response(InferResponse("m", "1", {"y": array}), PLAIN, limits)
    assert encode_response(InferResponse("m", "1", {"y": np.zeros(10, np.float32)}), PLAIN, limits)


def test_answers_in_a_stream_and_errors_in_it() -> None:
    response = InferResponse("m", "1", {"y": np.zeros(1, np.float32)}, "7")
    kind = pb.message("ModelStreamInferResponse")
    answer = kind.FromString(encode_stream_response(response, GrpcAnswer(final=True), LIMITS))
    assert answer.infer_response.id == "7"
    assert answer.infer_response.parameters["triton_final_response"].bool_param
    error = kind.FromString(encode_stream_error(DeadlineExceeded("too late \ud800"), "7"))
    assert (error.infer_response.id, error.error_message) == ("7", "too late \\ud800")


def test_an_answer_that_cannot_be_read_is_the_service_s_fault() -> None:
    for body in (b"\xff", request().SerializeToString()[:-3]):
        with pytest.raises(WorkbenchError, match="the service's answer cannot be read") as failed:
            decode_response(body)
        assert failed.value.code == "internal"


def test_parameters_that_grpc_cannot_carry_are_refused() -> None:
    with pytest.raises(InvalidInput, match="gRPC cannot carry"):
        encode_request(InferRequest("m", {}, parameters={"large": 1 << 64}))


class Region:
    """Shared memory that is bytes here."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.claimed: list[RegionSlice] = []

    def read(self, place: RegionSlice, what: str) -> bytes:
        return self.data[place.offset : place.offset + place.size]

    def claim(self, place: RegionSlice, what: str) -> None:
        self.claimed.append(place)

    def write(self, place: RegionSlice, data: bytes | memoryview, what: str) -> None:
        raise AssertionError("a codec writes nothing")


def test_tensors_in_shared_memory_have_no_raw_element() -> None:
    message = service_pb2.ModelInferRequest(model_name="m")
    for name in ("one", "placed", "two"):
        message.inputs.add(name=name, datatype="UINT8", shape=[2])
    message.outputs.add(name="y")
    for name, value in (("region", "r"), ("offset", 1), ("byte_size", 2)):
        field = "string_param" if isinstance(value, str) else "int64_param"
        setattr(message.inputs[1].parameters[f"shared_memory_{name}"], field, value)
        setattr(message.outputs[0].parameters[f"shared_memory_{name}"], field, value)
    message.raw_input_contents.extend([b"\1\2", b"\3\4"])
    region = Region(b"\7\10\11")
    decoder = Decoder(LIMITS)
    for _ in range(2):  # it is not taken for one like those before
        request, answer = decoder.decode(message.SerializeToString(), 0.0, region)
        assert {name: array.tolist() for name, array in request.inputs.items()} == {
            "one": [1, 2],
            "placed": [8, 9],
            "two": [3, 4],
        }
        assert answer.places == {"y": RegionSlice("r", 1, 2)}
    response = InferResponse("m", "1", {"y": np.zeros(2, np.uint8), "z": np.ones(1, np.uint8)})
    found = pb.message("ModelInferResponse").FromString(encode_response(response, answer, LIMITS))
    assert list(found.raw_output_contents) == [b"", b"\1"]
    assert found.outputs[0].parameters["shared_memory_offset"].int64_param == 1
    with pytest.raises(InvalidInput, match="but for those in shared memory"):
        message.raw_input_contents.append(b"\5\6")
        Decoder(LIMITS).decode(message.SerializeToString(), 0.0, region)
