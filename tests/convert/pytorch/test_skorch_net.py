from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from tests.helpers.exporter_imports import import_exporter
from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

random = np.random.default_rng(0)
X = random.normal(size=(64, 8)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


class OneScore(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layer(X).squeeze(-1)


def served(net: Any, sample: object | None) -> dict[str, Array]:
    import_exporter()
    client = OnnxClient()
    asyncio.run(load(client, "net", net, {}, sample=sample))
    return dict(asyncio.run(Predictor(client).predict("net", X)))


def test_a_classifier_gives_its_own_labels_and_probabilities() -> None:
    layers = nn.Sequential(nn.Linear(8, 4), nn.Dropout(), nn.Linear(4, 3))
    net = NeuralNetClassifier(layers, max_epochs=1, criterion=nn.CrossEntropyLoss, verbose=0).fit(X, Y)
    got = served(net, X)
    assert np.array_equal(got["label"], net.predict(X))
    np.testing.assert_allclose(got["probabilities"], net.predict_proba(X), atol=1e-5)


def test_a_binary_one_and_a_regressor_too() -> None:
    binary = NeuralNetBinaryClassifier(OneScore, max_epochs=1, verbose=0).fit(X, (Y > 1).astype(np.float32))
    got = served(binary, {"X": X})
    assert np.array_equal(got["label"], binary.predict(X))
    np.testing.assert_allclose(got["probabilities"], binary.predict_proba(X), atol=1e-5)
    regressor = NeuralNetRegressor(nn.Sequential(nn.Linear(8, 1)), max_epochs=1, verbose=0).fit(X, X[:, :1])
    np.testing.assert_allclose(served(regressor, None)["output"], regressor.predict(X), atol=1e-5)


def test_one_score_a_row_may_be_a_column_of_the_module() -> None:
    net = NeuralNetBinaryClassifier(nn.Sequential(nn.Linear(8, 1)), max_epochs=1, verbose=0)
    net.fit(X, (Y > 1).astype(np.float32))
    got = served(net, X[:5])
    assert got["label"].shape == net.predict(X).shape
    assert got["probabilities"].shape == net.predict_proba(X).shape == (64, 2)
    np.testing.assert_allclose(got["probabilities"], net.predict_proba(X), atol=1e-5)


def test_a_net_is_the_last_step_of_a_pipeline_and_what_a_search_finds() -> None:
    layers = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    net = NeuralNetClassifier(layers, max_epochs=1, criterion=nn.CrossEntropyLoss, verbose=0)
    for made, sample in (
        (make_pipeline(StandardScaler(), net).fit(X, Y), None),
        (GridSearchCV(net, {"lr": [0.1]}, cv=2).fit(X, Y), X[:9]),
    ):
        got = served(made, sample)
        assert np.array_equal(got["label"], made.predict(X))
        np.testing.assert_allclose(got["probabilities"], made.predict_proba(X), atol=1e-5)
    regressor = NeuralNetRegressor(nn.Sequential(nn.Linear(8, 1)), max_epochs=1, verbose=0)
    scaled = make_pipeline(StandardScaler(), regressor).fit(X, X[:, :1])
    np.testing.assert_allclose(served(scaled, X[:9])["variable"], scaled.predict(X), atol=1e-5)


def test_one_that_is_not_fitted_says_so() -> None:
    with pytest.raises(InvalidInput, match=r"NeuralNetClassifier is not fitted yet; call fit\(\) first"):
        served(NeuralNetClassifier(OneScore), X)
