"""The supervisor: a small process that owns the listening sockets and keeps a worker serving on them.

Users know it as the keeper. It imports neither numpy nor a web server, so that nothing a model does can harm it. It
writes the worker's stderr to the log, and publishes the worker's reports where the service is a user's shared one.

    Starting ─► Ready ─► Restarting ─► Ready      a worker that ends is followed by the next
        └──────────────────────┴─► Failed         after three starts in a row that came to nothing
                                    └─► Starting  when somebody asks for a restart
"""

from __future__ import annotations

import dataclasses
import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from workbench.config import ServerConfig
from workbench.errors import Conflict, StorageError, Unavailable, WorkbenchError
from workbench.rendezvous.folder import Rendezvous
from workbench.rendezvous.leases import holders
from workbench.rendezvous.locks import try_lock
from workbench.rendezvous.process_identity import ProcessKey, boot_ticks, this_process
from workbench.rendezvous.service_record import ServiceRecord, ServiceState
from workbench.rendezvous.stale_cleanup import forget_earlier_boots
from workbench.rendezvous.token_file import read_token
from workbench.server.process.descriptors import raise_descriptor_limit
from workbench.server.process.harmful_models import REPEATS, REPEATS_S, HarmfulModels
from workbench.server.process.restart_policy import GIVE_UP_AFTER, RestartPolicy
from workbench.server.process.signals import RESTART_SIGNAL, Signals
from workbench.server.process.startup import (
    MISUSE,
    OK,
    RECYCLE,
    Listener,
    bind,
    bind_grpc,
    forget_ready_file,
    grpc_address,
    prepare,
    trusted_file,
    url_of,
)
from workbench.server.process.token_files import load_or_create_token
from workbench.server.process.unavailable_grpc import GrpcConversation
from workbench.server.process.unavailable_responder import HttpConversation, UnavailableResponder
from workbench.server.process.worker import Worker
from workbench.server.process.worker_channel import RESTART, STOP, WorkerReport
from workbench.telemetry.logs import FILE_NAME, Logs

STACKS_SIGNAL = signal.SIGUSR2
STACKS_S = 1.5
"""How long a worker that is to be killed may take to write the stacks of its threads to the log, also where the machine
is so busy that this is why."""

HOLD_S = 10.0
"""The time that a connection waits for the next worker; then the supervisor answers 503 in its place."""

FIRST_WORD_S = 60.0
"""From a worker's start to its first report; its imports lie in between."""

RUN_GRACE_S = 15.0
"""A worker sees to stuck runs itself; beyond its limit and this, the keeper does."""

SUSPECT_S = 0.6
"""How long something must be wrong with a worker: one that slept with its machine reports well right afterwards."""

GRACE_S = 10.0
"""Beyond the drain, what a worker may take to end after it was told to."""

TICK_S = 0.5
SWEEP_S = 2.0

log = logging.getLogger("workbench.keeper")


