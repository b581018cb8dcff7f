"""The short way of reading a message says what the long way says, whatever is sent."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tests.protocols.grpc_messages import equal, mutated, request, seeds
from workbench.config import Limits
from workbench.core.messages import InferRequest
from workbench.core.varint import varint
from workbench.errors import WorkbenchError
from workbench.protocols.grpc_parse_cache import MAX_LAYOUTS
from workbench.protocols.oip_grpc import Decoder, decode_request, encode_request

LIMITS = Limits()


def outcome(decode: Decoder | None, message: bytes) -> InferRequest | str:
    try:
        return (decode.decode(message, 0.0) if decode else decode_request(message, LIMITS, 0.0))[0]
    except WorkbenchError as error:
        return f"{type(error).__name__}: {error.message}"


def same(one: InferRequest | str, other: InferRequest | str) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return (
        (one.model, one.version, one.outputs, one.id, one.priority, one.deadline, dict(one.parameters))
        == (other.model, other.version, other.outputs, other.id, other.priority, other.deadline, dict(other.parameters))
        and list(one.inputs) == list(other.inputs)
        and all(equal(array, other.inputs[name]) for name, array in one.inputs.items())
    )


def test_a_message_like_one_before_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(LIMITS)
    inputs = {"x": np.arange(6.0, dtype=np.float32).reshape(2, 3), "y": np.array([[b"a", b"bc"]], np.object_)}
    first = InferRequest("m", inputs, "2", ("out",))
    decoder.decode(encode_request(first), 0.0)
    later = {"x": inputs["x"] + 1, "y": np.array([[b"xy", b"z"]], np.object_)}
    message = encode_request(InferRequest("m", later, "2", ("out",)))

    def parsed(*_: object) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("workbench.protocols.oip_grpc.parse", parsed)
    got, _ = decoder.decode(message, 0.0)
    assert same(got, InferRequest("m", later, "2", ("out",)))


def test_whatever_came_before_a_message_is_read_as_it_is_alone() -> None:
    rng = random.Random(11)
    decoder = Decoder(LIMITS)
    bodies = [*seeds(), *(request(raw=bytes([n]) * 16).SerializeToString() for n in range(3))]
    two = request()
    two.inputs.add(name="z", datatype="INT8", shape=[3])
    two.raw_input_contents.append(b"\x3a\x01\x02")
    bodies.append(two.SerializeToString())
    for _ in range(6000):
        message = rng.choice(bodies)
        if rng.random() < 0.7:
            message = mutated(message, rng)
        assert same(outcome(decoder, message), outcome(None, message)), message
        bodies[rng.randrange(len(bodies))] = rng.choice((message, *seeds()))


@pytest.mark.parametrize("tail", ["id", "model_name", "outputs"])
def test_fields_after_the_tensors_are_not_missed(tail: str) -> None:
    decoder = Decoder(LIMITS)
    head = request().SerializeToString()
    extra = service_pb2.ModelInferRequest()
    if tail == "outputs":
        extra.outputs.add(name="y")
    else:
        setattr(extra, tail, "other")
    message = head + extra.SerializeToString()
    decoder.decode(head, 0.0)
    for _ in range(2):
        assert same(outcome(decoder, message), outcome(None, message))


def test_tensors_that_look_like_tags_do_not_deceive() -> None:
    decoder = Decoder(LIMITS)
    # The shape's own bytes end as a tag and a length would.
    for raw in (b"\x3a\x0e" + b"\x3a\x0c" * 7, b"\x3a\x10" * 8, b"\0" * 16):
        message = request(raw=raw).SerializeToString()
        for _ in range(2):
            assert same(outcome(decoder, message), outcome(None, message))


def test_what_is_remembered_has_a_cap() -> None:
    decoder = Decoder(LIMITS)
    for rows in range(2 * MAX_LAYOUTS):
        decoder.decode(request((rows,), b"\0" * 4 * rows).SerializeToString(), 0.0)
    assert len(decoder._layouts._found) <= MAX_LAYOUTS


@pytest.mark.parametrize(
    ("value", "octets"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (1 << 31, "8080808008")]
)
def test_numbers_are_written_as_protobuf_writes_them(value: int, octets: str) -> None:
    assert varint(value).hex() == octets
