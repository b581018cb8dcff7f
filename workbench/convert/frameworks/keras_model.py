"""Converts Keras 3 models of any backend, by their own export."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from workbench.convert.converters import Check, Converted, exported_as
from workbench.convert.export_folder import export_folder
from workbench.convert.frameworks.graph_names import with_names
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported

ROWS, LENGTH = 7, 8
"""Of inputs made up: of an axis that is free, `LENGTH`."""
MOST_ROWS = 64
NEEDS: Mapping[str, str] = {"tensorflow": "tf2onnx", "jax": "jax2onnx", "torch": "onnx"}
"""Backend -> the package that its exports are made by."""

Inputs = dict[str, Array]


def convert(source: object, sample: object | None) -> Converted:
    """The export of a model. `sample`: what it is called with, an array or a dict or list of them, rows first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Keras and the exporters, nothing that a user could mend
        return _converted(source, sample)


def _converted(source: object, sample: object | None) -> Converted:
    import keras

    model: Any = source
    kind = type(model).__name__
    backend = keras.backend.backend()
    if not isinstance(model, keras.Model):
        if not isinstance(model, keras.Layer):
            raise InvalidInput(f"{kind} is no model of Keras: load the keras.Model itself")
        raise InvalidInput(f"{kind} is a Keras layer; load a model, as keras.Sequential([keras.Input(shape), layer])")
    if backend not in NEEDS:
        raise Unsupported(f"Keras has no ONNX export with the backend {backend}; it has with {', '.join(NEEDS)}")
    if importlib.util.find_spec(NEEDS[backend]) is None:
        raise Unsupported(
            f"exporting a Keras model with the backend {backend} needs {NEEDS[backend]}: pip install {NEEDS[backend]}"
        )
    given = _made_up(model, kind) if sample is None else _given(model, sample)
    first = {name: array[:1] for name, array in given.items()}
    try:
        _call(model, first)  # it exports only what was called once
    except Exception as error:  # the model's, of any class
        raise _own_error(error, kind, first) from error
    shapes = _free(model, given)
    notes = ["batch axis free"]
    signature = None
    if backend == "torch" and any(None in shape[1:] for shape in shapes.values()) and _recurrent(model):
        if sample is None:
            raise InvalidInput(
                f"with the torch backend, Keras exports the recurrent layers of {kind} for one length only; give rows "
                "of that length, as sample=X[:100] (--sample X[:100]), or build it with one, as keras.Input((9, 6))"
            )
        signature = [keras.InputSpec(shape=(None, *each.shape[1:]), dtype=str(each.dtype)) for each in given.values()]
        shapes = {name: (None, *array.shape[1:]) for name, array in given.items()}
        lengths = {array.shape[1] for array in given.values() if array.ndim > 1}
        notes.append(
            f"length fixed at {', '.join(map(str, sorted(lengths)))}: an export of its recurrent layers has one"
        )
    options: dict[str, Any] = {} if signature is None else {"input_signature": signature}
    with export_folder() as folder:
        path = folder / "model.onnx"
        model.export(str(path), format="onnx", verbose=False, **options)
        outputs = _answers(model, first)
        opset = with_names(path, list(given), list(outputs))
        checks = tuple(_checks(model, given, shapes))
    versions = {"keras": version("keras"), backend: version(_distribution(backend))}
    exported = exported_as(kind, "keras", versions["keras"], opset)
    return Converted(path, exported, checks, sample is None, frozenset(), kind, notes=tuple(notes), versions=versions)


def _distribution(backend: str) -> str:
    from importlib.metadata import packages_distributions

    return packages_distributions().get(backend, [backend])[0]


# What it is called with


def _given(model: Any, sample: Any) -> Inputs:
    names = _names(model)
    if isinstance(sample, Mapping):
        found = {str(name): np.asarray(value) for name, value in sample.items()}
        found = {name: found[name] for name in names} if set(names) == set(found) else found
    elif isinstance(sample, list | tuple) and len(sample) > 1 and len(sample) == len(names):
        found = {name: np.asarray(value) for name, value in zip(names, sample, strict=True)}
    else:
        found = {(names or ["x"])[0]: np.asarray(sample)}
    kinds = {name: str(each.dtype) for name, each in zip(names, getattr(model, "inputs", None) or (), strict=False)}
    for name, array in found.items():
        if array.ndim < 1 or not len(array) or array.dtype.kind not in "biuf":
            raise InvalidInput("sample takes what the model is called with: arrays of numbers, rows first")
        found[name] = array[:MOST_ROWS].astype(kinds.get(name, "float32" if array.dtype.kind == "f" else array.dtype))
    return found


