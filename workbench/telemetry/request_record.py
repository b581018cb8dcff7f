"""The record of one inference, from the first byte read to the last one written."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from workbench.core.messages import Timings

LONGEST_MESSAGE = 300
"""Characters of an error's message that are kept."""

MOMENTS = 8
"""Doubles that are noted of an inference that was answered: its six times, then the bytes of request and response."""


class RequestRecord(msgspec.Struct, gc=False):
    """One inference: its times, sizes and outcome. Times are readings of the engine's clock, in seconds; 0 means that
    the inference did not get that far.
    """

    model: str
    version: str
    """The version that answered; empty where it is not known."""
    request_id: bytes
    arrived_at: float
    """When the head of the request had been read."""
    received_at: float = 0.0
    """When the body had been read."""
    decoded_at: float = 0.0
    answered_at: float = 0.0
    """When the engine had returned its response."""
    encoded_at: float = 0.0
    sent_at: float = 0.0
    """When all of the response had been handed to the connection, or the error was known."""
    request_bytes: int = 0
    response_bytes: int = 0
    timings: Timings | None = None
    """Set by the engine; None where the request was not run, or its run failed."""
    error: str = ""
    """The code of the error that the caller got; empty if it got the outputs."""
    trace: str = ""
    """The caller's traceparent, validated; empty if none came."""
    id: str = ""
    """The id in the body of the request."""
    message: str = ""
    """The error's message, cut to LONGEST_MESSAGE."""

    @property
    def duration_s(self) -> float:
        """Seconds from the body's arrival until the response had left: the time that the service is responsible for."""
        return self.sent_at - (self.received_at or self.sent_at)

    @property
    def trace_id(self) -> str:
        """The id of the caller's trace: 32 hexadecimal digits, or empty."""
        return self.trace[3:35]


class Stage(IntEnum):
    """The stages of an inference, in order."""

    RECEIVE = 0
    """Reading the body: depends on the caller and the network."""
    DECODE = 1
    QUEUE = 2
    BATCH = 3
    """Joining the inputs of its batch."""
    COMPUTE = 4
    SPLIT = 5
    """Splitting the outputs and getting back to the event loop."""
    ENCODE = 6
    SEND = 7
    """Handing the response to the connection: no time, unless the caller reads too slowly."""


def stages_of(exchange: RequestRecord) -> dict[Stage, float | None]:
    """Return the seconds in each stage; None where the inference did not get that far, or it is not known."""
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
