"""Who listens to what follows a service."""

from __future__ import annotations

from typing import Any

from workbench.live.tick import Tick
from workbench.live.view import ServiceView


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.services: list[ServiceView] = []
        self.models: list[list[dict[str, Any]]] = []
        self.ticks: list[Tick] = []
        self.works = 0

    def service_changed(self, service: ServiceView) -> None:
        self.services.append(service)

    def models_changed(self, models: list[dict[str, Any]]) -> None:
        self.models.append(models)

    def ticked(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def worked(self) -> None:
        self.works += 1