def _made_up(model: Any, kind: str) -> Inputs:
    specs = getattr(model, "inputs", None)
    if not specs:
        raise InvalidInput(
            f"{kind} does not say what it is called with; give some rows, as sample=X[:100] (--sample X[:100])"
        )
    rng = np.random.default_rng(0)
    largest = min((layer.input_dim for layer in _layers(model) if type(layer).__name__ == "Embedding"), default=2)
    found = {}
    for name, spec in zip(_names(model), specs, strict=True):
        shape = (ROWS, *(LENGTH if size is None else size for size in spec.shape[1:]))
        whole = np.dtype(spec.dtype).kind in "iu"
        values = rng.integers(0, largest, shape) if whole else rng.normal(size=shape)
        found[name] = values.astype(spec.dtype)
    return found


def _names(model: Any) -> list[str]:
    """Of its inputs, as it takes them: the keys of a dict, else the names given to keras.Input.

    The counted names that Keras gives are not used, since another training gives others.
    """
    struct = getattr(model, "_inputs_struct", None)
    if isinstance(struct, Mapping):
        return sorted(struct)
    names = [spec.name for spec in getattr(model, "inputs", None) or ()]
    plain = [name.startswith(("keras_tensor", "input_layer")) for name in names]
    if len(names) == 1:
        return ["x"] if plain[0] else names
    return [f"x_{index}" if each else name for index, (name, each) in enumerate(zip(names, plain, strict=True))]


def _free(model: Any, given: Inputs) -> dict[str, tuple[int | None, ...]]:
    """Each input's shape, None for an axis of any size."""
    specs = getattr(model, "inputs", None)
    if not specs:
        return {name: (None, *array.shape[1:]) for name, array in given.items()}
    return {name: tuple(spec.shape) for name, spec in zip(given, specs, strict=True)}


def _layers(model: Any) -> Iterator[Any]:
    yield model
    inner = [
        *(getattr(model, "layers", None) or ()),
        *(getattr(model, name, None) for name in ("forward_layer", "layer")),
    ]
    for each in inner:
        if each is not None:
            yield from _layers(each)


def _recurrent(model: Any) -> bool:
    import keras

    return any(isinstance(layer, keras.layers.RNN) for layer in _layers(model))


# What it answers


def _call(model: Any, inputs: Inputs) -> Any:
    struct = getattr(model, "_inputs_struct", None)
    if isinstance(struct, Mapping) or (struct is None and len(inputs) > 1):
        return model(inputs, training=False)
    arrays = list(inputs.values())
    return model(arrays if len(arrays) > 1 else arrays[0], training=False)


def _own_error(error: Exception, kind: str, inputs: Inputs) -> InvalidInput:
    """The model's own error on its first row, without Keras's words around it."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    said = next((line for line in lines if not line.startswith("Exception encountered when calling")), "")
    shapes = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in inputs.items())
    return InvalidInput(f"{kind} itself fails on the first row ({shapes}): {type(error).__name__}: {said[:240]}")


def _answers(model: Any, inputs: Inputs) -> dict[str, Array]:
    import keras

    answer = _call(model, inputs)
    if isinstance(answer, Mapping):
        named = {str(name): each for name, each in answer.items()}
        if keras.backend.backend() != "torch":
            named = dict(sorted(named.items()))
    elif isinstance(answer, Sequence):
        named = {f"output_{index}": each for index, each in enumerate(answer)}
    else:
        named = {"output_0": answer}
    return {name: np.asarray(keras.ops.convert_to_numpy(each)) for name, each in named.items()}


def _checks(model: Any, given: Inputs, shapes: Mapping[str, tuple[int | None, ...]]) -> Iterator[Check]:
    def check(inputs: Inputs, what: str = "") -> Check:
        rows: Any = inputs if len(inputs) > 1 else next(iter(inputs.values()))
        return Check(rows, len(next(iter(inputs.values()))), _answers(model, inputs), what)

    yield check(given)
    yield check({name: array[:1] for name, array in given.items()}, "in batches of 1")
    if any(None in shape[1:] for shape in shapes.values()):
        for factor in (2, 3):
            longer = {name: _longer(array, shapes[name], factor) for name, array in given.items()}
            yield check(longer, f"{factor} times as long")


def _longer(array: Array, shape: tuple[int | None, ...], factor: int) -> Array:
    for axis, size in enumerate(shape):
        if axis and size is None:
            array = np.concatenate([array] * factor, axis=axis)
    return array
