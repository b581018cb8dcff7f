"""Converts TensorFlow functions, modules and loaded SavedModels, by tf2onnx; Keras models are converted elsewhere."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from workbench.convert.conversion import current_conversion
from workbench.convert.converters import Converted, exported_as, words
from workbench.convert.export_folder import export_folder
from workbench.convert.frameworks.array_call import answers, checks, example_arrays, labels_of
from workbench.convert.frameworks.graph_names import with_names, without_form
from workbench.convert.frameworks.saved_model import signature_of
from workbench.errors import InvalidInput, Unsupported

OPSET = 18
ROWS = 7


@dataclass(frozen=True, slots=True)
class _Called:
    """What is exported."""

    function: Any
    specs: dict[str, Any] | None
    """Each input's TensorSpec, by the name that it is served under; None: nothing says which they are."""
    by_name: tuple[str, ...] = ()
    """The names that a signature takes its arguments by, in that order; empty: it takes them by position."""
    note: str = ""

    def __call__(self, *arrays: Any) -> Any:
        if self.by_name:
            return self.function(**dict(zip(self.by_name, arrays, strict=True)))
        return self.function(*arrays)


def convert(source: object, sample: object | None) -> Converted:
    """The export. `sample`: what it is called with, where it has no input_signature; rows first."""
    import tensorflow as tf

    kind = getattr(source, "__name__", type(source).__name__)
    if importlib.util.find_spec("tf2onnx") is None:
        raise Unsupported("exporting a TensorFlow function needs tf2onnx: pip install tf2onnx")
    called = _called(source)
    if not callable(called.function):
        raise InvalidInput(f"{kind} of TensorFlow cannot be called; load a tf.function, a tf.Module or a SavedModel")
    kind = "SavedModel" if called.note else kind
    specs = called.specs
    if sample is not None:
        given = _given(called, sample)
    elif specs is None:
        raise InvalidInput(
            f"an export of {kind} needs one example of its input; give one, as sample=X[:100] (--sample X[:100])"
        )
    else:
        given = _made_up(specs)
    shapes = specs or {name: tf.TensorSpec((None, *each.shape[1:]), each.dtype) for name, each in given.items()}
    signature = [tf.TensorSpec(shapes[name].shape, shapes[name].dtype, name=name) for name in given]

    def call(*arrays: Any) -> Any:
        return called(*(tf.constant(each) for each in arrays))

    try:
        outputs = answers(call(*given.values()), given)
    except Exception as error:  # TensorFlow's own, about shapes and datatypes
        shapes_given = ", ".join(f"{name} {each.dtype} {list(each.shape)}" for name, each in given.items())
        raise InvalidInput(f"{kind} itself fails on {shapes_given}, with {words(error)}") from None
    tensorflow_says = tf.get_logger()
    level = tensorflow_says.level
    try:
        with export_folder() as folder, warnings.catch_warnings():
            path = folder / "model.onnx"
            warnings.simplefilter("ignore")
            tensorflow_says.setLevel(logging.ERROR)  # of collections that it cannot copy, which nobody needs
            traced = tf.function(lambda *arrays: called(*arrays), input_signature=signature, autograph=False)
            _export(_frozen(traced.get_concrete_function(), kind), signature, path, kind)
            free = all(spec.shape[:1] == (None,) for spec in signature)
            compared = tuple(checks(call, given, free=free))
            opset = with_names(path, list(given), list(outputs))
    finally:
        tensorflow_says.setLevel(level)
    versions = {"tensorflow": tf.__version__, "tf2onnx": version("tf2onnx")}
    exported = exported_as(kind, "tensorflow", versions["tensorflow"], opset)
    notes = tuple(filter(None, (called.note, "batch axis free" if free else "batch axis fixed")))
    return Converted(path, exported, compared, sample is None, labels_of(outputs), kind, notes=notes, versions=versions)


@dataclass(frozen=True, slots=True)
class _Traced:
    """What tf2onnx takes for a tf.function: one that was traced before."""

    concrete: Any

    def get_concrete_function(self, *_: Any) -> Any:
        return self.concrete


