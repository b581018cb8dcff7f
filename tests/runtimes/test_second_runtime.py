"""A runtime is one module and one registration: a second one is served over everything that ONNX is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.helpers.service_process import Serve
from tests.runtimes.linear import LINEAR, register_in_children, save_linear
from workbench.api import connect
from workbench.core import runtime
from workbench.core.runtime import ONNX, register, runtime_meant_by, runtime_of_file, runtime_of_platform, runtimes
from workbench.errors import ModelError, ModelNotFound
from workbench.notebook.magics import _is_path

ROWS = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_registered", {ONNX.name: ONNX})
    register(LINEAR)


def test_a_second_runtime_is_loaded_described_called_restored_and_unloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None
) -> None:
    register_in_children(tmp_path, monkeypatch.setenv)
    flag = save_linear(tmp_path / "flag.npz", [[1], [1]], [0])
    save_linear(tmp_path / "repository" / "triple" / "1" / "model.npz", [[3, 0], [0, 3]], [0, 0])
    (tmp_path / "repository" / "triple" / "config.pbtxt").write_text('backend: "linear" max_batch_size: 8')
    onnx = models.save(models.add_constant(1.0), tmp_path / "plus.onnx")
    flags = ("--load", f"sum={flag}", "--load", f"plus={onnx}", "--model-repository", str(tmp_path / "repository"))
    with Serve(tmp_path, *flags) as serve:
        serve.ready()
        with connect(serve.published["url"], serve.token) as wb:
            assert {status.name: status.platform for status in wb.models()} == {
                "sum": "numpy_linear",
                "triple": "numpy_linear",
                "plus": "onnxruntime_onnx",
            }
            assert np.asarray(wb.predict("sum", ROWS)).tolist() == [[3], [7]]
            assert np.asarray(wb.predict("triple", ROWS)).tolist() == [[3, 6], [9, 12]]

            # Loaded from a path of the caller's: tried in a process of its own, stored, swapped, refused.
            wb.load("mine", save_linear(tmp_path / "mine.npz", [[1], [0]], [10]))
            assert np.asarray(wb.predict("mine", ROWS)).tolist() == [[11], [13]]
            wb.load("mine", save_linear(tmp_path / "mine.npz", [[0], [1]], [10]))
            assert np.asarray(wb.predict("mine", ROWS)).tolist() == [[12], [14]]
            assert "NumPy" not in repr(wb.show("mine"))  # no placement, so nothing is said of one
            (tmp_path / "bad.npz").write_bytes(b"PK no archive")
            with pytest.raises(ModelError, match="the file is no linear model"):
                wb.load("bad", tmp_path / "bad.npz")

        assert json.loads(serve.call("GET", "/v2/models/mine")[1])["platform"] == "numpy_linear"
        config = json.loads(serve.call("GET", "/v2/models/mine/config")[1])
        assert (config["backend"], config["default_model_filename"]) == ("linear", "model.npz")
        # "mine" twice, and copies of what --load and the repository named; nothing of "bad".
        assert len(list((serve.data_dir / "models").glob("*/model.npz"))) == 4
        assert serve.stop() == 0
    with Serve(tmp_path) as serve:
        serve.ready()
        with connect(serve.published["url"], serve.token) as wb:
            assert np.asarray(wb.predict("mine", ROWS)).tolist() == [[12], [14]]
            wb.unload("mine")
            with pytest.raises(ModelNotFound):
                wb.predict("mine", ROWS)
        assert serve.stop() == 0


def test_a_registered_runtime_is_found_by_ending_platform_and_backend(registered: None) -> None:
    assert runtimes() == (ONNX, LINEAR)
    assert runtime_of_file(Path("a/Model.NPZ")) is LINEAR
    assert runtime_of_file(Path("model.pkl")) is None
    assert runtime_of_platform("numpy_linear") is LINEAR
    assert runtime_of_platform("") is ONNX
    assert runtime_meant_by("", "linear") is LINEAR
    assert runtime_meant_by("numpy_linear", "onnxruntime") is None
    assert runtime_meant_by("onnxruntime_onnx", "") is ONNX
    assert _is_path("no/such/model.npz")


def test_a_runtime_that_cannot_be_told_apart_is_not_registered(registered: None) -> None:
    with pytest.raises(ValueError, match="both claim"):
        register(dataclasses.replace(LINEAR, name="other"))
    with pytest.raises(ValueError, match="lack that of"):
        register(dataclasses.replace(LINEAR, suffixes=(".lin",)))
    assert runtimes() == (ONNX, LINEAR)
