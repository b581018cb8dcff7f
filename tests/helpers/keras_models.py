"""Small Keras models, each with an input that it is asked with. The backend is torch where none is chosen."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from workbench.core.tensor import Array

Made = tuple[Any, Any]

os.environ.setdefault("KERAS_BACKEND", "torch")


class _Later:
    """A module that is imported when it is used: Keras takes seconds, in each process that collects the tests."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks whether it is a fixture
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)


keras: Any = _Later("keras")
layers: Any = _Later("keras.layers")


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def perceptron() -> Made:
    parts = [keras.Input((8,)), layers.Dense(16, "relu"), layers.BatchNormalization(), layers.Dropout(0.5)]
    return keras.Sequential([*parts, layers.Dense(3, "softmax")]), _numbers(5, 8)


def convolutions() -> Made:
    parts = [keras.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
    return keras.Sequential([*parts, layers.Dense(2)]), _numbers(3, 16, 16, 3)


def images_of_any_size() -> Made:
    parts = [keras.Input((None, None, 3)), layers.Conv2D(4, 3, padding="same"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([*parts, layers.Dense(2)]), _numbers(3, 12, 10, 3)


def embedding() -> Made:
    parts = [keras.Input((None,), dtype="int32"), layers.Embedding(20, 4), layers.GlobalAveragePooling1D()]
    return keras.Sequential([*parts, layers.Dense(1)]), np.arange(12, dtype=np.int32).reshape(2, 6)


def lstm(length: int | None = 9) -> Made:
    return keras.Sequential([keras.Input((length, 6)), layers.LSTM(4), layers.Dense(2)]), _numbers(4, 9, 6)


def two_inputs_and_outputs() -> Made:
    first, second = keras.Input((5,), name="a"), keras.Input((3,), name="b")
    joined = layers.Concatenate()([first, second])
    outputs = {"score": layers.Dense(1)(joined), "class": layers.Dense(2)(joined)}
    return keras.Model([first, second], outputs), {"a": _numbers(4, 5), "b": _numbers(4, 3)}


def subclass() -> Made:
    class Residual(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(4)

        def call(self, x: Any) -> Any:
            return x + self.dense(x)

    model = Residual()
    model(_numbers(1, 4))
    return model, _numbers(6, 4)


KERAS: dict[str, Callable[[], Made]] = {
    "keras.Sequential, dense with batch normalisation": perceptron,
    "keras.Sequential, convolutions": convolutions,
    "keras.Sequential, images of any size": images_of_any_size,
    "keras.Sequential, embedding of any length": embedding,
    "keras.Sequential, LSTM of one length": lstm,
    "keras.Model, two inputs and two outputs": two_inputs_and_outputs,
}
"""Kind -> a model that says what it is called with, and inputs."""
