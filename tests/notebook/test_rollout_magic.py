"""`%infer rollout` in a cell, of a real service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models import add_constant, save
from tests.notebook.cells import Cells
from workbench.api import Workbench
from workbench.client.rollout_results import Rollout
from workbench.client.shared_service import SharedService


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


def test_a_rollout_is_begun_looked_at_and_ended_by_lines(cells: Cells, wb: Workbench, tmp_path: Path) -> None:
    wb.load("plus", save(add_constant(1.0), tmp_path / "1.onnx"))
    one = wb["plus"].status.version
    wb.load("plus", save(add_constant(2.0), tmp_path / "2.onnx"), route=False)
    (two,) = (each.version for each in wb.versions("plus") if each.state == "Ready" and not each.routed)
    assert "there was no rollout of model 'plus': begin one with %infer rollout" in cells.refused("%infer rollout plus")
    begun = cells.run(
        f'%infer rollout plus v{two} --steps 10,100 --every 5m --guard "errors<0.5%,p99<1.2x" '
        "--on-breach halt --least-calls 50 --by user -o going"
    )
    assert isinstance(begun, Rollout) and cells.shell.user_ns["going"] is begun
    view = begun.view
    assert (view.steps, view.every_s, view.guard) == ((0.1, 1.0), 300.0, "errors<0.5%,p99<1.2x")
    assert (view.on_breach, view.least_calls, view.by) == ("halt", 50, "user")
    assert repr(begun).startswith(f"rollout of plus, version {two}: step 1 of 2, 10 %; ")
    assert (view.version, view.instead_of) == (two, one)
    assert cells.run("%infer rollout plus").view.began_at == view.began_at
    assert "under way" in cells.refused(f"%infer rollout plus v{two}")
    assert "must be a whole number" in cells.refused(f"%infer rollout plus v{two} --least-calls few")
    assert cells.run("%infer rollout plus --stop").view.status == "stopped"
    assert "one that was halted can be resumed" in cells.refused("%infer rollout plus --resume")
