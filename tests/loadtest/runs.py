"""Runs to try things on, made from rows whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workbench.loadtest.patterns import Constant, Pattern
from workbench.loadtest.plan import Plan, Target
from workbench.loadtest.store.recording import Generator, Mark, Recording, ServerSecond
from workbench.loadtest.store.records import OUTCOMES, ROW, WARM_UP, Records
from workbench.loadtest.store.run import Run, RunState, run_of

TARGET = {"version": "3", "digest": "sha256:" + "a" * 64, "device": "CPU", "config": {"max_batch_size": 64}}


def rows_of(
    scheduled: object, latency: object, *, wait: object = 0.0, outcome: str = "ok", phase: object = 0
) -> Records:
    """Requests due at `scheduled`, that took so long from then on, the first `wait` of it in the generator."""
    due = np.atleast_1d(np.asarray(scheduled, float))
    data = np.zeros(len(due), ROW)
    data["scheduled_s"], data["sent_s"], data["done_s"] = due, due + wait, due + latency
    data["outcome"], data["phase"], data["rows"] = OUTCOMES.index(outcome), phase, 1
    return Records(data)


def recording(
    rate: float = 200.0,
    duration_s: float = 10.0,
    *,
    latency_s: float = 5e-3,
    spread: float = 0.4,
    seed: int = 0,
    pattern: Pattern | None = None,
    slo: str = "",
    model: str = "digits",
    started_at: float = 1_800_000_000.0,
    **changes: object,
) -> Recording:
    """One second of warm-up that took five times as long, then lognormal latencies about `latency_s`."""
    random = np.random.default_rng(seed)
    due = 1 + np.arange(0, duration_s, 1 / rate)
    warm = np.arange(0, 1, 1 / rate)
    rows = Records.joined(
        [
            rows_of(warm, 5 * latency_s, phase=WARM_UP),
            rows_of(due, latency_s * random.lognormal(0, spread, len(due)), wait=2e-4),
        ]
    )
    plan = Plan(
        Target(model, "http://127.0.0.1:8080", token="secret"),
        pattern or Constant(rate),
        duration_s=duration_s,
        warm_up_s=1.0,
        slo=slo,
    )
    stages = {"receive": 1e-4, "decode": 1e-4, "queue": latency_s / 4, "batch": 1e-5, "compute": latency_s / 4}
    server = tuple(
        ServerSecond(2.0 + at, 1.0, {"ok": int(rate)}, stages, int(rate / 2), {2: int(rate / 2)}, {"idle": 1}, 1, 0.5)
        for at in range(int(duration_s))
    )
    made = Recording(
        plan,
        rows,
        started_at,
        elapsed_s=duration_s + 1,
        measured_s=duration_s,
        generator=Generator(lag_p99_s=2e-4, cpu_share=0.2, due=len(due)),
        marks=(Mark(3.5, "restart", "the service began anew"),),
        server=server,
        target=TARGET,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def run(*args: float, state: RunState | None = None, **changes: object) -> Run:
    return run_of(recording(*args, **changes), state=state)  # type: ignore[arg-type]
