"""The user's one service on this machine: the first process that needs it finds it, or starts it.

It outlives the process that started it. Each process that uses it holds a lease, and some minutes after the last of
them has ended the service ends too. It runs in its data folder, with the environment of the Jupyter server where there
is one: what a notebook has set for itself (PYTHONPATH, thread counts, devices) is not the service's business.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workbench.client.environment import service_environment, whose_environment
from workbench.config import ENVIRONMENT_PREFIX
from workbench.errors import StorageError, Unavailable, Unsupported
from workbench.rendezvous.atomic_files import last_lines
from workbench.rendezvous.compatibility import API, check_platform, check_versions
from workbench.rendezvous.folder import (
    RUNTIME_VARIABLE,
    STARTED_AS_VARIABLE,
    Rendezvous,
    data_folder,
    host_name,
    rendezvous,
)
from workbench.rendezvous.jupyter_address import jupyter_address
from workbench.rendezvous.leases import Lease, holders
from workbench.rendezvous.locks import try_lock
from workbench.rendezvous.process_identity import ProcessKey
from workbench.rendezvous.service_record import ServiceRecord, ServiceState
from workbench.visible_text import visible

START_TIMEOUT_S = 90.0
"""The longest wait for a service to start, restart or end."""

STOP_TIMEOUT_S = 60.0
"""Longer than a drain; then the keeper is killed, and its worker ends with it."""

KILL_S = 10.0
"""What a process may take to end that was killed."""

POLL_S = 0.02

NOTICE_S = 0.25
"""The time that the cause of a broken connection may take to show, and then to be published."""

STATE_KEY_VARIABLE = f"{ENVIRONMENT_PREFIX}STATE_KEY"
"""Machines that share a home each keep a list of their own of what to serve. It outlasts a boot."""

_OF_CLIENTS = tuple(f"{ENVIRONMENT_PREFIX}{name}" for name in ("URL", "READY_FILE", "TOKEN_FILE", "CA_FILE"))
"""Variables that tell a command line which service to call; a service is not given them."""


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a service, and the token for it."""

    url: str
    token: str | None
    token_file: str = ""
    """The file from which other programs of this user read the token."""
    keeper: ProcessKey | None = None
    """While it lives the service is there, or will be again; None where it is not known."""
    ca_file: str = ""
    """PEM by which its certificate is known; empty without TLS."""


def ensure_service() -> Address:
    """The user's shared service, Ready: the one that runs, after waiting where it starts or restarts, or a new one.

    Never two, however many call at once. This process holds a lease from then on. Raises Unavailable with the reason
    where there is none to be had, StorageError where its folders cannot be trusted or written, Unsupported where one
    of another API runs.
    """
    return shared_service().ensure()


def shared_service() -> SharedService:
    """This process's view of the shared service; starts nothing."""
    global _shared
    with _lock:
        room = rendezvous()
        if _shared is None or _shared.rendezvous.path != room.path:
            _shared = SharedService(room, data_folder())
            atexit.register(_shared.release)
        return _shared


