"""The notebook of the owner and the teammate, run in a real kernel: what they see, and that no secret is left in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.timeout(300)  # the first test runs the notebook, which takes long under load

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@cache
def executed() -> nbformat.NotebookNode:
    notebook = nbformat.read(NOTEBOOKS / "05_share.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(NOTEBOOKS)}})
    return client.execute()


def shown(source: str) -> list[str]:
    """What each cell that holds `source` put out, on one line."""
    cells = [each for each in executed().cells if each.cell_type == "code" and source in each.source]
    return [" ".join(" ".join(output.data["text/plain"] for output in cell.outputs).split()) for cell in cells]


def test_the_teammate_calls_with_requests_and_with_tritons_client() -> None:
    (with_requests,) = shown("labels, y[10:13]")
    answered, true = re.findall(r"\[([\d, ]+)\]", with_requests)
    assert answered == true
    (with_triton,) = shown("import tritonclient.http")
    right = re.search(r"(\d+)% of 64 digits are right", with_triton)
    assert right is not None and int(right[1]) > 80


def test_the_share_is_held_to_its_limits_and_its_end() -> None:
    (counts,) = shown("dict(Counter(")
    statuses = {int(status): int(count) for status, count in re.findall(r"(\d{3}): (\d+)", counts)}
    assert set(statuses) == {200, 429} and sum(statuses.values()) == 60
    assert shown("models/other") == ["[403, 403]"]
    (ended,) = shown("reply = requests.get")
    assert ended.startswith("(401, ") and "was revoked" in ended


def test_the_owner_sees_who_called() -> None:
    before, after = shown("%infer shares")
    assert re.search(r"team-a +digits +unclaimed +20/s +0 +0 +0 +0 +- ", before)
    assert re.search(r"team-a +digits +holds +20/s +[1-9]\d* +[1-9]\d* +\d+ +[1-9]\d* .* ms +20\d\d-", after)


def test_no_secret_is_left_in_the_outputs() -> None:
    (link_again,) = shown("again = requests.post")
    assert link_again.startswith("(404, ")
    text = nbformat.writes(executed())  # type: ignore[no-untyped-call]
    assert "wbk_" not in text
    assert "/share/claim#" not in text
