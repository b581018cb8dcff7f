"""Lists the libraries whose objects can be loaded live. A converter is imported at its first use."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Protocol, cast

from workbench.convert.agreement import TOLERANCE
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unsupported


@dataclass(frozen=True, slots=True)
class Check:
    """One call on which the object and its export are compared."""

    rows: object
    """The input of the object, to be given to the model too; see `client.input_adapter`."""
    row_count: int
    expected: Mapping[str, Array]
    """Output -> the object's own answer for `rows`; only the outputs that have one."""
    what: str = ""
    """What is special about these rows, as "in batches of 1" or "of 33 tokens"; empty: nothing."""
    read: Callable[[Mapping[str, Array]], Mapping[str, Array]] | None = None
    """Makes of a served answer what `expected` holds, where that has another form than the outputs, as of JSON."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A live object as a model that the service can run, and what the object itself answers for some rows."""

    model: bytes | Path
    """The model's file; a path lies in a temporary folder of its own, which the caller deletes after the upload."""
    exported: str
    """The first clause of the one line that a load says; see `exported_as`."""
    checks: tuple[Check, ...]
    made_up: bool
    """True: the rows are synthetic, because none were given."""
    labels: frozenset[str]
    """The outputs that must be equal, not only close."""
    source: str
    """The object's type, as a user calls it."""
    like: str = ""
    """What is to be said of made-up rows that are not like the training data; empty: they are."""
    notes: tuple[str, ...] = ()
    """Remarks for the user, each one clause, as "batch axis free"."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Library -> the version that made the object or its export."""
    tolerance: float = TOLERANCE
    """The largest difference that passes where the caller gives none; see `agreement.TOLERANCE`."""
    retry: Callable[[], Converted] | None = None
    """Exports it once more in another way, as in double precision, where this export does not agree; None: no way."""
    max_batch_size: int = 0
    """The most rows of a batch where the caller sets none; 0: as the service has it."""
    cure: str = ""
    """Of what is served as it is and not exported: what to do where it does not answer as here."""
    one_call: bool = False
    """True: each check is one call, whatever its arrays, and has no rows that could be counted."""
    way: str = ""
    """What is different about this export where an earlier one did not agree, as "in double precision"."""


def exported_as(source: str, made_by: str, version: str, opset: int) -> str:
    """The first clause of the one line: "exported net (torch 2.13, opset 23)"."""
    return f"exported {source} ({made_by} {'.'.join(version.split('.')[:2])}, opset {opset})"


class Converter(Protocol):
    def __call__(self, source: object, sample: object | None, /) -> Converted:
        """Raises InvalidInput for an object not ready to be exported, Unsupported for one with no ONNX form."""
        ...


CONVERTERS: Mapping[str, str] = MappingProxyType(
    {
        "catboost": "workbench.convert.trees.boosting:convert",
        "flax": "workbench.convert.frameworks.jax_function:convert",
        "jaxlib": "workbench.convert.frameworks.jax_function:convert",  # a jitted function
        "keras": "workbench.convert.frameworks.keras_model:convert",
        "lightgbm": "workbench.convert.trees.boosting:convert",
        "paddle": "workbench.convert.frameworks.paddle_layer:convert",
        "sentence_transformers": "workbench.convert.hub.sentence_transformers:convert",
        "skorch": "workbench.convert.pytorch.skorch_net:convert",
        "sklearn": "workbench.convert.scikit.sklearn:convert",
        "tensorflow": "workbench.convert.frameworks.tensorflow_function:convert",
        "torch": "workbench.convert.pytorch.torch_module:convert",
        "transformers": "workbench.convert.hub.transformers:convert",
        "workbench": "workbench.convert.python.python_function:convert",  # PythonFunction
        "xgboost": "workbench.convert.trees.boosting:convert",
    }
)
"""Top package of a class in the object's ancestry -> the converter."""

_LIBRARIES = (
    "scikit-learn, LightGBM, XGBoost, CatBoost, PyTorch, skorch, transformers, sentence-transformers, Keras, "
    "TensorFlow, jax, flax or PaddlePaddle"
)


_OF_DATA = frozenset({"jaxlib", "numpy", "pandas", "polars", "pyarrow"})


def converter_for(source: object) -> Converter:
    """The converter of `source`. Raises Unsupported, saying what is supported, where there is none.

    A class, where a fitted instance of it was meant, is InvalidInput.
    """
    if isinstance(source, type):
        if hasattr(source, "fit"):
            raise InvalidInput(
                f"{source.__name__} is a class; load a fitted instance of it, as {source.__name__}().fit(X, y)"
            )
        if hasattr(source, "load_state_dict"):
            raise InvalidInput(f"{source.__name__} is a class; load an instance of it, as net = {source.__name__}()")
        raise InvalidInput(f"{source.__name__} is a class, not a model")
    if isinstance(source, Mapping) and any(type(each).__module__.startswith("torch") for each in source.values()):
        raise InvalidInput(
            "this is a state_dict, the weights without the model: make the module, call net.load_state_dict(...) with "
            "it, and load net"
        )
    if isinstance(source, MethodType):
        kind = type(source.__self__).__name__
        raise InvalidInput(f"{source.__name__} is a method of {kind}; load the {kind} itself")
    if isinstance(source, FunctionType):
        return _imported("workbench.convert.python.python_function:convert")
    if source is None:
        raise InvalidInput("None is no model: the call that was to give one returned nothing; look where it is made")
    packages = {cls.__module__.split(".")[0] for cls in type(source).__mro__}
    if packages & _OF_DATA and hasattr(source, "__array__") and not callable(source):  # numpy.poly1d is called
        raise InvalidInput(
            f"{article(source)} holds data, not a model; load what was trained on it, and give the data to predict"
        )
    parts = source if isinstance(source, tuple) else (source,)  # a pair (model, tokenizer)
    for package in (cls.__module__.split(".")[0] for each in parts for cls in type(each).__mro__):
        if package in CONVERTERS:
            return _imported(CONVERTERS[package])
    raise Unsupported(
        f"{article(source)} cannot be loaded; a model is a path to an .onnx file, its bytes, an onnx.ModelProto, "
        f"a function, or an object of {_LIBRARIES}"
    )


def is_known(source: object) -> bool:
    """Whether it is an object of a library that is converted here. Imports nothing."""
    if isinstance(source, type | ModuleType | FunctionType):
        return False
    packages = {cls.__module__.split(".")[0] for cls in type(source).__mro__}
    fits = any(callable(getattr(type(source), method, None)) for method in ("predict", "transform", "forward"))
    return fits and not packages.isdisjoint(CONVERTERS)


def _imported(reference: str) -> Converter:
    module, _, function = reference.partition(":")
    return cast(Converter, getattr(importlib.import_module(module), function))


def article(source: object) -> str:
    """What it is, as "an ndarray"."""
    name = type(source).__name__
    return f"{'an' if (name[:1] in 'AEIOaeioX' or name == 'ndarray') else 'a'} {name}"


def variable_of(source: object, otherwise: str) -> str:
    """The notebook's variable that holds it, for a line to paste."""
    space = dict(vars(sys.modules["__main__"]))
    return next((name for name, each in space.items() if each is source and not name.startswith("_")), otherwise)


def words(error: Exception) -> str:
    """An exception of a library, in one line of at most 300 characters."""
    return textwrap.shorten(f"{type(error).__name__}: {error}", 300, placeholder=" …")
