"""Finds the text of functions and classes: in files, in a notebook's cells, and of a lambda in its line."""

from __future__ import annotations

import ast
import inspect
import linecache
import sysconfig
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from workbench.errors import Unsupported


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of one function or class, without the indentation of the place where it stands."""

    text: str
    file: str
    """What messages call that place: "the cell", or the file's name."""
    line: int
    """The number of its first line there."""
    is_lambda: bool = False


def source_of(thing: Any) -> SourceText:
    """The text of a `def`, a `class` or a lambda. Raises Unsupported where there is none, with the reason."""
    name = getattr(thing, "__qualname__", str(thing))
    try:
        if isinstance(thing, type):
            return _class(thing)
        if thing.__name__ == "<lambda>":
            return _lambda(thing)
        lines, first = inspect.getsourcelines(thing)
    except (OSError, TypeError, IndexError, SyntaxError):
        raise Unsupported(
            f"the source of {name} is not known, as of what exec, a plain prompt or an expression behind %infer made; "
            "define it under a name in a cell or a file, and load that"
        ) from None
    text = textwrap.dedent("".join(lines))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        tree = None
    if tree is None or not isinstance(tree.body[0], ast.FunctionDef):
        kind = "it is an async function" if inspect.iscoroutinefunction(thing) else "its text is no def of its own"
        raise Unsupported(f"{name} cannot be served by its source: {kind}")
    return SourceText(text, _place(thing.__code__.co_filename), first)


def own_line(error: BaseException) -> str:
    """Where in the user's own code an exception came through last, as a clause to put behind what it says; or nothing.
    As the function's process says it (`functions.worker.bundled_function`)."""
    found = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith((*_OTHERS, "<workbench>")):
            found = f" (line {frame.lineno} of {_place(frame.filename)}, in {frame.name}: {frame.line})"
    return found


_OTHERS = tuple({sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")} - {None})
_OTHERS = (*_OTHERS, str(Path(__file__).parents[2]))


def _place(file: str) -> str:
    name = Path(file).name
    return "the cell" if "ipykernel" in file or name.startswith("<") else name


def _lambda(thing: FunctionType) -> SourceText:
    """Its line may hold more than it: the one lambda there whose code is the same."""
    lines, first = inspect.getsourcelines(thing)
    whole = linecache.getlines(thing.__code__.co_filename)
    text, offset = ("".join(whole), 0) if whole else (textwrap.dedent("".join(lines)), first - 1)
    found = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Lambda) and node.lineno + offset == thing.__code__.co_firstlineno
    ]
    same = [node for node in found if _code(node) == thing.__code__.co_code] if len(found) > 1 else found
    if len(same) != 1:
        raise Unsupported(
            f"line {first} holds {len(found)} lambdas, and which is meant cannot be told; give each a line of its own"
        )
    segment = ast.get_source_segment(text, same[0])
    assert segment is not None
    return SourceText(f"({segment})", _place(thing.__code__.co_filename), first, is_lambda=True)


def _code(node: ast.Lambda) -> bytes:
    compiled = compile(ast.Expression(node), "", "eval")
    [inner] = [each for each in compiled.co_consts if hasattr(each, "co_code")]
    code: bytes = inner.co_code
    return code


def _class(thing: type) -> SourceText:
    """Of one from a cell `inspect` knows no file: its methods' file, or else the latest cell that defines it."""
    try:
        lines, first = inspect.getsourcelines(thing)
        methods = [each for each in vars(thing).values() if isinstance(each, FunctionType)]
        file = methods[0].__code__.co_filename if methods else ""
        return SourceText(textwrap.dedent("".join(lines)), _place(file or inspect.getfile(thing)), first)
    except (OSError, TypeError):
        pass
    own = [
        each.__code__.co_filename
        for each in vars(thing).values()
        if isinstance(each, FunctionType) and each.__qualname__.startswith(thing.__qualname__)
    ]
    cells = [file for file in linecache.cache if file.startswith("<ipython-input") or "ipykernel" in file]
    for file in (*own, *reversed(cells)):
        text = "".join(linecache.getlines(file))
        for node in reversed(list(ast.walk(ast.parse(text)))) if text else ():
            if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
                return SourceText(textwrap.dedent("".join(lines)), _place(file), first)
    raise OSError
