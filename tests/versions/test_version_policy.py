"""Which versions stay loaded, as a table."""

from __future__ import annotations

import pytest

from workbench.config import ModelConfig
from workbench.core.version_plan import VersionPlan
from workbench.errors import InvalidInput
from workbench.versions.version_policy import after_routing, policy_of, staying, taken_back, with_held, without


@pytest.mark.parametrize(
    ("setting", "loaded"),
    [
        ("latest", ["10"]),
        ("latest:1", ["10"]),
        ("latest:2", ["3", "10"]),
        ("latest:9", ["1", "2", "3", "10"]),
        ("all", ["1", "2", "3", "10"]),
        ("specific:1,3", ["1", "3"]),
        ("specific:7", []),
    ],
)
def test_of_a_folder_the_versions_of_the_policy_are_loaded_the_highest_last(setting: str, loaded: list[str]) -> None:
    assert policy_of(ModelConfig(versions=setting).versions).of_folder(["10", "2", "1", "3"]) == loaded


@pytest.mark.parametrize(
    "setting", ["", "latest:", "latest:0", "latest:-1", "specific", "specific:", "specific:1,", "ALL"]
)
def test_another_policy_is_refused(setting: str) -> None:
    with pytest.raises(InvalidInput, match=r"versions must be \"latest:N\", \"all\" or \"specific:1,3\""):
        ModelConfig(versions=setting)


@pytest.mark.parametrize(
    ("setting", "beside"),
    [("latest:1", ()), ("latest:2", ("2",)), ("latest:3", ("1", "2")), ("all", ("1", "2")), ("specific:1", ("1",))],
)
def test_the_version_before_stays_as_far_as_the_policy_goes(setting: str, beside: tuple[str, ...]) -> None:
    plan = VersionPlan(beside=("1",), before=("1",))
    after = after_routing(plan, setting, "3", "2")
    assert (after.beside, after.before) == (beside, ("1", "2"))


def test_what_was_loaded_by_name_takes_no_place_of_the_policys_and_stays_until_it_serves_or_goes() -> None:
    plan = with_held(VersionPlan(), "2")
    plan = after_routing(plan, "latest:1", "3", "1")
    assert plan == VersionPlan(beside=("2",), held=("2",), before=("1",))
    routed = after_routing(plan, "latest:1", "2", "3")
    assert routed == VersionPlan(before=("1", "3"))
    assert without(plan, "2") == VersionPlan(before=("1",), highest=2)


def test_a_version_that_served_stays_rather_than_a_higher_one_that_was_taken_back() -> None:
    plan = VersionPlan(beside=("4", "5"), before=("2", "4"))
    assert staying(plan, "latest:2", "6").beside == ("4",)
    assert staying(plan, "latest:3", "6").beside == ("4", "5")


def test_what_is_taken_back_stays_as_far_as_the_policy_goes_and_is_not_gone_back_to() -> None:
    plan = VersionPlan(before=("1", "2"))
    back = taken_back(plan, "latest:1", "3")
    assert back == VersionPlan(before=("1",), highest=3)
    assert taken_back(plan, "latest:2", "3") == VersionPlan(beside=("3",), before=("1",), highest=3)
    again = taken_back(back, "all", "2")
    assert again == VersionPlan(beside=("2",), highest=3)


def test_the_versions_before_are_named_once_each_and_the_last_four() -> None:
    plan, current = VersionPlan(), None
    for new in ("1", "2", "3", "2", "4", "5", "5", "6", "7"):
        plan, current = after_routing(plan, "latest:1", new, current), new
    assert plan.before == ("2", "4", "5", "6")


def test_the_versions_of_shares_stay_loaded_until_their_routes_go() -> None:
    plan = VersionPlan(beside=("2", "3"), shares={"s1": {"2": ((0, 10),)}, "s2": {"2": ((0, 5),), "3": ((5, 9),)}})
    assert plan.pinned == {"2", "3"}
    assert staying(plan, "latest:1", "4").beside == ("2", "3")
    left = without(plan, "2")
    assert (left.shares, left.beside) == ({"s2": {"3": ((5, 9),)}}, ("3",))
    promoted = after_routing(plan, "latest:1", "2", "1")
    assert (promoted.shares, promoted.beside) == (plan.shares, ("3",))
    assert after_routing(promoted, "latest:1", "5", "2").beside == ("2", "3"), "a share is still for it"
