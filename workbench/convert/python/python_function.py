"""Bundles Python functions, and objects without an ONNX form, for the service to run them in processes of their own.

Inputs and outputs are declared by a sample, on which the function is run once in such a process, or by annotations.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from workbench.client.formatting import megabytes
from workbench.convert.converters import Check, Converted, is_known
from workbench.convert.python.python_annotations import annotated_inputs, annotated_outputs
from workbench.convert.python.python_source import own_line
from workbench.convert.python.python_values import Frozen
from workbench.convert.python.sample_arrays import array_of, arrays_by_parameter, is_table, spec_of
from workbench.convert.scikit.sample_rows import made_up_rows
from workbench.core.model import FREE, TensorSpec
from workbench.core.tensor import BYTES, Array, dtype_of
from workbench.errors import InvalidInput, ModelError, Unsupported, WorkbenchError
from workbench.functions.function_bundle import Block, FunctionSpec, Interpreter, ValueSpec, bundle
from workbench.functions.function_process import CallLimits, FunctionProcess
from workbench.functions.worker.function_arrays import as_array, by_name

_BY_ROWS = "def predict(X):\n    return model.{}(X)\n"
_CLASSIFIER = 'def predict(X):\n    return {"label": model.predict(X), "probabilities": model.predict_proba(X)}\n'
_BY_COLUMNS = """def _by_columns(**columns):
    return _of_table(_pandas.DataFrame(columns)[_columns])
"""
"""Its names are none that a function of the user's may have."""

_MIXES = "if it computes one row from others, leave --batch out (batch=True)"
_CHANGES = "a function that answers at random, or keeps something between calls, cannot be compared"


@dataclass(frozen=True, slots=True)
class PythonFunction:
    """A function, or an object with `predict`, that is to be served as Python."""

    source: object
    rows: bool = False
    """The first axis of everything is rows, and rows of several requests may come in one call."""
    takers: tuple[TensorSpec, ...] = ()
    """What its outputs are for, by name, or the one output for the one: they get these datatypes where numbers do."""

    def __call__(self, rows: object) -> object:
        """The answer of the object itself, here."""
        made: Any = self.source
        return made(rows) if isinstance(made, FunctionType) else made.predict(rows)


@dataclass(frozen=True, slots=True)
class _Callable:
    """What is called with arrays by name, here and, as `frozen`, in the process."""

    live: Callable[..., object]
    entry: str
    frozen: Frozen
    title: str
    inputs: tuple[ValueSpec, ...]
    sample: Mapping[str, Array] | None
    outputs: tuple[ValueSpec, ...] | None
    rows: bool


def is_function(source: object) -> bool:
    """True for what is served as Python without being asked to."""
    return isinstance(source, FunctionType | PythonFunction)


def convert(source: object, sample: object | None) -> Converted:
    """The bundle of a PythonFunction, or of a plain function. See `converters.Converter`."""
    asked = source if isinstance(source, PythonFunction) else PythonFunction(source)
    if isinstance(asked.source, FunctionType):
        made = _of_function(asked.source, sample, asked.rows)
    else:
        made = _of_object(asked.source, sample)
    frozen = made.frozen
    spec = FunctionSpec(
        made.entry,
        made.inputs,
        made.outputs or (),
        interpreter(),
        made.rows,
        tuple(frozen.blocks),
        tuple(frozen.steps),
        dict(sorted(frozen.packages.items())),
    )
    checks: tuple[Check, ...] = ()
    cost = ""
    if made.sample is not None:
        expected = _own_answer(made, made_up=sample is None)
        outputs, worker_s = _tried(spec, frozen, made.sample, made.rows)
        spec = replace(spec, outputs=made.outputs or _for_takers(outputs, asked.takers))
        checks = tuple(_checks(made, spec, expected))
        cost = f"a call of the sample takes {_time(worker_s)} in a process of its own"
    model = bundle(spec, frozen.texts, frozen.arrays)
    exported = (
        f"{made.title} served from its source as Python {spec.interpreter.version} "
        f"({_count(len(frozen.texts), 'definition')}, {_count(len(frozen.arrays), 'array')}, {megabytes(len(model))})"
    )
    local = [f"{module} is imported and not frozen, so it must stay where it is" for module in frozen.local_modules]
    labels = frozenset(each.name for each in spec.outputs if each.datatype == "BYTES" or each.name == "label")
    notes = tuple(filter(None, (*local, cost)))
    return Converted(
        model,
        exported,
        checks,
        sample is None and bool(checks),
        labels,
        made.title,
        notes=notes,
        versions=spec.packages,
        cure=_MIXES if made.rows else _CHANGES,
        one_call=bool(checks) and not made.rows,
    )


def interpreter() -> Interpreter:
    """This process's Python, as a function's process is to find it."""
    try:
        folder = os.getcwd()  # noqa: PTH109 - it may be gone
    except OSError:
        folder = "/"
    path = tuple(os.path.abspath(each) if each else folder for each in sys.path)  # noqa: PTH100
    return Interpreter(sys.executable, platform.python_version(), tuple(dict.fromkeys(path)), folder)


