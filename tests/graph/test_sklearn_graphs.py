"""What skl2onnx makes of scikit-learn's estimators is decided by the graph, and rightly."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from onnx import ModelProto
from skl2onnx import to_onnx
from sklearn.base import BaseEstimator
from sklearn.datasets import load_diabetes, load_iris
from sklearn.utils import all_estimators

from tests.helpers.row_truth import BareModel, difference, trial_feeds
from workbench.core.batch_proof import Verdict
from workbench.graph.batch_axis import analyse

OPSETS = {"": 18, "ai.onnx.ml": 3}


def converted() -> Iterator[tuple[str, ModelProto]]:
    """Estimators with their defaults, of few trees; those that cannot be fitted or converted so are left out."""
    for kind in ("classifier", "regressor", "transformer", "cluster"):
        X, y = (load_diabetes if kind == "regressor" else load_iris)(return_X_y=True)
        X = np.abs(X[:, :4]).astype(np.float32)
        for name, estimator in all_estimators(kind):
            try:
                made: BaseEstimator = estimator()
                if "n_estimators" in made.get_params():
                    made.set_params(n_estimators=5)
                options = {id(made): {"zipmap": False}} if kind == "classifier" else None
                yield name, to_onnx(made.fit(X, y), X[:1], target_opset=OPSETS, options=options)
            except Exception:  # each library has its own
                continue


@pytest.mark.long
def test_estimators_are_proved_and_rightly(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    found: Counter[Verdict] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, model in converted():
            proof = analyse(model, strict=True)
            found[proof.verdict] += 1
            run = BareModel(model)
            for feeds, judged in trial_feeds(model.graph.input, 3, 1):
                try:
                    differs = difference(run, feeds, run.outputs, judged)
                except Exception:  # an estimator may refuse made-up rows, or NaN
                    continue
                assert not differs or proof.verdict is not Verdict.INDEPENDENT, f"{name}: {differs}"
    print(dict(found))
    assert found[Verdict.INDEPENDENT] >= 90 and found[Verdict.UNKNOWN] <= 5, found
