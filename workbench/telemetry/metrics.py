"""The engine's Observer: notes what happens in half a microsecond, and counts it later.

`request_done`, `batch_done` and `exchange_done` only store numbers. `fold` adds them to the counters with numpy, ten
times a second and after a few hundred at the latest, so it never blocks the event loop for long. As only numbers are
kept until then, a request's memory is freed at once, while it is still in the cache, and the garbage collector has no
objects to visit.
"""

from __future__ import annotations

import logging
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import psutil

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Outcome
from workbench.core.store_use import StoreUse
from workbench.errors import Cancelled
from workbench.telemetry.change_counter import ChangeCounter
from workbench.telemetry.counters import Counters, Durations, Failure
from workbench.telemetry.loop_lag import LoopLagMonitor
from workbench.telemetry.machine_use import Machine, MachineUse
from workbench.telemetry.past_snapshots import PastSnapshots
from workbench.telemetry.request_log import RequestLog
from workbench.telemetry.request_record import MOMENTS, RequestRecord
from workbench.telemetry.rolling_windows import RollingWindows, WindowTotals
from workbench.telemetry.rollout_figures import RolloutFigures
from workbench.telemetry.share_usage import ShareFigures
from workbench.telemetry.slow_request_log import KEPT, SlowRequestLog, encode

FOLD_AT = 512
"""Number of noted requests or batches that triggers a fold: some 0.3 ms of work."""

LATE_KEPT = 64
"""Number of loop delays that are noted before they are counted."""

KEPT_AFTER_GONE = 16
"""Removed versions whose counters are kept, so that the last requests before a swap are still scraped. Each takes some
50 kB, and each snapshot copies them."""

ModelVersion = tuple[str, str]

log = logging.getLogger("workbench.models")

_four = struct.Struct("4d").pack
_moments = struct.Struct(f"{MOMENTS}d").pack


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU time and memory of this process."""

    cpu_s: float
    """User and system time since its start."""
    resident_bytes: int
    started_at: float
    """Unix time."""


class LoopTimes(Protocol):
    """The engine's record of runs on the event loop's own thread, all models together."""

    total_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class InlineUse:
    """Runs of models on the event loop's own thread up to one moment, in seconds."""

    total_s: float = 0.0
    longest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """Everything that was counted up to one moment. The counters are copies."""

    taken_at: float
    """Unix time."""
    figures: Mapping[ModelVersion, Counters]
    """Since the version was first seen: they only grow, also where it is loaded again."""
    statuses: Sequence[ModelStatus]
    process: ProcessUse
    changes: int = 0
    """Changes of the models' states, routing and settings."""
    machine: MachineUse = field(default_factory=MachineUse)
    loop_delay: Durations = field(default_factory=Durations)
    """Delays of the event loop's timer."""
    inline: InlineUse = field(default_factory=InlineUse)
    answers: Mapping[int, int] = field(default_factory=dict)
    """Answers of the HTTP port, by status."""
    store: StoreUse = field(default_factory=StoreUse)
    shares: Sequence[ShareFigures] = ()
    rollouts: Sequence[RolloutFigures] = ()
    routes: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """Requests by model, version and the way that they came to it, where that is not the usual one."""
    audit_failures: int = 0
    """Rows of the audit that could not be written."""
    before_load: Mapping[ModelVersion, Counters] = field(default_factory=dict)
    """The part of `figures` that is of earlier loads of the same version, where there is one."""


class _Notes:
    """What was noted about one version since the last fold."""

    __slots__ = ("answered", "batches", "failed", "outcomes", "run", "slow_from_s", "together")

    def __init__(self) -> None:
        self.slow_from_s = 0.0
        """A request that took longer may be among the slowest."""
        self.clear()

    def clear(self) -> None:
        self.outcomes: list[Outcome] = []
        # Doubles side by side, as numpy reads them; packing takes a third of what array.extend does.
        self.run = bytearray()
        """Four numbers for each request that was run and is not in `together`."""
        self.together: list[tuple[Sequence[float], float, float, float]] = []
        """Requests that ended OK, one entry per batch: how long each had waited, and the times that they share."""
        self.answered = bytearray()
        """Eight numbers for each request that ended with outputs."""
        self.batches: list[tuple[int, ReleaseReason, float]] = []
        self.failed: RequestRecord | None = None
        """The latest request whose caller got an error."""