def _of_function(function: FunctionType, sample: object | None, rows: bool) -> _Callable:
    name = function.__name__ if function.__name__.isidentifier() else "predict"
    names = _parameters(function, name)
    if is_table(sample):
        if len(names) == 1:
            frozen = Frozen()
            frozen.name(name, function)
            live, by_column, inputs = _taking_table(frozen, function, name, sample, rows)
            return _Callable(live, "_by_columns", frozen, name, inputs, by_column, annotated_outputs(function), rows)
        columns: Any = sample
        sample = {each: columns[each] for each in columns.columns if str(each) in names}
    if sample is not None:
        arrays = arrays_by_parameter(sample, names, name)
        inputs = tuple(spec_of(each, array, rows) for each, array in arrays.items())
        if declared := annotated_inputs(function, names):
            inputs = tuple(declared.get(spec.name, spec) for spec in inputs)
    else:
        arrays = None
        declared = annotated_inputs(function, names)
        if missing := [each for each in names if each not in declared]:
            raise InvalidInput(
                f"what {name} takes is not known; give a sample, as sample=X[:3] (--sample X[:3]), or annotate "
                f"{', '.join(missing)}, as {name}({missing[0]}: 'FP32[-1,4]') -> 'FP32[-1,1]'"
            )
        inputs = tuple(declared[each] for each in names)
    outputs = annotated_outputs(function)
    if outputs is None and arrays is None:
        raise InvalidInput(f"what {name} gives is not known; give a sample, or annotate it, as -> 'FP32[-1,1]'")
    if rows and (fixed := [spec.name for spec in inputs if not spec.shape or spec.shape[0] != FREE]):
        raise InvalidInput(f"with --batch the first axis of each input is rows, and {fixed[0]!r} has none that is free")
    frozen = Frozen()
    frozen.name(name, function)
    return _Callable(function, name, frozen, name, inputs, arrays, outputs, rows)


def _parameters(function: FunctionType, name: str) -> list[str]:
    """The parameters that have no default: the inputs. InvalidInput where they are none by name."""
    parameters = inspect.signature(function).parameters.values()
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            raise InvalidInput(f"{name} takes {each}; the inputs of a served function are parameters with names")
    names = [each.name for each in parameters if each.default is each.empty]
    if not names:
        raise InvalidInput(f"{name} takes no arrays: it needs a parameter without a default for each input")
    return names


def _of_object(model: Any, sample: object | None) -> _Callable:
    """An object with `predict`, or else `transform`, of rows."""
    title = type(model).__name__
    method = next((each for each in ("predict", "transform") if callable(getattr(model, each, None))), None)
    if method is None and is_known(model):
        raise InvalidInput(f"{title} is exported and not served as Python: leave --as-python out (as_python=True)")
    if method is None:
        raise Unsupported(f"{title} has neither predict nor transform; write a function around it, and load that")
    if sample is None and any(each.__module__ == "sklearn.base" for each in type(model).__mro__):
        with contextlib.suppress(WorkbenchError):
            sample = made_up_rows(model, title).rows
    if sample is None:
        raise InvalidInput(
            f"{title} is served as Python by what it answers for rows: give some, as sample=X[:100] (--sample X[:100])"
        )
    frozen = Frozen()
    frozen.name("model", model)
    text = _BY_ROWS.format(method)
    if method == "predict" and callable(getattr(model, "predict_proba", None)):
        text = _CLASSIFIER
    space: dict[str, Any] = {"model": model}
    _generated(frozen, text, space)
    if is_table(sample):
        live, arrays, inputs = _taking_table(frozen, space["predict"], "predict", sample, rows=True)
        return _Callable(live, "_by_columns", frozen, title, inputs, arrays, None, True)
    arrays = {"X": array_of(sample, "X")}
    inputs = tuple(spec_of(each, array, rows=True) for each, array in arrays.items())
    return _Callable(space["predict"], "predict", frozen, title, inputs, arrays, None, True)


def _taking_table(
    frozen: Frozen, function: Callable[..., object], name: str, table: Any, rows: bool
) -> tuple[Callable[..., object], dict[str, Array], tuple[ValueSpec, ...]]:
    """What calls `function`, which is frozen as `name`, with a DataFrame of the inputs: one for each column."""
    import pandas

    columns = [str(each) for each in table.columns]
    arrays = {each: array_of(series.to_numpy(), each) for each, (_, series) in zip(columns, table.items(), strict=True)}
    frozen.name("_pandas", pandas)
    frozen.name("_columns", columns)
    frozen.steps.append({"value": {"name": name}, "as": "_of_table"})
    space: dict[str, Any] = {"_pandas": pandas, "_columns": columns, "_of_table": function}
    _generated(frozen, _BY_COLUMNS, space)
    return space["_by_columns"], arrays, tuple(spec_of(each, array, rows) for each, array in arrays.items())


