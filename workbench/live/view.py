"""The service as a page shows it: one value, made from what is published and from what the service says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

from workbench.errors import Unsupported
from workbench.rendezvous.compatibility import check_versions
from workbench.rendezvous.folder import host_name
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

_ANSWERS = (ServiceState.STARTING, ServiceState.RESTARTING, ServiceState.READY)

DEAF = "it gives no sign of life; if that lasts, it is killed and started anew"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """docs/jupyter.md, SERVICE."""

    state: ServiceState = ServiceState.STOPPED
    reason: str = ""
    """Why it is in this state, in words; empty where there is nothing to say."""
    progress: str = ""
    """How far it has come with loading what was served before, in words; empty where it does not."""
    since: float = 0.0
    """Unix time; 0: nobody knows."""
    version: str = ""
    url: str = ""
    token_file: str = ""
    """Where its token lies, for a caller beside it; empty where there is none."""
    pid: int | None = None
    host: str = ""
    devices: tuple[str, ...] = ()
    device_words: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at the rendezvous found."""

    record: ServiceRecord | None
    """None: nothing runs."""
    worker_lives: bool = False
    ended: tuple[str, float] = ("", 0.0)
    """Why nothing runs, and since when."""

    @property
    def ready(self) -> ServiceRecord | None:
        """The service, where it takes requests."""
        record = self.record
        return record if record is not None and record.state is ServiceState.READY and self.worker_lives else None

    @property
    def answers(self) -> ServiceRecord | None:
        """The service, where it says how it is, or will in a moment: also while it loads what it served before."""
        record = self.record
        return record if record is not None and record.state in _ANSWERS and self.worker_lives else None


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """What the service last said of itself."""

    devices: tuple[str, ...] = ()
    """That its models run on."""
    gpus: tuple[str, ...] = ()
    """The names of those that its machine has."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalIntents:
    """What is asked for from here, and what came of it."""

    starting: bool = False
    stopping: bool = False
    failure: str = ""
    """Of the last start; empty: it went well, or nobody asked."""
    lost: str = ""
    """What became of the service that was there when the start was asked for; empty: nothing unforeseen."""


def view(
    seen: Observation, said: ServiceReport, asked: LocalIntents, version: str, *, deaf: bool = False
) -> ServiceView:
    """`version`: of this side. `deaf`: the service runs, and is silent."""
    record = seen.record
    if record is None:
        reason, since = seen.ended
        state = ServiceState.STOPPED
        if asked.starting:
            state, reason = ServiceState.STARTING, _instead_of(asked.lost) if asked.lost else ""
        elif asked.failure:
            state, reason = ServiceState.FAILED, asked.failure
        return ServiceView(state, reason, since=since, host=host_name(), device_words=device_words(ServiceReport()))
    state, reason = record.state, record.reason
    notes = said.notes
    if asked.stopping:
        state, reason = ServiceState.STOPPING, "it was told to stop"
    elif state is ServiceState.READY and not seen.worker_lives:
        state, reason = ServiceState.RESTARTING, "its process has ended"  # what its keeper is about to publish
    elif state is ServiceState.READY and deaf:
        reason = DEAF
    elif state is ServiceState.STARTING and asked.lost:
        reason = _instead_of(asked.lost)
    try:
        if word := check_versions(version, record.version, record.api):
            notes = (word, *notes)
    except Unsupported as error:
        state, reason = ServiceState.FAILED, error.message
    return ServiceView(
        state=state,
        reason=reason,
        progress=record.progress,
        since=record.since,
        version=record.version,
        url=record.url,
        token_file=record.token_file,
        pid=record.worker.pid if record.worker is not None and seen.worker_lives else None,
        host=host_name(),
        devices=said.devices,
        device_words=device_words(said),
        notes=notes,
    )


def _instead_of(lost: str) -> str:
    return f"{lost}; another one is being started"


def device_words(said: ServiceReport) -> str:
    """What models really run on, GPUs first, and how many cores this process may use: "NVIDIA L4 · CPU, 8 cores"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    used = [device for device in said.devices if device.startswith("cuda")]
    # Which of several differing GPUs "cuda:0" is, only the service's own process knows.
    names = set(said.gpus)
    gpus = [f"{len(used)} x {names.pop()}" if len(used) > 1 else names.pop()] if used and len(names) == 1 else used
    return " · ".join([*gpus, f"CPU, {cores} core{'s' if cores > 1 else ''}"])