class Metrics:
    """Implements core.ports.Observer. Every method belongs to the event loop's thread.

    `clock` returns Unix time, `ticks` is the clock that stamps request records. `start` makes it fold ten times a
    second and measure the loop's delay, `stop` ends that; it counts without them too.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        requests: RequestLog | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.answers: Counter[int] = Counter()
        """Answers of the HTTP port, by status; the server counts them here."""
        self._audit_failures = 0
        self.machine = machine or Machine()
        self.changes = ChangeCounter()
        """Changes of the models' states, routing and settings."""
        self._clock = clock
        self._ticks = ticks
        self._log = requests or RequestLog()
        self._slowest = SlowRequestLog()
        self._recent = RollingWindows(ticks)
        self.past = PastSnapshots(clock())
        """What happened in each second of the last quarter of an hour."""
        self._late_s: list[float] = []
        self._loop_delay = Durations()
        self._loop = LoopLagMonitor(self._ticked)
        self._notes: dict[ModelVersion, _Notes] = {}
        self._figures: dict[ModelVersion, Counters] = {}
        self._copies: dict[ModelVersion, Counters] = {}
        """Copies for the last `state`; still valid for versions that were idle since."""
        self._touched: set[ModelVersion] = set()
        """Versions that were not."""
        self._states: dict[ModelVersion, ModelState] = {}
        self._loads: dict[ModelVersion, float] = {}
        """When the load was that each version's statistics are of."""
        self._before_load: dict[ModelVersion, Counters] = {}
        self._loop_time: LoopTimes | None = None
        self._statuses: Callable[[], Sequence[ModelStatus]] = list
        self._store: Callable[[], StoreUse] = StoreUse
        self._routes: Callable[[], Mapping[tuple[str, str, str], int]] = dict
        self._shares: Callable[[], Sequence[ShareFigures]] = tuple
        self._rollouts: Callable[[], Sequence[RolloutFigures]] = tuple
        self._process = psutil.Process()

    def watch(
        self,
        statuses: Callable[[], Sequence[ModelStatus]],
        loop_time: LoopTimes | None = None,
        store: Callable[[], StoreUse] = StoreUse,
        routes: Callable[[], Mapping[tuple[str, str, str], int]] = dict,
    ) -> None:
        """Set where `state` reads the models' states and queues (Engine.statuses), the inline runs, the store,
        and by which way requests came.

        Statuses are not taken from `model_changed`: while a version is reloaded in place, two deployments of the same
        name and version report, and the one that goes reports last.
        """
        self._statuses = statuses
        self._loop_time = loop_time
        self._store = store
        self._routes = routes

    def watch_shares(self, shares: Callable[[], Sequence[ShareFigures]]) -> None:
        """Set where `state` reads what shares were used for."""
        self._shares = shares

    def watch_rollouts(self, rollouts: Callable[[], Sequence[RolloutFigures]]) -> None:
        """Set where `state` reads how rollouts stand."""
        self._rollouts = rollouts

    def start(self) -> None:
        self._loop.start()

    def stop(self) -> None:
        self._loop.stop()

    # Observer

    def request_done(self, model: str, version: str, outcome: Outcome, timings: Timings | None) -> None:
        notes = self._notes.get((model, version)) or self._new_notes(model, version)
        outcomes = notes.outcomes
        outcomes.append(outcome)
        if timings is not None:
            notes.run.extend(_four(timings.queued_s, timings.batched_s, timings.ran_s, timings.split_s))
        if len(outcomes) >= FOLD_AT:
            self.fold()

    def answered(
        self, model: str, version: str, queued_s: Sequence[float], batched_s: float, ran_s: float, split_s: float
    ) -> None:
        together = (self._notes.get((model, version)) or self._new_notes(model, version)).together
        together.append((queued_s, batched_s, ran_s, split_s))
        if len(together) >= FOLD_AT:
            self.fold()

    def batch_done(
        self, model: str, version: str, rows: int, requests: int, reason: ReleaseReason, ran_s: float
    ) -> None:
        batches = (self._notes.get((model, version)) or self._new_notes(model, version)).batches
        batches.append((rows, reason, ran_s))
        if len(batches) >= FOLD_AT:
            self.fold()

    def model_changed(self, status: ModelStatus) -> None:
        self.changes.note()
        key = (status.name, status.version)
        self._note_load(key, status)
        if self._states.get(key) is status.state:
            return
        self._states[key] = status.state
        level = logging.ERROR if status.state is ModelState.FAILED else logging.INFO
        fields = {"model": status.name, "version": status.version, "state": status.state.value}
        fields |= {"device": status.device} if status.device else {}
        fields |= {"reason": status.reason} if status.reason else {}
        log.log(level, "model %s version %s is %s", status.name, status.version, status.state, extra={"fields": fields})
        if status.state is ModelState.READY:
            for note in status.notes:
                log.warning("model %s version %s: %s", status.name, status.version, note, extra={"fields": fields})
        if status.state is ModelState.GONE:
            del self._states[key]
            self.fold()
            self._figures.setdefault(key, Counters())
            self._prune()

    def _note_load(self, key: ModelVersion, status: ModelStatus) -> None:
        """Begin the statistics of a load: once it is Ready, but where it takes the place of another load of the same
        version, which goes on serving meanwhile, once it is routed."""
        if status.state is ModelState.READY and status.loaded_at != self._loads.get(key):
            if status.routed or key not in self._loads:
                self._loads[key] = status.loaded_at
                self.fold()
                if (figures := self._figures.get(key)) is not None and figures.requests:
                    self._before_load[key] = figures.copy()
        elif status.state is ModelState.GONE and status.loaded_at == self._loads.get(key):
            del self._loads[key]

    # Called by the server

    def exchange_done(self, exchange: RequestRecord) -> bytes:
        """Note an answered inference, with an error or without; returns the MOMENTS that were noted of one without.

        If its version is unknown, it is logged but not counted.
        """
        if exchange.error:
            self._log.note(exchange)
            if exchange.version:
                key = exchange.model, exchange.version
                figures = self._of(key)
                self._touched.add(key)
                if exchange.timings is not None:
                    figures.encode_failures += 1
                else:
                    figures.failed_s += exchange.duration_s
                if exchange.error != Cancelled.code:
                    (self._notes.get(key) or self._new_notes(*key)).failed = exchange
                self._slowest.offer(exchange)
            return b""
        model, version = exchange.model, exchange.version
        notes = self._notes.get((model, version)) or self._new_notes(model, version)
        received_at, sent_at = exchange.received_at, exchange.sent_at
        moments = _moments(
            exchange.arrived_at,
            received_at,
            exchange.decoded_at,
            exchange.answered_at,
            exchange.encoded_at,
            sent_at,
            exchange.request_bytes,
            exchange.response_bytes,
        )
        notes.answered.extend(moments)
        took_s = sent_at - received_at
        if took_s >= self._log.looks_from_s:
            self._log.note(exchange)
        if took_s > notes.slow_from_s:
            notes.slow_from_s = self._slowest.offer(exchange)
        return moments

    def audit_failed(self, rows: int) -> None:
        """Count rows of the audit that could not be written."""
        self._audit_failures += rows

    def _new_notes(self, model: str, version: str) -> _Notes:
        notes = self._notes[model, version] = _Notes()
        return notes

    def _ticked(self, late_s: float) -> None:
        self._late_s.append(late_s)
        self.fold()
        self._recent.note(self._figures)
        self.past.note(self._figures, self._clock())

    # Reading

    def fold(self) -> None:
        """Add what was noted since the last fold to the counters."""
        if len(self._late_s) >= LATE_KEPT:
            self._fold_lateness()
        for key, notes in self._notes.items():
            if notes.outcomes or notes.together or notes.answered or notes.batches or notes.failed:
                figures = self._of(key)
                self._touched.add(key)
                if notes.outcomes:
                    figures.add_requests(notes.outcomes, np.frombuffer(notes.run).reshape(-1, 4))
                if notes.together:
                    figures.add_together(notes.together)
                figures.add_answered(np.frombuffer(notes.answered).reshape(-1, MOMENTS))
                figures.add_batches(notes.batches)
                if notes.run or notes.together:
                    figures.last_at = self._clock()
                if failed := notes.failed:
                    ended_at = self._clock() - (self._ticks() - failed.sent_at)
                    figures.last_error = Failure(ended_at, failed.error, failed.message)
                notes.clear()
            notes.slow_from_s = self._slowest.least(key[0], self._ticks())

    def _fold_lateness(self) -> None:
        late_s, self._late_s = self._late_s, []
        if late_s:
            self._loop_delay.add(late_s)

    def slowest(
        self, model: str, since: float | None = None, until: float | None = None, limit: int = KEPT
    ) -> list[dict[str, Any]]:
        """Return the slowest requests of the last minutes for JSON, the slowest first. `since` and `until` bound the
        Unix times of their ends."""
        self.fold()
        now = self._ticks()
        offset_s = self._clock() - now
        begin = None if since is None else since - offset_s
        end = None if until is None else until - offset_s
        return [encode(exchange, offset_s) for exchange in self._slowest.of(model, now, begin, end, limit)]

    def recent(self, window_s: float) -> tuple[float, dict[ModelVersion, WindowTotals]]:
        """Return the seconds really covered and what happened in the last `window_s` seconds (rolling_windows)."""
        self.fold()
        return self._recent.over(window_s, self._figures)

    def state(self, *, shares: bool = False) -> State:
        """Return everything counted up to now. What shares were used for is merged for it, so on request only."""
        self.fold()
        statuses = self._statuses()
        for status in statuses:
            self._of((status.name, status.version))
        self._fold_lateness()
        self.machine.read_soon()
        inline = self._loop_time
        memory, cpu = self._process.memory_info(), self._process.cpu_times()
        return State(
            taken_at=self._clock(),
            figures=self._copied(),
            statuses=statuses,
            process=ProcessUse(cpu.user + cpu.system, memory.rss, self._process.create_time()),
            changes=self.changes.count,
            machine=self.machine.latest,
            loop_delay=self._loop_delay.copy(),
            inline=InlineUse(inline.total_s, inline.longest_s) if inline else InlineUse(),
            answers=self.answers.copy(),
            store=self._store(),
            shares=self._shares() if shares else (),
            rollouts=self._rollouts(),
            routes=dict(self._routes()),
            audit_failures=self._audit_failures,
            before_load=dict(self._before_load),
        )

    def _copied(self) -> dict[ModelVersion, Counters]:
        """Copy the counters; idle versions keep the copy from before, since of many models few are busy."""
        self._copies = {
            key: self._copies[key] if key in self._copies and key not in self._touched else figures.copy()
            for key, figures in self._figures.items()
        }
        self._touched.clear()
        return self._copies

    def _of(self, key: ModelVersion) -> Counters:
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = Counters()
            self._touched.add(key)  # there may be a copy of a forgotten version of this name
        return figures

    def _prune(self) -> None:
        present = {(status.name, status.version) for status in self._statuses()}
        gone = [key for key in self._figures if key not in present]
        forgotten = gone[: max(0, len(gone) - KEPT_AFTER_GONE)]
        for key in forgotten:
            del self._figures[key]
            self._notes.pop(key, None)
            self._before_load.pop(key, None)
        self._recent.forget(forgotten)
        for key in forgotten:
            self.past.forget(key)
        self._slowest.forget_all_but(model for model, _ in self._figures)
