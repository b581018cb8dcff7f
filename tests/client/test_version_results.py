"""How versions and changes of the one that serves are shown."""

from __future__ import annotations

from workbench.client.version_results import VersionTable, rollback_card
from workbench.core.audit_entry import AuditEntry
from workbench.core.model import ModelState, ModelStatus
from workbench.core.version_overview import VersionEntry, VersionOverview
from workbench.protocols.control import LoadAnswer


def test_the_versions_of_a_model_say_which_calls_they_get_and_what_served_when() -> None:
    entries = (
        VersionEntry("1", "stored", before=True),
        VersionEntry("2", "Ready", routed=True, loaded_at=1e9),
        VersionEntry("3", "Ready", held=True, loaded_at=1e9),
        VersionEntry("4", "Failed", reason="it broke"),
    )
    done = AuditEntry(1e9, "load", "digits", "version 2, in place of 1", "ok", "owner", "http", "127.0.0.1", "python")
    table = VersionTable(VersionOverview("digits", "latest:1", entries, (done,)))
    told = repr(table)
    assert told.splitlines()[0] == "digits, versions=latest:1"
    assert len(told.splitlines()) == 1 + 1 + len(entries) + 1
    for line in ("all without a version", "those that name 3", "a rollback goes back to it", "Failed: it broke"):
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
    assert "it was loaded again, from its kept file" in repr(rollback_card(LoadAnswer(status, False, "2", 0.5)))
