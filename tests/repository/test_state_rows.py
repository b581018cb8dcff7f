"""Rows of the state that this version, or nobody, wrote."""

from __future__ import annotations

import pytest

from workbench.core.version_plan import VersionPlan
from workbench.repository.state_rows import plan_of, text_of
from workbench.versions.traffic_split import spread

PLAN = VersionPlan(
    beside=("2", "3"),
    held=("3",),
    before=("7", "1"),
    labels={"canary": "2"},
    spans=spread(spread({}, {"2": 0.1, "3": 0.2}), {"2": 0.3, "3": 0.1}),
    by="user",
    shares={"s1": spread({}, {"2": 1.0}), "s2": spread({}, {"2": 0.5})},
    highest=9,
)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert plan_of("m", text_of(PLAN)) == PLAN
    assert plan_of("m", "{}") == VersionPlan()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../m", text_of(PLAN)),
        ("m", "none"),
        ("m", "[]"),
        ("m", '{"beside": ["x"]}'),
        ("m", '{"beside": "2"}'),
        ("m", '{"labels": {"v2": "2"}}'),
        ("m", '{"labels": {"a": "two"}}'),
        ("m", '{"spans": {"2": [[5, 1]]}}'),
        ("m", '{"spans": {"2": [[0, 2000000]]}}'),
        ("m", '{"spans": {"2": [[0, 10]], "3": [[5, 15]]}}'),
        ("m", '{"spans": {"2": [[-5, 10]]}}'),
        ("m", '{"shares": {"s1": {"x": [[0, 10]]}}}'),
        ("m", '{"shares": {"s1": {"2": [[5, 1]]}}}'),
    ],
)
def test_what_can_be_no_plan_is_none(name: str, text: str) -> None:
    assert plan_of(name, text) == VersionPlan()
