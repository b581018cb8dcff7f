"""docs/security.md names the test that holds each rule, and these tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import workbench

ROOT = Path(workbench.__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def names_in(path: Path) -> set[str]:
    """Functions as `test_x`, methods as `TestX::test_x`."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            inner = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            found.update(f"{node.name}::{each.name}" for each in inner)
    return found


def test_every_test_that_holds_a_rule_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", PAGE)
    assert len(named) > 40
    assert not [
        f"{path}::{name}" for path, name in named if not (ROOT / path).is_file() or name not in names_in(ROOT / path)
    ]


def test_every_rule_names_a_test() -> None:
    """A row without one is a promise that nobody checks."""
    tables = re.findall(r"\| what is kept \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 20
    assert not [row for row in rows if "`tests/" not in row.split(" | ")[-1]]
