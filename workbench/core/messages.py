"""A request and its answer, free of any transport.

What is made for each request is a msgspec.Struct, here and in the engine: making one takes 70 to 80 ns, and 200 ns as a
dataclass with slots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import msgspec

from workbench.core.tensor import Array

Parameter = bool | int | float | str

_NO_PARAMETERS: Mapping[str, Parameter] = MappingProxyType({})


GUEST_PRIORITY = -1
"""The `priority` of requests of shares; no caller can send it."""


class ReleaseReason(StrEnum):
    """Why a batch was handed to a runner when it was."""

    IDLE = "idle"
    """A runner was free, so nothing waited."""
    FULL = "full"
    """No further request fitted the largest (or the best measured) batch size."""
    DELAY = "delay"
    """The configured queue delay was over."""
    SHAPE = "shape"
    """The next request in line has another shape, so it could not join."""
    ALONE = "alone"
    """The model is served unbatched, or its batch failed and its members were run again one by one."""
    DRAIN = "drain"
    """The version is going; what had been accepted is finished."""


class CacheUse(StrEnum):
    """Where an answer came from that a model with a result cache gave."""

    NONE = ""
    """It was run."""
    HIT = "hit"
    """It had been kept: an equal request was run before."""
    JOINED = "joined"
    """An equal request was under way, and its run answered both."""
    REMOTE = "remote"
    """As HIT; it had been kept where several services keep answers together."""


class Timings(msgspec.Struct):
    """The parts of a request's time inside the engine, in seconds, and the batch that it ran in."""

    queued_s: float = 0.0
    """From acceptance until its batch was formed."""
    batched_s: float = 0.0
    """Joining the inputs of its batch."""
    ran_s: float = 0.0
    """Inside the runtime, for the whole batch."""
    split_s: float = 0.0
    """Splitting the outputs and getting back to the event loop."""
    batch_size: int = 0
    """Rows in its batch, its own included."""
    batch_requests: int = 0
    """Requests in its batch, itself included."""
    release_reason: ReleaseReason = ReleaseReason.IDLE
    rows: int = 0
    """Rows of the request itself."""
    batch_rows: Sequence[int] = ()
    """Rows of each request in its batch, itself included; one list for all of them."""
    stages: Sequence[StageTimings] = ()
    """Of a pipeline of models, its stages in the order in which they ended. Its own parts are then those of the stages
    that others waited for, and its batch is that of the stage that took longest."""
    cache: CacheUse = CacheUse.NONE
    """Where it was not run itself: its time is then that of waiting, and its batch is 0."""

    @property
    def total_s(self) -> float:
        return self.queued_s + self.batched_s + self.ran_s + self.split_s


class StageTimings(msgspec.Struct):
    """One stage of a request to a pipeline of models."""

    stage: str
    version: str
    """Of the model that answered."""
    began_s: float
    """Seconds from the request's acceptance until the stage was asked."""
    timings: Timings


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """The place of a request in a sequence of requests, for a model that keeps state between them."""

    id: int | str
    """What its caller calls the sequence. 0 or an empty text is none."""
    start: bool = False
    """It is the first of its sequence."""
    end: bool = False
    """It is the last."""
    caller: str = ""
    """The share that it is of; empty: the owner. No caller steps into a sequence of another."""

    @property
    def key(self) -> int | str | tuple[str, int | str]:
        """Tells the sequence from all others of its model."""
        return (self.caller, self.id) if self.caller else self.id


class InferRequest(msgspec.Struct):
    """One inference: arrays in, arrays out."""

    model: str
    inputs: Mapping[str, Array]
    version: str | None = None
    """None: the version that the router sends this request to."""
    outputs: tuple[str, ...] = ()
    """The outputs wanted, in this order; empty: all, in the model's order."""
    id: str = ""
    priority: int = 0
    deadline: float | None = None
    """On the engine's clock (monotonic seconds); None: none."""
    parameters: Mapping[str, Parameter] = _NO_PARAMETERS
    trace: str = ""
    """The caller's place in a distributed trace, as a W3C traceparent; empty: none."""
    sequence: SequenceStep | None = None
    """None: the request stands alone."""
    caller: str = ""
    """The id of the share that calls, by which failures of a model are counted; empty: the owner."""
    abandoned: Callable[[], bool] | None = None
    """Asked from a runner's thread when the batch is formed; True: the caller left, so the request is dropped."""


class InferResponse(msgspec.Struct):
    """The answer to one InferRequest. The arrays may be views of a larger batch: treat them as read-only."""

    model: str
    version: str
    outputs: Mapping[str, Array]
    id: str = ""
    timings: Timings = msgspec.field(default_factory=Timings)
    epoch: str = ""
    """The `ModelStatus.epoch` of what answered; empty: a server that tells none."""
