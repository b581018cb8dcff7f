"""Runs one worker process for the supervisor: starts it, reads its reports and output, ends it."""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from workbench.core.run_marks import Culprit, ModelKey, marked_runs, open_marks
from workbench.rendezvous.process_identity import process_key
from workbench.server.process.harmful_models import culprit_of
from workbench.server.process.startup import RECYCLE
from workbench.server.process.worker_channel import WorkerReport, WorkerSetup, decode_report
from workbench.telemetry.logs import Logs
from workbench.visible_text import visible

LONGEST_LINE = 64 * 1024

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
"""What native code dies of. SIGKILL, which the system sends to whom it has no memory for, anybody may have sent."""

_CRASHED_THREAD = re.compile(r"Current thread 0x([0-9a-f]{1,16}) ")
"""Python's faulthandler writes this of the thread that died."""


def worker_command(arguments: Sequence[str]) -> list[str]:
    """The command line of a worker with the flags of `serve`, without the value of its last flag."""
    safe = ["-P"] if sys.flags.safe_path else []
    return [sys.executable, *safe, "-m", "workbench", "serve", *arguments, "--worker"]


class Worker:
    """One worker process, from its start to its end."""

    def __init__(
        self,
        command: Sequence[str],
        listeners: tuple[socket.socket, socket.socket],
        logs: Logs,
        log_file: str,
        hold_s: float,
        now: float,
        *,
        may_give_up: bool = False,
        quarantine: Sequence[Sequence[str]] = (),
        suspended: Sequence[Sequence[str]] = (),
        apart: Sequence[Sequence[str | float]] = (),
    ) -> None:
        """`listeners`: of HTTP and of gRPC. `quarantine`, `suspended` and `apart`: see WorkerSetup."""
        self._logs = logs
        self._mark = f"{os.urandom(8).hex()} "
        self._link, theirs = socket.socketpair()
        self._marks = open_marks()
        with theirs, ExitStack() as unless_started:
            unless_started.callback(self._link.close)
            unless_started.callback(self._forget_marks)
            http, grpc = (each.fileno() for each in listeners)
            link = theirs.fileno()
            place = WorkerSetup(
                *(os.getpid(), link, http, log_file, hold_s, may_give_up, grpc, self._mark, self._marks),
                [list(each) for each in quarantine],
                [list(each) for each in suspended],
                [list(each) for each in apart],
            )
            passed = [link, http, grpc] + ([self._marks] if self._marks is not None else [])
            self.process = subprocess.Popen(
                [*command, place.encode()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=passed,
                start_new_session=True,  # Ctrl-C in a terminal is for the keeper, which tells the worker
            )
            unless_started.pop_all()
        self._link.setblocking(False)
        assert self.process.stderr is not None
        self._words = self.process.stderr.fileno()
        os.set_blocking(self._words, False)
        self.key = process_key(self.process.pid)
        self.report = WorkerReport()
        self.heard = False
        self.heard_at = now
        self.ready_at: float | None = None
        self.kill_at: float | None = None
        self.suspected_at: float | None = None
        self.asked = False
        """It was told to end."""
        self.rotations = 0
        """How many replacements of the token its keeper has followed."""
        self.kill_reason = ""
        """Why it is about to be killed; empty where it is not."""
        self.last_words: deque[str] = deque(maxlen=5)
        self._received = self._spoken = b""
        self._crashed_thread: int | None = None
        self._fatal = ""
        """What it died of, as Python's faulthandler says it before the stacks."""
        self._listening: list[object] = []

    def listen(self, selector: selectors.BaseSelector, heard: Callable[[], None]) -> None:
        """`heard` is called after each report."""
        selector.register(self._link, selectors.EVENT_READ, lambda: self._hear(selector, heard))
        selector.register(self._words, selectors.EVENT_READ, lambda: self.read_words(selector))
        self._listening = [self._link, self._words]

    def ask(self, word: bytes, kill_at: float) -> None:
        """Tell it to end (link.RESTART or link.STOP); what has not ended by `kill_at` is killed."""
        self.asked = True
        self.kill_at = kill_at if self.kill_at is None else min(kill_at, self.kill_at)
        try:
            self._link.send(word)
        except OSError:
            pass  # it is ending already
        if not self.heard:  # before it reads its link
            self.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        if self.process.poll() is None:  # not reaped, so the pid is still its own
            self.process.send_signal(number)

    def close(self, selector: selectors.BaseSelector) -> None:
        """Let go of a process that has ended, or was killed."""
        for each in self._listening:
            with suppress(KeyError, ValueError):
                selector.unregister(each)  # type: ignore[arg-type]
        self.process.wait()
        self._link.close()
        self._forget_marks()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def blamed(self) -> list[Culprit]:
        """Whose runs ended this process, once it has ended: those that it named itself, or the one in which it
        crashed. Empty where that is not known."""
        status = self.process.returncode
        if status == RECYCLE:
            callers = [*self.report.stuck_callers, *[""] * len(self.report.stuck)]  # a worker of before names none
            return [Culprit(ModelKey(*each), caller) for each, caller in zip(self.report.stuck, callers, strict=False)]
        if self._marks is None or -status not in _CRASHES:
            return []
        culprit = culprit_of(marked_runs(self._marks), self._crashed_thread)
        return [] if culprit is None else [culprit]

    def _forget_marks(self) -> None:
        if self._marks is not None:
            os.close(self._marks)
            self._marks = None

    def how_it_ended(self, blamed: Sequence[Culprit] = ()) -> str:
        """In one line; `blamed` is what is to blame."""
        during = " and of ".join(
            f"model {model.name!r} version {model.version}{f' for share {caller}' if caller else ''}"
            for model, caller in blamed
        )
        during = f" in a run of {during}" if during else ""
        status = self.process.returncode
        if self.kill_reason:
            return f"the worker was killed, because {self.kill_reason}"
        if status == RECYCLE:
            return f"the worker ended itself, because {'a run' if not during else during[4:]} did not end"
        said = f": {self._fatal or self.last_words[-1]}" if self.last_words else ""
        if status < 0:
            try:
                name = f" ({signal.Signals(-status).name})"
            except ValueError:
                name = ""
            said = said if status != -signal.SIGKILL else ""
            return f"the worker was killed by signal {-status}{name}{during}{said}"
        return f"the worker ended with exit status {status}{said}"

    def _hear(self, selector: selectors.BaseSelector, heard: Callable[[], None]) -> None:
        try:
            received = self._link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:  # it has ended, or is about to: SIGCHLD will tell
            selector.unregister(self._link)
            self._listening.remove(self._link)
            return
        if self._take(received):
            heard()

    def hear_rest(self) -> None:
        """Take what a process that has ended reported last."""
        with suppress(OSError):
            while received := self._link.recv(65536):
                self._take(received)

    def _take(self, received: bytes) -> bool:
        *lines, self._received = (self._received + received).split(b"\n")
        if not lines:
            return False
        try:
            self.report = decode_report(lines[-1])
        except ValueError:
            return False  # whatever has written there, it was no sign of life
        self.heard, self.heard_at = True, time.monotonic()
        return True

    def read_words(self, selector: selectors.BaseSelector | None = None) -> None:
        """Into the log, what there is to read; with a `selector` once, without to the end."""
        while True:
            try:
                said = os.read(self._words, 65536)
            except BlockingIOError:
                return
            if not said:
                if selector is not None:
                    selector.unregister(self._words)
                    self._listening.remove(self._words)
                elif self._spoken:
                    said = b"\n"
                else:
                    return
            *lines, self._spoken = (self._spoken + said).split(b"\n")
            if len(self._spoken) > LONGEST_LINE:
                lines, self._spoken = [*lines, self._spoken], b""
            for line in lines:
                text = line.decode("utf-8", "replace")
                formatted = text.startswith(self._mark)
                text = text.removeprefix(self._mark)
                if not formatted and (crashed := _CRASHED_THREAD.match(text)):
                    self._crashed_thread = int(crashed[1], 16)
                if not formatted and text.startswith("Fatal Python error: "):
                    self._fatal = visible(text.strip()[:300])
                self._logs.relay(text, formatted=formatted)
                if text.strip():
                    self.last_words.append(visible(text.strip()[:300]))
            if selector is not None:
                return
