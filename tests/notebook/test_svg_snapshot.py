"""The picture of a live plot that is kept with a notebook."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from workbench.notebook.svg_snapshot import HEIGHT, HEIGHT_OF_WORDS, History, described, picture, shown, shown_s, span

TIMES = [1_790_000_000.0 + i for i in range(60)]


def history(**columns: list[float | None]) -> History:
    return {"time": TIMES, "requests_per_s": [100.0] * 60, "p50_s": [0.002] * 60, **columns}


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def lines(svg: str) -> list[str]:
    """The paths of the lines; the grid's have no join."""
    return re.findall(r"<path d='([^']*)' fill='none'", svg)


def test_each_line_is_named_with_its_newest_value() -> None:
    svg = picture("digits", history(p99_s=[0.01] * 60, errors_per_s=[2.0] * 60), 60.0)
    words = [text.text for text in drawn(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"digits", "answered 100/s", "p50 2 ms", "p99 10 ms", "errors 2/s"} <= set(words)
    assert "p95" not in svg


def test_a_long_name_ends_before_the_time_and_is_whole_in_the_description() -> None:
    svg = picture("a" * 128, history(), 60.0)
    title, about, *_ = [text.text or "" for text in drawn(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert title == "a" * 43 + "…"
    assert "until" in about
    assert "a" * 128 in (drawn(svg).findtext("{http://www.w3.org/2000/svg}title") or "")


def test_a_gap_in_the_figures_is_a_gap_in_the_line() -> None:
    whole, *_ = lines(picture("digits", history(), 60.0))
    assert whole.count("M") == 1
    holed: list[float | None] = [100.0] * 25 + [None] * 10 + [100.0] * 25
    broken, *_ = lines(picture("digits", history(requests_per_s=holed), 60.0))
    assert broken.count("M") == 2


def test_no_line_leaves_its_plot() -> None:
    values: list[float | None] = [abs(math.sin(i)) * 10 ** (i % 5) for i in range(60)]
    svg = picture("digits", history(requests_per_s=values, queued=values), 60.0)
    heights = [float(y) for line in lines(svg) for y in re.findall(r"[ML][\d.]+ ([-\d.]+)", line)]
    assert min(heights) >= 0
    assert max(heights) <= HEIGHT


def test_names_and_reasons_are_escaped() -> None:
    root = drawn(picture("a<b>&'\"", {}, 60.0, "it <failed> & 'ended'"))
    words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words == ["a<b>&'\"", "it <failed> & 'ended'"]


def test_without_figures_there_is_a_sentence_and_little_room() -> None:
    root = drawn(picture("digits", {}, 60.0))
    assert root.get("height") == str(HEIGHT_OF_WORDS)
    assert "No requests yet." in "".join(root.itertext())


def test_a_reader_without_eyes_is_told_the_same() -> None:
    said = described("digits", history(), 300.0)
    assert said == "digits, the last 5 minutes: answered 100/s, p50 2 ms"
    assert drawn(picture("digits", history(), 300.0)).get("aria-label") == said
    assert described(None, {}, 60.0, "The service is Stopped") == (
        "live figures, the last 60 seconds: The service is Stopped"
    )


def test_a_picture_stays_small() -> None:
    full = {
        name: [1.0 + i % 7 for i in range(90)] for name in ("p50_s", "p95_s", "p99_s", "queued", "errors_per_s", "time")
    }
    full["time"] = [1e9 + i for i in range(90)]
    assert len(picture("digits", full | {"requests_per_s": full["p50_s"]}, 90.0)) < 15_000


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (shown_s(1.5), "1.5 s"),
        (shown_s(0.01234), "12.3 ms"),
        (shown_s(0.00085), "850 µs"),
        (shown(12_345), "12.3 k"),
        (shown(1_234.5), "1,234"),
        (shown(0.4), "0.4"),
        (span(60), "the last 60 seconds"),
        (span(900), "the last 15 minutes"),
        (span(1), "the last 1 second"),
    ],
)
def test_numbers_are_read_at_a_glance(said: str, expected: str) -> None:
    assert said == expected
