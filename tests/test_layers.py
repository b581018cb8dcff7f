"""Imports go one way: the tables below, read from the code itself, functions and TYPE_CHECKING included.

`api` and `cli` compose and may import anything, but only inside functions, so that `import workbench` stays light.
Each exception is named with its reason, and fails once it is no longer needed.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import workbench

ROOT = Path(workbench.__file__).parent

_BASE = {"visible_text", "errors", "config", "core"}
ROOMS: dict[str, set[str]] = {
    "visible_text": set(),
    "errors": {"visible_text"},
    "config": {"errors"},
    "core": {"visible_text", "errors", "config"},
    "graph": {"errors", "core"},
    "functions": _BASE,
    "versions": _BASE,
    "repository": _BASE | {"graph", "functions", "versions"},
    "runtimes": _BASE | {"graph"},
    "sandbox": _BASE | {"repository", "runtimes"},
    "engine": _BASE | {"graph", "repository", "runtimes", "sandbox", "versions"},
    "protocols": _BASE,
    "telemetry": _BASE,
    "rendezvous": _BASE,
    "http2": set(),
    "share": _BASE,
    "server": _BASE
    | {
        "repository",
        "runtimes",
        "sandbox",
        "engine",
        "protocols",
        "telemetry",
        "rendezvous",
        "http2",
        "share",
        "versions",
    },
    "client": _BASE | {"protocols", "rendezvous", "versions", "share"},
    "convert": _BASE | {"protocols", "client", "functions"},
    "loadtest": _BASE | {"protocols", "rendezvous", "client"},
    "live": {"visible_text", "errors", "core", "protocols", "rendezvous", "client"},
    "notebook": _BASE | {"protocols", "rendezvous", "client", "convert", "loadtest", "live"},
    "jupyter": _BASE | {"protocols", "rendezvous", "client", "loadtest", "live", "share"},
}
"""A room -> the rooms that it may import."""

COMPOSE = {"__init__", "__main__", "api", "cli"}

INNER_ROOMS: dict[str, dict[str, set[str]]] = {
    "server": {
        "process": set(),
        "audit": set(),
        "gate": {"process"},
        "compression": set(),
        "accept_last": set(),
        "acceptor": {"gate"},
        "tls_context": set(),
        "self_signed": {"process"},
        "shared_memory": set(),
        "persistence": {"audit"},
        "memory_release": set(),
        "settings": set(),
        "python_functions": {"process"},
        "redis_rest": set(),
        "redis_answers": {"redis_rest"},
        "token_rotation": {"gate"},
        "shares": {"gate"},
        "share_routing": {"shares"},
        "network_port": set(),
        "rollouts": {"audit", "persistence"},
        "service": {"rollouts", "audit", "gate", "persistence", "shared_memory", "token_rotation", "network_port"},
        "inference": {"service", "gate", "compression", "shared_memory"},
        "repository_api": {"gate", "service", "shared_memory"},
        "http": {
            "audit",
            "gate",
            "process",
            "accept_last",
            "acceptor",
            "compression",
            "shared_memory",
            "service",
            "inference",
            "repository_api",
            "shares",
            "share_routing",
            "network_port",
            "self_signed",
            "tls_context",
        },
        "grpc": {
            "audit",
            "gate",
            "process",
            "accept_last",
            "acceptor",
            "compression",
            "shared_memory",
            "service",
            "inference",
            "repository_api",
            "network_port",
            "tls_context",
        },
        "folder_events": set(),
        "folder_follower": set(),
        "repository_watch": set(),
        "worker_main": {
            "folder_events",
            "folder_follower",
            "repository_watch",
            "token_rotation",
            "gate",
            "process",
            "persistence",
            "memory_release",
            "python_functions",
            "redis_answers",
            "service",
            "inference",
            "http",
            "grpc",
            "settings",
            "tls_context",
            "self_signed",
        },
    },
    "functions": {
        "worker": set(),
        "function_bundle": set(),
        "function_bytes": set(),
        "process_surroundings": set(),
        "function_process": {"function_bundle", "function_bytes", "process_surroundings", "worker"},
        "function_session": {"function_bundle", "function_process"},
    },
    "loadtest": {
        "machine_info": set(),
        "option_schema": set(),
        "patterns": {"option_schema"},
        "plan": {"option_schema", "patterns", "analysis"},
        "store": {"patterns", "plan", "machine_info", "analysis"},
        "server_side": {"store"},
        "analysis": {"option_schema", "patterns", "plan", "options", "store"},
        "generator": {"patterns", "plan", "store", "analysis"},
        "options": {"option_schema", "patterns", "plan"},
        "job": {"patterns", "plan", "store", "server_side", "analysis", "generator"},
        "report": {"patterns", "plan", "store", "analysis", "generator", "job"},
        "bench": {"plan", "options", "store", "analysis", "generator", "job", "report"},
        "command": {"option_schema", "plan", "options", "store", "analysis", "job", "report", "bench"},
    },
}
"""A room -> its inner rooms and single modules -> those of the same room that each may import.

