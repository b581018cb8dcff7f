"""`Records`: finished requests as columns. The generator streams them in chunks, and every report aggregates them.

Times are seconds since the run began, on the generator's monotonic clock; NaN where a request did not get that far.
Latency counts from when a request was due, not from when it could be sent: during a stall of the server or the
generator requests go on being due. Leaving their wait out is known as coordinated omission.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InvalidInput

OUTCOMES: Final = (
    "ok",
    "invalid",  # what was sent cannot be used, or may not be: 4xx
    "rejected",  # a full queue, or 429
    "expired",  # the server says that the deadline passed: 504
    "failed",  # 500, 501, or no answer of the protocol
    "unavailable",  # not now: 503
    "connection",  # refused, reset, or closed before the answer was whole
    "timeout",  # no answer within the plan's timeout; the connection was given up
    "cancelled",  # under way when the run was stopped: how it would have ended is not known
)
"""How a request ended, as the client sees it; a row holds the index. Append new ones at the end."""

OK: Final = OUTCOMES.index("ok")
CANCELLED: Final = OUTCOMES.index("cancelled")

WARM_UP: Final = -1
"""The phase that is kept out of all figures; the plan's steps count from 0."""

ROW: Final = np.dtype(
    [
        ("scheduled_s", "<f8"),  # when it was due
        ("sent_s", "<f8"),  # when its bytes were handed to the connection
        ("first_byte_s", "<f8"),  # when the first byte of the answer came
        ("done_s", "<f8"),  # when it ended, however it ended
        ("outcome", "i1"),
        ("phase", "<i2"),  # of when it was due
        ("request_bytes", "<i4"),
        ("response_bytes", "<i4"),
        ("rows", "<i4"),  # rows of the model's input that it brought
    ]
)
"""The columns. Changing them takes another _MAGIC."""

_HEAD: Final = struct.Struct("<4sI")
_MAGIC: Final = b"IWR1"

Column: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Records:
    """Any number of rows, in the order in which they ended. Indexing with a slice or a mask gives Records."""

    data: NDArray[np.void]
    """Of dtype ROW; treat it as read-only."""

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float, float, int, int, int, int, int]] = ()) -> Records:
        """From tuples in the order of ROW's columns."""
        return cls(np.array(rows, ROW) if len(rows) else np.empty(0, ROW))

    @classmethod
    def packed(cls, data: bytes | bytearray) -> Records:
        """A view of `data`, rows packed one after another as ROW lays them out."""
        return cls(np.frombuffer(data, ROW))

    @classmethod
    def joined(cls, chunks: Iterable[Records]) -> Records:
        parts = [chunk.data for chunk in chunks]
        return cls(np.concatenate(parts) if parts else np.empty(0, ROW))

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Records:
        """Decode `to_bytes`. Raises InvalidInput for another version, or data that is cut short."""
        if len(data) < _HEAD.size:
            raise InvalidInput("these are no rows of a load test: too few bytes")
        magic, count = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise InvalidInput("these are no rows of a load test, or of another version of it")
        if len(data) != _HEAD.size + count * ROW.itemsize:
            raise InvalidInput(f"the rows of a load test are cut short: {count} were announced")
        return cls(np.frombuffer(data, ROW, count, _HEAD.size))

    def to_bytes(self) -> bytes:
        return _HEAD.pack(_MAGIC, len(self)) + self.data.tobytes()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, which: slice | Column) -> Records:
        return Records(self.data[which])

    def __repr__(self) -> str:
        return f"<Rows: {len(self)} requests>"

    @property
    def measured(self) -> Records:
        """The rows without the warm-up."""
        return self[self.phase != WARM_UP]

    @property
    def ok(self) -> Records:
        return self[self.outcome == OK]

    def step(self, number: int) -> Records:
        return self[self.phase == number]

    # Columns

    @property
    def scheduled_s(self) -> Column:
        return self.data["scheduled_s"]

    @property
    def sent_s(self) -> Column:
        return self.data["sent_s"]

    @property
    def first_byte_s(self) -> Column:
        return self.data["first_byte_s"]

    @property
    def done_s(self) -> Column:
        return self.data["done_s"]

    @property
    def outcome(self) -> Column:
        return self.data["outcome"]

    @property
    def phase(self) -> Column:
        return self.data["phase"]

    @property
    def request_bytes(self) -> Column:
        return self.data["request_bytes"]

    @property
    def response_bytes(self) -> Column:
        return self.data["response_bytes"]

    @property
    def rows(self) -> Column:
        return self.data["rows"]

    # What follows from them

    @property
    def latency_s(self) -> Column:
        """Seconds from when each was due until it ended, or failed."""
        latency: Column = self.done_s - self.scheduled_s
        return latency

    @property
    def late_s(self) -> Column:
        """Seconds that each waited in the generator for its turn or a free connection."""
        late: Column = self.sent_s - self.scheduled_s
        return late

    def counts(self) -> dict[str, int]:
        """Counts by outcome; those that did not occur are left out."""
        found = np.bincount(self.outcome, minlength=len(OUTCOMES))
        return {word: int(count) for word, count in zip(OUTCOMES, found, strict=True) if count}
