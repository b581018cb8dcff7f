"""Logs single inferences that failed on our side, expired or were slow.

Thousands a second can fail at once, so the lines are rate-limited, and the next line says how many were left out.
"""

from __future__ import annotations

import logging

from workbench.telemetry.rate_limiter import BURST, LINES_PER_S, RateLimiter
from workbench.telemetry.request_record import RequestRecord, Stage, stages_of

FAILED = frozenset({"internal", "execution"})
"""Codes of errors that are logged as errors."""
EXPIRED = "deadline_exceeded"

log = logging.getLogger("workbench.requests")


class RequestLog:
    """`which` is "trouble" (failed, expired or slow), "all" or "none".

    An inference is slow from `slow_s` seconds on.
    """

    def __init__(self, which: str = "trouble", slow_s: float = 1.0) -> None:
        self.looks_from_s = 0.0 if which == "all" else slow_s
        """The duration from which on inferences without an error are to be passed to `note` too."""
        self._every = which == "all"
        self._none = which == "none"
        self._slow_s = slow_s
        self._allowance = RateLimiter(LINES_PER_S, BURST)
        self._left_out = 0

    def note(self, exchange: RequestRecord) -> None:
        """Log this inference if `which` asks for it and the rate allows it."""
        error = exchange.error
        slow = exchange.duration_s >= self._slow_s
        if self._none or not (self._every or slow or error in FAILED or error == EXPIRED):
            return
        if not self._every and not self._allowance.take(exchange.sent_at):
            self._left_out += 1
            return
        fields = fields_of(exchange)
        if self._left_out:
            fields["left_out"] = self._left_out
            self._left_out = 0
        if error in FAILED:
            log.error("an inference failed", extra={"fields": fields})
        elif error == EXPIRED:
            log.warning("an inference expired", extra={"fields": fields})
        elif slow:
            log.warning("an inference was slow", extra={"fields": fields})
        else:
            log.info("an inference", extra={"fields": fields})


def fields_of(exchange: RequestRecord) -> dict[str, object]:
    """Return the fields of a log line (docs/metrics.md). Unknown ones are left out."""
    stages = stages_of(exchange)
    timings = exchange.timings
    fields: dict[str, object] = {
        "model": exchange.model[:128],
        "version": exchange.version,
        "outcome": exchange.error or "ok",
        "duration_s": round(exchange.duration_s, 6),
        "request_id": exchange.request_id.decode("ascii"),
        "trace_id": exchange.trace_id,
        "id": exchange.id,
        "queue_s": _rounded(stages[Stage.QUEUE]),
        "compute_s": _rounded(stages[Stage.COMPUTE]),
        "batch_size": timings.batch_size if timings else None,
        "request_bytes": exchange.request_bytes,
        "response_bytes": exchange.response_bytes,
    }
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
