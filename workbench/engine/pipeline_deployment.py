"""One version of a pipeline of models, from Loading to Gone, and the way of its requests from stage to stage.

A stage is a request to a deployment of its own, so it waits, is batched and is run as any other request to that model.
A pipeline holds no thread, no session and no lock: between two stages a request is an entry in `_calls`, of which there
are at most `max_queue_size`. The models are looked up anew for each stage, so one that is swapped is used at once, and
one that was unloaded works again when it is back.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from workbench.config import Limits, ModelConfig
from workbench.core.description import Description
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelState, ModelStatus, Signature, shown_labels
from workbench.core.pipeline import Pipeline
from workbench.core.ports import Observer, Outcome
from workbench.core.runtime import PIPELINE
from workbench.core.threads import in_thread
from workbench.engine.admission import Admission
from workbench.engine.callability import uncallable
from workbench.engine.outcomes import outcome_of
from workbench.engine.pipeline_call import Course, PipelineCall
from workbench.engine.pipeline_graph import Asks, flaw
from workbench.engine.pipeline_joints import misfit
from workbench.engine.request_queue import Completion
from workbench.engine.served import Served
from workbench.engine.sources import ModelSource
from workbench.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelError,
    QueueFull,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.repository.model_metadata import ModelMetadata
from workbench.repository.pipeline_file import read_pipeline

MAX_COURSES = 64
"""Sets of outputs whose course is remembered."""

_OWN_SETTINGS = ("max_batch_size", "max_queue_size", "batching")
"""The settings that mean something for a pipeline; the others are its stages'."""

log = logging.getLogger("workbench.engine")


class Members(Protocol):
    """Finds the models of stages."""

    def member(self, name: str, version: str | None) -> Served:
        """What answers for it now. Raises ModelNotFound, Unavailable."""
        ...

    def asks(self) -> Asks:
        """The pipelines that serve or may come to serve, also those that are opened at this moment."""
        ...


