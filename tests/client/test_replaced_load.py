from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest

from tests.models import add_constant, save
from workbench.api import Workbench
from workbench.client.replaced_load import load_of, replaced_note
from workbench.client.shared_service import Address
from workbench.core.audit_entry import AuditEntry

NOW = time.mktime((2026, 5, 4, 14, 30, 0, 0, 0, -1))
OWN = "infer-workbench/1 (kernel of mine.ipynb; pid 7)"


def entry(agent: str, detail: str = "version 1", *, action: str = "load", ago_s: float = 1620.0) -> AuditEntry:
    return AuditEntry(NOW - ago_s, action, "m", detail, "ok", "owner", "http", "", f"infer-workbench/1 ({agent})")


def note(*history: AuditEntry, own: str = OWN) -> str:
    return replaced_note("m", "1", history, own, NOW)


def test_another_notebook_is_named_with_the_time() -> None:
    assert note(entry("kernel of theirs.ipynb; pid 8")) == (
        "version 1 was loaded by theirs.ipynb, 14:03: its calls get the new answers now; %infer rollback m goes back"
    )
    assert "2026-05-03 14:03" in note(entry("kernel of theirs.ipynb; pid 8", ago_s=86400 + 1620))
    assert "loaded by another notebook, 14:03" in note(entry("kernel; pid 8"))
    assert "theirs.ipynb" in note(entry("kernel of theirs.ipynb; pid 8"), own="infer-workbench/1 (Python; pid 9)")


@pytest.mark.parametrize(
    "agent", ["kernel of mine.ipynb; pid 7", "kernel of mine.ipynb; pid 6", "panel; pid 8", "command line; pid 8"]
)
def test_its_own_notebook_and_what_is_none_are_not_noted(agent: str) -> None:
    assert note(entry(agent)) == ""


def test_the_load_of_that_version_counts_and_the_last_one() -> None:
    assert note() == ""
    assert note(entry("kernel of x.ipynb; pid 8", "version 10")) == ""
    assert note(entry("kernel of x.ipynb; pid 8", "version 1", action="unload")) == ""
    same = entry("kernel of y.ipynb; pid 9", "version 1, unchanged")
    first = entry("kernel of x.ipynb; pid 8")
    assert load_of([first, same], "1") is first


def test_a_load_says_whose_model_it_replaced(wb: Workbench, service: Address, tmp_path: Path) -> None:
    """Of a real service: what another notebook had loaded, and then what this process had."""
    for number in (1, 2, 3):
        save(add_constant(float(number)), tmp_path / f"{number}.onnx")
    body = json.dumps({"path": str(tmp_path / "1.onnx"), "config": {}}).encode()
    headers = {
        "Authorization": f"Bearer {service.token}",
        "User-Agent": "infer-workbench/1 (kernel of theirs.ipynb; pid 1)",
        "Content-Type": "application/json",
    }
    url = f"{service.url}/control/models/m/load"
    urllib.request.urlopen(urllib.request.Request(url, body, headers)).close()
    report = wb.load("m", tmp_path / "2.onnx")
    assert report.replaced.startswith("version 1 was loaded by theirs.ipynb, ")
    assert report.replaced in repr(report) and "theirs.ipynb" in report._repr_html_()
    assert wb.load("m", tmp_path / "3.onnx").replaced == "", "that was this process's own"
