"""What happened to one version of a model in an interval, for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from workbench.core.model import ModelStatus
from workbench.telemetry.counters import Counters
from workbench.telemetry.request_record import Stage

_STAGES = [stage.name.lower() for stage in Stage]


def version_figures(
    name: str, version: str, figures: Counters, status: ModelStatus | None, interval_s: float
) -> dict[str, Any]:
    """What happened to one version in an interval, as docs/metrics.md lists it. `status`: None where it is gone."""
    latency = figures.request.histogram()
    return {
        "name": name,
        "version": version,
        "state": status.state.value if status else "Gone",
        "device": status.device if status else "",
        "routed": status.routed if status else False,
        "epoch": status.epoch if status else "",
        "queued": status.queued if status else 0,
        "requests": {outcome.value: count for outcome, count in figures.outcomes.items()},
        "answered": figures.answered,
        "encode_failures": figures.encode_failures,
        "requests_per_s": rate(figures.requests, interval_s),
        "rows_per_s": rate(figures.rows, interval_s),
        "batches_per_s": rate(figures.batches, interval_s),
        "busy": rate(figures.busy_s, interval_s),
        # For scripts that read single lines. Plots take percentiles of a window from the merged histograms.
        "p50_s": latency.quantile(0.50),
        "p95_s": latency.quantile(0.95),
        "p99_s": latency.quantile(0.99),
        "latency": {
            "request": latency.encode(),
            "queue": figures.queue.histogram().encode(),
            "compute": figures.compute.histogram().encode(),
        },
        "stages_s": dict(zip(_STAGES, figures.stages_s.tolist(), strict=True)),
        "payload": {"request": figures.request_bytes.encode(), "response": figures.response_bytes.encode()},
        "batch_sizes": {str(size): count for size, count in sorted(figures.batch_sizes.items())},
        "release_reasons": {reason.value: count for reason, count in figures.release_reasons.items()},
        "batches": {
            reason.value: {str(size): count for size, count in sorted(sizes.items())}
            for reason, sizes in figures.released.items()
        },
        "last_error": dataclasses.asdict(figures.last_error) if figures.last_error else None,
    }


def rate(amount: float, interval_s: float) -> float:
    """So much in a second."""
    return amount / interval_s if interval_s > 0 else 0.0
