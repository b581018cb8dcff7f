"""Runs the body of a `%%infer` cell in the notebook's namespace, as if it had no first line."""

from __future__ import annotations

import ast
from types import TracebackType
from typing import Any

from workbench.notebook.commands import Misuse


def last_value(shell: Any, body: str) -> object:
    """Run `body` and return the value of its last expression. Raises Misuse if it does not end with one.

    Exceptions of the user's code pass through, with a traceback that starts at the user's first line.
    """
    source = "\n" + shell.transform_cell(body)  # so that a line has the number that it has in the cell
    name = shell.compile.cache(source, shell.execution_count, body)
    tree = shell.transform_ast(shell.compile.ast_parse(source, filename=name))
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        raise Misuse("a %%infer cell must end with an expression on a line of its own, such as X[:5]")
    last = ast.Expression(tree.body.pop().value)
    try:
        exec(shell.compile(tree, name, "exec"), shell.user_global_ns, shell.user_ns)  # noqa: S102
        return eval(shell.compile(last, name, "eval"), shell.user_global_ns, shell.user_ns)  # noqa: S307
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
