from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench.core.messages import Timings
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.rate_limiter import BURST, LINES_PER_S, RateLimiter
from workbench.telemetry.request_log import RequestLog, fields_of
from workbench.telemetry.request_record import RequestRecord

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def exchange(took: float = 0.001, error: str = "", at: float = 100.0) -> RequestRecord:
    timings = None if error else Timings(0.1, 0.2, 0.3, 0.4, 7, 3)
    begin = at - took
    return RequestRecord("digits", "1", b"r-1", begin, begin, begin, at, at, at, 10, 20, timings, error, id="seven")


class Lines(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    handler, logger = Lines(), logging.getLogger("workbench.requests")
    with caplog.at_level(logging.INFO, logger.name):
        logger.addHandler(handler)
        yield handler.records
        logger.removeHandler(handler)


def said(lines: list[logging.LogRecord]) -> list[tuple[str, str]]:
    return [(line.levelname, line.getMessage()) for line in lines]


@pytest.mark.parametrize(
    ("error", "took", "line"),
    [
        ("execution", 0.0, ("ERROR", "an inference failed")),
        ("internal", 0.0, ("ERROR", "an inference failed")),
        ("deadline_exceeded", 9.0, ("WARNING", "an inference expired")),
        ("", 1.0, ("WARNING", "an inference was slow")),
        ("invalid_argument", 2.0, ("WARNING", "an inference was slow")),
        ("", 0.9, None),
        ("invalid_argument", 0.0, None),
        ("queue_full", 0.0, None),
        ("cancelled", 0.0, None),
    ],
)
def test_trouble_is_what_failed_here_expired_or_was_slow(
    lines: list[logging.LogRecord], error: str, took: float, line: tuple[str, str] | None
) -> None:
    metrics = Metrics(requests=RequestLog("trouble", 1.0))
    metrics.exchange_done(exchange(took, error))
    assert said(lines) == ([line] if line else [])


def test_all_means_every_one_and_none_means_none(lines: list[logging.LogRecord]) -> None:
    for which, count in (("all", 3), ("none", 0)):
        lines.clear()
        metrics = Metrics(requests=RequestLog(which, 1.0))
        for each in (exchange(), exchange(error="queue_full"), exchange(5.0, "execution")):
            metrics.exchange_done(each)
        assert len(lines) == count


def test_a_flood_is_rationed_and_the_next_line_tells_what_was_left_out(lines: list[logging.LogRecord]) -> None:
    log = RequestLog("trouble", 1.0)
    for _ in range(BURST + 80):
        log.note(exchange(error="execution"))
    assert len(lines) == BURST
    log.note(exchange(error="execution", at=101.0))
    fields: dict[str, Any] = lines[-1].__dict__["fields"]
    assert fields["left_out"] == 80
    log.note(exchange(error="execution", at=101.0))
    assert "left_out" not in lines[-1].__dict__["fields"]


def test_an_allowance_fills_up_again_but_never_over() -> None:
    allowance = RateLimiter(LINES_PER_S, 2)
    taken = [allowance.take(now) for now in (0.0, 0.0, 0.0, 0.1, 0.2, 0.2, 50.0, 50.0, 50.0, 40.0)]
    assert taken == [True, True, False, False, True, False, True, True, False, False]


def test_every_field_of_a_line_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## Log lines")[2]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    known = exchange()
    known.trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    assert set(fields_of(known)) | {"left_out"} == documented


def test_what_is_not_known_is_left_out() -> None:
    assert set(fields_of(RequestRecord("m", "", b"r", 1.0, sent_at=2.0, error="internal"))) == {
        "model",
        "outcome",
        "duration_s",
        "request_id",
        "request_bytes",
        "response_bytes",
    }
