"""Files that ONNX Runtime does not take as they are: opened from a rewritten copy, or refused in true words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import models
from workbench.config import ModelConfig
from workbench.core.model import FREE, TensorSpec
from workbench.errors import ModelError
from workbench.runtimes.onnx import OnnxSession, open_onnx

ROWS = np.array([[0.25, 0.75], [0.5, 0.125]], np.float32)


def opened(path: Path) -> OnnxSession:
    return open_onnx(path, ModelConfig(device="cpu"))


def saved(proto: onnx.ModelProto, tmp_path: Path) -> Path:
    return models.save(proto, tmp_path / "model.onnx")


@pytest.mark.parametrize("labels", [("cat", "dog"), (3, 5)], ids=["texts", "numbers"])
def test_the_dicts_of_a_zipmap_are_served_as_the_tensor_that_they_are_made_of(
    tmp_path: Path, labels: tuple[str, str] | tuple[int, int]
) -> None:
    session = opened(saved(models.zipmap(labels), tmp_path))
    assert session.signature.outputs[1] == TensorSpec("chances", "FP32", (FREE, 2))
    best, chances = session.run({"x": ROWS}, ["best", "chances"])
    assert (best.tolist(), chances.tolist()) == ([1, 0], ROWS.tolist())
    (note,) = session.notes
    assert f"Its columns are the classes {labels[0]}, {labels[1]}." in note


def with_both(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with the sum of its input as an output beside its own."""
    proto.graph.node.append(helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0))
    proto.graph.output.append(models.value("sum", "FP32", []))
    return proto


def test_of_outputs_that_are_no_tensors_the_others_are_served(tmp_path: Path) -> None:
    session = opened(saved(with_both(models.sequence_output()), tmp_path))
    assert [spec.name for spec in session.signature.outputs] == ["sum"]
    (note,) = session.notes
    assert note.startswith("Output 'y' is not served: it is a seq(tensor(float)), which is no plain tensor")
    assert session.run({"x": np.ones((1, 4), np.float32)}, ["sum"])[0] == 4


def test_a_model_without_any_tensor_to_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"output 'y' is a seq\(tensor\(float\)\).* no output is a tensor"):
        opened(saved(models.sequence_output(), tmp_path))


def test_a_model_that_takes_a_sequence_is_refused(tmp_path: Path) -> None:
    taken = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, ["batch", 4])
    node = helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0)
    with pytest.raises(ModelError, match=r"input 'x' is a seq\(tensor\(float\)\), which is no plain tensor"):
        opened(saved(models.model([node], [taken], [models.value("y", "FP32", ["batch", 4])]), tmp_path))


STAMPS = {
    "as onnx.helper writes by default": (28, 14, "IR version 14 and opset 28"),
    "a newer opset alone": (28, 10, "opset 28"),
    "a newer IR version alone": (21, 14, "IR version 14"),
}


@pytest.mark.parametrize(("opset", "ir", "said"), STAMPS.values(), ids=STAMPS)
def test_a_file_with_newer_stamps_is_read_as_of_those_that_are_known(
    tmp_path: Path, opset: int, ir: int, said: str
) -> None:
    path = saved(models.stamped(models.function_call(), opset, ir), tmp_path)
    before = path.read_bytes()
    session = opened(path)
    (y,) = session.run({"x": np.array([1, 2], np.float32)}, ["y"])
    assert y.tolist() == [2, 3]
    (note,) = session.notes
    assert note.startswith(f"Its file says {said}, and ONNX Runtime 1.")
    assert path.read_bytes() == before


def test_newer_stamps_and_a_zipmap_together_are_no_matter(tmp_path: Path) -> None:
    session = opened(saved(models.stamped(models.zipmap()), tmp_path))
    assert session.run({"x": ROWS}, ["chances"])[0].tolist() == ROWS.tolist()
    assert len(session.notes) == 2


@pytest.mark.parametrize("location", ["weights.bin", "parts/weights.bin"])
def test_data_beside_a_rewritten_file_are_found(tmp_path: Path, location: str) -> None:
    path = models.save_external(tmp_path / "model.onnx", location)
    models.save(models.stamped(models.external(location)), path)
    (y,) = opened(path).run({"x": np.zeros((1, 4), np.float32)}, ["y"])
    assert y.tolist() == [models.EXTERNAL_WEIGHTS.tolist()]


def new_operator() -> onnx.ModelProto:
    proto = models.identity()
    proto.graph.node[0].op_type = "SwiGLU"
    proto.graph.node[0].input.append("x")
    return models.stamped(proto)


def new_datatype() -> onnx.ModelProto:
    """BitShift of INT64, which opset 28 brought."""
    node = helper.make_node("BitShift", ["x", "x"], ["y"], direction="LEFT")
    shape = ["batch", 4]
    return models.stamped(
        models.model([node], [models.value("x", "INT64", shape)], [models.value("y", "INT64", shape)])
    )


REFUSED = {
    "a new datatype of an operator": (
        new_datatype(),
        r"Type 'tensor\(int64\)' of input parameter \(x\) of operator \(BitShift\).*; its file says IR version 14, and "
        "ONNX Runtime 1.* reads up to IR version 13; its file says opset 28, and ONNX Runtime .* reads up to opset 26",
    ),
    "a new operator": (
        new_operator(),
        "its file says opset 28, .* reads up to opset 26; its operator SwiGLU is new in opset 28, so export it with "
        "opset_version=26",
    ),
    "an opset that is not out yet": (models.stamped(models.identity(), 99), "opset 99 .*with opset_version=26"),
    "an IR version that is not out yet": (
        models.stamped(models.identity(), 21, 99),
        r"IR version 99, .* save it with IR version 13 \(onnx.helper.make_model\(\.\.\., ir_version=13\)\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("proto", "said"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_needs_the_newer_is_told_which_versions_fit(
    tmp_path: Path, proto: onnx.ModelProto, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        opened(saved(proto, tmp_path))
    assert "ONNXRuntimeError" not in caught.value.message
    assert capfd.readouterr() == ("", "")


def test_a_model_in_onnx_runtimes_own_format_runs(tmp_path: Path) -> None:
    session = opened(models.ort_format(models.mlp(), tmp_path / "model.ort"))
    bare = opened(saved(models.mlp(), tmp_path))
    x = np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16)
    np.testing.assert_allclose(session.run({"x": x}, ["y"])[0], bare.run({"x": x}, ["y"])[0], rtol=1e-5)
    assert session.signature == bare.signature


@pytest.mark.parametrize("part", [0.5, 0.98])
def test_a_truncated_file_of_that_format_is_refused(
    tmp_path: Path, part: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = models.ort_format(models.mlp(), tmp_path / "model.ort")
    capfd.readouterr()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError, match="verification failed"):
        opened(path)
    assert capfd.readouterr() == ("", "")


def test_an_unknown_rank_is_told_from_a_scalar(tmp_path: Path) -> None:
    """ONNX Runtime gives both the same shape."""
    unknown = opened(saved(models.unranked(), tmp_path)).signature
    assert [spec.ranked for spec in (*unknown.inputs, *unknown.outputs)] == [False, False]
    scalar = opened(saved(models.scalar(), tmp_path)).signature
    assert [spec.ranked for spec in (*scalar.inputs, *scalar.outputs)] == [True, True]


def test_an_output_whose_shape_follows_from_the_graph_is_ranked(tmp_path: Path) -> None:
    proto = models.mlp()
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    assert opened(saved(proto, tmp_path)).signature.outputs == (TensorSpec("y", "FP32", (FREE, 16)),)