class SharedService:
    """The service of one rendezvous, as a client sees it. Every call may block; any thread may call."""

    def __init__(self, rendezvous: Rendezvous, data_dir: Path, say: Callable[[str], None] | None = None) -> None:
        self.rendezvous = rendezvous
        self.data_dir = data_dir
        self._say = say or _say
        self._lease = Lease(rendezvous.leases)
        self._said: set[str] = set()
        """Messages that were shown already."""
        self._stops = 0
        """Number of times that this process told it to stop."""
        self._found = False
        """Whether this process has been given its address, and has not stopped it since."""

    def record(self) -> ServiceRecord | None:
        """The record of the running service; None where none runs."""
        return self.rendezvous.read()

    def ended(self) -> tuple[str, float]:
        """Why nothing runs, and since when (Unix time; 0: not known)."""
        last = self.rendezvous.last()
        if last is None:
            return "it has not been started yet", 0.0
        if last.state is ServiceState.STOPPED:
            return last.reason, last.since
        return f"its keeper, process {last.keeper.pid}, was killed or lost with its machine", 0.0

    def restores(self) -> bool:
        """Whether its worker is being replaced, and has not got all models back."""
        record = self.record()
        return record is not None and record.state is ServiceState.RESTARTING

    def jupyter_url(self) -> str:
        """Where others reach this service through a Jupyter server of this machine; empty: not known."""
        return jupyter_address(self.rendezvous.path)

    def holders(self) -> int:
        """The number of processes that hold a lease."""
        return len(holders(self.rendezvous.leases))

    def ensure(self, timeout_s: float = START_TIMEOUT_S, *, restarting: bool = False) -> Address:
        """See `ensure_service`. With `restarting`, one whose worker is being replaced is enough: it may answer for the
        models that are back, and calls wait in its queue until there is a worker."""
        check_platform()
        stops, until = self._stops, time.monotonic() + timeout_s
        self.rendezvous.open()
        # The lease comes first: the keeper that is about to end for want of one looks once more after it has said so.
        self._take_lease()
        while True:
            self._check_wanted(stops)
            record = self.record()
            if record is None:
                self._start_if_none_does()
            elif record.state is ServiceState.READY or (restarting and record.state is ServiceState.RESTARTING):
                self._check_version(record)
                self._found = True
                return address_of(record)
            elif record.state is ServiceState.FAILED:
                raise Unavailable(f"the service has failed: {record.reason}. {_TRY_AGAIN}")
            if time.monotonic() > until:
                state = "being started" if record is None else f"{record.state.value}: {_how_far(record)}"
                raise Unavailable(f"after {timeout_s:.0f} s the service is {state}. {_LOOK_AGAIN}")
            time.sleep(POLL_S)

    def restart(self) -> Address:
        """Another worker, or where another version runs another service, after what is under way is done."""
        record = self.record()
        if record is None:
            return self.ensure()
        if (record.version and record.version != _version()) or (record.api and record.api != API):
            self.stop()
            return self.ensure()
        _signal(record, "SIGUSR1")
        stops, until = self._stops, time.monotonic() + START_TIMEOUT_S
        while True:
            self._check_wanted(stops)
            now = self.record()
            if now is None or _restarted(record, now):
                return self.ensure()
            if time.monotonic() > until:
                raise Unavailable(f"the service did not restart within {START_TIMEOUT_S:.0f} s: it is {now.state}")
            time.sleep(POLL_S)

    def stop(self) -> bool:
        """End it after what is under way is done; False where none ran. Calls of this process that await it give up."""
        self._stops += 1
        record = self.record()
        if record is None:
            return False
        self._found = False
        _signal(record, "SIGTERM")
        until = time.monotonic() + STOP_TIMEOUT_S
        while record.keeper.alive:
            if (late_s := time.monotonic() - until) > 0:
                _signal(record, "SIGKILL")
            if late_s > KILL_S:  # it waits in the system itself, for a disk that does not answer
                raise Unavailable(
                    f"the service's keeper, process {record.keeper.pid}, did not end within "
                    f"{STOP_TIMEOUT_S + KILL_S:.0f} s, though it was killed; it ends once the system lets it"
                )
            time.sleep(POLL_S)
        return True

    def logs(self, lines: int) -> list[str]:
        """The last lines that it wrote, also when nothing runs."""
        return last_lines(self.rendezvous.path / "service.log", lines)

    def hold(self) -> None:
        """Have this process hold a lease, so that what runs stays. Starts nothing."""
        self.rendezvous.open()
        self._lease.take()

    def release(self) -> None:
        """Give this process's lease back; `ensure` takes it again."""
        self._lease.release()

    def happened(self, since: int) -> str:
        """What ended a request that began at `since` (processes.clock_of_processes), and may have run; empty: nothing
        did, and the connection was only closed, as a worker does that ends after what is under way."""
        until = time.monotonic() + NOTICE_S
        while True:
            record = self.record()
            if record is None:
                return "the service ended while it ran your request; it was not repeated, the next call starts another"
            if record.lost_at >= since:
                return f"the service was restarted while it ran your request{_why(record)}; it was not repeated"
            now = time.monotonic()
            if now > until and (record.worker is None or record.worker.alive):
                return ""
            if now > until + NOTICE_S:  # it has died, and its keeper does not say so
                return "the service ended while it ran your request; it was not repeated"
            time.sleep(POLL_S)

    def _take_lease(self) -> None:
        """Take the lease. Where it cannot be written, a running service is used without one."""
        try:
            self._lease.take()
        except StorageError as error:
            if self.record() is None:
                raise
            self._say_once(
                f"{error.message}, so this process holds no lease: the service ends some minutes after the last "
                "process that has one, or the last call"
            )

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _check_wanted(self, stops: int) -> None:
        if self._stops != stops:
            raise Unavailable("the service was told to stop while it was waited for")

    def _start_if_none_does(self) -> None:
        try:
            lock = try_lock(self.rendezvous.start_lock)
        except OSError as error:
            raise StorageError(f"the folder {self.rendezvous.path} cannot be used: {error.strerror}") from None
        if lock is None:
            return  # another process is starting one
        try:
            if self.record() is None:
                why, _ = self.ended()
                self._start()
                if self._found:
                    self._say(f"the service had ended ({why}); another one serves the same models now")
        finally:
            os.close(lock)

    def _start(self) -> None:
        data_dir = self.data_dir
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the data folder {data_dir} cannot be made: {error.strerror}") from None
        command = [sys.executable, "-P", "-m", "workbench", "serve", "--shared"]
        command += ["--http-port", "0", "--grpc-port", "0", "--data-dir", str(data_dir)]
        # What a notebook sets is its own business, but for what is meant for the service.
        meant = {name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT_PREFIX)}
        environment = service_environment() | {STATE_KEY_VARIABLE: host_name()} | meant
        for name in _OF_CLIENTS:
            environment.pop(name, None)
        environment[STARTED_AS_VARIABLE] = whose_environment()
        environment[RUNTIME_VARIABLE] = str(self.rendezvous.path.parent)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=data_dir,
                env=environment,
                start_new_session=True,
                timeout=START_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"the service did not start within {START_TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise Unavailable(f"the service could not be started: {error.strerror}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").splitlines() or last_lines(self.rendezvous.start_log, 1)
            words = said[-1].strip() if said else f"exit status {done.returncode}"
            raise Unavailable(f"the service did not start: {words}")

    def _check_version(self, record: ServiceRecord) -> None:
        try:
            word = check_versions(_version(), record.version, record.api)
        except Unsupported:
            self.release()
            raise
        if word:
            self._say_once(word)


