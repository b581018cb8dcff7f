"""The body of a `%%infer` cell: run in the notebook's namespace, as the cell would be without its first line."""

from __future__ import annotations

import ast
from types import TracebackType
from typing import Any

from workbench.notebook.commands import Misuse


def last_value(shell: Any, body: str) -> object:
    """Run `body` and give the value of its last expression. Misuse where it ends with none.

    What the user's own code raises is raised, and shown from the first of their lines on.
    """
    source = "\n" + shell.transform_cell(body)  # so that a line has the number that it has in the cell
    name = shell.compile.cache(source, shell.execution_count, body)
    tree = shell.transform_ast(shell.compile.ast_parse(source, filename=name))
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        raise Misuse("a %%infer cell ends with an expression, whose value is taken: as X[:5], on a line of its own")
    last = ast.Expression(tree.body.pop().value)
    try:
        exec(shell.compile(tree, name, "exec"), shell.user_global_ns, shell.user_ns)  # noqa: S102
        return eval(shell.compile(last, name, "eval"), shell.user_global_ns, shell.user_ns)  # noqa: S307
    except BaseException as error:
        _show_from(shell, error, name)
        raise


def _show_from(shell: Any, error: BaseException, name: str) -> None:
    """Have `error` shown without the frames of IPython and ours that called the user's code."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != name:
        trace = trace.tb_next
    if trace is None or hasattr(error, "_render_traceback_"):
        return

    def rendered() -> list[str]:
        shown: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, trace, tb_offset=0)
        return shown

    error._render_traceback_ = rendered  # type: ignore[attr-defined]
