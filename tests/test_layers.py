"""Imports go one way: the table below, read from the code itself, functions included.

An import under TYPE_CHECKING is no import at run time and does not count. `api` and `cli` compose and may import
anything, but only inside functions, so that `import workbench` stays light.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import workbench

ROOT = Path(workbench.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "config": {"errors"},
    "core": {"errors", "config"},
    "repository": {"errors", "config", "core"},
    "runtimes": {"errors", "config", "core"},
    "engine": {"errors", "config", "core", "repository", "runtimes"},
    "protocols": {"errors", "config", "core"},
    "telemetry": {"errors", "config", "core"},
    "rendezvous": {"errors", "config", "core"},
    "http2": set(),
    "server": {
        "errors",
        "config",
        "core",
        "repository",
        "runtimes",
        "engine",
        "protocols",
        "telemetry",
        "rendezvous",
        "http2",
    },
    "client": {"errors", "config", "core", "protocols", "rendezvous"},
    "convert": {"errors", "config", "core", "protocols", "client"},
    "loadtest": {"errors", "config", "core", "protocols", "rendezvous", "client"},
    "live": {"errors", "core", "protocols", "rendezvous", "client"},
    "notebook": {"errors", "config", "core", "protocols", "rendezvous", "client", "convert", "loadtest", "live"},
    "jupyter": {"errors", "config", "core", "protocols", "rendezvous", "client", "loadtest", "live"},
}
COMPOSE = {"__init__", "__main__", "api", "cli"}

FOREIGN: dict[str, set[str]] = {
    "onnxruntime": {"runtimes"},
    "httptools": {"server", "loadtest"},
    "uvicorn": set(),
    "hpack": {"http2"},
    "grpc": {"server", "client", "loadtest"},
    "google": {"protocols", "repository"},
    "aiohttp": {"client"},
    "IPython": {"notebook"},
    "jupyter_server": {"jupyter"},
    "tornado": {"jupyter"},
    "anywidget": {"notebook"},
    "ipywidgets": {"notebook"},
    "skl2onnx": {"convert"},
    "plotly": {"client", "loadtest"},
    "onnx": {"repository", "runtimes", "convert"},
}
"""A library -> the only rooms that may import it."""


def modules() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(dotted name, at module level?) of each import that happens at run time."""
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, top: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.extend((f"{node.module}.{alias.name}", top) for alias in node.names)
        inside = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), True)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below_it(path: Path) -> None:
    room = room_of(path)
    for name, top in imports(path):
        if name.split(".")[0] == "workbench":
            target = [*name.split("."), "__init__"][1]
            if room in COMPOSE:
                assert not top or target in {"errors", "config", "core"}, f"{path.name} imports {name} at the top"
            elif target != room:
                assert target in ALLOWED[room], f"{room} must not import {target} ({name})"
        else:
            library = name.split(".")[0]
            rooms = FOREIGN.get(library)
            if rooms is not None and room not in COMPOSE:
                assert room in rooms, f"{room} must not import {library}"


APART = {"server/http": "workbench.server.grpc", "server/grpc": "workbench.server.http"}
"""Folder -> what none of its modules may import, under TYPE_CHECKING neither."""


def test_http_and_grpc_know_nothing_of_each_other() -> None:
    offenders = [
        f"{path.relative_to(ROOT)} imports {other}"
        for folder, other in APART.items()
        for path in (ROOT / folder).rglob("*.py")
        if other in path.read_text(encoding="utf-8")
    ]
    assert not offenders


def test_every_room_is_in_the_table() -> None:
    assert {room_of(path) for path in modules()} <= set(ALLOWED) | COMPOSE


def test_importing_workbench_is_light() -> None:
    heavy = {
        "onnxruntime",
        "onnx",
        "pandas",
        "plotly",
        "aiohttp",
        "IPython",
        "uvicorn",
        "sklearn",
        "skl2onnx",
        "jupyter_server",
        "tornado",
    }
    code = "import sys, workbench; print(*(sys.modules.keys()))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not heavy & set(loaded)


def test_the_client_notebook_and_jupyter_side_never_load_onnxruntime() -> None:
    light = {"client", "convert", "loadtest", "live", "notebook", "jupyter"}
    rooms = [path for path in modules() if room_of(path) in light]
    names = [".".join(("workbench", *path.relative_to(ROOT).with_suffix("").parts)) for path in rooms]
    load = f"for name in {names!r}: importlib.import_module(name)"
    code = f"import importlib, sys\n{load}\nprint('onnxruntime' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False"
