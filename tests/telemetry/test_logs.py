from __future__ import annotations

import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.hostile_text import FORGED, HOSTILE, harmful_in
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
    ring, stream, path, form = logs
    log.info("of %s", HOSTILE, extra={"fields": {"name": HOSTILE, "many": [HOSTILE]}})
    (line,) = stream.getvalue().splitlines()
    assert not harmful_in(line, keep="")
    assert path.read_text(encoding="utf-8").splitlines() == ring.lines(10) == [line]
    if form == "json":  # nor can it once a reader has decoded it
        assert not [value for value in json.loads(line).values() if harmful_in(value, keep="")]


def test_an_exceptions_words_cannot_forge_a_line(logs: tuple[Logs, io.StringIO, Path, str]) -> None:
    _, stream, _, form = logs
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("broken")
    first, *further = stream.getvalue().splitlines()
    assert not harmful_in(stream.getvalue())
    assert "broken" in first
    assert bool(further) == (form == "text")
    assert all(line.startswith("    ") for line in further)


def test_output_of_native_code_does_not_look_like_a_line_of_ours(logs: tuple[Logs, io.StringIO, Path, str]) -> None:
    ring, _, path, form = logs
    forged = json.dumps({"message": FORGED}) if form == "json" else FORGED
    ring.relay(forged, formatted=False)
    ring.relay(forged + "\x1b[1m\x85", formatted=True)
    native, ours = path.read_text(encoding="utf-8").split("\n")[:2]
    assert ours == forged + "\\x1b[1m\\x85"
    if form == "json":
        assert json.loads(native)["message"] == forged
        assert json.loads(native)["logger"] == "workbench.worker"
    else:
        assert native == f"| {forged}"


def test_a_marked_stream_marks_each_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    logs = Logs(None, "text", [], stream, mark="mark ")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    finally:
        logs.close()
    assert len(stream.getvalue().splitlines()) > 1
    assert all(line.startswith("mark ") for line in stream.getvalue().splitlines())
    assert not [line for line in logs.lines(10) if line.startswith("mark ")]


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
