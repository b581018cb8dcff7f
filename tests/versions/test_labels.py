"""What may be a label, and where labels point after they were moved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.model import check_model_version
from workbench.core.version_plan import VersionPlan
from workbench.errors import InvalidInput
from workbench.versions.labels import MOST_LABELS, check_label, moved, version_meant
from workbench.versions.version_policy import after_routing, without


@pytest.mark.parametrize("label", ["stable", "canary", "Team-A_2.x", "v", "vnext", "x" * 64])
def test_a_word_may_be_a_label(label: str) -> None:
    assert check_label(label) == label
    assert version_meant(label) == label


@pytest.mark.parametrize("label", ["1", "07", "v2", "V2", "v2.1", "v2-rc", "²"])
def test_what_looks_like_a_version_may_not(label: str) -> None:
    with pytest.raises(InvalidInput, match=f"the label '{label}' looks like a version"):
        check_label(label)


@pytest.mark.parametrize("label", ["", "a b", "a/b", "2nd", "-a", ".", "x" * 65, "stäble", "a\n"])
def test_neither_may_what_a_path_could_not_hold(label: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be a label"):
        check_label(label)


@given(st.text(max_size=8))
def test_nothing_is_a_label_and_a_version(text: str) -> None:
    for check in (check_label, check_model_version):
        try:
            check(text)
        except InvalidInput:
            return
    raise AssertionError(text)


def test_labels_are_moved_together_and_taken_away() -> None:
    labels = moved({"stable": "1", "old": "1"}, {"stable": "2", "canary": "v3", "old": None}, {"1", "2", "3"})
    assert labels == {"stable": "2", "canary": "3"}


def test_a_label_points_to_no_version_that_is_not_ready_and_then_none_is_moved() -> None:
    with pytest.raises(
        InvalidInput, match=r"label 'canary' cannot point to version '3', which is not Ready \(Ready: 1"
    ):
        moved({}, {"stable": "1", "canary": "3"}, {"1", "2"})
    with pytest.raises(InvalidInput, match="there is no label 'canary'; the labels are stable"):
        moved({"stable": "1"}, {"canary": None}, {"1"})
    with pytest.raises(InvalidInput, match=f"{MOST_LABELS} labels"):
        moved({}, {f"label-{each}": "1" for each in range(MOST_LABELS + 1)}, {"1"})


def test_a_version_with_a_label_stays_loaded_and_one_that_is_unloaded_loses_its_labels() -> None:
    plan = VersionPlan(labels={"stable": "1"})
    plan = after_routing(plan, "latest:1", "2", "1")
    assert (plan.beside, plan.before) == (("1",), ("1",))
    assert after_routing(plan, "latest:1", "3", "2").beside == ("1",)
    assert without(plan, "1") == VersionPlan(before=("1",), highest=1)
