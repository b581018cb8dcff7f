"""The notebook of a better version and of faulty ones, run in a real kernel: what it shows."""

from __future__ import annotations

import re
from functools import cache

import nbformat
import pytest

from tests.helpers.run_notebook import executed, shown_by_each

pytestmark = pytest.mark.timeout(300)  # the first test runs the notebook, which takes long under load


@cache
def notebook() -> nbformat.NotebookNode:
    return executed("06_versions.ipynb")


def shown(source: str) -> list[str]:
    return shown_by_each(notebook(), source)


def test_the_better_version_is_loaded_beside_compared_and_right_more_often() -> None:
    (loaded,) = shown("digits better")
    assert "digits version 2 is loaded and answers as digits:2; version 1 serves" in loaded
    (compared,) = shown("compare digits:1")
    assert re.search(r"label same in 9\d\.\d % .* \d+ of 200 differ", compared)
    assert "to promote it: %infer route digits v2 to go back: %infer rollback digits" in compared
    first, second = re.findall(r"0\.\d+", shown("y_new).mean")[0])
    assert float(second) > float(first) > 0.8


def test_a_part_of_the_calls_goes_to_it() -> None:
    (counts,) = shown("Counter(wb")
    by_version = {version: int(count) for version, count in re.findall(r"'(\d)': (\d+)", counts)}
    assert by_version.keys() == {"1", "2"} and 18 <= by_version["2"] <= 22 and sum(by_version.values()) == 200


def test_the_fault_of_the_third_is_found_before_it_gets_a_call() -> None:
    (compared,) = shown("compare digits:2 digits:3")
    same = re.search(r"label same in (\d+\.\d) %", compared)
    assert same is not None and float(same[1]) < 80
    assert shown("unload digits:3") == ["digits:3 is unloaded"]


def test_the_guard_finds_the_fault_of_the_fourth_and_takes_it_back() -> None:
    assert "digits version 1 gets all calls without a version again: the split has ended" in shown("rollback")[0]
    assert "version 4: step 1 of 2, 50 %" in shown("rollout digits v4")[0]
    found = shown('wb.rollout("digits").wait()')[0]
    assert "version 4: rolled back at 50 %: p50<1.5x is breached" in found
    assert re.search(r"errors<1% holds 0 % [2-9]\d\d p50<1\.5x breached", found), found
    assert shown("unload digits:4") == ["digits:4 is unloaded"]


def test_it_is_promoted_step_by_step_taken_back_and_listed() -> None:
    assert "version 2: step 1 of 2, 50 %" in shown("rollout digits v2")[0]
    assert "version 2: done, it serves" in shown('wb.rollout("digits").wait()')[1]
    assert shown("route digits v2") == ["digits version 2 gets all calls without a version instead of version 1"]
    assert "version 1 serves again instead of version 2" in shown("rollback")[1]
    (listed,) = shown("infer versions")
    assert "rollout: version 4: rolled back at 50 %" in listed and "rollout: version 2: done, it serves" in listed
    assert "1 Ready those that name 1; a rollback goes back to it" in shown("infer versions")[0]


def test_as_a_shadow_it_answers_a_copy_of_the_calls_and_the_rows_that_differ_are_there() -> None:
    route, ended = shown("--shadow")
    assert "a shadow gets copies version 2 a copy of 100 % of them" in route
    (report,) = shown("infer shadow digits")
    assert "digits version 2 as a shadow of version 1: a copy of 100 % of the calls" in report
    compared = re.search(r"40 calls to copy: (\d+) compared, 0 failed, \d+ dropped.*, 0 waiting", report)
    assert compared is not None and int(compared[1]) > 10, report
    label = re.search(r"label (\d+) (\d+\.?\d*) % (\d+) ", report)
    assert label is not None and 50 < float(label[2]) < 100, report
    (row,) = shown("examples[0]")
    serving, shadow = re.findall(r"array\(\[(\d)\]", row)
    assert serving != shadow
    assert "no version gets copies" in ended
