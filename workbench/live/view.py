"""The state of the service as a page shows it, computed from the rendezvous and the service's own report."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.core.cores import usable_cores
from workbench.errors import Unsupported
from workbench.rendezvous.compatibility import check_versions
from workbench.rendezvous.folder import host_name
from workbench.rendezvous.service_record import ServiceRecord, ServiceState

_ANSWERS = (ServiceState.STARTING, ServiceState.RESTARTING, ServiceState.READY)

SILENT = "it does not respond; if that lasts, it is killed and restarted"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """docs/jupyter.md, SERVICE."""

    state: ServiceState = ServiceState.STOPPED
    reason: str = ""
    """Why it is in this state, in words; may be empty."""
    progress: str = ""
    """Progress of loading the earlier models, in words; empty otherwise."""
    since: float = 0.0
    """Unix time; 0 if unknown."""
    version: str = ""
    url: str = ""
    token_file: str = ""
    """Path of its token, for callers on the same machine; empty if it has none."""
    pid: int | None = None
    host: str = ""
    devices: tuple[str, ...] = ()
    device_words: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """What was found in the rendezvous at one moment."""

    record: ServiceRecord | None
    """None if no service runs."""
    worker_lives: bool = False
    ended: tuple[str, float] = ("", 0.0)
    """Why no service runs, and since when."""

    @property
    def ready(self) -> ServiceRecord | None:
        """The service if it takes requests."""
        record = self.record
        return record if record is not None and record.state is ServiceState.READY and self.worker_lives else None

    @property
    def answers(self) -> ServiceRecord | None:
        """The service if it answers or soon will: also while it loads its earlier models."""
        record = self.record
        return record if record is not None and record.state in _ANSWERS and self.worker_lives else None


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """The service's last report about itself."""

    devices: tuple[str, ...] = ()
    """Devices that its models run on."""
    gpus: tuple[str, ...] = ()
    """Names of the machine's GPUs."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalIntents:
    """What this process has asked for, and with which result."""

    starting: bool = False
    stopping: bool = False
    failure: str = ""
    """Why the last start failed; empty if it succeeded or there was none."""
    lost: str = ""
    """Why the earlier service ended while a start was requested; empty if it did not."""


def view(
    seen: Observation, said: ServiceReport, asked: LocalIntents, version: str, *, silent: bool = False
) -> ServiceView:
    """Compute the view. `version` is that of this process; `silent` means that the service runs but sends nothing."""
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
        state, reason = ServiceState.RESTARTING, "its process has ended"  # as its supervisor is about to publish
    elif state is ServiceState.READY and silent:
        reason = SILENT
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
    """Describe the devices that models run on, and the usable cores: "NVIDIA L4 · CPU, 8 cores"."""
    cores = usable_cores()
    used = [device for device in said.devices if device.startswith("cuda")]
    # With several different GPUs, only the service's own process knows which one "cuda:0" is.
    names = set(said.gpus)
    gpus = [f"{len(used)} x {names.pop()}" if len(used) > 1 else names.pop()] if used and len(names) == 1 else used
    return " · ".join([*gpus, f"CPU, {cores} core{'s' if cores > 1 else ''}"])
