"""One inference as its caller saw it: from the first byte read to the last one written."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from workbench.core.messages import Timings


class Exchange(msgspec.Struct, gc=False):
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


_ENGINE = operator.attrgetter("queued_s", "batched_s", "ran_s", "split_s")
_NUMBERS = operator.attrgetter(
    *("arrived_at", "received_at", "decoded_at", "answered_at", "encoded_at", "sent_at"),
    *("request_bytes", "response_bytes"),
)


def engine_stages(timings: Sequence[Timings]) -> NDArray[np.float64]:
    """Seconds, a row a request: QUEUE, BATCH, COMPUTE, SPLIT."""
    return _table(_ENGINE, timings, 4)


def moments_and_sizes(exchanges: Sequence[Exchange]) -> NDArray[np.float64]:
    """A row an exchange: the six moments, in order; bytes of the request, and of the response."""
    return _table(_NUMBERS, exchanges, 8)


def stages_of(exchange: Exchange) -> dict[Stage, float | None]:
    """Seconds in each stage; None where it did not get that far, or nobody knows."""
    timings = exchange.timings
    engine = _ENGINE(timings) if timings is not None else (None,) * 4
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


def _table(read: operator.attrgetter[tuple[float, ...]], items: Sequence[object], width: int) -> NDArray[np.float64]:
    # Twice as fast as an array of a list of tuples.
    flat = itertools.chain.from_iterable(map(read, items))
    return np.fromiter(flat, np.float64, len(items) * width).reshape(-1, width)