def supervise(
    config: ServerConfig,
    command: Sequence[str],
    rendezvous: Rendezvous | None = None,
    published: Callable[[], None] = lambda: None,
) -> int:
    """Keep a worker running until SIGTERM or SIGINT; the exit status.

    `command` starts a worker, but for the value of its last flag. With a `rendezvous` it is the user's shared service,
    which ends some time after its last lease; `published` is then called once clients can find it.
    Raises WorkbenchError for what stands against starting at all.
    """
    prepared = prepare(config)
    config = prepared.config
    raise_descriptor_limit(config.limits.max_connections)
    lock = _lock(rendezvous) if rendezvous is not None else None
    before = rendezvous.last() if rendezvous is not None else None
    listener = _bind(config, before)
    grpc_listener = bind_grpc(config, before.grpc if before is not None else None)
    forget_ready_file(config)
    log_dir = rendezvous.path if rendezvous is not None else config.data_dir
    secrets = [prepared.token] if prepared.token else []
    logs = Logs(log_dir, config.log_format, secrets, to_stream=rendezvous is None)
    log.info("the data folder is %s", config.data_dir)
    record = ServiceRecord(
        url=url_of(config, listener.getsockname()[1]),
        token=prepared.token or "",
        token_file=str(prepared.token_file or ""),
        keeper=this_process(),
        reason="its process is coming up",
        since=time.time(),
        data_dir=str(config.data_dir),
        log_file=str(log_dir / FILE_NAME),
        grpc=grpc_address(config.host, grpc_listener),
        ca_file=trusted_file(config),
    )
    supervisor = Supervisor(config, (listener, grpc_listener), logs, record, command, rendezvous)
    try:
        if rendezvous is not None:
            rendezvous.publish(record)
            published()
            for name in forget_earlier_boots(rendezvous):
                log.info("removed what an earlier boot of this machine left: %s", name)
        if before is not None and before.worker is not None:
            _wait_for_orphan_worker(before.worker)
        return supervisor.run()
    finally:
        supervisor.close()
        listener.close()
        grpc_listener.close()
        if rendezvous is not None:
            with suppress(WorkbenchError, OSError):
                rendezvous.withdraw(record.keeper, supervisor.reason, time.time())
        with suppress(StorageError):
            forget_ready_file(config)
        logs.close()
        if lock is not None:
            os.close(lock)


