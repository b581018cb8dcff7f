"""`LoadTestJob`: a running load test that can be awaited, looked at and cancelled.

A thread of its own reads the generator's pipe, so that neither a notebook's cell nor its event loop has to.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import IO, Any, Generic, TypeVar

import msgspec

from workbench.client import sync
from workbench.loadtest.analysis.latency_histogram import EMPTY, counted
from workbench.loadtest.analysis.limits import limit_of, notes_on
from workbench.loadtest.analysis.stop_condition import StopCondition
from workbench.loadtest.generator import ipc
from workbench.loadtest.generator.ipc import MessageKind
from workbench.loadtest.generator.target import PreparedTarget, control_client, prepare, replaced_since
from workbench.loadtest.patterns import Stairs
from workbench.loadtest.plan import Plan
from workbench.loadtest.server_side import ServerSide
from workbench.loadtest.store import recording
from workbench.loadtest.store.recording import Recording
from workbench.loadtest.store.records import Records
from workbench.visible_text import visible

STOP_WAIT_S = 5.0
"""A generator that was asked to stop is killed after this long; what it had sent until then is kept."""

_COMMAND = (sys.executable, "-P", "-m", "workbench.loadtest.generator.generator_main")
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_READ_BYTES = 1 << 20
_LOCAL = ("127.0.0.1", "localhost", "::1")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a load test is; the figures are of the measured part of the current run."""

    state: str = "starting"
    """"starting", "warming up", "running", "finishing" (the last answers are waited for) or "ended"."""
    elapsed_s: float = 0.0
    total_s: float = 0.0
    """Length of the current run, warm-up included."""
    sent: int = 0
    """Requests that were due so far, warm-up included."""
    done: int = 0
    errors: int = 0
    rate_per_s: float = 0.0
    """Answers a second over the last second."""
    in_flight: int = 0
    waiting: int = 0
    """Requests that wait in the generator for a connection."""
    p50_s: float | None = None
    p99_s: float | None = None
    step: str = ""
    """Names the current one of several runs: "300/s" or "batch=8"."""
    number: int = 0
    """The number of the current run among the `count` of a sweep, from 1; 0 where their number is not known."""
    count: int = 0

    @property
    def share(self) -> float:
        """Progress of the whole in [0, 1]; of a search, of the current run."""
        part = min(self.elapsed_s / self.total_s, 1.0) if self.total_s else 0.0
        return (self.number - 1 + part) / self.count if self.count else part

    def __str__(self) -> str:
        which = f"{self.step} ({self.number} of {self.count})" if self.count else self.step
        said = [f"{which}: {self.state}" if which else self.state]
        said.append(f"{self.elapsed_s:.0f} of {self.total_s:.0f} s, {self.done} done, {self.rate_per_s:.0f}/s")
        if self.p50_s is not None and self.p99_s is not None:
            said.append(f"p50 {self.p50_s * 1e3:.2f} ms, p99 {self.p99_s * 1e3:.2f} ms")
        if self.errors:
            said.append(f"{self.errors} errors")
        return ", ".join(said)


