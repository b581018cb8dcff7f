"""What is refused in the bytes of an ONNX file before any parser sees them."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from workbench.core.varint import varint
from workbench.errors import ModelError
from workbench.graph import wire_check
from workbench.graph.wire_check import check_wire


def field(number: int, content: bytes | int, wire: int | None = None) -> bytes:
    """A field of a message: bytes with their length, or a number."""
    if isinstance(content, int):
        return varint(number << 3 | (wire or 0)) + varint(content)
    return varint(number << 3 | (2 if wire is None else wire)) + varint(len(content)) + content


def graph(content: bytes) -> bytes:
    """A model with this in its graph."""
    return field(1, 8) + field(7, content) + field(8, field(2, 13))


NODE = field(1, b"")
"""In a graph."""


@pytest.mark.parametrize(
    "proto",
    [
        models.mlp(),
        models.branch(),
        models.function_call(),
        models.identity(),
        *models.external_everywhere("weights.bin").values(),
    ],
)
def test_a_model_passes(proto: onnx.ModelProto) -> None:
    check_wire(proto.SerializeToString())


def test_numbers_pass_packed_or_one_by_one() -> None:
    node = helper.make_node("Any", ["x"], ["y"], floats=[1.5, -2.0], strings=[b"a", b""], ints=[1, -1, 2**62, 300])
    proto = models.model([node], [models.value("x", "FP32", [1])], [models.value("y", "FP32", [1])], [])
    check_wire(proto.SerializeToString())
    tensor = field(1, 3) + field(1, 3) + field(1, varint(4) + varint(5)) + field(2, TensorProto.FLOAT)
    check_wire(graph(field(5, tensor)))
    parsed = onnx.ModelProto.FromString(graph(field(5, tensor)))
    assert list(parsed.graph.initializer[0].dims) == [3, 3, 4, 5]


def test_what_a_newer_onnx_adds_passes() -> None:
    check_wire(
        graph(field(500, b"new") + field(501, 7) + varint(502 << 3 | 5) + b"1234" + varint(503 << 3 | 1) + bytes(8))
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (graph(varint(1 << 3 | 2) + varint(100) + b"x"), "corrupt or truncated"),
        (graph(b"\x0a\x80"), "corrupt or truncated"),
        (graph(b"\x0a" + b"\xff" * 9 + b"\x7f"), "corrupt or truncated"),
        (graph(b"\xff" * 12), "corrupt or truncated"),
        (graph(varint(500 << 3 | 3)), "corrupt or truncated"),
        (graph(varint(500 << 3 | 5) + b"12"), "corrupt or truncated"),
        (graph(b"\x00"), "not of its type"),
        (graph(field(1, 7)), "field 1 of GraphProto is not of its type"),
        (graph(field(5, field(2, b"packed?"))), "field 2 of TensorProto is not of its type"),
        (graph(field(5, varint(1 << 3 | 5) + b"1234")), "field 1 of TensorProto is not of its type"),
        (graph(b"") + field(7, NODE), "a field of ModelProto twice"),
        (graph(field(5, field(14, 0) + field(14, 1))), "a field of TensorProto twice"),
        (graph(field(11, field(2, field(1, b"") + field(4, b"")))), "a field of TypeProto twice"),
    ],
    ids=[
        "past the end",
        "half a varint",
        "varint of 70 bits",
        "endless varint",
        "a group",
        "half a number",
        "field 0",
        "a number for a node",
        "bytes for a number",
        "a float for a size",
        "a second graph",
        "a location that overrides",
        "two types of one value",
    ],
)
def test_what_parsers_could_read_differently_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        check_wire(content)


def test_eight_megabytes_of_empty_nodes_are_refused_before_they_are_objects() -> None:
    with pytest.raises(ModelError, match="over 500000 NodeProto, more than any model needs"):
        check_wire(graph(NODE * 4_000_000))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (NODE * 11, "over 10 NodeProto"),
        (field(1, field(5, b"") * 11), "over 10 AttributeProto"),
        (field(5, b"") * 11, "over 10 TensorProto"),
        (field(11, b"") * 21, "over 20 messages"),
        (field(1, field(1, b"") * 31), "31 names"),
        (field(1, field(4, b"A" * 101)), "a name of 101 bytes"),
    ],
    ids=["nodes", "attributes", "tensors", "messages", "names", "a long name"],
)
def test_there_is_a_cap_on_all_that_takes_more_memory_than_bytes(
    content: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire_check, "MAX_OF_KIND", dict.fromkeys(wire_check.MAX_OF_KIND, 10))
    monkeypatch.setattr(wire_check, "MAX_MESSAGES", 20)
    monkeypatch.setattr(wire_check, "MAX_NAMES", 30)
    wire_check._known.clear()
    monkeypatch.setattr(wire_check, "MAX_NAME_BYTES", 100)
    try:
        with pytest.raises(ModelError, match=f"the model has {says}, more than any model needs"):
            check_wire(graph(content))
    finally:
        wire_check._known.clear()


def test_graphs_inside_each_other_end_somewhere() -> None:
    with pytest.raises(ModelError, match="nested too deep"):
        check_wire(models.nested(10_000))
    content = b""
    for _ in range(1_000):  # as types: a sequence of sequences of ...
        content = field(4, field(1, content))
    with pytest.raises(ModelError, match="nested too deep"):
        check_wire(graph(field(11, field(2, content))))