`analysis` computes over the records of `store`, and a stored run quotes figures that `analysis` computed: these two
import each other as rooms, but never as modules (see the test of circles).
"""

EXCEPTIONS: dict[tuple[str, str], str] = {
    ("notebook.magics", "api"): "types only: a magic holds the user's Workbench",
    ("notebook.panel", "api.handles"): "types only",
    ("notebook.bench_magic", "api"): "types only",
    ("notebook.compared_versions", "api"): "types only",
    ("notebook.completion", "api"): "types only",
}
"""(importer, imported) that the tables above forbid -> why it is there all the same."""

CIRCLES: dict[frozenset[str], str] = {
    frozenset({"api.handles", "notebook.panel"}): "types only: the panel holds the Workbench that opens it",
}
"""Modules that import each other in a circle -> why."""

FOREIGN: dict[str, set[str]] = {
    "onnxruntime": {"runtimes", "convert"},
    "httptools": {"server", "loadtest"},
    "uvicorn": set(),
    "hpack": {"http2"},
    "grpc": {"server", "client", "loadtest"},
    "cryptography": {"server"},
    "redis": {"server"},
    "watchfiles": {"server"},
    "google": {"protocols", "repository"},
    "aiohttp": {"client"},
    "IPython": {"notebook"},
    "jupyter_server": {"jupyter"},
    "tornado": {"jupyter"},
    "anywidget": {"notebook"},
    "ipywidgets": {"notebook"},
    "skl2onnx": {"convert"},
    "plotly": {"client", "loadtest"},
    "tokenizers": {"runtimes"},
    "PIL": {"runtimes", "convert"},
    "onnx": {"graph", "repository", "runtimes", "convert"},
}
"""A library -> the only rooms that may import it."""

SAME_NAME: dict[str, str] = {}
"""A module name that occurs more than once -> why."""


@dataclass(frozen=True)
class Import:
    name: str
    at_top: bool
    types_only: bool


def dotted(path: Path) -> str:
    """The module's name below `workbench`, a package by its folder: "server.http.asgi", "client"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def room_of(module: str) -> str:
    return module.split(".")[0]


def inner_room_of(module: str) -> str:
    return ".".join(module.split(".")[1:2])


@cache
def modules() -> dict[str, list[Import]]:
    paths = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)
    return {dotted(path): _imports(path) for path in paths}


def _imports(path: Path) -> list[Import]:
    found: list[Import] = []

    def visit(node: ast.AST, top: bool, types: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, top, types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.extend(Import(f"{node.module}.{alias.name}", top, types) for alias in node.names)
        types = types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        top = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, top, types)

    visit(ast.parse(path.read_text(encoding="utf-8")), True, False)
    return found


def own_imports() -> list[tuple[str, str, Import]]:
    """(importer, imported module, how) of each import of a module of ours by another."""
    found = []
    for module, imports in modules().items():
        for one in imports:
            if room_of(one.name) == "workbench":
                target = one.name.removeprefix("workbench").removeprefix(".") or "__init__"
                while target not in modules() and "." in target:
                    target = target.rpartition(".")[0]
                found.append((module, target if target in modules() else "__init__", one))
    return found


def offenders(broken: dict[tuple[str, str], str]) -> list[str]:
    """The imports that no exception allows, as lines."""
    return sorted({f"{module} imports {target}: {why}" for (module, target), why in broken.items()})