def address_of(record: ServiceRecord) -> Address:
    return Address(record.url, record.token or None, record.token_file, record.keeper, record.ca_file)


# Read beside a button as well as below a cell.
_TRY_AGAIN = "Restart it to try again; its log tells more (in a notebook: `%infer restart`, `%infer logs`)"
_LOOK_AGAIN = "Wait and try again; its log tells more (in a notebook: `%infer logs`)"


def _restarted(before: ServiceRecord, now: ServiceRecord) -> bool:
    """Whether what was asked for has come to an end: a worker that is Ready, or none that could be started."""
    if now.state is ServiceState.FAILED:
        return (now.state, now.since) != (before.state, before.since)
    return now.state is ServiceState.READY and now.worker != before.worker


def _how_far(record: ServiceRecord) -> str:
    return "; ".join(each for each in (record.reason, record.progress) if each)


def _why(record: ServiceRecord) -> str:
    return f" ({record.reason})" if record.reason and record.worker is None else ""


def _say(line: str) -> None:
    """Tell what is no error: on stderr, but in a notebook, where all of that is red, as output in quiet type."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if getattr(shell, "kernel", None) is not None:
        sys.stdout.write(f"\x1b[90m{visible(line)}\x1b[0m\n")
    else:
        sys.stderr.write(f"{visible(line)}\n")


def _version() -> str:
    from importlib.metadata import version

    return version("infer-workbench")


def _signal(record: ServiceRecord, name: str) -> None:
    """Send it to the keeper, if that still is the process that published the record."""
    if record.keeper.alive:
        try:
            os.kill(record.keeper.pid, getattr(signal, name))
        except ProcessLookupError:
            pass
        except OSError as error:
            raise Unavailable(f"process {record.keeper.pid} cannot be signalled: {error.strerror}") from None


_lock = threading.Lock()
_shared: SharedService | None = None


def _after_fork() -> None:
    global _shared, _lock
    _lock = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
