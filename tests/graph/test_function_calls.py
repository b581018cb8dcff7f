from __future__ import annotations

import pytest
from onnx import FunctionProto, ModelProto, NodeProto, helper

from tests import models
from workbench.errors import ModelError
from workbench.graph.function_calls import check_functions


def call(name: str) -> NodeProto:
    return helper.make_node(name, ["x"], ["x"], domain="local")


def calling(**functions: list[str]) -> ModelProto:
    """Functions by name, each with those that it calls; the graph calls the first."""
    proto = models.identity()
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid("local", 1)]
    for name, called in functions.items():
        nodes = [call(each) for each in called] or [helper.make_node("Identity", ["x"], ["x"])]
        proto.functions.append(helper.make_function("local", name, ["x"], ["x"], nodes, opsets))
    proto.graph.node.append(call(next(iter(functions))))
    return proto


def test_functions_that_call_others_pass() -> None:
    check_functions(models.function_call())
    check_functions(calling(a=["b", "c", "b"], b=["c"], c=[]))


@pytest.mark.parametrize(
    "functions", [{"a": ["a"]}, {"a": ["b"], "b": ["c"], "c": ["b"]}], ids=["itself", "over another"]
)
def test_one_that_calls_itself_is_refused(functions: dict[str, list[str]]) -> None:
    with pytest.raises(ModelError, match="calls itself"):
        check_functions(calling(**functions))


def test_one_that_calls_itself_in_a_branch_is_refused() -> None:
    proto = calling(a=[])
    branch = helper.make_graph([call("a")], "then", [], [models.value("x", "FP32", [1])])
    function: FunctionProto = proto.functions[0]
    function.node.append(helper.make_node("If", ["x"], ["x"], then_branch=branch, else_branch=branch))
    with pytest.raises(ModelError, match="calls itself"):
        check_functions(proto)


def test_thirty_that_call_the_next_twice_are_refused_though_the_file_is_small() -> None:
    names = [f"f{number}" for number in range(30)]
    functions = {name: [after, after] for name, after in zip(names, [*names[1:], "end"], strict=True)}
    with pytest.raises(ModelError, match="come to over 2000000 nodes"):
        check_functions(calling(**functions, end=[]))
