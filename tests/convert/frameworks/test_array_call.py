from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from workbench.convert.converters import converter_for
from workbench.convert.frameworks.array_call import answers, checks, example_arrays
from workbench.convert.frameworks.graph_names import with_names
from workbench.errors import InvalidInput, Unsupported

X = np.arange(12.0).reshape(4, 3)


def test_an_example_has_the_names_of_the_parameters() -> None:
    def both(left: Any, right: Any, *, scale: float = 1.0) -> Any:
        return left + right

    assert list(example_arrays(both, (X, X))) == ["left", "right"]
    assert list(example_arrays(both, {"a": X})) == ["a"]
    assert list(example_arrays(object(), X)) == ["x"]
    assert list(example_arrays(object(), (X, X))) == ["x_0", "x_1"]
    with pytest.raises(InvalidInput, match="arrays of numbers, rows first"):
        example_arrays(both, ("a", "b"))


def test_answers_have_the_keys_of_a_dict_or_are_counted() -> None:
    assert list(answers({"b": X, "a": X})) == ["a", "b"]
    assert list(answers((X, X))) == ["output_0", "output_1"]
    assert list(answers(X)) == ["output_0"]


def test_text_of_tensorflow_is_compared_as_the_service_answers_it() -> None:
    found = answers(np.array([b"K\xc3\xb6ln", b"Rom"], object))["output_0"]
    assert found.tolist() == ["Köln", "Rom"]


def test_a_free_batch_is_checked_at_other_sizes() -> None:
    found = list(checks(lambda x: x * 2, {"x": X}, free=True))
    assert [each.row_count for each in found] == [4, 1, 7]
    for each in found:
        np.testing.assert_array_equal(each.expected["output_0"], np.asarray(each.rows) * 2)
    assert len(list(checks(lambda x: x * 2, {"x": X}, free=False))) == 1


def test_an_input_that_is_answered_as_it_came_gets_both_names(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("in_0", TensorProto.FLOAT, ["B", 3])
    double = helper.make_tensor_value_info("twice", TensorProto.FLOAT, ["B", 3])
    graph = helper.make_graph([helper.make_node("Add", ["in_0", "in_0"], ["twice"])], "g", [value], [double, value])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    assert with_names(tmp_path / "m.onnx", ["x"], ["output_0", "output_1"]) == 18
    renamed = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(renamed)
    assert [each.name for each in renamed.graph.input] == ["x"]
    assert [each.name for each in renamed.graph.output] == ["output_0", "output_1"]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("paddle.nn.layer.common", "a PaddlePaddle layer needs paddle2onnx: pip install paddle2onnx"),
        ("tensorflow.python.x", "a TensorFlow function needs tf2onnx: pip install tf2onnx"),
        ("jaxlib.x", "a jax function needs jax2onnx: pip install jax2onnx"),
    ],
)
def test_a_missing_exporter_is_named_with_its_line(module: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("tensorflow", "jax"):
        monkeypatch.setitem(sys.modules, library, ModuleType(library))
    source = type("Linear", (), {"__module__": module})()
    with pytest.raises(Unsupported, match=f"exporting {said}$"):
        converter_for(source)(source, X)


def test_an_answer_that_is_called_as_an_input_has_another_name() -> None:
    assert list(answers({"x": X, "a": X}, ["x"])) == ["a", "x_out"]
    for check in checks(lambda x: {"x": x}, {"x": X}, free=True):
        assert list(check.expected) == ["x_out"]
