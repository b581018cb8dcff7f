"""One inference as its caller saw it: from the first byte read to the last one written."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from workbench.core.messages import Timings

LONGEST_MESSAGE = 300
"""Characters of an error's message that are kept."""


class RequestRecord(msgspec.Struct, gc=False):
    """What is noted of an inference on its way. The moments are readings of the engine's clock, in seconds; 0 is one
    that it did not come to.
    """

    model: str
    version: str
    """The one that answered; empty where none is known."""
    request_id: bytes
    arrived_at: float
    """Its head was read."""
    received_at: float = 0.0
    """Its body was read."""
    decoded_at: float = 0.0
    answered_at: float = 0.0
    """The engine's answer was back."""
    encoded_at: float = 0.0
    sent_at: float = 0.0
    """The answer was handed to the connection, whole; or the error was known."""
    request_bytes: int = 0
    response_bytes: int = 0
    timings: Timings | None = None
    """Of the engine; None where the request was not run, or its run failed."""
    error: str = ""
    """The code of the error that the caller got; empty: the outputs."""
    trace: str = ""
    """The caller's traceparent, checked; empty: none came."""
    id: str = ""
    """The protocol's own id, in the body."""
    message: str = ""
    """What the error said, cut to LONGEST_MESSAGE."""

    @property
    def duration_s(self) -> float:
        """From the body's arrival until the answer had left: what this service has to answer for."""
        return self.sent_at - (self.received_at or self.sent_at)

    @property
    def trace_id(self) -> str:
        """The trace that the caller's span belongs to: 32 hexadecimal digits, or empty."""
        return self.trace[3:35]


class Stage(IntEnum):
    """Where an inference's time goes, in the order of its way."""

    RECEIVE = 0
    """Reading the body: the caller's pace, and the network's."""
    DECODE = 1
    QUEUE = 2
    BATCH = 3
    """Joining the inputs of its batch."""
    COMPUTE = 4
    SPLIT = 5
    """Splitting the outputs and getting back to the event loop."""
    ENCODE = 6
    SEND = 7
    """Handing the answer to the connection: no time, unless the caller reads slower than is written."""


def stages_of(exchange: RequestRecord) -> dict[Stage, float | None]:
    """Seconds in each stage; None where it did not get that far, or nobody knows."""
    timings = exchange.timings
    engine: tuple[float | None, ...] = (None,) * 4
    if timings is not None:
        engine = timings.queued_s, timings.batched_s, timings.ran_s, timings.split_s
    return dict(
        zip(
            Stage,
            (
                _span(exchange.arrived_at, exchange.received_at),
                _span(exchange.received_at, exchange.decoded_at),
                *engine,
                _span(exchange.answered_at, exchange.encoded_at),
                _span(exchange.encoded_at, exchange.sent_at),
            ),
            strict=True,
        )
    )


def _span(begin: float, end: float) -> float | None:
    return end - begin if begin and end else None
