"""Notes in shared memory whose run is under way, so that the keeper of a process that died knows in whose run it died.

A mark is eight bytes that hold the thread inside the run, or 0. To set and clear it costs a run some 0.1 us. For which
share the run is stands beside it, and is written where it changes.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

_PLACES = 256
_PLACE_BYTES = 512
_HEAD = struct.Struct("QH")
"""The thread inside, and the bytes of the name that follows."""
_CALLER_BYTES = 16
"""At the end of a place: the share's id. What lies before is as earlier versions have it."""


class ModelKey(NamedTuple):
    """One load of one version."""

    name: str
    version: str
    digest: str


class MarkedRun(NamedTuple):
    """A run that was under way."""

    model: ModelKey
    thread: int
    """As threading.get_ident told it."""
    caller: str = ""
    """The share all of whose it was; empty: the owner's, several callers', or not known."""


class Culprit(NamedTuple):
    """What ended a process: a run of this model, and where it was all of one share's, that share."""

    model: ModelKey
    caller: str = ""


def open_marks() -> int | None:
    """A file descriptor of new marks, in memory where the system can; None where there is no room."""
    try:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("run-marks")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        os.truncate(descriptor, _PLACES * _PLACE_BYTES)
    except OSError:
        return None
    return descriptor


def marked_runs(descriptor: int) -> list[MarkedRun]:
    """The runs that were under way when the process that had the marks ended."""
    found = []
    for place in range(_PLACES):
        head = os.pread(descriptor, _PLACE_BYTES, place * _PLACE_BYTES)
        thread, length = _HEAD.unpack_from(head)
        if thread:
            model = ModelKey(*json.loads(head[_HEAD.size : _HEAD.size + length]))
            found.append(MarkedRun(model, thread, head[-_CALLER_BYTES:].rstrip(b"\0").decode()))
    return found


class RunMarks:
    """The marks as the process that runs models has them. Models beyond the room that there is go unmarked."""

    def __init__(self, descriptor: int | None = None, apart: Mapping[ModelKey, float] | None = None) -> None:
        """`descriptor` of `open_marks`, which this takes over; None: nobody reads the marks. `apart` are models whose
        callers are to have runs of their own for so many seconds from now on, so that a mark tells whose it is."""
        now = time.monotonic()
        self._apart_until = {model: now + left_s for model, left_s in (apart or {}).items()}
        self._free: list[int] = []
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None
        if descriptor is not None:
            self._memory = mmap.mmap(descriptor, _PLACES * _PLACE_BYTES)
            os.close(descriptor)
            self._free = list(range(_PLACES))[::-1]

    def apart_s(self, model: ModelKey) -> float:
        """For how many seconds the callers of this model are to have runs of their own; 0: they need not."""
        return max(0.0, self._apart_until.get(model, 0.0) - time.monotonic())

    def take(self, model: ModelKey) -> RunMark:
        """A place for the runs of this model, until `give_back`."""
        name = json.dumps(model).encode()
        with self._lock:
            if self._memory is None or not self._free or len(name) > _PLACE_BYTES - _HEAD.size - _CALLER_BYTES:
                return RunMark(memoryview(bytearray(8)).cast("Q"), None, memoryview(bytearray(_CALLER_BYTES)))
            place = self._free.pop()
        begin, end = place * _PLACE_BYTES, (place + 1) * _PLACE_BYTES
        self._memory[begin : begin + _HEAD.size + len(name)] = _HEAD.pack(0, len(name)) + name
        places = memoryview(self._memory)
        return RunMark(places[begin : begin + 8].cast("Q"), place, places[end - _CALLER_BYTES : end])

    def give_back(self, mark: RunMark) -> None:
        """Nothing runs there any more."""
        mark.thread[0] = 0
        mark.note("")
        if mark.place is not None:
            with self._lock:
                self._free.append(mark.place)


class RunMark(NamedTuple):
    """Where the runs of one model are noted."""

    thread: memoryview[int]
    """Its one element is the thread inside a run; 0: none is."""
    place: int | None
    caller: memoryview[int]

    def note(self, caller: str) -> None:
        """Say whose the run is: a share's id, or empty."""
        noted = caller.encode()[:_CALLER_BYTES]
        self.caller[:] = noted.ljust(_CALLER_BYTES, b"\0")
