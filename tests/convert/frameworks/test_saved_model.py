"""What is decided about a SavedModel before TensorFlow sees it. The exports themselves: test_other_frameworks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.helpers.onnx_client import OnnxClient
from workbench.convert.frameworks import tensorflow_function
from workbench.convert.frameworks.saved_model import saved_model_folder, signature_of
from workbench.convert.frameworks.tensorflow_function import refused
from workbench.convert.load import load
from workbench.errors import InvalidInput, Unsupported


def saved(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder


def test_a_folder_is_found_by_its_file_or_by_its_highest_version(tmp_path: Path) -> None:
    assert saved_model_folder(str(saved(tmp_path / "plain"))) == tmp_path / "plain"
    for version in ("2", "10", "next"):
        saved(tmp_path / "served" / version)
    assert saved_model_folder(str(tmp_path / "served")) == tmp_path / "served" / "10"
    for other in (tmp_path, tmp_path / "none", tmp_path / "plain" / "saved_model.pb"):
        assert saved_model_folder(str(other)) is None
    (tmp_path / "plain" / "model.onnx").touch()
    assert saved_model_folder(str(tmp_path / "plain")) is None


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["__saved_model_init_op", "serving_default", "scaled"], "", "serving_default"),
        (["__saved_model_init_op", "serving_default", "scaled"], "scaled", "scaled"),
        (["__saved_model_init_op", "score"], "", "score"),
    ],
)
def test_one_signature_is_chosen(names: list[str], wanted: str, chosen: str) -> None:
    assert signature_of(names, wanted, "'m'") == chosen


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        (["score", "scaled"], "", r"'m' has 2 signatures, scaled, score, .*signature='scaled' \(--signature scaled\)"),
        (["score", "scaled"], "nope", "'m' has no signature 'nope'; it has scaled, score"),
        (["__saved_model_init_op"], "", "'m' has no signature to serve; in a cell, load one of its functions"),
    ],
)
def test_a_choice_that_is_none_lists_what_there_is(names: list[str], wanted: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        signature_of(names, wanted, "'m'")


async def test_what_the_export_needs_is_named_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, find = saved(tmp_path / "m"), importlib.util.find_spec
    for there, line in (("", "pip install tensorflow tf2onnx"), ("tensorflow", "pip install tf2onnx")):
        known = {"tensorflow": there or None, "tf2onnx": None}
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, known=known: known.get(name, find(name)))
        with pytest.raises(Unsupported, match=f"in this environment: {line}$"):
            await load(OnnxClient(), "m", folder, {})


async def test_a_signature_is_refused_for_what_has_none(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a")
    for source in (tmp_path / "model.onnx", b"\x08\x0a", len):
        with pytest.raises(InvalidInput, match="chooses one of a SavedModel's of TensorFlow"):
            await load(OnnxClient(), "m", source, {}, signature="score")


@pytest.mark.parametrize(
    "error",
    [
        AttributeError("`np.cast` was removed in the NumPy 2.0 release."),
        AttributeError("module 'numpy' has no attribute 'object'"),
        TypeError("Descriptors cannot be created directly."),
        ImportError("cannot import name 'mapping' from 'onnx' (onnx.mapping)"),
        ValueError("make_sure failure: Opset 18 is not supported yet. Please use a lower opset"),
    ],
)
def test_a_tf2onnx_that_is_too_old_is_called_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow_function, "version", lambda name: {"tf2onnx": "1.13.0"}.get(name, "9.9"))
    said = refused(error)
    assert said is not None
    assert said.message.startswith("tf2onnx 1.13.0 is too old for opset 18, numpy 9.9 and protobuf 9.9 (")
    assert said.message.endswith("pip install -U tf2onnx, and restart the kernel")


def test_any_other_error_of_the_exporter_keeps_its_words() -> None:
    assert refused(ValueError("Unsupported ops")) is None
