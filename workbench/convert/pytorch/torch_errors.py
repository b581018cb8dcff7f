"""What the exporter of torch complains about, in words for the author of the module."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.convert.exporter_age import too_old
from workbench.errors import InvalidInput, ModelError, Unsupported, WorkbenchError

IN_PYTHON = "keep that step in Python, around the model: %%infer function NAME --model MODEL"

_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='(?:aten\.)?([\w.]+)'")
_KERNEL = re.compile(r"Could not find an implementation for (\w+)")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\w+)')
_STATIC = re.compile(r"static shape of \d+ for dimension inputs\['tensors'\]\[(\d+)\]\.shape\[(\d+)\]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def specialised(error: BaseException) -> set[tuple[int, int]]:
    """(input, axis) of what the exporter says has one size only."""
    text = "\n".join(str(each) for each in _causes(error))
    return {(int(which), int(axis)) for which, axis in _STATIC.findall(text)}


def lacks_datatype(error: BaseException) -> bool:
    """Whether ONNX Runtime has an operator of the file, but not in the file's precision."""
    return _KERNEL.search(str(error)) is not None


def told(error: BaseException, kind: str) -> WorkbenchError:
    """The error for the user of an export of `kind` that failed."""
    if isinstance(error, WorkbenchError):
        return error
    causes = list(_causes(error))
    text = _COLOUR.sub("", "\n".join(str(each) for each in causes))
    if isinstance(error, ImportError) and "onnxscript" in text:
        return lacks_onnxscript(kind)
    if operator := _OPERATOR.search(text):
        return Unsupported(f"the operator {operator[1]} of {kind} has no ONNX form; {IN_PYTHON}")
    if kernel := _KERNEL.search(text):
        return Unsupported(f"ONNX Runtime has no {kernel[1]} for the datatypes that {kind} computes in; {IN_PYTHON}")
    if "data-dependent" in text or any("DataDependent" in type(each).__name__ for each in causes):
        line = next((line for each in causes if (line := _users_line(each, str(each)))), "its forward")
        return Unsupported(
            f"{kind} decides on the values of a tensor, in {line}; one graph cannot hold both ways. Use torch.where or "
            f"torch.cond there, or {IN_PYTHON}"
        )
    if "OutOfMemoryError" in type(error).__name__ or isinstance(error, MemoryError):
        return ModelError(f"there is too little memory to export {kind}; nothing was loaded")
    if told := too_old(error):
        return Unsupported(f"{kind} was not exported: {told}")
    cause = causes[-1]
    line = _users_line(cause, text)
    where = f", in {line}" if line else ""
    return Unsupported(f"torch cannot export {kind}: {short(cause)}{where}; {IN_PYTHON}")


def own_error(error: BaseException, kind: str, shapes: str, hint: str = "") -> InvalidInput:
    """The module's own error on its example. `hint` says what it would take."""
    line = _users_line(error, "")
    where = f", in {line}" if line else ""
    return InvalidInput(f"{kind} itself fails on the example ({shapes}): {short(error)}{where}{hint}")


def lacks_onnxscript(kind: str) -> Unsupported:
    return Unsupported(f"the export of {kind} needs onnxscript, a small package: %pip install onnxscript")


def short(error: BaseException) -> str:
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return textwrap.shorten(f"{type(error).__name__}: {lines[0] if lines else ''}", 240, placeholder=" …")


def deciding_line(module: Any, words: tuple[str, ...] = (".shape", ".size(", "len(")) -> str:
    """The user's line that decides on a size; empty where none is found."""
    for part in module.modules():
        if (source := _source(type(part))) is None:
            continue
        tree, first, file = source
        for node in ast.walk(tree):
            if isinstance(node, ast.If | ast.IfExp | ast.While) and any(
                word in ast.unparse(node.test) for word in words
            ):
                return _named(file, first + node.lineno - 1, ast.unparse(node.test))
    return ""


def _source(cls: type) -> tuple[ast.AST, int, str] | None:
    """The code of `forward`, its first line's number and its file, of a class that is the user's own.

    None also where its lines say nothing alone, as those of a lambda inside of a call."""
    if cls.__module__.split(".")[0] == "torch" or not hasattr(cls, "forward"):
        return None
    try:
        lines, first = inspect.getsourcelines(cls.forward)
        return ast.parse(textwrap.dedent("".join(lines))), first, inspect.getfile(cls.forward)
    except (OSError, TypeError, SyntaxError):
        return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, the first cause last."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def _users_line(error: BaseException, text: str) -> str:
    """The last line of the user's own code that the error went through, with the code."""
    frames = (
        [(frame.filename, frame.lineno or 0) for frame in inspect.getinnerframes(error.__traceback__, 0)]
        if (error.__traceback__)
        else []
    )
    frames += [(file, int(line)) for file, line, _ in _FRAME.findall(text)]
    own = [(file, line) for file, line in frames if not _is_library(file)]
    if not own:
        return ""
    file, line = own[-1]
    return _named(file, line, linecache.getline(file, line).strip())


def _is_library(file: str) -> bool:
    parts = Path(file).parts
    return "site-packages" in parts or "workbench" in parts[:-1] or file.startswith("<frozen") or "/lib/python" in file


def _named(file: str, line: int, code: str) -> str:
    """`line 3 (if x.sum() > 0:)`, with the file's name where it is no notebook cell."""
    cell = file.startswith("<") or "ipykernel_" in file
    where = f"line {line}" + ("" if cell else f" of {Path(file).name}")
    return f"{where} ({textwrap.shorten(code, 100, placeholder=' …')})" if code else where