class Supervisor:
    """One loop, no threads: it waits on the worker's link and stderr, on signals, and for the time to pass."""

    def __init__(
        self,
        config: ServerConfig,
        listeners: tuple[Listener, Listener],
        logs: Logs,
        record: ServiceRecord,
        command: Sequence[str],
        rendezvous: Rendezvous | None,
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._logs = logs
        self._record = record
        self._command = list(command)
        self._rendezvous = rendezvous
        self._selector = selectors.DefaultSelector()
        http, grpc = listeners
        # With TLS, which the keeper does not load, connections are closed.
        self._unavailable = UnavailableResponder(
            http,
            self._selector,
            (lambda: HttpConversation(self._record.token or None, self._why, self._code))
            if config.tls_cert is None
            else None,
        )
        converse = GrpcConversation if config.grpc_certificate is None else None
        self._grpc_unavailable = UnavailableResponder(grpc, self._selector, converse)
        self._restarts = RestartPolicy()
        self._harmful = HarmfulModels()
        self._quarantine: list[tuple[str, ...]] = []
        """What the next worker that gets Ready is to note (WorkerSetup.quarantine)."""
        self._suspended: list[tuple[str, str, str]] = []
        """The same of shares (WorkerSetup.suspended)."""
        self._worker: Worker | None = None
        self._start_at: float | None = 0.0
        """The time at which to start the next worker; None: none is due."""
        self._accepting_at = time.monotonic()
        """The last time that a worker took connections."""
        self._unpublished = False
        self._swept_at = self._ticked_at = time.monotonic()
        self._needed_at = self._swept_at
        """The last time that a lease was held, or a request came without one."""
        self._exit: int | None = None
        """The exit status, once the worker is gone; set when the end was asked for."""

    def run(self) -> int:
        """Until the end is asked for and the last worker is gone."""
        with Signals(self._selector, self._signalled):
            while True:
                now = time.monotonic()
                if self._tick(now) and self._exit is not None:
                    return self._exit
                wait_s = TICK_S if self._start_at is None else min(max(self._start_at - now, 0.0), TICK_S)
                for key, _ in self._selector.select(wait_s):
                    key.data()

    def close(self) -> None:
        """End a worker that is left, at once."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.close(self._selector)
            self._worker = None
        self._selector.close()

    @property
    def reason(self) -> str:
        """Why it is in its present state."""
        return self._record.reason

    # Decisions

    def _tick(self, now: float) -> bool:
        """See to everything that is due; True when no worker is left and none will follow."""
        self._unavailable.tick(now)
        self._grpc_unavailable.tick(now)
        worker = self._worker
        if worker is not None and worker.process.poll() is not None:
            self._ended(worker, now)
        elif worker is not None:
            self._watch(worker, now)
        if self._worker is None and self._start_at is not None and now >= self._start_at:
            self._start(now)
        if self._worker is not None and self._worker.report.accepting:
            self._is_accepting(now)
        elif self._exit is None and (self._failed or now - self._accepting_at > HOLD_S):
            self._answer_instead()
        if self._rendezvous is not None and now - self._swept_at >= min(SWEEP_S, self._config.idle_end_s / 4):
            self._swept_at = now
            self._sweep(self._rendezvous, now)
        self._ticked_at = now
        return self._worker is None and self._start_at is None

    def _watch(self, worker: Worker, now: float) -> None:
        if worker.kill_at is not None:
            if now >= worker.kill_at:
                worker.kill()
            return
        if now - self._ticked_at > 4 * TICK_S:  # it is the keeper that was not there: a machine that slept
            worker.heard_at = now
        why = health_problem(worker.report if worker.heard else None, now - worker.heard_at, self._config)
        if not why:
            worker.suspected_at = None
        elif worker.suspected_at is None:
            worker.suspected_at = now
        elif now - worker.suspected_at > SUSPECT_S:
            self._mark_for_kill(worker, why, now)

    def _mark_for_kill(self, worker: Worker, why: str, now: float) -> None:
        """Kill it soon: first it writes the stacks of its threads into the log."""
        log.error("the worker is killed: %s", why)
        worker.kill_reason = why
        worker.signal(STACKS_SIGNAL)
        worker.kill_at = now + STACKS_S

    def _ended(self, worker: Worker, now: float) -> None:
        status = worker.process.returncode
        worker.read_words()
        worker.hear_rest()
        blamed = worker.blamed()
        if worker.ready_at is None and (worker.report.ready or blamed):
            worker.ready_at = now  # it served, and ended before it could say so
        if worker.ready_at is not None:
            self._quarantine.clear()  # it has noted them
            self._suspended.clear()
        worker.close(self._selector)
        self._worker = None
        if not worker.asked or status:
            self._record = dataclasses.replace(self._record, lost_at=boot_ticks())
        if self._exit is not None:
            return
        ready_s = None if worker.ready_at is None else now - worker.ready_at
        if status == MISUSE and ready_s is None and self._rendezvous is None and self._record.version == "":
            self._exit = MISUSE  # it has said why; what its flags name will not come right by trying again
            return
        if worker.asked:
            self._start_at = now
            return
        why = worker.how_it_ended(blamed)
        log.error("%s", why)
        for culprit in blamed:
            if self._harmful.ended(culprit, now):
                model, share = culprit
                reason = (
                    f"its {'requests' if share else 'runs'} ended the service {REPEATS} times within "
                    f"{REPEATS_S / 60:g} minutes, the last time so: {worker.how_it_ended()}"
                )
                if share:
                    log.error("share %s is suspended for model %r: %s", share, model.name, reason)
                    self._suspended.append((share, model.name, reason))
                else:
                    log.error("model %r version %s is quarantined: %s", model.name, model.version, reason)
                    self._quarantine.append((*model, reason))
        if status == RECYCLE and ready_s is not None:
            wait_s: float | None = 0.0
        else:
            wait_s = self._restarts.after(ready_s)
        if wait_s is None:
            self._publish(ServiceState.FAILED, f"{GIVE_UP_AFTER} starts in a row failed, the last one so: {why}")
            self._answer_instead()
            return
        self._start_at = now + wait_s
        self._publish(ServiceState.RESTARTING, why)

    def _sweep(self, rendezvous: Rendezvous, now: float) -> None:
        """Repair what was done to the folder, and end a service that has been idle for `idle_end_s`."""
        with suppress(WorkbenchError):
            last = rendezvous.last()
            if last is not None and last.keeper != self._record.keeper and last.keeper.alive:
                self._stop(OK, "another service has taken its place")
                return
            if last is None or self._unpublished:
                rendezvous.open()
                self._publish(self._record.state, self._record.reason)
        if self._exit is not None:
            return
        if holders(rendezvous.leases):
            self._needed_at = now
        elif now - self._needed_at >= self._config.idle_end_s:
            state, reason = self._record.state, self._record.reason
            idle = f"idle: no client for {self._config.idle_end_s:g} s"
            self._publish(ServiceState.STOPPING, idle)
            # A process that took a lease before this was written may have found the service and be about to use it; one
            # that takes a lease from now on finds it stopping, and waits.
            if holders(rendezvous.leases):
                self._needed_at = now
                self._publish(state, reason)
            else:
                self._stop(OK, idle)

    # Acts

    def _start(self, now: float) -> None:
        self._start_at = None
        self._follow_token()  # the worker reads the file, too
        state = ServiceState.STARTING if self._record.version == "" else ServiceState.RESTARTING
        first_by_hand = self._rendezvous is None and self._record.version == ""
        hold_s = 0.0 if first_by_hand else HOLD_S
        try:
            worker = Worker(
                *(self._command, self._listeners, self._logs, self._record.log_file, hold_s, now),
                may_give_up=first_by_hand,
                quarantine=self._quarantine,
                suspended=self._suspended,
                apart=[[*model, left_s] for model, left_s in self._harmful.suspects(now)],
            )
        except OSError as error:
            why = f"a worker could not be started: {error.strerror}"
            log.error("%s", why)
            wait_s = self._restarts.after(None)
            if wait_s is None:
                self._publish(ServiceState.FAILED, why)
            else:
                self._start_at = now + wait_s
                self._publish(state, why)
            return
        self._worker = worker
        worker.listen(self._selector, lambda: self._heard(worker))
        self._publish(state, self._record.reason, worker=worker.key)

    def _heard(self, worker: Worker) -> None:
        report = worker.report
        self._needed_at = max(self._needed_at, worker.heard_at - report.unused_s)
        if report.accepting:
            self._is_accepting(time.monotonic())
        if report.rotations != worker.rotations:
            worker.rotations = report.rotations
            self._follow_token()
        if worker.asked:
            return  # however it stands, it is about to end
        if report.ready and worker.ready_at is None:
            worker.ready_at = time.monotonic()
            restarted = self._record.version != ""
            self._record = dataclasses.replace(self._record, version=report.version, api=report.api)
            reason = self._record.reason if restarted else ""
            self._publish(ServiceState.READY, reason)
        elif report.progress != self._record.progress:
            self._publish(self._record.state, self._record.reason, progress=report.progress)

    def _is_accepting(self, now: float) -> None:
        """A worker takes connections, or has `HOLD_S` to come to that; nobody answers in its place."""
        self._accepting_at = now
        if self._exit is None:
            self._unavailable.close()
            self._grpc_unavailable.close()

    def _code(self) -> str:
        """The error's code: whether a worker will take what is refused now."""
        return "unavailable" if self._record.state is ServiceState.FAILED or self._exit is not None else "draining"

    def _answer_instead(self) -> None:
        self._unavailable.open()
        self._grpc_unavailable.open()

    def _follow_token(self) -> None:
        """Go on with the token in the file, which a worker or the user may have replaced; put it back where it is gone.
        So a token that was replaced is never valid again."""
        config = self._config
        if not config.auth:
            return
        try:
            if config.token_file is not None:
                token = read_token(config.token_file)
            else:
                token, _ = load_or_create_token(config.data_dir, self._record.token)
        except WorkbenchError as error:
            log.error("%s", error.message)
            return
        if token != self._record.token:
            self._logs.add_secret(token)
            self._record = dataclasses.replace(self._record, token=token)
            self._publish(self._record.state, self._record.reason, progress=self._record.progress)

    def _restart(self) -> None:
        """By the next worker, after this one has finished what is under way."""
        if self._exit is not None:
            return
        log.info("a restart was asked for")
        self._restarts.forget()
        self._is_accepting(time.monotonic())
        self._publish(ServiceState.RESTARTING, "a restart was asked for")
        if self._worker is not None:
            self._worker.ask(RESTART, time.monotonic() + self._config.drain_timeout_s + GRACE_S)
        else:
            self._start_at = time.monotonic()

    def _stop(self, status: int, reason: str) -> None:
        if self._exit is not None:
            return
        log.info("the service ends: %s", reason)
        self._exit = status
        self._start_at = None
        self._unavailable.close()
        self._publish(ServiceState.STOPPING, reason)
        self._listeners[0].stop_listening()  # the worker has it, and closes it once it has taken all connections
        self._grpc_unavailable.refuse()  # the worker lets go of it at once, and nobody else may have it meanwhile
        if self._worker is not None:
            self._worker.ask(STOP, time.monotonic() + self._config.drain_timeout_s + GRACE_S)

    def _signalled(self, number: int) -> None:
        if number == RESTART_SIGNAL:
            self._restart()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._exit is not None:
                if self._worker is not None:
                    self._worker.kill()
                self._exit = 128 + number
            self._stop(OK, "it was told to stop")

    def _publish(self, state: ServiceState, reason: str, worker: ProcessKey | None = None, progress: str = "") -> None:
        since = self._record.since if state is self._record.state else time.time()
        if worker is None and self._worker is not None:
            worker = self._worker.key
        self._record = dataclasses.replace(
            self._record, state=state, reason=reason, progress=progress, since=since, worker=worker
        )
        if self._rendezvous is not None:
            try:
                self._rendezvous.publish(self._record)
                self._unpublished = False
            except StorageError as error:
                if not self._unpublished:
                    log.error("%s; tried again until it can be", error.message)
                self._unpublished = True

    @property
    def _failed(self) -> bool:
        return self._record.state is ServiceState.FAILED

    def _why(self) -> str:
        """The reason that callers get with a 503."""
        if self._failed:
            return f"the service has failed: {self._record.reason}. `jupyter-infer restart` tries again"
        return f"the service is {self._record.state.value.lower()}: {self._record.reason}; try again soon"


def health_problem(report: WorkerReport | None, silent_s: float, config: ServerConfig) -> str:
    """Why a worker must be replaced; empty where it need not be. None: it has not reported yet."""
    if report is None:
        return f"it said nothing for {silent_s:.0f} s after its start" if silent_s > FIRST_WORD_S else ""
    if silent_s > config.deaf_limit_s:
        return f"it gave no sign of life for {silent_s:.0f} s"
    if report.loop_s > config.deaf_limit_s:
        return f"its event loop did not turn for {report.loop_s:.0f} s"
    if report.run_s > config.run_limit_s + RUN_GRACE_S:
        return f"a run did not end within {report.run_s:.0f} s"
    return ""


def _bind(config: ServerConfig, before: ServiceRecord | None) -> Listener:
    """A listening socket: with a free port, on the one that clients of the service before may still call."""
    if config.http_port == 0 and before is not None:
        with suppress(Unavailable, ValueError):
            return bind(config.host, int(before.url.rpartition(":")[2]))
    return bind(config.host, config.http_port)


def _lock(rendezvous: Rendezvous) -> int:
    """Hold the keeper's lock until the process ends; its file descriptor. Conflict where another keeper has it."""
    try:
        descriptor = try_lock(rendezvous.keeper_lock)
    except OSError as error:
        raise StorageError(f"the folder {rendezvous.path} cannot be written: {error.strerror}") from None
    if descriptor is None:
        raise Conflict("another service of this user is running on this machine")
    return descriptor


def _wait_for_orphan_worker(worker: ProcessKey) -> None:
    """Wait for the worker of a supervisor that was killed. It ends by itself; two may never use one data folder."""
    until = time.monotonic() + 4.0
    while worker.alive:
        if time.monotonic() > until:
            with suppress(OSError):
                os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.02)
