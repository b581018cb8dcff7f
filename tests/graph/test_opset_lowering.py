"""Files that say a newer opset or IR version than what is in them needs; of onnx 1.23: opset 28, IR version 14."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import NodeProto, TensorProto, defs, helper

from tests import models
from workbench.graph.opset_lowering import lower_ir, lower_opset


def one_node(operator: str, *, domain: str = "", **attributes: Any) -> onnx.ModelProto:
    node = helper.make_node(operator, ["x"], ["y"], domain=domain, **attributes)
    shape = ["batch", 4]
    return models.stamped(models.model([node], [models.value("x", "FP32", shape)], [models.value("y", "FP32", shape)]))


UNCHANGED = ["Relu", "Gemm", "Softmax", "Reshape", "Identity", "Constant", "LayerNormalization", "Attention", "TopK"]
"""Since before opset 26."""
OTHER_TYPES_ONLY = [
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
    "Einsum",
    "OneHot",
    "Unique",
    "Compress",
    "Celu",
    "Mod",
]
CHANGED = {"SwiGLU": "new in opset 28", "LinearAttention": "new in opset 27"}


@pytest.mark.parametrize("operator", [*UNCHANGED, *OTHER_TYPES_ONLY, "Range", "BitShift", "SpaceToDepth"])
def test_an_operator_that_is_the_same_in_both_is_read_as_of_the_older(operator: str) -> None:
    proto = one_node(operator)
    assert lower_opset(proto, "ai.onnx", 26) == ""
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 26)]


@pytest.mark.parametrize("operator", CHANGED)
def test_an_operator_that_is_not_there_yet_keeps_its_opset(operator: str) -> None:
    proto = one_node(operator)
    assert CHANGED[operator] in lower_opset(proto, "", 26)
    assert proto.opset_import[0].version == 28


EARLIER = {
    ("Softmax", 13, 12): "changed",  # the default of its axis
    ("ReduceSum", 13, 12): "changed",  # axes are an input
    ("Resize", 11, 10): "changed",
    ("Dropout", 12, 11): "changed",
    ("GroupNormalization", 21, 20): "changed",  # the length of its scale, said in words alone
    ("Abs", 13, 6): "changed",  # in words alone too, so that it is not known to be the same
    ("Relu", 14, 13): "",
    ("Transpose", 21, 13): "",
    ("Cast", 21, 19): "",
    ("Gelu", 20, 19): "new",
}
"""(operator, opset, older one) -> what is said; changes of the past, which are better known."""


@pytest.mark.parametrize(("change", "said"), EARLIER.items(), ids=str)
def test_changes_of_the_past_are_judged_rightly(change: tuple[str, int, int], said: str) -> None:
    operator, opset, older = change
    found = lower_opset(models.stamped(one_node(operator), opset), "", older)
    assert (said in found) if said else not found


def test_a_new_attribute_keeps_the_opset_where_it_is_given() -> None:
    assert "SpaceToDepth changed" in lower_opset(one_node("SpaceToDepth", blocksize=2, mode="CRD"), "", 26)
    assert lower_opset(one_node("SpaceToDepth", blocksize=2), "", 26) == ""


def in_a_subgraph(node: NodeProto) -> onnx.ModelProto:
    proto = models.stamped(models.branch())
    proto.graph.node[2].attribute[0].g.node.append(node)
    return proto


def in_a_function(node: NodeProto) -> onnx.ModelProto:
    proto = models.stamped(models.function_call())
    proto.functions[0].node.append(node)
    return proto


@pytest.mark.parametrize("place", [in_a_subgraph, in_a_function])
def test_subgraphs_and_functions_are_looked_into(place: Any) -> None:
    new = helper.make_node("SwiGLU", ["x"], ["z"])
    assert "SwiGLU is new" in lower_opset(place(new), "", 26)
    proto = place(helper.make_node("Relu", ["x"], ["z"]))
    assert lower_opset(proto, "", 26) == ""
    versions = [
        entry.version for scope in (proto, *proto.functions) for entry in scope.opset_import if not entry.domain
    ]
    assert set(versions) == {26}


def test_a_function_of_the_models_own_may_be_called_as_it_likes() -> None:
    proto = one_node("SwiGLU")
    body = [helper.make_node("Relu", ["a"], ["b"])]
    proto.functions.append(helper.make_function("", "SwiGLU", ["a"], ["b"], body, [helper.make_opsetid("", 28)]))
    assert lower_opset(proto, "", 26) == ""


@pytest.mark.parametrize(
    ("domain", "operator", "said"),
    [("ai.onnx.ml", "Scaler", "opset 9 of ai.onnx.ml"), ("example.own", "Frobnicate", "opset 9 of example.own")],
)
def test_of_opsets_that_onnx_does_not_know_nothing_is_assumed(domain: str, operator: str, said: str) -> None:
    proto = one_node(operator, domain=domain)
    proto.opset_import.append(helper.make_opsetid(domain, 9))
    assert f"nothing is known here of {said}" in lower_opset(proto, domain, 1)


def test_another_domain_that_no_node_uses_is_lowered_freely() -> None:
    proto = one_node("Relu")
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 3))
    assert lower_opset(proto, "com.microsoft", 1) == ""
    assert [entry.version for entry in proto.opset_import] == [28, 1]


def test_the_ir_version_is_lowered_where_no_newer_type_is_in_the_file() -> None:
    proto = models.stamped(models.mlp())
    assert lower_ir(proto, 13) == ""
    assert proto.ir_version == 13


def with_type(place: str) -> onnx.ModelProto:
    proto = models.stamped(models.mlp())
    new = TensorProto.FLOAT6E2M3
    if place == "a tensor":
        proto.graph.initializer.append(TensorProto(name="new", data_type=new, dims=[0]))
    elif place == "an input":
        proto.graph.input[0].type.tensor_type.elem_type = new
    else:
        proto.graph.node.append(helper.make_node("Cast", ["y"], ["z"], to=new))
    return proto


@pytest.mark.parametrize("place", ["a tensor", "an input", "a Cast"])
def test_a_type_that_came_with_the_newer_ir_version_keeps_it(place: str) -> None:
    proto = with_type(place)
    assert lower_ir(proto, 13) == "it holds FLOAT6E2M3, which IR version 14 brought"
    assert proto.ir_version == 14


def test_an_ir_version_that_onnx_does_not_know_is_not_lowered() -> None:
    assert "newer than the installed onnx" in lower_ir(models.stamped(models.mlp(), ir_version=99), 13)


def test_every_operator_that_changed_after_opset_26_was_looked_at() -> None:
    """A new onnx may bring more: then they are judged here before files with them are."""
    known = {"CausalConvWithState", "LinearAttention", "SwiGLU", "Range", "Mod", "BitShift", "SpaceToDepth"}
    known |= {"Cast", "QuantizeLinear", "DequantizeLinear", "Einsum", "OneHot", "Unique", "Compress", "Celu"}
    known |= {"DepthToSpace", "Optional", "OptionalGetElement", "OptionalHasElement", "ReverseSequence"}
    known |= {"ReduceLogSum", "ReduceLogSumExp"}
    schemas = defs.get_all_schemas_with_history()
    assert {each.name for each in schemas if each.domain == "" and 26 < each.since_version <= 28} <= known
