"""What there is to measure here. Absolute times mean little beyond one machine; ratios taken in one run do.

`python -m benchmarks` lists this; each line is a module to run with `python -m`, `--help` where it takes options.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

MEASUREMENTS = {
    "benchmarks.served": "make bench",
    "benchmarks.peers": "make bench-peers",
    "benchmarks.grpc": "",
    "benchmarks.loadtest": "",
    "benchmarks.soak": "",
    "benchmarks.share_gate": "",
    "benchmarks.version_changes": "",
    "benchmarks.shadow": "",
    "benchmarks.result_cache": "",
    "benchmarks.large_table": "",
    "benchmarks.function_overhead": "",
    "benchmarks.telemetry": "",
    "benchmarks.engine": "",
    "benchmarks.codecs": "",
    "benchmarks.batch_axis": "",
}
"""Module -> how else it is started."""


def summary(module: str) -> str:
    """The first sentence of its docstring, without importing it."""
    spec = importlib.util.find_spec(f"{module}.__main__") if _is_package(module) else importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def main() -> None:
    for module, also in MEASUREMENTS.items():
        print(f"python -m {module}" + (f"  ({also})" if also else ""))
        print(f"    {summary(module)}")


def _is_package(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.submodule_search_locations is not None


if __name__ == "__main__":
    main()
