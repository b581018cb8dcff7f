"""Structured logs: to stderr, to a bounded file in the data folder, and to a ring that `/control/logs` reads.

A line is a message with fields: `log.info("listening", extra={"fields": {"url": url}})`. Secrets are replaced
everywhere, in arguments and tracebacks too. What a record quotes cannot pass for another: harmful characters are made
visible, and each further line of a traceback is indented.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from workbench.errors import StorageError
from workbench.telemetry.rate_limiter import BURST, LINES_PER_S, RateLimiter
from workbench.visible_text import visible

RING_LINES = 2000
FILE_BYTES = 5 * 1024 * 1024
OLDER_FILES = 2
FILE_NAME = "service.log"

FOREIGN = "| "
"""Before a line in the text log that native code of the worker wrote."""

RELAYED = 60
"""Log level of lines that another process has already formatted."""

_BEARER = re.compile(r"(?i)(bearer\s+)[^\s\"',;]+")


class Logs:
    """Attaches handlers to the root logger from construction until `close`. A process makes one.

    A worker logs to stderr, which its supervisor reads; only the supervisor writes the file, together with output of
    the worker's native code. A worker's ring therefore starts with `earlier`, lines of that file. Raises StorageError
    if the file cannot be created.
    """

    def __init__(
        self,
        data_dir: Path | None,
        log_format: str = "text",
        secrets: Sequence[str] = (),
        stream: TextIO | None = None,
        *,
        to_stream: bool = True,
        earlier: Sequence[str] = (),
        mark: str = "",
    ) -> None:
        """`mark` is written before each line of the stream, so that its reader tells it from what else is there."""
        self._formatter = formatter = _Formatter(log_format == "json", secrets)
        self._as_json = log_format == "json"
        self._ring: deque[str] = deque(earlier, maxlen=RING_LINES)
        self._handlers: list[logging.Handler] = [_RingHandler(self._ring)]
        if to_stream:
            self._handlers.append(_MarkingHandler(stream or sys.stderr, mark))
        if data_dir is not None:
            path = data_dir / FILE_NAME
            try:
                path.touch(mode=0o600)
                self._handlers.append(
                    _FileHandler(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")
                )
            except OSError as error:
                raise StorageError(f"the log file {FILE_NAME!r} cannot be written: {error.strerror}") from None
        self._ration = ThirdPartyRateFilter()
        root = logging.getLogger()
        for handler in self._handlers:
            handler.setFormatter(formatter)
            handler.addFilter(self._ration)
            root.addHandler(handler)
        # Third-party libraries log warnings and errors only, our own modules also what happens.
        logging.getLogger("workbench").setLevel(logging.INFO)

    def add_secret(self, secret: str) -> None:
        """Replace this one too from now on."""
        self._formatter.add_secret(secret)

    def without_secrets(self, text: str) -> str:
        """Return `text` with those replaced that this log replaces."""
        return self._formatter.without_secrets(text)

    def lines(self, count: int) -> list[str]:
        """Return the last `count` lines, oldest first."""
        return list(self._ring)[-count:] if count > 0 else []

    def relay(self, line: str, *, formatted: bool) -> None:
        """Log a line of another process: unchanged where it was `formatted` by a log of ours, else as output of native
        code, which must not look like one of ours."""
        level = RELAYED if formatted or not self._as_json else logging.WARNING
        text = line if formatted or self._as_json else FOREIGN + line
        record = logging.LogRecord("workbench.worker", level, "", 0, text, None, None)
        for handler in self._handlers:
            handler.handle(record)

    def close(self) -> None:
        root = logging.getLogger()
        for handler in self._handlers:
            root.removeHandler(handler)
            handler.close()
        logging.getLogger("workbench").setLevel(logging.NOTSET)


class ThirdPartyRateFilter(logging.Filter):
    """Rate-limits third-party log records: a remote peer can trigger one per connection and flood the log.

    Errors and our own records always pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._allowance = RateLimiter(LINES_PER_S, BURST)
        self._left_out = 0
        self._judged: tuple[logging.LogRecord | None, bool] = (None, True)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR or record.name.partition(".")[0] == "workbench":
            return True
        judged, passes = self._judged
        if judged is not record:  # each handler calls this for the same record
            passes = self._allowance.take(self._clock())
            if not passes:
                self._left_out += 1
            elif self._left_out:
                record.fields, self._left_out = {"left_out": self._left_out}, 0
            self._judged = record, passes
        return passes


class _FileHandler(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore the error: on a full disk the file lacks lines, but the ring has them."""


class _MarkingHandler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO, mark: str) -> None:
        super().__init__(stream)
        self._mark = mark

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return self._mark + line.replace("\n", f"\n{self._mark}") if self._mark else line


class _RingHandler(logging.Handler):
    def __init__(self, ring: deque[str]) -> None:
        super().__init__()
        self._ring = ring

    def emit(self, record: logging.LogRecord) -> None:
        self._ring.append(self.format(record))


class _Formatter(logging.Formatter):
    """Formats a record as one line without secrets and harmful characters; in text, its traceback follows, indented."""

    def __init__(self, as_json: bool, secrets: Sequence[str]) -> None:
        super().__init__()
        self._as_json = as_json
        self._secrets = [secret for secret in secrets if secret]

    def add_secret(self, secret: str) -> None:
        if secret and secret not in self._secrets:
            self._secrets.append(secret)

    def format(self, record: logging.LogRecord) -> str:
        if record.levelno == RELAYED:
            return self.without_secrets(visible(record.getMessage(), keep="\t"))
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields: dict[str, object] = getattr(record, "fields", {})
        message = visible(record.getMessage())
        traceback = visible(self.formatException(record.exc_info), keep="\n") if record.exc_info else ""
        if self._as_json:
            entry = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "message": message}
            entry |= {name: _readable(value) for name, value in fields.items() if name not in entry}  # type: ignore[misc]
            if traceback:
                entry["exception"] = traceback
            line = json.dumps(entry, default=str, ensure_ascii=False)
        else:
            pairs = "".join(f" {name}={_shown(value)}" for name, value in fields.items())
            line = f"{moment} {record.levelname:<7} {record.name}: {message}{pairs}"
            line += f"\n{traceback}".replace("\n", "\n    ") if traceback else ""
        return self.without_secrets(line)

    def without_secrets(self, line: str) -> str:
        for secret in self._secrets:
            line = line.replace(secret, "[token]")
        return _BEARER.sub(r"\1[token]", line)


def _readable(value: object) -> object:
    return value if value is None or isinstance(value, int | float) else visible(str(value))


def _shown(value: object) -> str:
    text = visible(str(value))
    return json.dumps(text, ensure_ascii=False) if not text or re.search(r"[\s\"=]", text) else text
