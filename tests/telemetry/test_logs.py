from __future__ import annotations

import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.telemetry.logs import FILE_NAME, Logs, ThirdPartyRateFilter
from workbench.telemetry.rate_limiter import BURST, LINES_PER_S

TOKEN = "s3cret-token-value"

log = logging.getLogger("workbench.test")


@pytest.fixture(params=["text", "json"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Logs, io.StringIO, Path, str]]:
    stream = io.StringIO()
    logs = Logs(tmp_path, request.param, [TOKEN], stream)
    yield logs, stream, tmp_path / FILE_NAME, request.param
    logs.close()


def test_a_line_goes_to_the_stream_the_file_and_the_ring(logs: tuple[Logs, io.StringIO, Path, str]) -> None:
    ring, stream, path, _ = logs
    log.info("listening", extra={"fields": {"url": "http://127.0.0.1:1"}})
    (line,) = stream.getvalue().splitlines()
    assert "listening" in line
    assert "http://127.0.0.1:1" in line
    assert path.read_text(encoding="utf-8").splitlines() == [line]
    assert ring.lines(10) == [line]
    assert ring.lines(0) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_token_is_never_written(logs: tuple[Logs, io.StringIO, Path, str]) -> None:
    _, stream, _, _ = logs
    log.warning(
        "refused %s", TOKEN, extra={"fields": {"header": f"Bearer {TOKEN}", "other": "authorization: Bearer x1"}}
    )
    try:
        raise ValueError(f"with {TOKEN}")
    except ValueError:
        log.exception("broken")
    assert TOKEN not in stream.getvalue()
    assert "x1" not in stream.getvalue()
    assert stream.getvalue().count("[token]") >= 3


def test_a_message_cannot_forge_a_line(logs: tuple[Logs, io.StringIO, Path, str]) -> None:
    _, stream, _, _ = logs
    log.info("one\ntwo \x1b[31m", extra={"fields": {"name": "a\nb"}})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_json_lines_hold_fields_and_tracebacks(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs = Logs(None, "json", [], stream)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed", extra={"fields": {"model": "digits", "level": "not this"}})
    finally:
        logs.close()
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "workbench.test", "failed")
    assert entry["model"] == "digits"
    assert "ValueError: broken" in entry["exception"]


def test_closing_gives_the_root_logger_back(tmp_path: Path) -> None:
    before = list(logging.getLogger().handlers)
    Logs(tmp_path, stream=io.StringIO()).close()
    assert logging.getLogger().handlers == before


def test_a_stranger_cannot_fill_the_log_through_a_library(tmp_path: Path) -> None:
    logs = Logs(tmp_path, to_stream=False)
    try:
        for number in range(10 * BURST):
            logging.getLogger("uvicorn.error").warning("Invalid HTTP request received, number %d.", number)
        logging.getLogger("uvicorn.error").error("this is ours to know")
        logging.getLogger("workbench.tests").warning("and so is this")
    finally:
        logs.close()
    lines = logs.lines(1000)
    assert BURST <= sum("Invalid HTTP" in line for line in lines) <= 2 * BURST
    assert (tmp_path / FILE_NAME).read_text().splitlines() == lines
    assert [line.rpartition(": ")[2] for line in lines[-2:]] == ["this is ours to know", "and so is this"]


def test_what_was_left_out_is_counted_in_the_next_line() -> None:
    now = [100.0]
    ration = ThirdPartyRateFilter(lambda: now[0])

    def say() -> logging.LogRecord | None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "again", None, None)
        passed = [ration.filter(record) for _ in ("the stream", "the file", "the ring")]
        assert len(set(passed)) == 1
        return record if passed[0] else None

    said = [say() for _ in range(BURST + 7)]
    assert sum(record is not None for record in said) == BURST
    now[0] += 1 / LINES_PER_S
    record = say()
    assert record is not None
    assert record.fields == {"left_out": 7}  # type: ignore[attr-defined]
    assert say() is None
