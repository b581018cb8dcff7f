"""A library that is too new for its exporter is told by the package to renew, not by what the exporter missed."""

from __future__ import annotations

from types import FunctionType, ModuleType

import numpy as np
import pytest
import skl2onnx
import skl2onnx.operator_converters.linear_classifier as linear
from sklearn.linear_model import LogisticRegression

from workbench.convert.exporter_age import too_old
from workbench.convert.pytorch.torch_errors import told
from workbench.convert.scikit.sklearn import convert
from workbench.errors import Unsupported

X = np.arange(12.0).reshape(6, 2)


def test_an_exporter_that_misses_a_name_of_its_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "np", ModuleType("numpy"))
    with pytest.raises(
        Unsupported,
        match=r"LogisticRegression was not exported: skl2onnx [\d.]+ failed with AttributeError: .*'numpy' has no "
        r"attribute .*too old for scikit-learn [\d.]+ does; try pip install --upgrade skl2onnx",
    ):
        convert(LogisticRegression().fit(X, [0, 0, 1, 1, 0, 1]), X)


def test_an_exporter_without_the_name_that_is_imported_from_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(skl2onnx, "convert_sklearn")
    with pytest.raises(Unsupported, match=r"failed with ImportError: cannot import name .* --upgrade skl2onnx"):
        convert(LogisticRegression().fit(X, [0, 0, 1, 1, 0, 1]), X)


def test_torchs_exporter_is_found_behind_the_error_of_torch() -> None:
    inside = FunctionType((lambda: no_such_name.attribute).__code__, {"__name__": "onnxscript.ir", "no_such_name": 1})  # type: ignore[name-defined]  # noqa: F821
    try:
        inside()
    except AttributeError as error:
        outer = RuntimeError("the export failed")
        outer.__cause__ = error
    assert "Net was not exported: onnxscript" in told(outer, "Net").message


def test_what_is_not_installed_or_went_wrong_elsewhere_is_no_matter_of_age() -> None:
    assert too_old(ModuleNotFoundError("no module", name="skl2onnx")) == ""
    assert too_old(AttributeError("'Net' has no attribute 'weight'")) == ""
    assert too_old(ValueError("a shape")) == ""
