"""What real models say of data that they do not take, and what a fault is: each tried with ONNX Runtime 1.31."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as raised

from tests import models
from tests.helpers.growth import growth
from workbench.config import ModelConfig
from workbench.core.tensor import DATATYPES, Array
from workbench.errors import ExecutionError, InvalidInput
from workbench.runtimes.onnx import open_onnx
from workbench.runtimes.ort_errors import run_error

ONES = np.ones((2, 4), np.float32)
ML = "ai.onnx.ml"


def words(*texts: str) -> Array:
    return np.array([text.encode() for text in texts], np.object_)


COMPLAINTS: dict[str, tuple[str, Mapping[str, Array], Mapping[str, Any], str]] = {
    "an index of Gather": ("Gather", {"x": ONES, "i": np.array([9])}, {}, "idx=9 must be within"),
    "an index of GatherND": ("GatherND", {"x": ONES, "i": np.array([[9, 9]])}, {}, "index = 9"),
    "an index of GatherElements": ("GatherElements", {"x": ONES, "i": np.full((1, 4), 9)}, {}, "Out of range value"),
    "a column": ("ArrayFeatureExtractor", {"x": ONES, "i": np.array([7])}, {"domain": ML}, "index is out of range"),
    "MatMul's widths": ("MatMul", {"x": ONES, "w": ONES}, {}, "dimension mismatch"),
    "Add's shapes": ("Add", {"x": ONES, "w": ONES[:, :3]}, {}, "broadcast"),
    "Where's shapes": ("Where", {"c": np.ones(2, bool), "x": ONES[0], "w": ONES[0, :3]}, {}, "broadcast"),
    "Concat's rows": ("Concat", {"x": ONES, "w": ONES[:1]}, {"axis": 1}, "mismatched dimensions"),
    "a Reshape": ("Reshape", {"x": ONES, "s": np.array([-1, 3])}, {}, "cannot be reshaped"),
    "an Expand": ("Expand", {"x": ONES, "s": np.array([3, 3])}, {}, "invalid expand shape"),
    "too large a k": ("TopK", {"x": ONES, "k": np.array([9])}, {}, "should not be greater"),
    "a step of 0": (
        "Slice",
        {"x": ONES, "a": np.array([0]), "b": np.array([1]), "c": np.array([0]), "d": np.array([0])},
        {},
        "'step' value cannot be 0",
    ),
    "a division by 0": ("Div", {"x": np.array([1]), "w": np.array([0])}, {}, "division by zero"),
    "a remainder of 0": ("Mod", {"x": np.array([1]), "w": np.array([0])}, {}, "modulo by zero"),
    "a remainder of floats": (
        "Mod",
        {"x": ONES, "w": ONES},
        {},
        "fmod attribute must be true for floating point types",
    ),
    "an unknown category": (
        "OneHotEncoder",
        {"x": words("zz")},
        {"domain": ML, "cats_strings": ["a", "b"], "zeros": 0},
        "Unknown Category",
    ),
    "features of a scaler": (
        "Scaler",
        {"x": ONES},
        {"domain": ML, "offset": [0.0] * 3, "scale": [1.0] * 3},
        "feature size",
    ),
    "a text that is no number": ("Cast", {"x": words("zz")}, {"to": onnx.TensorProto.FLOAT}, "a text is no number"),
    "a text that is no id": ("Cast", {"x": words("z")}, {"to": onnx.TensorProto.INT64}, "a text is no whole number"),
    "the largest of nothing": ("ArgMax", {"x": ONES[:0]}, {"axis": 0}, "does not say why"),
    "a length below 0": ("ConstantOfShape", {"s": np.array([-4, 2])}, {}, "must be >= 0"),
    "a length that overflows": ("ConstantOfShape", {"s": np.array([1 << 40, 1 << 40])}, {}, "overflow"),
}
"""What a test of it is called -> operator, inputs, attributes, what it says."""


def one_operator(operator: str, feeds: Mapping[str, Array], **attributes: Any) -> onnx.ModelProto:
    """A model of one node, named "n", whose inputs have the ranks of `feeds` and free sizes."""
    domain = attributes.get("domain", "")
    node = helper.make_node(operator, list(feeds), ["y"], name="n", **attributes)
    if operator == "TopK":
        node.output.append("indices")
    inputs = [models.value(name, DATATYPES[array.dtype], [None] * array.ndim) for name, array in feeds.items()]
    proto = models.model([node], inputs, [], domains=[domain] if domain else [])
    proto.graph.output.append(onnx.ValueInfoProto(name="y"))
    return proto


@pytest.mark.parametrize(("operator", "feeds", "attributes", "said"), COMPLAINTS.values(), ids=COMPLAINTS)
def test_an_operators_complaint_about_data_is_the_callers_in_the_operators_words(
    tmp_path: Path, operator: str, feeds: Mapping[str, Array], attributes: Mapping[str, Any], said: str
) -> None:
    proto = one_operator(operator, feeds, **attributes)
    session = open_onnx(models.save(proto, tmp_path / "model.onnx"), ModelConfig(device="cpu"))
    with pytest.raises(InvalidInput, match=f"refused this input: {operator}( 'n')?: .*{said}") as caught:
        session.run(feeds, ["y"])
    for noise in ("ONNXRuntimeError", "Status Message", "/", ".cc", ".h:", "\n", "was false", "::"):
        assert noise not in caught.value.message


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ("category of 'city'", "column 'city' holds a category that was not there when the model was trained"),
        ("category of 'city' (2)", "column 'city' holds a category that was not there when the model was trained"),
        ("it's", 'the model refused this input: Gather "it\'s": indices element out of data bounds, idx=3 must be '),
    ],
)
def test_a_category_that_is_looked_up_in_vain_is_told_with_its_column(tmp_path: Path, node: str, said: str) -> None:
    data, place = np.zeros((3, 1), np.float32), np.zeros(1, np.int64)
    proto = one_operator("Gather", {"data": data, "place": place})
    proto.graph.node[0].name = node
    session = open_onnx(models.save(proto, tmp_path / "model.onnx"), ModelConfig(device="cpu"))
    with pytest.raises(InvalidInput) as refused:
        session.run({"data": data, "place": place + 3}, ["y"])
    assert refused.value.message.startswith(said)


def test_too_little_memory_is_no_fault_of_the_data(tmp_path: Path) -> None:
    proto = one_operator("ConstantOfShape", {"s": np.array([1])})
    session = open_onnx(models.save(proto, tmp_path / "model.onnx"), ModelConfig(device="cpu"))
    with pytest.raises(ExecutionError, match="not enough memory"):
        session.run({"s": np.array([1 << 42])}, ["y"])


_RAN = "Non-zero status code returned while running Conv node. Name:'c' Status Message: "

FAULTS = {
    "a kernel that is not there": raised.NotImplemented(f"[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : {_RAN}no such"),
    "a provider": raised.EPFail(f"[ONNXRuntimeError] : 11 : EP_FAIL : {_RAN}the provider failed"),
    "CUDA": raised.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {_RAN}CUDA failure 700: an illegal memory access"),
    "cuDNN": raised.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {_RAN}CUDNN failure 5000: EXECUTION_FAILED"),
    "a CUDA call": raised.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {_RAN}cudaStreamSynchronize(stream) == cudaSuccess"),
    "an engine": raised.EngineError("[ONNXRuntimeError] : 5 : ENGINE_ERROR : it stopped"),
    "its end": raised.Fail("[ONNXRuntimeError] : 1 : FAIL : Exiting due to terminate flag being set to true."),
    "nothing of the data's": raised.Fail("[ONNXRuntimeError] : 1 : FAIL : the session is in a bad state"),
    "its Python layer": RuntimeError("something broke"),
}


@pytest.mark.parametrize("error", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_runtime_or_the_device_is_not_the_callers(error: Exception) -> None:
    found = run_error(error)
    assert type(found) is ExecutionError
    assert "ONNXRuntimeError" not in found.message


def test_words_that_only_look_like_a_devices_are_a_complaint() -> None:
    found = run_error(raised.Fail(f"[ONNXRuntimeError] : 1 : FAIL : {_RAN}the axis of barracuda is wrong"))
    assert type(found) is InvalidInput


def test_constants_of_a_model_are_no_matter(tmp_path: Path) -> None:
    """An initializer that fits no input: the words name both."""
    weights = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    node = helper.make_node("Gemm", ["x", "w"], ["y"])
    proto = models.model(
        [node], [models.value("x", "FP32", ["n", "k"])], [models.value("y", "FP32", ["n", 2])], [weights]
    )
    session = open_onnx(models.save(proto, tmp_path / "model.onnx"), ModelConfig(device="cpu"))
    with pytest.raises(InvalidInput, match=r"Gemm: GEMM: Dimension mismatch, W: \{3,2\} K: 4 N:2"):
        session.run({"x": ONES}, ["y"])


@pytest.mark.parametrize(
    "repeated", ["/onnxruntime_src/", "Load model from ", "/onnxruntime_src/a:1 f(", "(", "a.cc:1 "]
)
def test_words_of_a_model_are_read_in_time_that_follows_their_length(repeated: str) -> None:
    def read(size: int) -> None:
        run_error(RuntimeError(repeated * (size // len(repeated))))

    assert growth(read, 40_000, 4) < 9  # 4 where it is linear, 16 where it is quadratic
