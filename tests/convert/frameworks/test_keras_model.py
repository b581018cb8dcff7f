"""Keras models answer as they do themselves, at other batch sizes and lengths than those of the export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.helpers.keras_models import KERAS, keras, layers, lstm, perceptron, subclass
from tests.helpers.onnx_client import OnnxClient
from workbench.client.predict import Predictor
from workbench.convert.load import load
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported


@pytest.fixture(autouse=True)
def seeded() -> None:
    keras.utils.set_random_seed(0)  # of weights by chance, one score may be so small that any rounding is much of it


def own(model: Any, inputs: Any) -> dict[str, Array]:
    answer = model(list(inputs.values()) if isinstance(inputs, dict) else inputs, training=False)
    named = answer if isinstance(answer, dict) else {"output_0": answer}
    return {name: each.detach().numpy() for name, each in named.items()}


async def assert_answers_alike(client: OnnxClient, model: Any, inputs: Any) -> None:
    answer = await Predictor(client).predict("m", inputs)
    expected = own(model, inputs)
    assert sorted(answer) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(answer[name], array, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("kind", KERAS)
async def test_a_keras_model_is_served_as_it_answers(kind: str) -> None:
    model, inputs = KERAS[kind]()
    client = OnnxClient()
    report = await load(client, "m", model, {}, tolerance=1e-5)
    assert "batch axis free" in report.exported
    await assert_answers_alike(client, model, inputs)
    longer = kind.endswith(("of any length", "of any size"))
    assert len(report.details) == (4 if longer else 2)


async def test_the_names_are_the_same_after_another_training() -> None:
    client = OnnxClient()
    for _ in range(2):
        model, _ = perceptron()
        await load(client, "m", model, {})
        signature = (await client.status("m")).signature
        assert signature is not None
        assert [each.name for each in (*signature.inputs, *signature.outputs)] == ["x", "output_0"]


async def test_recurrent_layers_of_any_length_get_the_length_of_the_sample() -> None:
    """On torch, Keras traces them at length 1: a model that answers otherwise at each other length, without a word."""
    model, inputs = lstm(None)
    client = OnnxClient()
    with pytest.raises(InvalidInput, match=r"recurrent layers of Sequential for one length only.*sample=X\[:100\]"):
        await load(client, "m", model, {})
    report = await load(client, "m", model, {}, sample=inputs)
    assert "length fixed at 9" in report.exported
    await assert_answers_alike(client, model, inputs)


async def test_a_subclass_is_exported_as_the_sample_calls_it() -> None:
    model, inputs = subclass()
    client = OnnxClient()
    with pytest.raises(InvalidInput, match="does not say what it is called with"):
        await load(client, "m", model, {})
    await load(client, "m", model, {}, sample=inputs)
    await assert_answers_alike(client, model, inputs[:2])


async def test_what_cannot_be_exported_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match=r"Dense is a Keras layer; load a model, as keras\.Sequential"):
        await load(OnnxClient(), "m", layers.Dense(2), {})
    with pytest.raises(InvalidInput, match="arrays of numbers, rows first"):
        await load(OnnxClient(), "m", perceptron()[0], {}, sample=["a", "b"])
    with pytest.raises(InvalidInput, match="Adam is no model of Keras"):
        await load(OnnxClient(), "m", keras.optimizers.Adam(), {})
    model, inputs = perceptron()
    with pytest.raises(
        InvalidInput, match=r"Sequential itself fails on the first row \(x float32 \[1, 5\]\): ValueError: Input 0"
    ):
        await load(OnnxClient(), "m", model, {}, sample=inputs[:, :5])


async def test_a_missing_exporter_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(Unsupported, match="with the backend jax needs jax2onnx: pip install jax2onnx"):
        await load(OnnxClient(), "m", perceptron()[0], {})
