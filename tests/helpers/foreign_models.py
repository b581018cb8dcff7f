"""Run by the interpreter of another environment: converts models of one library, and compares their answers.

`python -m tests.helpers.foreign_models jax` prints how many were right.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from workbench.convert.agreement import compare
from workbench.convert.converters import converter_for
from workbench.convert.frameworks.saved_model import opened_saved_model
from workbench.errors import InvalidInput, Unsupported

Made = tuple[str, Any, Any]
"""(its name, the object, an example or None)"""


def numbers(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def of_jax() -> Iterator[Made]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    weights = jnp.asarray(numbers(8, 3))

    class Net(nnx.Module):
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.first, self.norm = nnx.Linear(8, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs)
            self.drop, self.last = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(16, 2, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))

    function = jax.jit(lambda x: jnp.tanh(x @ weights))
    assert_refused(function, numbers(5, 7), "<lambda> itself fails on x float32 [5, 7], with TypeError: dot_general")
    assert_refused(jax.jit(lambda x: x if x.sum() > 0 else -x), numbers(5, 8), "use jax.numpy, and jnp.where or")
    assert_refused(weights, None, "an ArrayImpl holds data, not a model")
    yield "a function", function, numbers(5, 8)
    both = jax.jit(lambda a, b: {"total": b.sum(axis=1), "linear": a @ weights})
    yield "two arguments", both, (numbers(5, 8), numbers(5, 4))
    yield "nnx", Net(), numbers(5, 8)


def of_tensorflow() -> Iterator[Made]:
    import tensorflow as tf

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.weights = tf.Variable(numbers(8, 3))

        def __call__(self, x):  # type: ignore[no-untyped-def]  # TensorFlow reads annotations as types of its own
            return {"z": tf.tanh(x @ self.weights), "a": tf.reduce_sum(x, 1)}

    Module.__call__ = tf.function(Module.__call__, input_signature=[tf.TensorSpec((None, 8), tf.float32, name="x")])
    module = Module()
    yield "a module", module, None
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.__call__})
        yield "a SavedModel", tf.saved_model.load(folder), None
        yield "a SavedModel's folder", opened_saved_model(Path(folder), "serving_default"), None
    yield "a function", tf.function(lambda x: tf.tanh(x @ module.weights)), numbers(5, 8)
    constant, offset = tf.constant(numbers(8, 3)), tf.Variable(1.5)
    yield "closes over a constant", tf.function(lambda x: x @ constant + offset), numbers(5, 8)
    inner = tf.function(lambda x: x @ constant)
    branches = tf.function(lambda x: tf.cond(tf.reduce_sum(x) > offset, lambda: inner(x), lambda: x @ module.weights))
    yield "closes over constants in branches", branches, numbers(5, 8)
    rows, names = tf.Variable(numbers(10, 4)), tf.constant(["even", "odd"])
    yield "looks rows up in a variable", tf.function(lambda ids: tf.gather(rows, ids)), np.array([[1, 2], [3, 4]])
    yield "answers text", tf.function(lambda ids: tf.gather(names, ids % 2)), np.array([1, 2, 3])
    assert_refused(tf.function(lambda x: x * offset.assign_add(1.0)), numbers(5, 8), "writes a tf.Variable")


def of_paddle() -> Iterator[Made]:
    import paddle
    from paddle import nn

    class Net(nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.Linear(8, 16), nn.BatchNorm1D(16)
            self.drop, self.last = nn.Dropout(0.5), nn.Linear(16, 2)

        def forward(self, x):  # type: ignore[no-untyped-def]  # Paddle reads the source
            return self.last(self.drop(nn.functional.relu(self.norm(self.first(x)))))

    class Two(nn.Layer):  # type: ignore[misc]
        def forward(self, x, z):  # type: ignore[no-untyped-def]
            return {"z": x + z, "best": x.argmax(1)}

    class Sequences(nn.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.table, self.inner, self.last = nn.Embedding(20, 4), nn.LSTM(4, 5), nn.Linear(5, 2)

        def forward(self, ids):  # type: ignore[no-untyped-def]
            return self.last(self.inner(self.table(ids))[0][:, -1])

    net = Net()
    net(paddle.randn([4, 8]))  # in training mode
    yield "layers", net, numbers(5, 8)
    yield "two arguments", Two(), (numbers(5, 8), numbers(5, 8))
    yield "sequences", Sequences(), np.arange(12).reshape(2, 6)


def of_keras() -> Iterator[Made]:
    from tests.helpers.keras_models import KERAS, lstm

    for kind, make in KERAS.items():
        yield kind, make()[0], None
    yield "LSTM of any length", lstm(None)[0], None


def assert_right(name: str, source: Any, example: Any) -> None:
    converted = converter_for(source)(source, example)
    session = onnxruntime.InferenceSession(str(converted.model), providers=["CPUExecutionProvider"])
    inputs, outputs = ([each.name for each in found] for found in (session.get_inputs(), session.get_outputs()))
    for check in converted.checks:
        rows: Any = check.rows if isinstance(check.rows, dict) else {inputs[0]: check.rows}
        got = dict(zip(outputs, session.run(None, rows), strict=True))
        comparison = compare(check.expected, got, converted.labels, 1e-5)
        assert comparison.agrees, f"{name} {check.what}: {comparison.summary}"
    print(f"{name}: {converted.exported} on {len(converted.checks)} kinds of calls", flush=True)


def assert_refused(source: Any, example: Any, reason: str) -> None:
    try:
        converter_for(source)(source, example)
    except (InvalidInput, Unsupported) as error:
        assert reason in error.message, error.message
    else:
        raise AssertionError(f"it is not refused: {reason}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    models = list({"jax": of_jax, "tensorflow": of_tensorflow, "keras": of_keras, "paddle": of_paddle}[sys.argv[1]]())
    for model in models:
        assert_right(*model)
    print(f"right: {len(models)}")
