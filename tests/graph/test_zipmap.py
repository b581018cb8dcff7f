from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto

from tests import models
from workbench.graph.zipmap import drop_zipmaps


@pytest.mark.parametrize("labels", [("cat", "dog", "cow"), (3, 5)], ids=["texts", "numbers"])
def test_a_zipmap_becomes_a_tensor_and_its_keys_become_labels(
    labels: tuple[str, ...] | tuple[int, ...],
) -> None:
    proto = models.zipmap(labels)
    assert drop_zipmaps(proto) == {"chances": tuple(map(str, labels))}
    onnx.checker.check_model(proto, full_check=True)
    best, chances = proto.graph.output
    assert (best.name, chances.name) == ("best", "chances")
    assert chances.type.tensor_type.elem_type == TensorProto.FLOAT
    assert [dim.dim_value for dim in chances.type.tensor_type.shape.dim] == [0, len(labels)]
    assert "ZipMap" not in {node.op_type for node in proto.graph.node}
    assert drop_zipmaps(proto) == {}


def test_a_model_without_one_is_as_it_was() -> None:
    proto = models.mlp()
    before = proto.SerializeToString()
    assert drop_zipmaps(proto) == {}
    assert proto.SerializeToString() == before


def without_keys() -> onnx.ModelProto:
    proto = models.zipmap()
    del proto.graph.node[1].attribute[:]
    return proto


def of_another_domain() -> onnx.ModelProto:
    proto = models.zipmap()
    proto.graph.node[1].domain = "example.own"
    return proto


@pytest.mark.parametrize(
    "proto",
    [without_keys(), of_another_domain(), models.sequence_output()],
    ids=["no keys", "of another domain", "a sequence"],
)
def test_what_cannot_be_a_tensor_stays(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString()
    assert drop_zipmaps(proto) == {}
    assert proto.SerializeToString() == before
