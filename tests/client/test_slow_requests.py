from __future__ import annotations

import re

import pytest

from workbench.client.slow_requests import COLOURS, TEXT_ROWS, SlowRequests
from workbench.core.messages import ReleaseReason, Timings
from workbench.telemetry.request_record import RequestRecord, Stage
from workbench.telemetry.slow_request_log import encode


def one(took: float = 2.0, name: str = "r-1", error: str = "") -> dict[str, object]:
    timings = None if error else Timings(0.1, 0.2, 0.3, 0.4, 7, 3, ReleaseReason.FULL, 2, [4, 2, 1])
    end = 0.0 if error else 1.5 + took
    exchange = RequestRecord(
        "digits", "3", name.encode(), 1.0, 1.5, 1.75, end, end, 1.5 + took, 4096, 200, timings, error
    )
    return encode(exchange, 1_700_000_000.0)


def test_a_line_tells_when_how_long_where_and_with_whom() -> None:
    title, head, line = repr(SlowRequests("digits", [one()])).splitlines()
    assert title == "digits: the slowest 1 request of the last 15 minutes"
    for word in ("took", "queue", "compute", "released", "request"):
        assert word in head
    for word in ("2.00 s", "100 ms", "300 ms", "7 of 3 requests", "full", "4.1 kB", "ok", "r-1"):
        assert word in line


def test_of_many_the_first_are_shown_and_the_others_counted() -> None:
    text = repr(SlowRequests("digits", [one() for _ in range(TEXT_ROWS + 5)]))
    assert len(text.splitlines()) == TEXT_ROWS + 3
    assert "and 5 more" in text


def test_what_a_caller_named_is_escaped() -> None:
    html = SlowRequests("digits", [one(name="<b>&")])._repr_html_()
    assert "&lt;b&gt;&amp;" in html
    assert "<b>&" not in html


def test_the_bar_has_the_stages_in_proportion() -> None:
    html = SlowRequests("digits", [one(2.0), one(1.0)])._repr_html_()
    widths = [float(width) for width in re.findall(r";width:([\d.]+)%", html)]
    assert widths[:5] == [12.5, 5.0, 10.0, 15.0, 20.0]
    assert "compute: 300 ms" in html


def test_every_stage_has_a_colour() -> None:
    assert list(COLOURS) == [stage.name.lower() for stage in Stage]


def test_a_frame_has_a_row_a_request_and_a_column_a_stage() -> None:
    frame = SlowRequests("digits", [one(), one(error="deadline_exceeded")]).to_pandas()
    assert list(frame["outcome"]) == ["ok", "deadline_exceeded"]
    assert frame["compute_s"].tolist()[0] == 0.3
    assert frame["compute_s"].isna().tolist() == [False, True]
    assert str(frame["time"].dt.tz) == "UTC"
    assert SlowRequests("digits", [one(error="deadline_exceeded")]).to_pandas()["queue_s"].dtype == float


def test_none_are_none() -> None:
    nothing = SlowRequests("digits", [])
    assert "no requests" in repr(nothing)
    assert "no requests" in nothing._repr_html_()
    assert nothing.to_pandas().empty


def test_it_is_a_sequence() -> None:
    requests = SlowRequests("digits", [one(2.0), one(1.0)])
    assert [request["duration_s"] for request in requests] == [2.0, 1.0]
    assert len(requests[:1]) == 1
    assert requests[1]["rows"] == 2
    with pytest.raises(IndexError):
        requests[2]
