"""Model files of a stranger, uploaded to a service that serves others: refused, and at what cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import helper

from tests import models
from tests.security.watched_service import MB, Watched
from workbench.core.varint import varint

pytestmark = pytest.mark.serial


def bomb(field: bytes, size: int) -> bytes:
    """A model of about `size` bytes: its graph has this field again and again."""
    graph = models.add_constant(1.0).graph.SerializeToString() + field * (size // len(field))
    return b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph + b"\x42\x02\x10\x0d"


def laughs() -> bytes:
    """Forty functions, each of which calls the next one twice."""
    proto = models.identity()
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid("local", 1)]
    for number in range(40):
        call = helper.make_node(f"f{number + 1}", ["x"], ["x"], domain="local")
        proto.functions.append(helper.make_function("local", f"f{number}", ["x"], ["x"], [call, call], opsets))
    last = helper.make_node("Identity", ["x"], ["x"])
    proto.functions.append(helper.make_function("local", "f40", ["x"], ["x"], [last], opsets))
    proto.graph.node.append(helper.make_node("f0", ["x"], ["laughs"], domain="local"))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return proto.SerializeToString()


BOMBS: dict[str, tuple[bytes, str]] = {
    "8 MB of empty nodes": (bomb(b"\x0a\x00", 8 * MB), "over 500000 NodeProto, more than any model needs"),
    "8 MB of empty tensors": (bomb(b"\x2a\x00", 8 * MB), "over 500000 TensorProto, more than any model needs"),
    "12 MB of empty values": (bomb(b"\x6a\x00", 12 * MB), "over 4000000 messages, more than any model needs"),
    "the name of an operator that has 8 MB": (
        bomb(b"\x0a" + varint(8 * MB + 5) + b"\x22" + varint(8 * MB) + b"a" * 8 * MB, 9 * MB),
        "a name of 8000000 bytes, more than any model needs",
    ),
    "100,000 graphs inside each other": (models.nested(100_000), "nested too deep"),
    "functions that are a billion nodes": (laughs(), "come to over 2000000 nodes"),
    "a graph after the graph": (bomb(b"\x0a\x00", 2) + b"\x3a\x02\x0a\x00", "a field of ModelProto twice"),
    "half a number": (bomb(b"\x0a\xff", 2), "corrupt or truncated"),
}


def refused(watched: Watched, path: str, body: bytes | dict[str, str]) -> str:
    """What was said of it."""
    headers = {"Content_Type": "application/octet-stream"} if isinstance(body, bytes) else {}
    status, answer = watched.serve.call("POST", f"/control/models/bomb/{path}", body, **headers)
    assert status == 400, answer
    message: str = json.loads(answer)["error"]
    return message


def test_a_file_that_grows_when_it_is_read_is_refused_at_the_cost_of_its_bytes(
    attacked: Watched, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.onnx"
    with attacked.attack() as seen:
        for content, says in BOMBS.values():
            path.write_bytes(content)
            assert says in refused(attacked, "stage", content)
            assert says in refused(attacked, "load", {"path": str(path)})
    seen.others_were_served()
    assert seen.grown_bytes < 2 * max(len(content) for content, _ in BOMBS.values()) + 30 * MB, seen
    libraries = {Path(each.path).name.partition(".")[0] for each in attacked.worker.memory_maps()}
    assert "onnxruntime_pybind11_state" in libraries
    assert not [name for name in libraries if name.startswith("onnx_cpp2py")], "the worker has what parses such files"
