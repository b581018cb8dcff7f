"""Converts PaddlePaddle's layers, by paddle2onnx.

Its last step, an optimiser, installs packages by pip in the environment that it runs in. So it is given no file to
optimise, and gives the bytes that it has before that. Where processes can be forked it works in one of its own, since
it ends the whole process where it fails.
"""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from workbench.convert.conversion import current_conversion
from workbench.convert.converters import Converted, exported_as, words
from workbench.convert.export_folder import export_folder
from workbench.convert.forked import CAN_FORK, Say, run_forked
from workbench.convert.frameworks.array_call import answers, checks, example_arrays, labels_of
from workbench.convert.frameworks.graph_names import with_names
from workbench.core.tensor import Array
from workbench.errors import ExecutionError, InvalidInput, Unsupported

OPSET = 18
LIMIT_S = 900.0
_FIXED = "fixed"
"""A file that stands for an export of the example's number of rows."""


def convert(source: object, sample: object | None) -> Converted:
    """The export of a layer. `sample`: what it is called with, a tuple or a dict for several arguments, rows first."""
    layer: Any = source
    kind = type(layer).__name__
    if importlib.util.find_spec("paddle2onnx") is None:
        raise Unsupported("exporting a PaddlePaddle layer needs paddle2onnx: pip install paddle2onnx")
    import paddle

    if not isinstance(layer, paddle.nn.Layer):
        raise InvalidInput(f"{kind} is no layer of PaddlePaddle; load the paddle.nn.Layer, with its weights in it")
    if sample is None:
        raise InvalidInput(
            f"an export of {kind} needs one example of its input; give one, as sample=X[:100] (--sample X[:100])"
        )
    given = example_arrays(layer.forward, _plain(sample))
    given = {name: each.astype("float32") if each.dtype == np.float64 else each for name, each in given.items()}

    def call(*arrays: Array) -> Any:
        with paddle.no_grad():
            return layer(*(paddle.to_tensor(each) for each in arrays))

    with _in_eval_mode(layer), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outputs = answers(call(*given.values()), given)
        except Exception as error:  # the layer's own
            shapes = ", ".join(f"{name} {each.dtype} {list(each.shape)}" for name, each in given.items())
            raise InvalidInput(f"{kind} itself fails on {shapes}, with {words(error)}") from None
        with export_folder() as folder:
            free = _exported(layer, given, folder, kind)
            compared = tuple(checks(call, given, free=free))
            opset = with_names(folder / "model.onnx", list(given), list(outputs))
    versions = {"paddlepaddle": paddle.__version__, "paddle2onnx": version("paddle2onnx")}
    exported = exported_as(kind, "paddle", versions["paddlepaddle"], opset)
    rows = len(next(iter(given.values())))
    note = "batch axis free" if free else f"batches of exactly {rows} rows, since it does not trace for any number"
    path = folder / "model.onnx"
    return Converted(path, exported, compared, False, labels_of(outputs), kind, notes=(note,), versions=versions)


def _plain(sample: object) -> object:
    """Arrays in place of paddle's tensors, which NumPy reads one number at a time where they are in a list."""

    def array(value: Any) -> Any:
        return value.numpy() if hasattr(value, "numpy") else value

    if isinstance(sample, Mapping):
        return {name: array(each) for name, each in sample.items()}
    return tuple(map(array, sample)) if isinstance(sample, tuple) else array(sample)


def _exported(layer: Any, given: Mapping[str, Array], folder: Path, kind: str) -> bool:
    """Writes the file; False where the layer traces for the example's number of rows only."""

    def work(say: Say) -> None:
        say(f"exporting the {kind} to ONNX")
        try:
            _write(layer, given, folder, free=True)
        except Unsupported:
            raise
        except Exception as error:  # of any class: whatever tracing raises where a size has no value
            try:
                _write(layer, given, folder, free=False)
            except Exception:
                raise Unsupported(f"{kind} has no ONNX form: paddle2onnx fails on it ({_last_line(error)})") from None
            (folder / _FIXED).touch()

    try:
        if CAN_FORK:
            run_forked(work, current_conversion(), f"the export of {kind}", LIMIT_S)
        else:
            work(current_conversion().progress.begin)
    except ExecutionError as error:
        raise Unsupported(
            f"{kind} has no ONNX form: paddle2onnx ended its process, as it does where it does not know an operator "
            f"({error.message}); keep that step in Python"
        ) from None
    return not (folder / _FIXED).exists()


def _write(layer: Any, given: Mapping[str, Array], folder: Path, *, free: bool) -> None:
    import paddle

    try:
        import paddle2onnx
        from paddle2onnx import convert as exporter
    except Exception as error:  # of onnx's or paddle's version, which it is built for
        beside = f"paddlepaddle {paddle.__version__} and onnx {version('onnx')}"
        raise Unsupported(
            f"paddle2onnx {version('paddle2onnx')} cannot be imported beside {beside} ({words(error)}): "
            "pip install -U paddle2onnx, and restart the kernel"
        ) from None

    def failed(message: str, *_: Any, **__: Any) -> None:
        raise _Refused(str(message))

    specs = [
        paddle.static.InputSpec([None if free else len(each), *each.shape[1:]], str(each.dtype), name)
        for name, each in given.items()
    ]
    program, parameters = folder / "program.json", folder / "program.pdiparams"
    exits = exporter.logging.error
    exporter.logging.error = failed  # in place of sys.exit
    try:
        paddle.jit.save(layer, str(program.with_suffix("")), input_spec=specs)
        data = paddle2onnx.export(str(program), str(parameters), opset_version=OPSET, verbose=False)
    finally:
        exporter.logging.error = exits
        for each in folder.glob("program*"):
            each.unlink()
    (folder / "model.onnx").write_bytes(data)


def _last_line(error: Exception) -> str:
    """Of a text of many lines, of which the last tell what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")
    return f"{type(error).__name__}: {told}"[:300]


class _Refused(Exception):
    """What paddle2onnx says before it would end the process."""


@contextlib.contextmanager
def _in_eval_mode(layer: Any) -> Iterator[None]:
    """Each sublayer's own flag is put back at the end."""
    flags = [(part, part.training) for part in layer.sublayers(include_self=True)]
    layer.eval()
    try:
        yield
    finally:
        for part, training in flags:
            part.training = training
