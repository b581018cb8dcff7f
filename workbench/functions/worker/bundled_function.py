"""Makes a function from its bundle and calls it, and words what it raises."""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib
import json
import linecache
import os
import re
import sys
import types
import zipfile
from typing import Any

from workbench.functions.worker.frozen_values import Values, attribute
from workbench.functions.worker.function_arrays import BadAnswer, as_array, by_name, declared, kind_of, unpacked
from workbench.functions.worker.printed_output import Printed


class TooMuch(Exception):
    """An answer over the limit."""


class Function:
    """The function, made from its bundle."""

    def __init__(self, path: str) -> None:
        with zipfile.ZipFile(path) as archive:
            spec = json.loads(archive.read("workbench-function"))
            home = spec["interpreter"]
            sys.path[:] = [*home["path"], *(each for each in sys.path if each not in home["path"])]
            with contextlib.suppress(OSError):
                os.chdir(home["folder"])
            self._module = types.ModuleType("workbench_function")
            sys.modules[self._module.__name__] = self._module
            space = self._module.__dict__
            reader = Values(archive, space)
            for step in spec["steps"]:
                if "import" in step:
                    importlib.import_module(step["import"])
                    space[step["as"]] = sys.modules[step["import"]]
                elif "from" in step:
                    space[step["as"]] = attribute(step["from"], step["take"])
                elif "block" in step:
                    block = spec["blocks"][step["block"]]
                    run_block(archive.read(f"blocks/{step['block']}.py").decode(), block, space, step["block"])
                else:
                    space[step["as"]] = reader.value(step["value"])
        self._function = space[spec["entry"]]
        self._inputs = spec["inputs"]
        self._outputs = {each["name"]: each for each in spec["outputs"]}

    def call(
        self, parts: list[Any], shapes: list[list[int]], wanted: list[str] | None
    ) -> tuple[list[list[Any]], list[Any]]:
        """(name, datatype, whether it is text) of each output, and the outputs themselves."""
        given = {
            spec["name"]: unpacked(spec, part, shape)
            for spec, part, shape in zip(self._inputs, parts, shapes, strict=True)
        }
        answer = self._function(**given)
        found = by_name(answer, list(self._outputs))
        if wanted is None:
            answers = {name: as_array(name, value) for name, value in found.items()}
            return [[name, *kind_of(name, array)] for name, array in answers.items()], list(answers.values())
        specs: list[list[Any]] = []
        arrays: list[Any] = []
        for name in wanted:
            if name not in found:
                raise BadAnswer(f"its answer lacks {name!r}; it has {', '.join(map(repr, found))}")
            arrays.append(declared(self._outputs[name], as_array(name, found[name])))
            specs.append([name, self._outputs[name]["datatype"], self._outputs[name]["text"]])
        return specs, arrays


def run_block(text: str, block: dict[str, Any], space: dict[str, Any], index: int) -> None:
    """Define what the block defines. Tracebacks show its lines as they were where it was written."""
    file = f"<{index}:{block['file']}>"
    tree = ast.parse(text, file)
    ast.increment_lineno(tree, block["line"] - 1)
    if block["assigned"]:
        value = tree.body[0].value  # type: ignore[attr-defined]
        target = ast.copy_location(ast.Name(block["assigned"], ast.Store()), value)
        tree.body = [ast.copy_location(ast.Assign([target], value), value)]
    lines = ["\n"] * (block["line"] - 1) + text.splitlines(keepends=True)
    linecache.cache[file] = (len(text), None, lines, file)
    # Names in annotations are mostly for checkers of types, and need not be there.
    flags = annotations.compiler_flag
    exec(compile(tree, file, "exec", flags, dont_inherit=True), space)  # noqa: S102


def told(error: BaseException, printed: Printed) -> dict[str, Any]:
    """What the caller is told of an exception, with the last line of the user's own that it came through."""
    line, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if re.match(r"<\d+:", code.co_filename):
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            place = code.co_filename.partition(":")[2][:-1]
            line = f"line {trace.tb_lineno} of {place}, in {code.co_name}: {text}"
        trace = trace.tb_next
    try:
        words = str(error)
    except BaseException:  # its own __str__ raises
        words = ""
    ours = isinstance(error, BadAnswer | TooMuch)
    return {
        "error": "" if ours else type(error).__name__,
        "message": words[:2000],
        "line": line[:500],
        "invalid": isinstance(error, ValueError),
        "spoilt": isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.EMFILE, errno.ENOMEM),
        "log": printed.taken(),
    }
