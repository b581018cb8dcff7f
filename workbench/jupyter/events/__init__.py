"""Emits what happens to service, models, shares and rollouts as Jupyter server events: for hubs, logs, extensions.

The schemas are in this folder. Each thing that happens is emitted once, even if listeners are called repeatedly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from logging import Logger
from pathlib import Path
from typing import Any, Protocol

from workbench.client.share_results import SharedAccess
from workbench.core.rollout_view import RolloutView
from workbench.live.tick import Tick
from workbench.live.view import ServiceView
from workbench.rendezvous.service_record import ServiceState

SERVICE = "https://infer-workbench.readthedocs.io/events/service/v1"
MODEL = "https://infer-workbench.readthedocs.io/events/model/v1"

SHARE = "https://infer-workbench.readthedocs.io/events/share/v1"

ROLLOUT = "https://infer-workbench.readthedocs.io/events/rollout/v1"

SCHEMAS = {
    schema: Path(__file__).with_name(name)
    for schema, name in (
        (SERVICE, "service.yaml"),
        (MODEL, "model.yaml"),
        (SHARE, "share.yaml"),
        (ROLLOUT, "rollout.yaml"),
    )
}

Version = tuple[str, str]


class Emitter(Protocol):
    """The part of `jupyter_events.EventLogger` that is used here."""

    def emit(self, *, schema_id: str, data: dict[str, Any]) -> object: ...


class Events:
    """A Listener of Watch that emits events. What happened before it was made is not emitted."""

    def __init__(self, emitter: Emitter, log: Logger, clock: Callable[[], float] = time.time) -> None:
        self._emitter = emitter
        self._log = log
        self._began = clock()
        self._service = ServiceView()
        self._pid: int | None = None
        """The process that served last in this run of the service."""
        self._loaded: dict[Version, float] = {}
        """Version of a model -> when it became Ready."""
        self._failed: dict[Version, str] = {}
        """... -> why it failed."""

    def service_changed(self, service: ServiceView) -> None:
        before, self._service = self._service, service
        state = service.state
        if state is ServiceState.READY and service.pid not in (None, self._pid):
            known = self._pid is not None
            self._pid = service.pid
            if service.since >= self._began:
                self._say("restarted" if known else "started", service)
        elif state is not before.state and state in (ServiceState.FAILED, ServiceState.STOPPED):
            self._pid = None
            self._loaded.clear()
            self._failed.clear()
            self._say("failed" if state is ServiceState.FAILED else "stopped", service)

    def models_changed(self, models: list[dict[str, Any]]) -> None:
        if self._service.state in (ServiceState.STOPPING, ServiceState.STOPPED, ServiceState.FAILED):
            return  # the models end with the service
        loaded = {_version(status): status for status in models if status["state"] == "Ready"}
        failed = {_version(status): status for status in models if status["state"] == "Failed"}
        for version, status in loaded.items():
            if status["loaded_at"] > max(self._loaded.get(version, 0.0), self._began):
                self._tell("loaded", status)
        for version, status in failed.items():
            if self._failed.get(version) != status["reason"]:
                self._tell("failed", status)
        for name, number in self._loaded.keys() - loaded.keys() - failed.keys():
            self._tell("unloaded", {"name": name, "version": number})
        self._loaded = {version: status["loaded_at"] for version, status in loaded.items()}
        self._failed = {version: status["reason"] for version, status in failed.items()}

    def share_called(self, share: SharedAccess) -> None:
        said = {"id": share.id, "label": share.label, "models": list(share.models)}
        self._emit(SHARE, {"event": "first_call", **said})

    def rollout_changed(self, rollout: RolloutView) -> None:
        event = "step" if rollout.status == "running" else rollout.status.replace(" ", "_")
        said = {"name": rollout.model, "version": rollout.version, "told": rollout.told, "reason": rollout.reason}
        self._emit(ROLLOUT, {"event": event, **said, "step": rollout.step, "steps": list(rollout.steps)})

    def ticked(self, tick: Tick) -> None: ...

    def caught_up(self, ticks: Sequence[Tick]) -> None: ...

    def worked(self) -> None: ...

    def _say(self, event: str, service: ServiceView) -> None:
        self._emit(SERVICE, {"event": event, "reason": service.reason, "version": service.version, "pid": service.pid})

    def _tell(self, event: str, status: Mapping[str, Any]) -> None:
        name, version = _version(status)
        said = {"reason": status.get("reason", ""), "device": status.get("device", "")}
        self._emit(MODEL, {"event": event, "name": name, "version": version, **said})

    def _emit(self, schema: str, data: dict[str, Any]) -> None:
        try:
            self._emitter.emit(schema_id=schema, data=data)
        except Exception:  # an event listener must not stop the panel
            self._log.exception("an event could not be emitted")


def _version(status: Mapping[str, Any]) -> Version:
    return status["name"], status["version"]
