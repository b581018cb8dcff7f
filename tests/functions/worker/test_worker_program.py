from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.helpers.function_files import function_spec, save_function
from workbench.functions import worker
from workbench.functions.function_bundle import ValueSpec
from workbench.functions.function_process import CallLimits, FunctionProcess

X = np.ones((1, 2), np.float32)


def test_it_imports_the_standard_library_numpy_and_what_lies_beside_it() -> None:
    assert worker.__file__ is not None
    known = {*sys.stdlib_module_names, "numpy"}
    for path in Path(worker.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.partition(".")[0] in known or name.startswith(f"{worker.__name__}."), f"{path.name}: {name}"


def test_an_interpreter_without_workbench_runs_a_function(tmp_path: Path) -> None:
    """-S leaves out the folders of packages, Workbench's too; of these numpy's alone comes back."""
    packages = Path(np.__file__).parents[1]
    (only := tmp_path / "only").mkdir()
    for each in packages.glob("numpy*"):
        (only / each.name).symlink_to(each)
    run = f"import runpy, sys; sys.path.append({str(only)!r}); sys.argv.pop(0); "
    run += "runpy.run_path(sys.argv[0], None, '__main__')"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -I -S -c "{run}" "$@"\n')
    python.chmod(0o700)
    home = replace(function_spec().interpreter, executable=str(python), path=(), folder="/")
    text = (
        "import importlib.util, sys\n"
        "def predict(x):\n"
        "    assert importlib.util.find_spec('workbench') is None\n"
        "    return [each for each in sys.modules if each.startswith('workbench')]\n"
    )
    spec = replace(function_spec(outputs=(ValueSpec("y", "BYTES", (-1,), text=True),)), interpreter=home)
    process = FunctionProcess(save_function(tmp_path / "model.function", text, spec), spec, CallLimits())
    try:
        process.ready()
        assert not process.substitute
        assert process.call({"x": X}, ["y"])["y"].tolist() == [b"workbench_function"]
    finally:
        process.close()


def test_a_function_that_uses_workbench_has_the_real_one(tmp_path: Path) -> None:
    text = "import workbench.errors\ndef predict(x):\n    return x * (workbench.errors.__file__ is not None)"
    process = FunctionProcess(save_function(tmp_path / "model.function", text), function_spec(), CallLimits())
    try:
        process.ready()
        assert np.array_equal(process.call({"x": X}, ["y"])["y"], X)
    finally:
        process.close()
