"""Converts TensorFlow functions, modules and loaded SavedModels, by tf2onnx; Keras models are converted elsewhere."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from workbench.convert.converters import Converted, exported_as
from workbench.convert.frameworks.array_call import answers, checks, example_arrays
from workbench.convert.frameworks.graph_names import with_names
from workbench.errors import InvalidInput, Unsupported

OPSET = 18
ROWS = 7


def convert(source: object, sample: object | None) -> Converted:
    """The export. `sample`: what it is called with, where it has no input_signature; rows first."""
    import tensorflow as tf

    kind = getattr(source, "__name__", type(source).__name__)
    if importlib.util.find_spec("tf2onnx") is None:
        raise Unsupported("exporting a TensorFlow function needs tf2onnx: pip install tf2onnx")
    import tf2onnx

    called, specs = _called(source)
    if called is None:
        raise InvalidInput(f"{kind} of TensorFlow cannot be called; load a tf.function, a tf.Module or a SavedModel")
    if sample is not None:
        given = example_arrays(called, sample)
        if specs is not None and len(specs) == len(given):
            given = {name: each.astype(spec.dtype.as_numpy_dtype) for (name, spec), each in _paired(specs, given)}
    elif specs is None:
        raise InvalidInput(
            f"an export of {kind} needs one example of its input; give one, as sample=X[:100] (--sample X[:100])"
        )
    else:
        given = _made_up(specs)
    shapes = specs or {name: tf.TensorSpec((None, *each.shape[1:]), each.dtype) for name, each in given.items()}
    signature = [tf.TensorSpec(shapes[name].shape, shapes[name].dtype, name=name) for name in given]

    def call(*arrays: Any) -> Any:
        found = [tf.constant(each) for each in arrays]
        return called(**dict(zip(given, found, strict=True))) if _by_name(source) else called(*found)

    path = Path(tempfile.mkdtemp(prefix="workbench-tensorflow-")) / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = tf.function(
            lambda *arrays: called(**dict(zip(given, arrays, strict=True))) if _by_name(source) else called(*arrays),
            input_signature=signature,
            autograph=False,
        )
        tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET, output_path=str(path))
        outputs = answers(call(*given.values()))
        free = all(spec.shape[:1] == (None,) for spec in signature)
        compared = tuple(checks(call, given, free=free))
    opset = with_names(path, list(given), list(outputs))
    versions = {"tensorflow": tf.__version__, "tf2onnx": version("tf2onnx")}
    exported = exported_as(kind, "tensorflow", versions["tensorflow"], opset)
    notes = ("batch axis free",) if free else ("batch axis fixed",)
    return Converted(path, exported, compared, sample is None, frozenset(), kind, notes=notes, versions=versions)


def _called(source: Any) -> tuple[Any, dict[str, Any] | None]:
    """What is called, and the TensorSpec of each input by name, where it says so."""
    if _by_name(source):
        function = source.signatures["serving_default"]
        return function, dict(function.structured_input_signature[1])
    function = source if hasattr(source, "input_signature") else type(source).__dict__.get("__call__")
    specs = getattr(function, "input_signature", None)
    if specs is None:
        return (source if callable(source) else None), None
    names = [spec.name or ("x" if len(specs) == 1 else f"x_{place}") for place, spec in enumerate(specs)]
    return source, dict(zip(names, specs, strict=True))


def _by_name(source: Any) -> bool:
    """Whether it is a loaded SavedModel, whose signature takes its arguments by name."""
    return "serving_default" in getattr(source, "signatures", ())


def _paired(specs: Any, given: Any) -> Any:
    return zip(specs.items(), given.values(), strict=True)


def _made_up(specs: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found = {}
    for name, spec in specs.items():
        if spec.shape.rank is None or spec.dtype.is_bool or spec.dtype.as_numpy_dtype is object:
            raise InvalidInput(
                f"no input {name!r} can be made up; give an example, as sample=X[:100] (--sample X[:100])"
            )
        shape = [(8 if place else ROWS) if size is None else size for place, size in enumerate(spec.shape)]
        values = rng.normal(size=shape) if spec.dtype.is_floating else rng.integers(0, 2, shape)
        found[name] = values.astype(spec.dtype.as_numpy_dtype)
    return found
