"""The comparison of two versions in a cell, and what its buttons do, in a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import add_constant, save
from workbench.api import Workbench, connect
from workbench.client.shared_service import SharedService
from workbench.notebook import compared_versions
from workbench.notebook.bench_magic import compare
from workbench.notebook.commands import parse
from workbench.notebook.compared_versions import ComparedVersions

SOON_S = 60.0


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


@pytest.fixture
def compared(workplace: SharedService, tmp_path: Path) -> Iterator[tuple[Workbench, ComparedVersions]]:
    with connect() as wb:
        wb.load("judged", save(add_constant(1.0), tmp_path / "1.onnx"), versions="latest:2")
        wb.load("judged", save(add_constant(1.5), tmp_path / "2.onnx"), route=False)
        first, second = (each.version for each in wb.versions("judged"))
        command = parse(f"compare judged:{first} judged:{second} X --for 0.05s")
        found = compare(wb, command, lambda _: np.ones((4, 4), np.float32))
        assert isinstance(found, ComparedVersions)
        yield wb, found
        wb.unload("judged")


def press(act: Any) -> str:
    doing = act.begin()
    doing.join(SOON_S)
    assert not doing.is_alive()
    return str(act.said.value)


def shown(found: ComparedVersions, interactive: bool, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr(compared_versions, "is_interactive", lambda: interactive)
    monkeypatch.setattr(compared_versions, "display", lambda bundle, raw: bundles.append(bundle))
    found._ipython_display_()
    return bundles


def test_its_buttons_promote_and_go_back_and_say_so(compared: tuple[Workbench, ComparedVersions]) -> None:
    wb, found = compared
    first, second = found.versions
    promote, back = found.actions()
    assert promote.button.description == f"Promote {second}"
    assert f"version {second} gets all calls without a version instead of version {first}" in press(promote)
    assert wb["judged"].status.version == second
    assert f"version {first} serves again instead of version {second}" in press(back)
    assert wb["judged"].status.version == first
    wb.unload(f"judged:{second}")
    assert "role='alert'" in press(promote) and second in promote.said.value


def test_without_widgets_it_has_the_lines_that_do_the_same(
    compared: tuple[Workbench, ComparedVersions], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, found = compared
    lines = (f"%infer route judged v{found.versions[1]}", "%infer rollback judged")
    (bundle,) = shown(found, False, monkeypatch)
    assert all(line in bundle[kind] for line in lines for kind in bundle)
    report, buttons = shown(found, True, monkeypatch)
    assert "application/vnd.jupyter.widget-view+json" in buttons
    assert all(line in buttons["text/html"] for line in lines)  # for a notebook that is opened again
    assert not any(line in report["text/html"] for line in lines)
    assert len(found.df) == len(found)
