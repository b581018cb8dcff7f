from __future__ import annotations

from typing import Any

import pytest

from workbench.client.palette import EITHER
from workbench.client.window_stats import RecentFigures, decode, rate, window_s
from workbench.errors import InvalidInput, WorkbenchError


def entry(**more: Any) -> dict[str, Any]:
    return {
        "name": "digits",
        "version": "2",
        "state": "Ready",
        "device": "cpu",
        "routed": True,
        "queued": 3,
        "requests": {"ok": 1190, "failed": 10, "cancelled": 5},
        "requests_per_s": 20.1,
        "rows_per_s": 1234.5,
        "batches_per_s": 5.0,
        "busy": 0.4,
        "p50_s": 0.0021,
        "p95_s": 0.012,
        "p99_s": 0.2,
        "batch_rows": 61.7,
        "queue_s": 0.0004,
        "compute_s": 0.001,
        "latency": {"count": 3, "sum_s": 0.006, "buckets": {"560": 2, "900": 1}},
        **more,
    }


IDLE = entry(
    name="<idle>",
    requests={},
    requests_per_s=0.0,
    rows_per_s=0.0,
    queued=0,
    latency={"count": 0, "sum_s": 0.0, "buckets": {}},
    **dict.fromkeys(("p50_s", "p95_s", "p99_s", "batch_rows", "queue_s", "compute_s")),
)


def figures(*entries: dict[str, Any], window: float = 60.4) -> RecentFigures:
    return decode({"epoch": "e", "time": 1.0, "window_s": window, "models": list(entries)}, 60.0)


def test_a_line_tells_how_fast_how_slow_and_what_went_wrong() -> None:
    title, head, line, idle = repr(figures(entry(), IDLE)).splitlines()
    assert title == "the last 60 s"
    assert head.split("  ")[0] == "model"
    for word in ("Ready", "20.1", "1,234", "2.1 ms", "12.0 ms", "200 ms", "10 of 1205", "0.4 ms", "61.7"):
        assert word in line
    assert idle.count("-") == 5


def test_a_service_younger_than_the_window_is_said_to_be() -> None:
    assert "the last 12 s; the service has counted for no longer" in repr(figures(entry(), window=12.0))


def test_the_html_escapes_and_colours_the_state() -> None:
    html = figures(IDLE)._repr_html_()
    assert "&lt;idle&gt;" in html
    assert "<idle>" not in html
    assert EITHER["green"] in html


def test_a_frame_has_numbers_throughout() -> None:
    frame = figures(IDLE).df
    assert frame["p99_s"].dtype == frame["batch_rows"].dtype == float
    assert figures(entry()).df.loc[0, ["requests", "errors", "queued"]].tolist() == [1205, 10, 3]
    assert figures().df.empty


def test_without_models_it_says_how_to_load_one() -> None:
    assert "load one" in repr(figures())
    assert "load one" in figures()._repr_html_()


def test_it_is_a_sequence_of_figures() -> None:
    both = figures(entry(), IDLE)
    assert [each.errors for each in both] == [10, 0]
    assert isinstance(both[:1], RecentFigures)


def test_the_plot_has_a_curve_for_each_version_that_was_asked() -> None:
    figure = figures(entry(), IDLE).plot()
    (curve,) = figure.data
    assert curve.name == "digits, version 2"
    assert sum(curve.y) == 3
    assert min(x for x, y in zip(curve.x, curve.y, strict=True) if y) == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize(
    ("text", "seconds"), [(60, 60.0), ("60", 60.0), ("60s", 60.0), (" 1.5 s", 1.5), ("5m", 300.0), ("15min", 900.0)]
)
def test_a_window_is_seconds_or_minutes(text: str | float, seconds: float) -> None:
    assert window_s(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "5h", 0, "0.5s", "16m", float("nan"), None])
def test_any_other_window_is_refused_in_words(text: Any) -> None:
    with pytest.raises(InvalidInput, match="window"):
        window_s(text)


def test_rates_have_three_digits_or_so() -> None:
    assert [rate(value) for value in (0, 0.0512, 4.56, 123.4, 12345.6)] == ["0", "0.05", "4.6", "123", "12,346"]


def test_what_cannot_be_read_is_an_error_of_ours() -> None:
    with pytest.raises(WorkbenchError, match="could not be read"):
        decode({"models": 3}, 60.0)
