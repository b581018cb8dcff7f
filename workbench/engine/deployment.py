"""One version of one model, from Loading to Gone, and the way of its requests through batcher and runners."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from workbench.config import LIVE_SETTINGS, Limits, ModelConfig
from workbench.config.byte_size import byte_size
from workbench.core.batch_proof import BatchEvidence
from workbench.core.circuit import Circuit
from workbench.core.description import Description, RunTimes
from workbench.core.messages import InferRequest, InferResponse, Timings
from workbench.core.model import ModelState, ModelStatus, Signature, shown_labels
from workbench.core.ports import Observer, Outcome, Placed, Session, SharedAnswers, Trimmable
from workbench.core.run_marks import ModelKey, RunMark, RunMarks
from workbench.core.shadow_figures import ShadowFigures
from workbench.core.threads import in_thread
from workbench.engine.admission import Admission, Admitted, CallersApart
from workbench.engine.arbiter import Arbiters, SchedulerHandle
from workbench.engine.batch_policy import AlonePolicy, BatchPolicy, policy_for
from workbench.engine.batcher import Batcher, QueuePolicy
from workbench.engine.callability import uncallable
from workbench.engine.caller_breakers import CallerBreakers
from workbench.engine.circuit_breaker import BreakerPolicy
from workbench.engine.copy_lane import CopyLane, CopyLanes
from workbench.engine.costs import CostTable
from workbench.engine.empty_requests import NO_RUN
from workbench.engine.executor import Done, Executor
from workbench.engine.inline_execution import Inline, LoopShare, may_run_inline
from workbench.engine.memory_footprint import Footprint, Footprints
from workbench.engine.model_loader import ModelLoader, Warm
from workbench.engine.outcomes import outcome_of
from workbench.engine.request_queue import Completion, PendingRequest
from workbench.engine.result_cache.model_cache import CacheSettings, ResultCache, why_uncached
from workbench.engine.result_cache.remote_answers import RemoteAnswers
from workbench.engine.runners import RunnerLayout
from workbench.engine.sequence_scheduler import SequenceScheduler
from workbench.engine.sources import ModelSource
from workbench.engine.warmup import WarmUp
from workbench.errors import (
    CircuitOpen,
    DeadlineExceeded,
    InvalidInput,
    ModelError,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.repository.model_metadata import ModelMetadata
from workbench.runtimes.registry import Opener

log = logging.getLogger("workbench.engine")

LEARN_EVERY_S = 5e-3
"""The costs are brought up to date by one run in so many seconds: to learn from each would cost small models more than
it gains."""

CHECKED_BATCHES = 8
"""The first batches of a model that is batched without a proof: members are run alone too, since real rows show what
made-up ones may not."""

LONE_TURNS = 16
"""After so many turns of the event loop with one request each, the next one does not wait for the end of its turn."""

INLINE = "on the event loop: its runs are so short (measured) that handing them to a thread would take longer"


class Trial(Protocol):
    """Tries a model where it can do no harm, before it is opened here. Blocks."""

    def __call__(self, source: ModelSource, config: ModelConfig, *, again: bool = False) -> None:
        """Raises ModelError where it did harm there. `again`: also what came out of an earlier trial well."""
        ...


class Deployment:
    """All methods belong to the event loop's thread. `open` first; `close` at the end, whatever came of it."""

    def __init__(
        self,
        name: str,
        version: str,
        source: ModelSource,
        config: ModelConfig,
        *,
        observer: Observer,
        open_session: Opener,
        clock: Callable[[], float],
        arbiters: Arbiters,
        loop_time: LoopShare,
        footprints: Footprints,
        limits: Limits,
        marks: RunMarks,
        shared_answers: SharedAnswers | None = None,
    ) -> None:
        """`shared_answers` are the second level of its result cache, where it has one."""
        self.name = name
        self.version = version
        self.source = source
        self.config = config
        self.state = ModelState.LOADING
        self.epoch = secrets.token_hex(6)
        """Sent with each answer, so that a client notices that what it knows of the model is out of date. Another one
        as soon as rows must not be split any more."""
        self.routed = False
        self._version_labels: tuple[str, ...] = ()
        self._weight = 0.0
        self.fallback: Deployment | None = None
        """What answers calls without a version that are refused here since this model fails too often."""
        self.signature: Signature | None = None
        self._observer = observer
        self._open_session = open_session
        self._clock = clock
        self._reason = ""
        self._notes: tuple[str, ...] = ()
        self._uncached: tuple[str, ...] = ()
        self._said: tuple[str, ...] = ()
        self._sent: tuple[str, ...] = ()
        self._platform = self._device = ""
        self._sessions: list[Session] = []
        self._warm = Warm(WarmUp(False, False, ""), RunnerLayout(1, 1), "")
        self._arbiters = arbiters
        self._place: SchedulerHandle | None = None
        self._costs = CostTable()
        self._policy: BatchPolicy = AlonePolicy(self._costs)
        self._batcher = Batcher(self._policy, _queue_policy(config), clock)
        self._executor: Executor | None = None
        self._lanes = CopyLanes(name, marks, clock)
        self.shadow_figures: Callable[[], ShadowFigures] | None = None
        """Tells of the copies that it gets as a shadow; None: it gets none."""
        self._marks = marks
        self._mark: RunMark | None = None
        self._admission: Admission | None = None
        self._breakers = CallerBreakers(_breaker_policy(config))
        self._sequences: SequenceScheduler | None = None
        self._cache: ResultCache | None = None
        self._shared_answers = shared_answers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False
        self._lone_turns = 0
        """Turns of the event loop that brought one request each, in a row."""
        self._outstanding = 0
        self._idle: asyncio.Event | None = None
        self._inline = Inline(loop_time)
        self._may_inline = False
        self._learn_at = 0.0
        self._warming_since: float | None = None
        self._loaded_at = self._load_s = 0.0
        self._footprints = footprints
        self._limits = limits
        self._memory_bytes: int | None = None

    # Requests

    def submit(self, request: InferRequest, promise: Completion) -> None:
        """Accept a request: its promise is kept exactly once, maybe before this returns. One that is done before it is
        kept is dropped when a batch is formed.

        Raises Unavailable, InvalidInput, CircuitOpen, QueueFull or DeadlineExceeded, and then it was not accepted.
        """
        admission, loop = self._admission, self._loop
        if self.state is not ModelState.READY or admission is None or loop is None:
            self._observer.request_done(self.name, self.version, Outcome.REJECTED, None)
            raise Unavailable(self._not_ready())
        if self._cache is not None and self._cache.takes(request, promise):
            return
        now = self._clock()
        try:
            if request.deadline is not None and now >= request.deadline:
                raise DeadlineExceeded("Request timeout expired before it arrived; it was not run")
            admitted = admission.admit(request)
            if self._breakers.watching and (other := self._ask_breaker(request, now)) is not None:
                other.submit(request, promise)
                return
            ticket = PendingRequest(request, promise, admitted.rows, admitted.key, admitted.outputs, now)
            if self._sequences is not None:
                self._sequences.accept(ticket)
            elif request.sequence is None:
                self._batcher.submit(ticket)
            else:
                raise Unsupported(
                    f"model {self.name!r} keeps no state between requests, as a sequence_id supposes: leave it out, or "
                    "load the model with a config.pbtxt that has sequence_batching"
                )
        except WorkbenchError as error:
            self._observer.request_done(self.name, self.version, outcome_of(error), None)
            raise
        self._outstanding += 1
        if self._waking:
            self._lone_turns = 0
            return
        # Not at once: what the loop reads in this same turn should share the batch. This costs no timer, only the rest
        # of the turn; and not even that where for many turns nobody came along.
        self._waking = True
        loop.call_soon(self._wake)
        if self._lone_turns >= LONE_TURNS and self._inline.now:
            self._run_inline()

    def _ask_breaker(self, request: InferRequest, now: float) -> Deployment | None:
        """What is to answer the call in this one's place; None: it may go through. Raises CircuitOpen."""
        before = self._breakers.told(now)
        left_s, reason = self._breakers.admit(request.caller, now)
        if self._breakers.told(now) != before:
            self._observer.model_changed(self.status())
        if left_s:
            if request.version is None and request.sequence is None and self.fallback is not None:
                return self.fallback
            raise CircuitOpen(
                f"model {self.name!r} version {self.version} is not run at the moment, since it fails too often "
                f"({reason}); it is tried again in {left_s:.1f} s",
                left_s,
            )
        return None

    # Copies of calls

    @property
    def has_spare_runner(self) -> bool:
        """True while so few calls are under way that half of the runners, or the only one, would be free."""
        return self._outstanding <= (self._layout.runners - 1) // 2

    @property
    def takes_copies(self) -> bool:
        """True where a run beside those of its runners is safe."""
        return self.state is ModelState.READY and self._sequences is None and self.takes_more_runners

    def admitted(self, request: InferRequest) -> Admitted:
        """What a batch needs to know of a copy. Raises Unavailable, InvalidInput."""
        if self.state is not ModelState.READY or self._admission is None:
            raise Unavailable(self._not_ready())
        return self._admission.admit(request)

    def open_lane(self, deliver: Callable[[Done], None]) -> CopyLane:
        """Its way for copies, which is in none of its figures. Open until `end_copies` or `close`."""
        place = self._arbiters.of(self._device).place(self._layout.cores, self.config.device_share, yields=True)
        lane = self._lanes.open(self.key, self._sessions, place, deliver)
        self._lanes.configure(self._policy, self._layout.cores, self.config.device_share)
        return lane

    def end_copies(self) -> None:
        """Run no copy any more; one under way ends by itself, before the sessions are closed."""
        self.shadow_figures = None
        self._lanes.leave()

    # How a batch comes about

    def _wake(self) -> None:
        self._waking = False
        self._lone_turns += 1
        if not self._batcher.depth:
            return
        if not self._inline.now:
            self._batcher.wake()
            return
        self._run_inline()
        if self._batcher.depth:  # others on the loop have their turn between batches
            self._wake_soon()

    def _wake_soon(self) -> None:
        if not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _run_inline(self) -> None:
        if self._executor is not None and (batch := self._batcher.poll()):
            for done in self._executor.run(self._sessions[0], batch):
                if self._inline.ran(done.ran_at - done.joined_at, done.ran_at):
                    self._observer.model_changed(self.status())
                self._deliver(done)

    def _deliver_from_runner(self, done: Done) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._deliver, done)
        except RuntimeError:
            pass  # the loop is closed: whoever waited on it is gone too

    def _deliver(self, done: Done) -> None:
        now = self._clock()
        observer = self._observer
        queued_from, batched_s = done.formed_at, done.joined_at - done.formed_at
        ran_s, split_s = done.ran_at - done.joined_at, now - done.ran_at
        requests, reason, batch_rows = len(done.tickets), done.reason, [ticket.rows for ticket in done.tickets]
        waits: list[float] = []
        failed = False
        steps = self._sequences.take(done) if self._sequences is not None else []
        for ticket, answer in zip(done.tickets, done.answers, strict=True):
            if ticket.ended:  # it was given up on, and its run has come back after all
                continue
            ticket.ended = True
            queued_s = queued_from - ticket.accepted_at
            timings = Timings(queued_s, batched_s, ran_s, split_s, done.rows, requests, reason, ticket.rows, batch_rows)
            promise = ticket.promise
            if promise.done():
                observer.request_done(self.name, self.version, Outcome.CANCELLED, timings)
                continue
            try:
                if isinstance(answer, WorkbenchError):
                    failed = True
                    observer.request_done(self.name, self.version, outcome_of(answer), timings)
                    promise.set_exception(answer)
                else:
                    if tuple(answer) != ticket.outputs:
                        answer = {name: answer[name] for name in ticket.outputs}
                    waits.append(queued_s)
                    response = InferResponse(self.name, self.version, answer, ticket.request.id, timings, self.epoch)
                    promise.set_result(response)
            except Exception:  # a transport's fault; the others of the batch get their answers all the same
                log.exception("a request's answer could not be handed over")
        if waits:
            observer.answered(self.name, self.version, waits, batched_s, ran_s, split_s)
        for ticket, error in done.dropped:
            self._end(ticket, error)
        if requests:
            observer.batch_done(self.name, self.version, done.rows, requests, reason, ran_s)
            if done.ran_at >= self._learn_at:
                self._learn(done, ran_s)
            breakers = self._breakers
            if failed or breakers.watching or ran_s >= breakers.slow_call_s:
                self._judge(done, ran_s, now)
        elif done.not_rows:
            self._stop_batching(done.not_rows)
        if self._sequences is not None:
            self._sequences.go_on(steps)
        self._settled(requests + len(done.dropped))

    def _judge(self, done: Done, ran_s: float, now: float) -> None:
        """Tell the breakers how the calls of a run ended. What was wrong with a request says nothing of the model."""
        if isinstance(done.answers[0], InvalidInput) or done.tickets[0].key[-1:] == NO_RUN:
            return
        callers = Counter(ticket.request.caller for ticket in done.tickets)
        slow = not done.failed and ran_s >= self._breakers.slow_call_s
        for said in self._breakers.record(now, callers, done.failed, slow):  # one run: all of them or none
            log.warning("the circuit breaker of model %r version %s is %s", self.name, self.version, said)
            self._observer.model_changed(self.status())

    def _stop_batching(self, why: str) -> None:
        """Run every request alone from now on: its rows are not what they were taken for."""
        if not self._found.batched:  # another runner's batch said so before
            return
        reason = f"unbatched since a run of several requests: {why}; each was run again alone"
        log.warning("model %r version %s is served %s", self.name, self.version, reason)
        found = dataclasses.replace(self._found, batched=False, reason=reason, evidence=BatchEvidence.NONE)
        self._warm = dataclasses.replace(self._warm, found=found)
        self.epoch = secrets.token_hex(6)  # clients that split their rows must not go on with it
        self._apply()
        self._observer.model_changed(self.status())

    def _learn(self, done: Done, ran_s: float) -> None:
        """Bring the costs up to date, and what is decided by them."""
        if done.failed or done.tickets[0].key[-1:] == NO_RUN:  # maybe before it had done anything; or nothing to do
            return
        self._learn_at = done.ran_at + LEARN_EVERY_S
        key = done.tickets[0].key
        curve = self._costs.observe(key, done.run_rows, ran_s)
        self._policy.learned(key)
        if (spent_s := self._inline.settle()) and self._place is not None:
            self._place.charge(spent_s)
        if self._may_inline and self._inline.decide(True, curve, self.config.max_batch_size, done.ran_at):
            self._observer.model_changed(self.status())

    def _end(self, ticket: PendingRequest, error: WorkbenchError) -> None:
        if ticket.ended:
            return
        ticket.ended = True
        outcome = outcome_of(error)
        if ticket.promise.done():
            outcome = Outcome.CANCELLED
        else:
            ticket.promise.set_exception(error)
        self._observer.request_done(self.name, self.version, outcome, None)

    def _refused(self, ticket: PendingRequest, error: WorkbenchError) -> None:
        """End a step of a sequence that was accepted."""
        self._end(ticket, error)
        self._settled(1)

    def _held(self) -> list[PendingRequest]:
        """Forget the sequences; the steps that waited for their turn."""
        return self._sequences.abandon() if self._sequences is not None else []

    def _settled(self, count: int) -> None:
        self._outstanding -= count
        if self._outstanding == 0 and self._idle is not None:
            self._idle.set()

    # Life

    async def open(self, prepare: Callable[[], None] | None = None) -> None:
        """Loading > Warming > Ready. On failure the state is Failed and the error is raised; `close` is still due.

        `prepare` comes before all else, on a thread; where it raises, the model was not opened.
        """
        self._loop = asyncio.get_running_loop()
        began = self._clock()
        opening = ModelLoader(self.source, self.config, self._open_session)
        footprint: Footprint | None = None

        def give_back() -> None:  # the load was cancelled while a thread worked on them
            for session in opening.sessions:
                session.close()

        try:
            self._change(ModelState.LOADING)
            if prepare is not None:
                await in_thread(prepare)
            footprint = self._footprints.begin()  # after the trial, which is a process of its own
            first = await in_thread(opening.open, give_back)
            self.signature, self._platform, self._device = first.signature, first.platform, first.device
            if opening.states is not None:
                self.signature = opening.states.seen
            self._notes = opened = (*first.notes, *uncallable(self.signature, self._limits))
            self._said = self.source.described.notes(first.signature)
            self._warming_since = self._clock()
            self._change(ModelState.WARMING)
            self._warm = await in_thread(opening.warm, give_back)
            self._notes = (*opened, *self._warm.notes)
            self._sessions = opening.sessions
        except WorkbenchError as error:
            self._sessions = opening.sessions
            self._fail(error.message)
            raise
        except Exception as error:  # ours or a runtime's; the caller logs it
            self._sessions = opening.sessions
            self._fail(f"loading failed unexpectedly ({type(error).__name__})")
            raise
        finally:
            self._warming_since = None
            if footprint is not None:
                self._memory_bytes = footprint.end()
        if self.state is ModelState.FAILED:  # it was given up on meanwhile
            raise ModelError(self._reason)
        self._costs = CostTable(self._found.run_s, self._found.key)
        self._place = self._arbiters.of(self._device).place(self._layout.cores, self.config.device_share)
        if opening.states is not None:
            self._sequences = SequenceScheduler(
                self.name,
                self.source.described.triton,
                opening.states,
                self._batcher,
                self._clock,
                self._refused,
                self._wake_soon,
            )
        self._apply()
        self._mark = self._marks.take(self.key)
        deliver = self._deliver_from_runner
        self._executor = Executor(self.name, self._sessions, self._batcher, deliver, self._clock, self._mark)
        if self._found.evidence in (BatchEvidence.SAMPLED, BatchEvidence.DECLARED) and self.config.batching != "always":
            self._executor.to_check = CHECKED_BATCHES
        self._executor.resize(self._layout.runners)
        self._loaded_at, self._load_s = time.time(), self._clock() - began
        self._change(ModelState.READY)

    def configure(self, config: ModelConfig) -> None:
        """Take settings that are live (config.LIVE_SETTINGS); requests that wait stay."""
        self.config = config
        self._apply()
        if self._executor is not None:
            self._executor.resize(self._layout.runners)
        self._observer.model_changed(self.status())

    def describe(self, described: ModelMetadata) -> None:
        """Take what lies beside the model's file by now: its labels, and notes about its configuration."""
        self.source = dataclasses.replace(self.source, described=described)
        self._said = described.notes(self.signature) if self.signature is not None else ()

    def note(self, notes: Sequence[str]) -> None:
        """Have the status say these of the settings that were sent with the last load."""
        if tuple(notes) != self._sent:
            self._sent = tuple(notes)
            self._observer.model_changed(self.status())

    def takes_live(self, setting: str) -> bool:
        """Whether `setting` can change without a reload."""
        return setting in LIVE_SETTINGS and (setting != "instances" or self.takes_more_runners)

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """Output -> what its elements are called, of those that have such names."""
        return self.source.labels

    @property
    def max_batch_size(self) -> int:
        """The most rows of one batch, and of one request; 0: served unbatched."""
        return self.config.max_batch_size if self._found.batched else 0

    @property
    def key(self) -> ModelKey:
        """As marks of its runs name it."""
        return ModelKey(self.name, self.version, self.source.digest)

    @property
    def takes_more_runners(self) -> bool:
        """True where the number of runners can change without a reload."""
        return all(session.runner_threads == 0 for session in self._sessions)

    def refuse(self) -> None:
        """Draining: refuse what comes."""
        if self.state is ModelState.READY:
            self._idle = asyncio.Event()
            if self._cache is not None:
                self._cache.close()
            if self._sequences is None:  # else steps that were accepted still have to get there
                self._batcher.close()
            self._change(ModelState.DRAINING)
            if self._sequences is not None:
                self._sequences.drain()

    async def drain(self, timeout_s: float) -> None:
        """After `refuse`: finish what was accepted; after `timeout_s` the rest gets Unavailable."""
        if self._outstanding and self._idle is not None:
            try:
                await asyncio.wait_for(self._idle.wait(), timeout_s)
            except TimeoutError:
                self.abandon()

    def abandon(self) -> None:
        """Let a drain end now: those who wait get Unavailable, and whoever is inside the runtime is not waited for."""
        for ticket in (*self._batcher.abandon(), *self._held()):
            self._end(ticket, Unavailable(f"model {self.name!r} was unloaded before the request was run"))
            self._settled(1)
        if self._idle is not None:
            self._idle.set()

    def longest_run_s(self) -> float:
        """For how long the oldest run under way, or a warm-up, has been inside the runtime; 0 where none is."""
        runs = self._executor.inside() if self._executor is not None else []
        began = [began for began, _ in runs]
        if self._warming_since is not None:
            began.append(self._warming_since)
        longest_s = self._clock() - min(began) if began else 0.0
        return max(longest_s, self._lanes.longest_run_s())

    def stuck_caller(self, limit_s: float) -> str:
        """The share all of whose the runs are that take longer; empty: the owner's, or several callers'."""
        now, runs = self._clock(), self._executor.inside() if self._executor is not None else []
        callers = {each.request.caller for began, tickets in runs if now - began > limit_s for each in tickets}
        return callers.pop() if len(callers) == 1 else ""

    def interrupt(self, limit_s: float) -> bool:
        """Have the runtime end runs that take longer, whose callers get DeadlineExceeded. True where it was told of
        one for the first time; whether it ends is seen by `longest_run_s`."""
        reason = f"a run of model {self.name!r} did not end within {limit_s:g} s (run_limit_s), and was ended"
        told = [self._lanes.interrupt(limit_s, reason)]
        if self._executor is not None:
            told.append(self._executor.interrupt(limit_s, reason))
        return any(told)

    def give_up(self, reason: str) -> None:
        """Failed, for a runner that does not come back: all who wait for it or inside it get DeadlineExceeded."""
        runs = self._executor.inside() if self._executor is not None else []
        waiting = [*self._batcher.abandon(), *self._held()]
        self._fail(reason)
        for ticket in (*(ticket for _, tickets in runs for ticket in tickets), *waiting):
            self._end(ticket, DeadlineExceeded(reason))
        self._settled(len(waiting))
        self._leave_device()

    async def close(self) -> None:
        """Give everything back and be Gone, or stay Failed. What is still inside the runtime is left to end there."""
        self._batcher.close()
        self._held()
        if self._executor is not None:
            self._executor.resize(0)
        sessions, self._sessions = self._sessions, []
        self.end_copies()
        await self._lanes.wait()
        if self._outstanding == 0 and not self._lanes.busy:
            if self._mark is not None:
                self._marks.give_back(self._mark)
            for session in sessions:
                await in_thread(session.close)
        self._leave_device()
        if self.state is not ModelState.FAILED:
            self._change(ModelState.GONE)

    def trim(self) -> None:
        """Have the runtime give back memory that it keeps for later runs. Blocks; from any thread."""
        for session in self._sessions:
            if isinstance(session, Trimmable):
                session.trim()

    def place(self, routed: bool, labels: tuple[str, ...] = (), weight: float = 0.0) -> None:
        """Note which requests come here, for the status; the routing table does the routing."""
        if (self.routed, self._version_labels, self._weight) != (routed, labels, weight):
            self.routed, self._version_labels, self._weight = routed, labels, weight
            self._observer.model_changed(self.status())

    def status(self) -> ModelStatus:
        sequences = self._sequences.figures() if self._sequences is not None else None
        return ModelStatus(
            name=self.name,
            version=self.version,
            state=self.state,
            reason=self._reason,
            platform=self._platform,
            device=self._device,
            signature=self.signature,
            config=self.config,
            routed=self.routed,
            version_labels=self._version_labels,
            weight=self._weight,
            max_batch_size=self.max_batch_size,
            batching=self._batching() + (f"; {self._sequences}" if self._sequences is not None else ""),
            batch_evidence=self._found.evidence if self.config.max_batch_size > 1 else BatchEvidence.NONE,
            execution=self._execution(),
            digest=self.source.digest,
            size_bytes=self.source.size_bytes,
            loaded_at=self._loaded_at,
            load_s=self._load_s,
            circuit=self._circuit(),
            cache=self._cache.figures() if self._cache is not None else None,
            shadow=self.shadow_figures() if self.shadow_figures is not None else None,
            queued=self._batcher.depth + (sequences.held if sequences is not None else 0),
            sequences=sequences,
            sequence_config=self.source.described.triton.sequences,
            formats=self.source.described.triton.formats,
            provenance=self.source.provenance,
            labels=shown_labels(self.labels),
            notes=(*self._sent, *self._said, *self._uncached, *self._notes),
            epoch=self.epoch,
        )

    def _circuit(self) -> Circuit | None:
        if not self.config.breaker_failure_rate:
            return None
        told = self._breakers.told(self._clock())
        return dataclasses.replace(told, fallback=self.fallback.version) if self.fallback is not None else told

    def description(self) -> Description:
        """All that is known of it. Copies; cheap."""
        first = self._sessions[0] if self._sessions else None
        return Description(
            self.status(),
            self.source.graph if self.source.operators else None,
            first.placement if isinstance(first, Placed) else {},
            tuple(RunTimes(key, curve.run_s) for key, curve in self._costs),
            self._memory_bytes,
        )

    def _apply(self) -> None:
        assert self.signature is not None and self._place is not None
        config = self.config
        batched = self._found.batched
        self._policy = policy_for(config, batched, self._costs)
        self._place.set(self._layout.cores, config.device_share)
        self._batcher.configure(self._policy, _queue_policy(config), self._place, self._layout.runners)
        self._lanes.configure(self._policy, self._layout.cores, config.device_share)
        rows = config.max_batch_size if batched else 0
        self._breakers.configure(_breaker_policy(config))
        self._admission = Admission(self.signature, rows, aborts_on_empty=self._aborts_on_empty)
        if apart_s := self._marks.apart_s(self.key):
            self._admission = CallersApart(
                self.signature,
                rows,
                aborts_on_empty=self._aborts_on_empty,
                until=self._clock() + apart_s,
                clock=self._clock,
            )
        whole = self._sessions[0].signature  # a state is none of the callers' inputs
        self._may_inline = (
            batched
            and self.takes_more_runners
            and may_run_inline(whole, self.source.operators, self.source.runtime.steady_operators, config)
        )
        curve = self._costs.curve(self._found.key)
        self._inline.decide(self._may_inline, curve, config.max_batch_size, self._clock())
        if self._sequences is not None:
            self._sequences.configure(config, _queue_policy(config), batched=batched)
        self._apply_cache(config, self._admission)

    def _apply_cache(self, config: ModelConfig, admission: Admission) -> None:
        limit_bytes = byte_size(config.cache)
        why = why_uncached(self.source.operators, self._sequences is not None) if limit_bytes else ""
        self._uncached = (f"cache is not honoured: {why}",) if why else ()
        if not limit_bytes or why:
            if self._cache is not None:
                self._cache.close()
                self._cache = None
            return
        if self._cache is None:
            self._cache = ResultCache(self.name, self.version, self.submit, self._observer, self._clock)
        settings = CacheSettings(limit_bytes, config.cache_ttl, config.cache_scope == "shared")
        self._cache.configure(settings, admission, self.epoch, self._remote_answers())

    def _remote_answers(self) -> RemoteAnswers | None:
        if self._shared_answers is None or self.signature is None:
            return None
        # What another load of the same file answers too. Rows that were found not to be independent are not trusted.
        batched = "batched" if self._found.batched else "alone"
        load = (self.name, self.version, self.source.digest, self._device, batched)
        return RemoteAnswers(self._shared_answers, self.signature.outputs, *load)

    @property
    def _found(self) -> WarmUp:
        return self._warm.found

    @property
    def _aborts_on_empty(self) -> bool:
        """An operator of it may end the process on an empty input; so may those of a file that was not looked into."""
        aborting, operators = self.source.runtime.aborting_operators, self.source.operators
        return bool(aborting) and not (operators and operators.isdisjoint(aborting))

    @property
    def _layout(self) -> RunnerLayout:
        """As it was decided at the load, unless `instances` was set since."""
        layout, instances = self._warm.layout, self.config.instances
        return RunnerLayout(instances, layout.cores) if instances not in (1, layout.runners) else layout

    def _leave_device(self) -> None:
        if self._place is not None:
            self._place.close(self._clock())

    def _batching(self) -> str:
        reason = self._found.reason
        if not self._found.batched or self.state is ModelState.FAILED:
            return reason
        most = self.config.max_batch_size
        if most == 1:
            return "unbatched: max_batch_size is 1"
        best = most if isinstance(self._policy, AlonePolicy) else self._policy.best_size(self._found.key)
        return f"{reason}; up to {most} rows a run" + (
            "" if best == most else f", {best} when many wait, which {self._why_best}"
        )

    @property
    def _why_best(self) -> str:
        return "its settings prefer" if self.config.preferred_batch_sizes else "was measured fastest"

    def _execution(self) -> str:
        if self._executor is None:
            return ""
        if self._inline.now:
            return INLINE
        why = self._warm.why if self._layout == self._warm.layout else ""
        return f"on {self._layout}" + (f": {why}" if why else "")

    def _not_ready(self) -> str:
        reason = f" ({self._reason})" if self._reason else ""
        return f"model {self.name!r} version {self.version} is {self.state.value}{reason}, not Ready; try again later"

    def _change(self, state: ModelState) -> None:
        self.state = state
        self._observer.model_changed(self.status())

    def _fail(self, reason: str) -> None:
        self._reason = reason
        self._change(ModelState.FAILED)


def _queue_policy(config: ModelConfig) -> QueuePolicy:
    levels = config.priority_levels
    default = min(config.default_priority, levels)
    return QueuePolicy(config.max_queue_size, config.queue_timeout_s, levels, default, config.priority_step_s)


def _breaker_policy(config: ModelConfig) -> BreakerPolicy:
    return BreakerPolicy(
        config.breaker_failure_rate,
        config.breaker_min_calls,
        config.breaker_window_s,
        config.breaker_slow_call_s,
        config.breaker_open_s,
    )
