"""Runs the body of a `%%infer` cell in the notebook's namespace, as if it had no first line."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from workbench.notebook.commands import Misuse


def last_value(shell: Any, body: str) -> object:
    """Run `body` and return the value of its last expression. Raises Misuse if it cannot be read or does not end with
    one.

    Exceptions of the user's code pass through, with a traceback that starts at the user's first line.
    """
    tree, name = _parsed(shell, body)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        raise Misuse("a %%infer cell must end with an expression on a line of its own, such as X[:5]")
    last = ast.Expression(tree.body[-1].value)
    tree.body.pop()
    _run(shell, tree, name)
    try:
        return eval(shell.compile(last, name, "eval"), shell.user_global_ns, shell.user_ns)  # noqa: S307
    except BaseException as error:
        _show_from(shell, error, name)
        raise


def defined(shell: Any, body: str, names: Sequence[str]) -> dict[str, Any]:
    """Run `body` and return those of the functions `names` that it defines. Raises Misuse if it cannot be read."""
    tree, name = _parsed(shell, body)
    found = [each.name for each in tree.body if isinstance(each, ast.FunctionDef) and each.name in names]
    _run(shell, tree, name)
    return {each: shell.user_ns[each] for each in found}


def _parsed(shell: Any, body: str) -> tuple[ast.Module, str]:
    source = "\n" + shell.transform_cell(body)  # so that a line has the number that it has in the cell
    name: str = shell.compile.cache(source, shell.execution_count, body)
    try:
        tree: ast.Module = shell.transform_ast(shell.compile.ast_parse(source, filename=name))
    except SyntaxError as error:  # IPython would show all frames on the way here
        _, *shown = traceback.format_exception_only(error)
        raise Misuse(f"line {error.lineno} of the cell cannot be read\n{''.join(shown).rstrip()}") from None
    return tree, name


def _run(shell: Any, tree: ast.Module, name: str) -> None:
    try:
        exec(shell.compile(tree, name, "exec"), shell.user_global_ns, shell.user_ns)  # noqa: S102
    except BaseException as error:
        _show_from(shell, error, name)
        raise


def _show_from(shell: Any, error: BaseException, name: str) -> None:
    """Make `error` render without the frames of IPython and of this module."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    if trace is None or hasattr(error, "_render_traceback_"):
        return

    def rendered() -> list[str]:
        shown: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, trace, tb_offset=0)
        return shown

    error._render_traceback_ = rendered  # type: ignore[attr-defined]
