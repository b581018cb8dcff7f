"""How versions and changes of the one that serves are shown."""

from __future__ import annotations

import pytest

from workbench.client.results import ModelTable
from workbench.client.version_results import VersionTable, rollback_card, route_card, share_route_card, weights_from
from workbench.core.audit_entry import AuditEntry
from workbench.core.model import ModelState, ModelStatus
from workbench.core.version_overview import VersionEntry, VersionOverview
from workbench.errors import InvalidInput
from workbench.protocols.control import LoadAnswer


def test_the_versions_of_a_model_say_which_calls_they_get_and_what_served_when() -> None:
    entries = (
        VersionEntry("1", "stored", before=True),
        VersionEntry("2", "Ready", routed=True, loaded_at=1e9, weight=1.0),
        VersionEntry("3", "Ready", held=True, loaded_at=1e9, copies=0.25, shares={"team-a": 1.0, "team-b": 0.5}),
        VersionEntry("4", "Failed", reason="it broke"),
    )
    done = AuditEntry(1e9, "load", "digits", "version 2, in place of 1", "ok", "owner", "http", "127.0.0.1", "python")
    table = VersionTable(VersionOverview("digits", "latest:1", entries, (done,)))
    told = repr(table)
    assert told.splitlines()[0] == "digits, versions=latest:1"
    assert len(told.splitlines()) == 1 + 1 + len(entries) + 1
    for line in (
        "all without a version",
        "those that name 3, and a copy of 25 % of those without a version; all of share team-a, 50 % of share team-b",
        "a rollback goes back to it",
        "Failed: it broke",
    ):
        assert line in told
        assert line in table._repr_html_()
    assert "load: version 2, in place of 1 (owner)" in told
    assert list(table.df["state"]) == ["stored", "Ready", "Ready", "Failed"]
    assert table.history[0].who == "owner"


def test_a_rollback_says_how_long_it_took_and_whether_it_had_to_load() -> None:
    status = ModelStatus("digits", "1", ModelState.READY, routed=True)
    assert repr(rollback_card(LoadAnswer(status, False, "2", 0.012, True))) == (
        "digits version 1 serves again instead of version 2\n  took  12.0 ms\n  how   it was still loaded"
    )
    assert repr(rollback_card(LoadAnswer(status, False, "1", 0.012, True))).startswith(
        "digits version 1 gets all calls without a version again: the split has ended"
    )
    assert "it was loaded again, from its kept file" in repr(rollback_card(LoadAnswer(status, False, "2", 0.5)))


def test_weights_are_read_as_parts_or_percentages_and_a_version_alone_gets_all() -> None:
    assert weights_from({"2": 0.1, "v3": "12.5%", 4: "0"}) == {"2": 0.1, "v3": 0.125, "4": 0.0}
    assert weights_from("canary") == {"canary": 1.0}
    assert weights_from(2) == {"2": 1.0}
    for wrong in ({"2": "10"}, {"2": "110%"}, {"2": "x"}, {"2": "-1%"}, {"2": "nan"}):
        with pytest.raises(InvalidInput, match=f"must be from 0 to 1, or like 10%, got '{wrong['2']}'"):
            weights_from(wrong)
    with pytest.raises(InvalidInput, match="route takes weights"):
        weights_from(0.1)


def test_a_route_says_which_version_gets_which_part() -> None:
    status = ModelStatus("digits", "1", ModelState.READY, routed=True)
    answer = LoadAnswer(status, False, "1", 0.01, True)
    assert repr(route_card(answer, {"1": 0.9, "2": 0.1}, "user")) == (
        "digits: calls without a version are split by user\n  version 1  90 %\n  version 2  10 %"
    )
    assert repr(route_card(answer, {"1": 1.0}, "")) == "digits version 1 gets all calls without a version"
    assert repr(share_route_card("digits", "team-a", {"v2": 1.0})) == (
        "digits version 2 gets all calls of share team-a without a version"
    )
    assert repr(share_route_card("digits", "team-a", {"2": 0.25})) == (
        "digits: calls of share team-a without a version are split\n"
        "  version 2                25 %\n"
        "  the version that serves  75 %"
    )
    for none in ({}, {"2": 0.0}):
        assert repr(share_route_card("digits", "team-a", none)) == (
            "digits: calls of share team-a go where those of all others go"
        )
    promoted = LoadAnswer(status, False, "3", 0.01)
    assert repr(route_card(promoted, {"1": 1.0}, "")).endswith("all calls without a version instead of version 3")


def test_the_table_of_models_says_which_of_several_versions_serves() -> None:
    def row(version: str, weight: float, *labels: str) -> ModelStatus:
        routed = version == "1"
        return ModelStatus("m", version, ModelState.READY, routed=routed, weight=weight, version_labels=labels)

    def cells(*rows: ModelStatus) -> list[str]:
        return [line.split("Ready")[0].split(maxsplit=1)[1].strip() for line in repr(ModelTable(rows)).splitlines()[1:]]

    assert cells(row("1", 1.0)) == ["1"]
    assert cells(row("1", 1.0), row("2", 0.0, "canary")) == ["1, serves", "2, canary"]
    assert cells(row("1", 0.9, "stable"), row("2", 0.1)) == ["1, stable, 90 %", "2, 10 %"]
