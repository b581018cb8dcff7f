"""Converts jitted jax functions and flax's nnx modules, by jax2onnx."""

from __future__ import annotations

import importlib.util
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from workbench.convert.converters import Converted, exported_as, words
from workbench.convert.export_folder import export_folder
from workbench.convert.frameworks.array_call import answers, checks, example_arrays, labels_of
from workbench.convert.frameworks.graph_names import with_names
from workbench.errors import InvalidInput, Unsupported


def convert(source: object, sample: object | None) -> Converted:
    """The export. `sample`: an example of what it is called with, a tuple for several arguments, rows first."""
    import jax

    if importlib.util.find_spec("jax2onnx") is None:
        raise Unsupported("exporting a jax function needs jax2onnx: pip install jax2onnx")
    function, kind = _function(source)
    if sample is None:
        raise InvalidInput(
            f"an export of {kind} needs one example of its input; give one, as sample=X[:100] (--sample X[:100])"
        )
    # jax computes in 32 bits unless it is told otherwise, and takes the example so.
    given = {name: np.asarray(jax.numpy.asarray(each)) for name, each in example_arrays(function, sample).items()}
    with export_folder() as folder, warnings.catch_warnings():
        path = folder / "model.onnx"
        warnings.simplefilter("ignore")
        try:
            outputs = answers(function(*given.values()), given)
        except Exception as error:  # the function's own
            shapes = ", ".join(f"{name} {each.dtype} {list(each.shape)}" for name, each in given.items())
            raise InvalidInput(f"{kind} itself fails on {shapes}, with {words(error)}") from None
        try:
            free = _export(function, given, path)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise Unsupported(
                f"{kind} decides on the values of an array, or gives one to NumPy, which jax.jit does not take either; "
                "use jax.numpy, and jnp.where or jax.lax.cond in place of if"
            ) from error
        compared = tuple(checks(function, given, free=free))
        opset = with_names(path, list(given), list(outputs))
    versions = {"jax": version("jax"), "jax2onnx": version("jax2onnx")}
    exported = exported_as(kind, "jax", versions["jax"], opset)
    rows = len(next(iter(given.values())))
    note = "batch axis free" if free else f"batches of exactly {rows} rows, since it does not trace for any number"
    return Converted(path, exported, compared, False, labels_of(outputs), kind, notes=(note,), versions=versions)


def _function(source: Any) -> tuple[Any, str]:
    kind = type(source).__name__
    if kind == "PjitFunction":  # jax2onnx traces the function itself only
        return source.__wrapped__, getattr(source, "__name__", "the function")
    bases = [f"{cls.__module__.split('.')[1]}.{cls.__name__}" for cls in type(source).__mro__ if "." in cls.__module__]
    if "nnx.Module" in bases:
        from flax import nnx

        copy = nnx.clone(source)
        copy.eval()
        return copy, kind
    raise InvalidInput(
        f"{kind} of flax holds no weights; load the function that applies them, as "
        "jax.jit(lambda x: module.apply(params, x))"
    )


def _export(function: Any, given: Any, path: Path) -> bool:
    """Writes the file; False where the function traces for the example's number of rows only."""
    import jax
    import onnx
    from jax2onnx import to_onnx

    try:
        specs = [jax.ShapeDtypeStruct(("B", *each.shape[1:]), each.dtype) for each in given.values()]
        onnx.save(to_onnx(function, specs), path)
    except Exception:  # of any class: whatever tracing raises where a size has no value
        specs = [jax.ShapeDtypeStruct(each.shape, each.dtype) for each in given.values()]
        onnx.save(to_onnx(function, specs), path)
        return False
    return True