def broken_rules() -> dict[tuple[str, str], str]:
    """(importer, imported) of each import against the tables -> the rule."""
    broken = {}
    for module, target, one in own_imports():
        room, other = room_of(module), room_of(target)
        if room in COMPOSE:
            if one.at_top and not one.types_only and other not in {*_BASE, room}:
                broken[module, target] = f"{room} imports it inside functions only"
        elif room != other:
            if other not in ROOMS[room]:
                broken[module, target] = f"{room} must not import {other}"
        elif room in INNER_ROOMS:
            inner, its = inner_room_of(module), inner_room_of(target)
            if inner and its and inner != its and its not in INNER_ROOMS[room][inner]:
                broken[module, target] = f"{room}.{inner} must not import {room}.{its}"
    return broken


def circles() -> set[frozenset[str]]:
    """The modules that reach themselves over imports, circle by circle; a package's own __init__ is left out."""
    below: dict[str, set[str]] = defaultdict(set)
    for module, target, _ in own_imports():
        if module != target:
            below[module].add(target)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(below[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting.extend(below[module])
        return seen

    all_reached = {module: reached(module) for module in modules()}
    return {
        frozenset(other for other in all_reached[module] if module in all_reached[other])
        for module in modules()
        if module in all_reached[module]
    }


def test_a_module_imports_only_what_lies_below_it() -> None:
    assert not offenders({pair: why for pair, why in broken_rules().items() if pair not in EXCEPTIONS})


def test_every_exception_is_still_needed() -> None:
    assert not EXCEPTIONS.keys() - broken_rules().keys()
    assert not CIRCLES.keys() - circles()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not [sorted(circle) for circle in circles() - CIRCLES.keys()]


def test_a_library_is_imported_by_its_rooms_only() -> None:
    assert not [
        f"{module} imports {one.name}"
        for module, imports in modules().items()
        for one in imports
        if room_of(module) not in COMPOSE and room_of(module) not in FOREIGN.get(room_of(one.name), {room_of(module)})
    ]


def test_every_room_is_in_the_tables() -> None:
    assert {room_of(module) for module in modules()} <= ROOMS.keys() | COMPOSE
    for room, inner in INNER_ROOMS.items():
        assert {inner_room_of(module) for module in modules() if room_of(module) == room} - {""} == inner.keys()


def test_no_two_modules_share_a_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in ROOT.rglob("*.py"):
        if path.stem != "__init__":
            places[path.stem].append(dotted(path))
    assert {name: found for name, found in places.items() if len(found) > 1}.keys() == SAME_NAME.keys()


def loaded_by(*names: str) -> set[str]:
    """The modules that are loaded in a fresh interpreter after these imports."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(*sys.modules)"
    command = [sys.executable, "-c", code, *names]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def in_rooms(*rooms: str) -> list[str]:
    return [f"workbench.{module}" for module in modules() if module.startswith(tuple(f"{room}." for room in rooms))]


def test_importing_workbench_is_light() -> None:
    heavy = "onnxruntime onnx pandas plotly aiohttp IPython uvicorn sklearn skl2onnx jupyter_server tornado"
    assert not set(heavy.split()) & loaded_by("workbench")


def test_the_supervisor_process_is_light() -> None:
    """It lives as long as the service and restarts it: a library in it is one more thing that can fail."""
    names = in_rooms("server.process")
    assert names
    heavy = "numpy onnxruntime uvicorn httptools grpc asyncio.sslproto workbench.server.http workbench.server.grpc"
    assert not set(heavy.split()) & loaded_by(*names)


def test_the_client_notebook_and_jupyter_side_never_load_onnxruntime() -> None:
    names = in_rooms("client", "convert", "loadtest", "live", "notebook", "jupyter")
    assert len(names) > 50
    assert "onnxruntime" not in loaded_by(*names)


TESTS = Path(__file__).parent
BEING_REWRITTEN = ("http2",)
"""Folders of tests that still import each other's modules; to be emptied."""


def test_no_test_module_imports_another() -> None:
    found = [
        f"{path.relative_to(TESTS)} imports {one.name}"
        for path in sorted(TESTS.rglob("test_*.py"))
        if path.relative_to(TESTS).parts[0] not in BEING_REWRITTEN
        for one in _imports(path)
        if one.name.startswith("tests.") and ".test_" in one.name
    ]
    assert not found
