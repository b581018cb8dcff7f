"""The notebook of the owner and the teammate, run in a real kernel: what they see, and that no secret is left in it."""

from __future__ import annotations

import re
from functools import cache

import nbformat
import pytest

from tests.helpers.run_notebook import executed, shown_by_each

pytestmark = pytest.mark.timeout(300)  # the first test runs the notebook, which takes long under load


@cache
def notebook() -> nbformat.NotebookNode:
    return executed("05_share.ipynb")


def shown(source: str) -> list[str]:
    return shown_by_each(notebook(), source)


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
    text = nbformat.writes(notebook())  # type: ignore[no-untyped-call]
    assert "wbk_" not in text
    assert "/share/claim#" not in text
