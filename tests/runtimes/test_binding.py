"""I/O binding, on the CPU as its device: the same calls as on CUDA, save for where the buffers lie."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

from tests import models
from workbench.config import ModelConfig
from workbench.core.tensor import DTYPES
from workbench.errors import InvalidInput
from workbench.runtimes import binding as binding_module
from workbench.runtimes.binding import DeviceBinding
from workbench.runtimes.onnx import open_onnx


def bound(proto: onnx.ModelProto, folder: Path) -> DeviceBinding:
    session = open_onnx(models.save(proto, folder / "model.onnx"), ModelConfig(device="cpu"))
    return DeviceBinding(session._session, session.signature, "cpu", 0)


@pytest.mark.parametrize("datatype", [datatype for datatype in DTYPES if datatype != "BYTES"])
def test_every_datatype_but_strings_goes_through_unchanged(tmp_path: Path, datatype: str) -> None:
    binding = bound(models.identity(datatype), tmp_path)
    x = np.array([[0, 1, 1, 0], [1, 0, 0, 1]]).astype(DTYPES[datatype])
    for rows in (x, x[:1], x[:0], np.repeat(x, 2, axis=1)[:, ::2]):
        (y,) = binding.run({"x": rows}, ["y"])
        assert y.dtype == rows.dtype
        assert y.tolist() == rows.tolist()


def test_answers_are_their_callers_own_when_buffers_are_used_again(tmp_path: Path) -> None:
    binding = bound(models.add_constant(0.0), tmp_path)
    answers = [binding.run({"x": np.full((2, 4), n, np.float32)}, ["y"])[0] for n in range(40)]
    assert [answer.tolist() for answer in answers] == [np.full((2, 4), n).tolist() for n in range(40)]
    answers[0][:] = -1
    assert answers[1].tolist() == np.full((2, 4), 1).tolist()


def test_one_set_of_buffers_is_kept_for_each_batch_size_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding_module, "KEPT_SHAPES", 3)
    binding = bound(models.identity(), tmp_path)
    for rows in (1, 2, 1, 3, 1, 4, 1):
        binding.run({"x": np.zeros((rows, 4), np.float32)}, ["y"])
    assert list(binding._kept) == [((3, 4),), ((4, 4),), ((1, 4),)]
    binding.close()
    assert not binding._kept


def test_outputs_are_chosen_anew_at_each_run(tmp_path: Path) -> None:
    binding = bound(models.two_in_two_out(), tmp_path)
    inputs = {"b": np.zeros((1, 3), np.float32), "a": np.ones((1, 3), np.float32)}
    count, total = binding.run(inputs, ["count", "total"])
    assert (count.tolist(), total.tolist()) == ([[3]], [[1, 1, 1]])
    assert [array.tolist() for array in binding.run(inputs, ["total"])] == [[[1, 1, 1]]]


def test_bfloat16_is_bound_beside_others(tmp_path: Path) -> None:
    binding = bound(models.bfloat16_cast(), tmp_path)
    short = np.array([[2.5]], ml_dtypes.bfloat16)
    narrow, long = binding.run({"wide": np.array([[1.0]], np.float32), "short": short}, ["narrow", "long"])
    assert narrow.dtype == ml_dtypes.bfloat16
    assert (narrow.tolist(), long.tolist()) == ([[1.0]], [[2.5]])


def test_scalars_are_bound(tmp_path: Path) -> None:
    (y,) = bound(models.scalar(), tmp_path).run({"x": np.array(4, np.float32)}, ["y"])
    assert y.shape == ()
    assert y == 8


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({}, "'x' is missing"),
        ({"y": np.zeros((1, 4), np.float32)}, "'x' is missing"),
        ({"x": np.zeros((1, 4), np.float32), "z": np.zeros(1)}, "no input 'z'"),
        ({"x": np.zeros((1, 4), np.int32)}, "is FP32; an array of int32"),
        ({"x": np.zeros((1, 5), np.float32)}, r"shape \[1, 5\]; the model takes \[-1, 4\]"),
        ({"x": np.zeros(4, np.float32)}, r"shape \[4\]"),
    ],
)
def test_what_does_not_fit_is_refused_before_it_reaches_a_buffer(
    tmp_path: Path, inputs: dict[str, np.ndarray], reason: str
) -> None:
    binding = bound(models.identity(), tmp_path)
    with pytest.raises(InvalidInput, match=reason):
        binding.run(inputs, ["y"])
    assert not binding._kept
    x = np.ones((1, 4), np.float32)
    assert binding.run({"x": x}, ["y"])[0].tolist() == x.tolist()


def test_a_failed_run_leaves_the_buffers_usable(tmp_path: Path) -> None:
    binding = bound(models.gather(), tmp_path)
    x = np.arange(4, dtype=np.float32).reshape(1, 4)
    with pytest.raises(Exception, match="idx=9"):
        binding.run({"x": x, "i": np.array([9])}, ["y"])
    assert binding.run({"x": x, "i": np.array([2])}, ["y"])[0].tolist() == [[2]]


def test_an_input_of_unknown_rank_has_buffers_of_each_shape(tmp_path: Path) -> None:
    binding = bound(models.unranked(), tmp_path)
    for shape in ((), (3,), (2, 3), (0, 3)):
        x = np.ones(shape, np.float32)
        assert binding.run({"x": x}, ["y"])[0].tolist() == x.tolist()