def _frozen(concrete: Any, kind: str) -> _Traced:
    """The function with the variables and tensors that it closes over as constants.

    tf2onnx does so itself, but goes on taking the tensors for inputs. Unsupported for one that writes a variable.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = concrete.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    if any(node.op.startswith("Assign") and "Variable" in node.op for node in nodes):
        raise Unsupported(
            f"{kind} writes a tf.Variable each time it is called, and a served model keeps nothing between two calls; "
            "leave that step out of what you load"
        )
    try:
        return _Traced(convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True))
    except ValueError:  # of tables and other resources: tf2onnx mends some
        return _Traced(concrete)


def _export(traced: _Traced, signature: Any, path: Path, kind: str) -> None:
    """Writes the file. Unsupported for what has no ONNX form, and for a tf2onnx that is too old."""
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # it says there what is raised below
    try:
        import tf2onnx

        model, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET, output_path=str(path))
    except Exception as error:
        raise refused(error) or error from None
    if lacking := without_form(model):
        raise Unsupported(
            f"the operators of {kind} without an ONNX form: {', '.join(lacking)}; keep that step in Python"
        )


def refused(error: Exception) -> Unsupported | None:
    """An exception of tf2onnx in plain words, where it is known what it means."""
    text = str(error)
    made_for_others = isinstance(error, AttributeError | TypeError | ImportError) and any(
        each in text for each in ("numpy", "NumPy", "np.", "Descriptors cannot be created", "protobuf", "onnx.")
    )
    if made_for_others or "is not supported yet. Please use a lower opset" in text:
        beside = " and ".join(f"{name} {version(name)}" for name in ("numpy", "protobuf"))
        return Unsupported(
            f"tf2onnx {version('tf2onnx')} is too old for opset {OPSET}, {beside} ({words(error)}): "
            "pip install -U tf2onnx, and restart the kernel"
        )
    return None


def _called(source: Any) -> _Called:
    if (signatures := getattr(source, "signatures", None)) is not None:  # a loaded SavedModel
        name = signature_of(list(signatures), current_conversion().signature, "this SavedModel")
        function = signatures[name]
        own = dict(sorted(function.structured_input_signature[1].items()))
        specs: dict[str, Any] | None = dict(zip(_names(list(own)), own.values(), strict=True))
        others = ", ".join(sorted(set(signatures) - {name}))
        note = f"signature {name}" + (f" (it has {others} too)" if others else "")
        return _Called(function, specs, tuple(own), note)
    if current_conversion().signature:
        raise InvalidInput(
            "signature= (--signature) chooses one of a SavedModel's; this is a function, so leave it out"
        )
    function = source if hasattr(source, "input_signature") else type(source).__dict__.get("__call__")
    declared: Any = getattr(function, "input_signature", None)
    if declared is None:
        return _Called(source, None)
    names = [spec.name or ("x" if len(declared) == 1 else f"x_{place}") for place, spec in enumerate(declared)]
    return _Called(source, dict(zip(names, declared, strict=True)))


def _names(own: Sequence[str]) -> list[str]:
    """A signature's names, without those that Keras counts: another training gives others."""
    counted = [name.startswith(("keras_tensor", "input_layer")) for name in own]
    if len(own) == 1:
        return ["x"] if counted[0] else list(own)
    return [f"x_{place}" if each else name for place, (name, each) in enumerate(zip(own, counted, strict=True))]


def _given(called: _Called, sample: object) -> dict[str, Any]:
    """The sample by the inputs' names, in the datatypes that they take."""
    given, specs = example_arrays(called.function, sample), called.specs
    if specs is None:
        return given
    own = called.by_name or tuple(specs)
    if set(given) in ({*specs}, {*own}):  # by name
        given = {name: given[theirs if theirs in given else name] for name, theirs in zip(specs, own, strict=True)}
    elif len(given) != len(specs) or isinstance(sample, Mapping):
        raise InvalidInput(f"sample has {', '.join(given)}, and the model takes {', '.join(specs)}")
    arrays = zip(specs.items(), given.values(), strict=True)
    return {name: each.astype(spec.dtype.as_numpy_dtype) for (name, spec), each in arrays}


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