class PipelineDeployment:
    """Implements engine.served.Served."""

    def __init__(
        self,
        name: str,
        version: str,
        source: ModelSource,
        config: ModelConfig,
        *,
        observer: Observer,
        clock: Callable[[], float],
        members: Members,
        limits: Limits,
        restored: bool = False,
    ) -> None:
        """`restored`: it served before, so models that are not there may still come."""
        self.name = name
        self.version = version
        self.source = source
        self.config = config
        self.state = ModelState.LOADING
        self.routed = False
        self._version_labels: tuple[str, ...] = ()
        self._weight = 0.0
        self.signature: Signature | None = None
        self._pipeline: Pipeline | None = None
        self._own_epoch = secrets.token_hex(6)
        self._observer = observer
        self._clock = clock
        self._members = members
        self._limits = limits
        self._restored = restored
        self._reason = ""
        self._amiss = ""
        """Why it cannot answer at the moment; empty: it can."""
        self._notes: tuple[str, ...] = ()
        self._sent: tuple[str, ...] = ()
        self._admission: tuple[int, Admission] | None = None
        """For so many rows."""
        self._courses: dict[tuple[str, ...], Course] = {}
        self._calls: set[PipelineCall] = set()
        self._arrived: list[tuple[PipelineCall, int, InferResponse]] = []
        """Answers of stages that came in this turn of the event loop."""
        self._idle: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loaded_at = self._load_s = 0.0

    # Requests

    def submit(self, request: InferRequest, promise: Completion) -> None:
        """Accept a request: its promise is kept exactly once, maybe before this returns.

        Raises Unavailable, InvalidInput, QueueFull, Unsupported or DeadlineExceeded, and then it was not accepted.
        """
        now = self._clock()
        try:
            if self.state is not ModelState.READY or self._amiss:
                raise Unavailable(self._not_ready())
            if request.sequence is not None:
                raise Unsupported(f"pipeline {self.name!r} keeps no state between requests: leave the sequence_id out")
            if request.deadline is not None and now >= request.deadline:
                raise DeadlineExceeded("Request timeout expired before it arrived; it was not run")
            if len(self._calls) >= self.config.max_queue_size:
                raise QueueFull(
                    f"pipeline {self.name!r} has {len(self._calls)} requests under way, as many as max_queue_size "
                    "allows; try again, or raise it"
                )
            admitted = self._admits().admit(request)
        except WorkbenchError as error:
            self._observer.request_done(self.name, self.version, outcome_of(error), None)
            raise
        call = PipelineCall(request, promise, self._course(admitted.outputs), admitted.rows, now)
        self._calls.add(call)
        self._ask(call, call.course.first)

    def _ask(self, call: PipelineCall, steps: Sequence[int]) -> None:
        assert self._pipeline is not None
        for index in steps:
            if call.ended:
                return
            step = self._pipeline.steps[index]
            call.began_at[index] = self._clock()
            try:
                member = self._members.member(step.model, step.version)
                member.submit(call.asks(index, step.inputs, step.model, step.version), _Stage(self, call, index))
            except WorkbenchError as error:
                self.stage_failed(call, index, error)

    def stage_ended(self, call: PipelineCall, index: int, answer: InferResponse) -> None:
        """A stage has its answer. What follows waits for the end of the turn: what the batch before had together comes
        together to the next stage, and the stack does not grow with the pipeline."""
        if not self._arrived and self._loop is not None:
            self._loop.call_soon(self._go_on)
        self._arrived.append((call, index, answer))

    def stage_failed(self, call: PipelineCall, index: int, error: WorkbenchError) -> None:
        assert self._pipeline is not None
        label = self._pipeline.labels[index]
        self._fail_call(call, type(error)(f"stage {label!r} of pipeline {self.name!r}: {error.message}"))

    def _go_on(self) -> None:
        assert self._pipeline is not None
        arrived, self._arrived = self._arrived, []
        for call, index, answer in arrived:
            if call.ended:
                continue
            if call.left():
                self._fail_call(call, Cancelled("the caller left before it was answered"))
                continue
            ready = call.took(index, self._pipeline.labels[index], self._pipeline.steps[index].outputs, answer)
            if call.complete:
                self._answer(call)
            else:
                self._ask(call, ready)

    def _answer(self, call: PipelineCall) -> None:
        self._end(call)
        timings = call.timings(self._clock())
        assert timings is not None
        observer, name, version = self._observer, self.name, self.version
        observer.answered(name, version, [timings.queued_s], timings.batched_s, timings.ran_s, timings.split_s)
        observer.batch_done(name, version, call.rows, 1, timings.release_reason, call.own_run_s)
        epoch = self._epoch_of(self._epochs(call))
        try:
            call.promise.set_result(InferResponse(name, version, call.answers(), call.request.id, timings, epoch))
        except Exception:  # a transport's fault; the others of this turn get their answers all the same
            log.exception("a request's answer could not be handed over")

    def _fail_call(self, call: PipelineCall, error: WorkbenchError) -> None:
        if call.ended:
            return
        self._end(call)
        left = call.promise.done()
        outcome = Outcome.CANCELLED if left else outcome_of(error)
        self._observer.request_done(self.name, self.version, outcome, call.timings(self._clock()))
        if not left:
            call.promise.set_exception(error)

    def _end(self, call: PipelineCall) -> None:
        call.ended = True
        self._calls.discard(call)
        if not self._calls and self._idle is not None:
            self._idle.set()

    def _course(self, outputs: tuple[str, ...]) -> Course:
        course = self._courses.get(outputs)
        if course is None:
            assert self._pipeline is not None
            if len(self._courses) >= MAX_COURSES:
                self._courses.clear()
            course = self._courses[outputs] = Course(self._pipeline, outputs)
        return course

    def _admits(self) -> Admission:
        assert self.signature is not None
        rows = self.max_batch_size
        if self._admission is None or self._admission[0] != rows:
            self._admission = rows, Admission(self.signature, rows)
        return self._admission[1]

    # Life

    async def open(self, prepare: Callable[[], None] | None = None) -> None:
        """Loading > Ready. On failure the state is Failed and the error is raised; `close` is still due.

        Raises ModelError where a model is missing, or does not fit.
        """
        self._loop = asyncio.get_running_loop()
        began = self._clock()
        try:
            self._change(ModelState.LOADING)
            if prepare is not None:
                await in_thread(prepare)
            self._pipeline, signature = await in_thread(lambda: read_pipeline(self.source.path))
            self.signature = signature
            # No await from the file to here: of two that are opened at once, the later one sees the earlier.
            if problem := flaw(self._members.asks(), self.name):
                self._pipeline = None  # nobody may follow its stages
                raise ModelError(f"the pipeline cannot be served: {problem}")
            self._amiss = self._look()
            if self._amiss and not self._restored:
                raise ModelError(f"the pipeline cannot be served: {self._amiss}")
        except WorkbenchError as error:
            self._reason = error.message
            self._change(ModelState.FAILED)
            raise
        self._notes = tuple(uncallable(signature, self._limits))
        self._loaded_at, self._load_s = time.time(), self._clock() - began
        self._change(ModelState.READY)

    def members_changed(self) -> None:
        """Look at its models again, since one of them came, went or was replaced."""
        if self.state is ModelState.READY and (amiss := self._look()) != self._amiss:
            self._amiss = amiss
            self._observer.model_changed(self.status())

    def configure(self, config: ModelConfig) -> None:
        self.config = config
        self._observer.model_changed(self.status())

    def takes_live(self, setting: str) -> bool:
        return True

    def describe(self, described: ModelMetadata) -> None:
        self.source = dataclasses.replace(self.source, described=described)

    def note(self, notes: Sequence[str]) -> None:
        if tuple(notes) != self._sent:
            self._sent = tuple(notes)
            self._observer.model_changed(self.status())

    def place(self, routed: bool, labels: tuple[str, ...] = (), weight: float = 0.0) -> None:
        if (self.routed, self._version_labels, self._weight) == (routed, labels, weight):
            return
        self.routed, self._version_labels, self._weight = routed, labels, weight
        self._observer.model_changed(self.status())

    def refuse(self) -> None:
        """Draining: refuse what comes."""
        if self.state is ModelState.READY:
            self._idle = asyncio.Event()
            self._change(ModelState.DRAINING)

    async def drain(self, timeout_s: float) -> None:
        """After `refuse`: finish what was accepted; after `timeout_s` the rest gets Unavailable."""
        if self._calls and self._idle is not None:
            try:
                await asyncio.wait_for(self._idle.wait(), timeout_s)
            except TimeoutError:
                self.abandon()

    def abandon(self) -> None:
        """Let a drain end now: those who wait get Unavailable; their stages are dropped, or end for nobody."""
        for call in list(self._calls):
            self._fail_call(call, Unavailable(f"pipeline {self.name!r} was unloaded before the request was answered"))
        if self._idle is not None:
            self._idle.set()

    async def close(self) -> None:
        self.abandon()
        if self.state is not ModelState.FAILED:
            self._change(ModelState.GONE)

    def longest_run_s(self) -> float:
        """0: the runs are its models'."""
        return 0.0

    def stuck_caller(self, limit_s: float) -> str:
        return ""

    def interrupt(self, limit_s: float) -> bool:
        return False

    def give_up(self, reason: str) -> None:
        """Never called, since no run is its own; its stages' models are given up."""

    def trim(self) -> None:
        """It keeps no memory."""

    # What there is

    @property
    def asked(self) -> tuple[str, ...]:
        """The models of its stages; empty before its file was read."""
        return tuple(step.model for step in self._pipeline.steps) if self._pipeline is not None else ()

    @property
    def epoch(self) -> str:
        """Another one as soon as any of its models has another one."""
        return self._epoch_of([member.epoch for member in self._served()])

    @property
    def labels(self) -> Mapping[str, Sequence[str]]:
        """Of the models that its outputs come from, unless its own config.pbtxt has some."""
        if self._pipeline is None:
            return {}
        found: dict[str, Sequence[str]] = {}
        served = self._served()
        given = {tensor: output for step in self._pipeline.steps for output, tensor in step.outputs.items()}
        for output, tensor in self._pipeline.outputs.items():
            index = self._pipeline.producers.get(tensor)
            if index is not None and index < len(served) and given[tensor] in served[index].labels:
                found[output] = served[index].labels[given[tensor]]
        return {**found, **self.source.labels}

    @property
    def has_spare_runner(self) -> bool:
        """True while no call is under way."""
        return not self._calls

    @property
    def max_batch_size(self) -> int:
        """The fewest of its own and its models'; 0 where one of them takes one request at a time."""
        if self.config.batching == "never" or self.signature is None or not self.signature.free_first_axis:
            return 0
        return min([self.config.max_batch_size, *(member.max_batch_size for member in self._served())])

    def status(self) -> ModelStatus:
        served = self._served()
        amiss = self.state is ModelState.READY and bool(self._amiss)
        others = [
            f"{name} is not honoured: it is a setting of the pipeline's stages"
            for name in (field.name for field in dataclasses.fields(ModelConfig))
            if name not in _OWN_SETTINGS and getattr(self.config, name) != getattr(_DEFAULTS, name)
        ]
        return ModelStatus(
            name=self.name,
            version=self.version,
            state=ModelState.FAILED if amiss else self.state,
            reason=self._amiss if amiss else self._reason,
            platform=PIPELINE.platform,
            device=" and ".join(sorted({device for member in served if (device := member.status().device)})),
            signature=self.signature,
            config=self.config,
            routed=self.routed,
            version_labels=self._version_labels,
            weight=self._weight,
            max_batch_size=self.max_batch_size,
            labels=shown_labels(self.labels),
            batching="each stage is batched by its own model",
            execution="each stage where its model runs",
            digest=self.source.digest,
            size_bytes=self.source.size_bytes,
            loaded_at=self._loaded_at,
            load_s=self._load_s,
            queued=len(self._calls),
            formats=self.source.described.triton.formats,
            provenance=self.source.provenance,
            notes=(*self._sent, *self._said(), *others, *self._notes),
            epoch=self.epoch,
            pipeline=self._pipeline,
        )

    def description(self) -> Description:
        return Description(self.status())

    def _said(self) -> tuple[str, ...]:
        return self.source.described.notes(self.signature) if self.signature is not None else ()

    def _served(self) -> list[Served]:
        """What its steps' models are now; fewer where some are missing."""
        found = []
        for step in self._pipeline.steps if self._pipeline is not None else ():
            try:
                found.append(self._members.member(step.model, step.version))
            except WorkbenchError:
                return found
        return found

    def _look(self) -> str:
        """Why it cannot answer now, as a sentence; empty: it can."""
        assert self._pipeline is not None and self.signature is not None
        signatures = []
        for label, step in zip(self._pipeline.labels, self._pipeline.steps, strict=True):
            which = f"model {step.model!r}" + (f" version {step.version}" if step.version else "")
            try:
                member = self._members.member(step.model, step.version)
            except WorkbenchError:
                return f"{which} of stage {label!r} is not loaded; load it"
            if member.signature is None:
                return f"{which} of stage {label!r} is not Ready yet; try again later"
            if member.status().sequences is not None:
                return f"{which} of stage {label!r} keeps state between requests, which a pipeline cannot pass on"
            signatures.append(member.signature)
        return misfit(self._pipeline, self.signature, signatures)

    def _epochs(self, call: PipelineCall) -> list[str]:
        """Those of the models that answered it; of steps that it did not need, as they are now."""
        steps = range(len(self._pipeline.steps) if self._pipeline is not None else 0)
        served = [] if len(call.epochs) == len(steps) else self._served()
        return [
            call.epochs[index] if index in call.epochs else served[index].epoch
            for index in steps
            if index in call.epochs or index < len(served)
        ]

    def _epoch_of(self, epochs: Sequence[str]) -> str:
        return hashlib.blake2b(" ".join((self._own_epoch, *epochs)).encode(), digest_size=6).hexdigest()

    def _not_ready(self) -> str:
        if self.state is ModelState.READY:
            return f"pipeline {self.name!r} cannot answer now: {self._amiss}, and it answers again"
        reason = f" ({self._reason})" if self._reason else ""
        return f"pipeline {self.name!r} version {self.version} is {self.state.value}{reason}, not Ready"

    def _change(self, state: ModelState) -> None:
        self.state = state
        self._observer.model_changed(self.status())


class _Stage:
    """Takes the outcome of one stage of one call."""

    __slots__ = ("call", "index", "pipeline")

    def __init__(self, pipeline: PipelineDeployment, call: PipelineCall, index: int) -> None:
        self.pipeline = pipeline
        self.call = call
        self.index = index

    def done(self) -> bool:
        """Not where only the caller has left: the model would drop the stage without a word. `PipelineCall.left` says
        that, and then the stage fails."""
        return self.call.ended

    def set_result(self, result: InferResponse, /) -> None:
        self.pipeline.stage_ended(self.call, self.index, result)

    def set_exception(self, exception: WorkbenchError, /) -> None:
        self.pipeline.stage_failed(self.call, self.index, exception)


_DEFAULTS = ModelConfig()
