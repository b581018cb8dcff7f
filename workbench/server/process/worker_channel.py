"""Connects supervisor and worker by a socket pair: the worker reports on it, and ends when the other side closes."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

REPORT_EVERY_S = 0.25

ORPHAN_S = 2.0
"""The time that a worker has to finish its requests once its supervisor is gone."""

RESTART, STOP = b"r", b"s"
"""What the keeper asks for: end after what is under way, leaving new connections to the next worker, or for good."""


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's report to its supervisor."""

    ready: bool = False
    accepting: bool = False
    """True where it takes connections from the socket that it shares with its supervisor."""
    progress: str = ""
    """Progress of loading the models of the last run, in words; empty before and after."""
    loop_s: float = 0.0
    """Seconds since the event loop last ran."""
    run_s: float = 0.0
    """The longest that a runner has been inside one run."""
    unused_s: float = 0.0
    """Seconds since the last request that counts as use."""
    version: str = ""
    api: int = 0
    rotations: int = 0
    """How often it has replaced the token in its file."""
    stuck: list[list[str]] = field(default_factory=list)
    """Name, version and digest of the models with a run that did not end, for which it is about to end itself."""
    stuck_callers: list[str] = field(default_factory=list)
    """Of each of them the share all of whose these runs are; empty: the owner's, or several callers'."""

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


Told = TypeVar("Told", WorkerReport, "WorkerSetup")


def decode_report(line: bytes) -> WorkerReport:
    """ValueError for what is none."""
    return _made(WorkerReport, line)


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """A worker's start parameters, passed as the value of a hidden flag."""

    keeper_pid: int
    link: int
    """File descriptor of the worker's end of the socket pair."""
    listener: int
    """File descriptor of the listening socket of HTTP, which the keeper owns."""
    log_file: str
    """The file to which the supervisor writes the worker's output."""
    hold_s: float
    """For how long connections are left waiting while models load; 0: answer at once that the service is starting."""
    may_give_up: bool = False
    """Whether a model that fails at the start may end the service: the first start of one that a user began by hand."""
    grpc_listener: int | None = None
    """The same of gRPC; None from the keeper of an earlier version, which owns none."""
    log_mark: str = ""
    """What its log writes before each line on stderr, and native code, which writes there too, cannot know."""
    marks: int | None = None
    """File descriptor of core.run_marks; None: nobody reads them."""
    quarantine: list[list[str]] = field(default_factory=list)
    """Name, version, digest and reason of the models that it may not serve before somebody loads them anew."""
    suspended: list[list[str]] = field(default_factory=list)
    """Share, model and reason of those whose requests for that model it may not take any more."""
    apart: list[list[Any]] = field(default_factory=list)
    """Name, version and digest of models whose callers may not share a run, and for how many seconds."""

    def encode(self) -> str:
        return json.dumps(asdict(self))


def decode_setup(text: str) -> WorkerSetup:
    return _made(WorkerSetup, text)


def _made(kind: type[Told], text: str | bytes) -> Told:
    """Unknown fields are ignored: an installation may be replaced while its supervisor runs."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"this is no {kind.__name__}")
    try:
        return kind(**{each.name: found[each.name] for each in fields(kind) if each.name in found})
    except TypeError as error:
        raise ValueError(f"this is no {kind.__name__}: {error}") from None


class SupervisorChannel:
    """The worker's end. Reports from a thread of its own, so that a busy event loop does not look like a dead one."""

    def __init__(self, place: WorkerSetup) -> None:
        self.place = place
        self.listener = socket.socket(fileno=place.listener)
        self.grpc_listener = None if place.grpc_listener is None else socket.socket(fileno=place.grpc_listener)
        self._socket = socket.socket(fileno=place.link)
        self._socket.setblocking(False)
        self._writing = threading.Lock()

    def start(self, report: Callable[[], WorkerReport], asked: Callable[[bytes], None]) -> None:
        """`asked` is called on the link's thread with RESTART or STOP; at the keeper's end with RESTART, soon
        followed by the end of this process, whatever it does."""
        self._report = report
        threading.Thread(target=self._serve, args=(asked,), name="keeper-link", daemon=True).start()

    def report(self) -> None:
        """Say now how things stand. From any thread."""
        with self._writing:
            try:
                self._socket.send(self._report().encode())
            except OSError:
                pass  # a keeper that does not read, or is gone: the thread that waits for its end sees to that

    def _serve(self, asked: Callable[[bytes], None]) -> None:
        while True:
            self.report()
            readable, _, _ = select.select([self._socket], [], [], REPORT_EVERY_S)
            if not readable:
                continue
            try:
                words = self._socket.recv(64)
            except BlockingIOError:
                continue
            except OSError:
                words = b""
            for word in words:
                asked(bytes([word]))
            if not words:
                self._orphaned(asked)

    def _orphaned(self, asked: Callable[[bytes], None]) -> None:
        timer = threading.Timer(ORPHAN_S, os._exit, [1])
        timer.daemon = True
        timer.start()
        try:
            sys.stderr.write("the keeper is gone, and so this worker ends\n")
        except OSError:
            pass  # it was the keeper that read this
        asked(RESTART)  # connections that come from now on find nobody, instead of one who is about to go
        timer.join()
