"""The service as a page shows it: one value, made from what is published and from what the service says of itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.rendezvous.folder import host_name
from workbench.rendezvous.record import ServiceRecord, ServiceState

DEAF = "it gives no sign of life; it is killed and started anew if that lasts"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """docs/jupyter.md, SERVICE."""

    state: ServiceState = ServiceState.STOPPED
    reason: str = ""
    """Why it is in this state, in words; empty where there is nothing to say."""
    since: float = 0.0
    """Unix time; 0: nobody knows."""
    version: str = ""
    url: str = ""
    pid: int | None = None
    host: str = ""
    devices: tuple[str, ...] = ()
    device_words: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the rendezvous found."""

    record: ServiceRecord | None
    """None: nothing runs."""
    worker_lives: bool = False
    ended: tuple[str, float] = ("", 0.0)
    """Why nothing runs, and since when."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the service last said of itself."""

    devices: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def view(
    seen: Seen, said: Said, *, starting: bool = False, failure: str = "", deaf: bool = False, warning: str = ""
) -> ServiceView:
    """`starting`: somebody here asked for a start; `failure`: what came of the last one; `deaf`: it is silent though
    it runs; `warning`: what to know of its version."""
    record = seen.record
    if record is None:
        reason, since = seen.ended
        state = ServiceState.STOPPED
        if starting:
            state, reason = ServiceState.STARTING, "it is being started"
        elif failure:
            state, reason = ServiceState.FAILED, failure
        return ServiceView(state, reason, since, host=host_name(), device_words=device_words(()))
    state, reason = record.state, record.reason
    if state is ServiceState.READY and not seen.worker_lives:
        state, reason = ServiceState.RESTARTING, "its process has ended"  # what its keeper is about to publish
    elif state is ServiceState.READY and deaf:
        reason = DEAF
    return ServiceView(
        state=state,
        reason=reason,
        since=record.since,
        version=record.version,
        url=record.url,
        pid=record.worker.pid if record.worker is not None and seen.worker_lives else None,
        host=host_name(),
        devices=said.devices,
        device_words=device_words(said.devices),
        notes=(*((warning,) if warning else ()), *said.notes),
    )


def device_words(devices: Sequence[str]) -> str:
    """ "CPU, 8 cores", with the GPUs that models really run on before it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cpu = f"CPU, {cores} core{'s' if cores > 1 else ''}"
    gpus = [f"GPU {device.partition(':')[2] or 0}" for device in devices if device.startswith("cuda")]
    return " · ".join([*gpus, cpu])