def _generated(frozen: Frozen, text: str, space: dict[str, Any]) -> None:
    frozen.steps.append({"block": len(frozen.blocks)})
    frozen.blocks.append(Block("Workbench"))
    frozen.texts.append(text)
    exec(compile(text, "<workbench>", "exec"), space)  # noqa: S102 - our own text


def _own_answer(made: _Callable, *, made_up: bool) -> dict[str, Array]:
    """What it answers in this process."""
    assert made.sample is not None
    try:
        answer = made.live(**{name: array.copy() for name, array in made.sample.items()})
        names = [each.name for each in made.outputs or ()]
        found = {name: as_array(name, value) for name, value in by_name(answer, names).items()}
    except Exception as error:  # the user's, of any class
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if "non-string array" in said:  # of numpy.char
            said += "; text comes as an array of str objects: take x.astype(str) of it"
        elif "ndarray" in said:  # of torch, or of str's methods
            said += "; it gets NumPy arrays, whatever the sample was: take torch.from_numpy(x) or x.tolist() of one"
        said += own_line(error)
        raise InvalidInput(
            f"{made.title} itself fails on made-up rows, with {said}; give some, as sample=X[:100] (--sample X[:100])"
            if made_up
            else f"{made.title} itself fails on the sample: {said}"
        ) from error
    for name, array in found.items():
        odd = array.reshape(-1).tolist() if array.dtype == object else []
        if wrong := [each for each in odd if not isinstance(each, str | bytes)]:
            where = "" if name == "output" else f" as {name!r}"
            raise InvalidInput(
                f"{made.title} returns {_said(wrong[0])}{where} for the sample; return arrays, numbers or text, or a "
                "dict of them by output"
            )
    return found


def _said(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _tried(
    spec: FunctionSpec, frozen: Frozen, sample: Mapping[str, Array], rows: bool
) -> tuple[tuple[ValueSpec, ...], float]:
    """The outputs that it gives in a process of its own, and the seconds of a call there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.function"
        path.write_bytes(bundle(spec, frozen.texts, frozen.arrays))
        process = FunctionProcess(path, spec, CallLimits(threads=os.cpu_count() or 1))
        try:
            process.ready()
            wire = {name: _wire(array) for name, array in sample.items()}
            process.call(wire, None)
            began = time.perf_counter()
            process.call(wire, None)
            took_s = time.perf_counter() - began
        except ModelError:
            raise
        except WorkbenchError as error:
            raise ModelError(f"in a process of its own {error.message}") from error
        finally:
            process.close()
        return tuple(_output(each, rows) for each in process.specs), took_s


def _output(spec: ValueSpec, rows: bool) -> ValueSpec:
    if rows and not spec.shape:
        raise InvalidInput(f"with --batch each output has a row for each row of the inputs; {spec.name!r} is one value")
    return replace(spec, shape=(FREE, *spec.shape[1:]) if rows else (FREE,) * len(spec.shape))


def _for_takers(outputs: tuple[ValueSpec, ...], takers: tuple[TensorSpec, ...]) -> tuple[ValueSpec, ...]:
    wanted = {each.name: each.datatype for each in takers}
    if len(outputs) == len(takers) == 1:
        wanted = {outputs[0].name: takers[0].datatype}
    return tuple(
        replace(each, datatype=wanted[each.name])
        if BYTES not in (each.datatype, wanted.get(each.name, BYTES))
        and np.can_cast(dtype_of(each.datatype), dtype_of(wanted[each.name]), "same_kind")
        else each
        for each in outputs
    )


def _wire(array: Array) -> Array:
    """As it comes out of a request: text as bytes."""
    if array.dtype.kind not in "USO":
        return array
    flat = [each.encode() if isinstance(each, str) else each for each in array.reshape(-1).tolist()]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(array.shape)


def _checks(made: _Callable, spec: FunctionSpec, expected: Mapping[str, Array]) -> list[Check]:
    assert made.sample is not None
    given = dict(made.sample)
    known = {each.name: expected[each.name] for each in spec.outputs if each.name in expected}
    count = len(next(iter(given.values()))) if made.rows else 1
    read = _reader({each.name for each in spec.outputs if each.datatype == BYTES and not each.text})
    checks = [Check(given, count, known, read=read)]
    if made.rows and count > 1:
        first = {name: array[:1] for name, array in given.items()}
        alone = {name: array[:1] for name, array in known.items()}
        checks.append(Check(first, 1, alone, "in batches of 1", read))
    return checks


def _reader(outputs: set[str]) -> Callable[[Mapping[str, Array]], Mapping[str, Array]] | None:
    """Makes bytes again of the outputs that a client shows as text, where that is what they say."""
    if not outputs:
        return None
    return lambda answer: {
        name: _wire(np.asarray(value, object)) if name in outputs else value for name, value in answer.items()
    }


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