class LoadTestJob(Generic[T]):
    """A load test that runs already; `start` and `bench` make one."""

    def __init__(self, plan: Plan, work: Callable[[LoadTestJob[T]], T]) -> None:
        self.plan = plan
        self.progress = RunProgress()
        """The latest progress; replaced ten times a second."""
        self.recordings: tuple[Recording, ...] = ()
        """The recordings of its finished runs."""
        self.on_rows: Callable[[Records], None] = lambda rows: None
        """Called with each chunk of finished requests, on the thread that reads them; it must be quick."""
        self._work = work
        self._cancelled = threading.Event()
        self._future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._future.set_running_or_notify_cancel()
        self._run: _Run | None = None
        self._thread = threading.Thread(target=self._main, name="infer-workbench-load-test", daemon=True)
        self._thread.start()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result. Raises TimeoutError after `timeout` seconds, and the test goes on."""
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, T]:
        # Shielded: cancelling the await does not stop the test.
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def done(self) -> bool:
        return self._future.done()

    def cancel(self) -> None:
        """Stop soon; the result has what was measured until then, and is marked as cancelled."""
        self._cancelled.set()
        if (run := self._run) is not None:
            run.stop()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def so_far(self) -> Recording | None:
        """The recording of the current run up to now; None between runs."""
        run = self._run
        return None if run is None else run.recording("running", "")

    def record(self, prepared: PreparedTarget, step: str = "", place: tuple[int, int] = (0, 0)) -> Recording:
        """Run the generator once, on the job's own thread; `work` calls it.

        `step` and `place` (number, count) appear in the progress.
        """
        run = self._run = _Run(self, prepared, step, place)
        if self.cancelled:
            run.stop()
        try:
            found = run.until_ended()
        finally:
            self._run = None
        self.recordings += (found,)
        return found

    def __repr__(self) -> str:
        return visible(f"<load test of {self.plan}: {self.progress}>")

    def _main(self) -> None:
        try:
            found = self._work(self)
        except BaseException as error:
            self._future.set_exception(error)
        else:
            self._future.set_result(found)


def start(plan: Plan) -> LoadTestJob[Recording]:
    """Check the target and the inputs, and start the generator.

    Raises at once what the first request would raise: ModelNotFound, InvalidInput, Unavailable and so on.
    """
    prepared = sync.run(prepare(plan))
    return LoadTestJob(plan, lambda handle: handle.record(prepared))


class _Run:
    """One run of a generator process."""

    def __init__(self, handle: LoadTestJob[Any], prepared: PreparedTarget, step: str, place: tuple[int, int]) -> None:
        self._handle = handle
        self._prepared = prepared
        self._plan = plan = prepared.spec.plan
        self._step = step
        self._place = place
        self._chunks: list[Records] = []
        self._latency = EMPTY
        self._lately: list[tuple[float, int]] = []
        self._figures: Mapping[str, Any] = {}
        self._began_at = time.time()
        self._examples: dict[str, str] = {}
        self._stopping = self._gone_off = False
        self._breaking = StopCondition(plan) if isinstance(plan.pattern, Stairs) else None
        self._broke = self._replaced = ""
        self._killer: threading.Timer | None = None
        self._lock = threading.Lock()
        client = control_client(plan.target) if prepared.controlled else None
        self._side = None if client is None else ServerSide(client, plan.target.model, plan.target.version)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the run
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C in a terminal reaches the caller only, which then stops the run
            bufsize=0,
        )

    def stop(self) -> None:
        """Stop the run. May be called from any thread, and more than once."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            self._killer = threading.Timer(STOP_WAIT_S, self._process.kill)
            self._killer.daemon = True
            self._killer.start()
            if self._gone_off:
                self._send(ipc.frame(MessageKind.STOP))

    def until_ended(self) -> Recording:
        following = None if self._side is None else sync.start(self._side.follow())
        try:
            self._send(ipc.encode_spec(self._prepared.spec))
            for request in self._prepared.requests:
                self._send(ipc.encode_request(request))
            with self._lock:
                self._gone_off = True
                self._send(ipc.frame(MessageKind.GO) + (ipc.frame(MessageKind.STOP) if self._stopping else b""))
            finished = self._read()
        finally:
            self._process.kill()  # it has ended already unless an error occurred here
            self._process.wait()
            if self._killer is not None:
                self._killer.cancel()
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                with suppress(OSError):
                    stream.close()
            if following is not None:
                following.cancel()
        if self._side is None or all(mark.kind != "model" for mark in self._side.marks):
            self._replaced = sync.run(replaced_since(self._prepared))
        found = self.recording(*self._ending(finished))
        self._errors.close()
        self._handle.progress = self._progress("ended")
        return found

    def recording(self, ended: str, reason: str) -> Recording:
        """Everything recorded so far."""
        plan, figures, side = self._plan, self._figures, self._side
        rows = Records.joined(list(self._chunks))
        known = {f.name for f in fields(recording.Generator)}
        own = recording.Generator(**{name: value for name, value in figures.items() if name in known})
        elapsed_s = float(figures.get("elapsed_s", 0.0))
        measured_s = plan.duration_s if ended == "finished" else min(plan.duration_s, elapsed_s - plan.warm_up_s)
        server = () if side is None else tuple(side.seconds)
        same_machine = self._prepared.spec.host in _LOCAL
        return Recording(
            plan=plan,
            rows=rows,
            started_at=self._began_at,
            elapsed_s=elapsed_s,
            measured_s=max(measured_s, 0.0),
            ended=ended,
            reason=reason,
            generator=own,
            limit=limit_of(plan, own, self._latency.quantile(0.99)) if figures else "",
            notes=(*notes_on(plan, own, server, same_machine), *filter(None, [self._replaced])),
            marks=() if side is None else tuple(side.marks),
            server=server,
            examples=dict(self._examples),
            target=self._prepared.facts,
            signature=self._prepared.signature,
        )

    def _ending(self, finished: bool) -> tuple[str, str]:
        if not finished:
            return "cut short", f"the load generator ended before its time{self._last_words()}"
        if self._broke:
            return "broken", self._broke
        if self._stopping or self._figures.get("stopped"):
            return "cancelled", "the run was stopped before its end"
        return "finished", ""

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended; the reader notices
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) :]

    def _read(self) -> bool:
        """Read the generator's messages until it ends; True if it finished by itself."""
        assert self._process.stdout is not None
        frames = ipc.Frames()
        finished = False
        while data := os.read(self._process.stdout.fileno(), _READ_BYTES):
            for kind, body in frames.feed(data):
                finished = finished or kind == MessageKind.DONE
                self._take(kind, body)
        return finished

    def _take(self, kind: int, body: bytes) -> None:
        if kind == MessageKind.ROWS:
            rows = Records.from_bytes(body)
            self._chunks.append(rows)
            self._latency += counted(rows.measured.ok.latency_s)
            if self._breaking is not None:
                self._breaking.take(rows)
            self._handle.on_rows(rows)
            return
        said = msgspec.json.decode(body)
        if kind == MessageKind.BEGAN:
            self._began_at = said["at"]
            if self._side is not None:
                self._side.began_at = self._began_at
        elif kind == MessageKind.SAID:
            self._examples.setdefault(said["outcome"], said["words"])
        else:
            self._figures = said
            self._handle.progress = self._progress("")
            if self._breaking is not None and not self._broke and kind == MessageKind.PROGRESS:
                self._broke = "" if self._stopping else self._breaking.broke(said["elapsed_s"])
                if self._broke:
                    self.stop()

    def _progress(self, state: str) -> RunProgress:
        plan, figures = self._plan, self._figures
        elapsed_s, done = float(figures.get("elapsed_s", 0.0)), int(figures.get("ended", 0))
        total_s = plan.warm_up_s + plan.duration_s
        answered = done - int(figures.get("errors", 0))
        self._lately = [*(each for each in self._lately if elapsed_s - each[0] < 1.0), (elapsed_s, answered)]
        (since_s, before), (now_s, now) = self._lately[0], self._lately[-1]
        if not state:
            state = "warming up" if elapsed_s < plan.warm_up_s else "running" if elapsed_s < total_s else "finishing"
        return RunProgress(
            state=state,
            elapsed_s=elapsed_s,
            total_s=total_s,
            sent=int(figures.get("due", 0)),
            done=done,
            errors=int(figures.get("errors", 0)),
            rate_per_s=(now - before) / (now_s - since_s) if now_s > since_s else 0.0,
            in_flight=int(figures.get("in_flight", 0)),
            waiting=int(figures.get("waiting", 0)),
            p50_s=self._latency.quantile(0.5),
            p99_s=self._latency.quantile(0.99),
            step=self._step,
            number=self._place[0],
            count=self._place[1],
        )

    def _last_words(self) -> str:
        with suppress(OSError, ValueError):
            self._errors.seek(0)
            if lines := self._errors.read().decode("utf-8", "replace").strip().splitlines():
                return f": {lines[-1][:200]}"
        return ""
