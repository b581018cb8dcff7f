from __future__ import annotations

import json

import pandas as pd
import pytest

from workbench.client.audit_results import NOTHING_DONE, audit_of, seconds_back
from workbench.errors import InvalidInput

LOADED = {
    "at": 1_700_000_000.5,
    "action": "load",
    "subject": "digits",
    "detail": "version 2, in place of 1",
    "outcome": "ok",
    "who": "owner",
    "way": "http",
    "address": "127.0.0.1",
    "agent": "curl/8 <b>",
    "count": 1,
    "since": 0.0,
}
REFUSED = {**LOADED, "action": "unload", "outcome": "unauthenticated", "count": 7, "since": 1_700_000_000.0}


def test_it_displays_as_a_table_and_what_others_say_is_escaped() -> None:
    table = audit_of([LOADED, REFUSED])
    assert "version 2, in place of 1" in repr(table)
    assert "unauthenticated (7 times)" in repr(table)
    assert "curl/8 &lt;b&gt;" in table._repr_html_()
    assert repr(audit_of([])) == NOTHING_DONE
    assert NOTHING_DONE in audit_of([])._repr_html_()


def test_it_becomes_a_data_frame_with_times() -> None:
    frame = audit_of([LOADED, REFUSED]).df
    assert list(frame["count"]) == [1, 7]
    assert frame["at"][0] == pd.Timestamp("2023-11-14 22:13:20.5", tz="UTC")
    assert pd.isna(frame["since"][0]) and frame["since"][1] == pd.Timestamp("2023-11-14 22:13:20", tz="UTC")
    assert list(audit_of([]).df.columns) == list(LOADED)


def test_its_json_lines_are_what_came() -> None:
    assert [json.loads(line) for line in audit_of([LOADED, REFUSED]).json_lines] == [LOADED, REFUSED]


@pytest.mark.parametrize("last", ["7", "0s", "-1d", -3, "for ever", float("nan")])
def test_a_time_that_does_not_lie_behind_is_refused(last: float | str) -> None:
    with pytest.raises(InvalidInput, match="last"):
        seconds_back(last)
    assert seconds_back("7d") == 7 * 86400
