"""Who listens to what follows a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workbench.client.share_results import SharedAccess
from workbench.core.rollout_view import RolloutView
from workbench.live.tick import Tick
from workbench.live.view import ServiceView


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self) -> None:
        self.services: list[ServiceView] = []
        self.models: list[list[dict[str, Any]]] = []
        self.ticks: list[Tick] = []
        self.past: list[Tick] = []
        self.works = 0
        self.calls: list[str] = []
        """The labels of the shares that were called for the first time."""
        self.rollouts: list[str] = []
        """What rollouts were said to be."""

    def service_changed(self, service: ServiceView) -> None:
        self.services.append(service)

    def models_changed(self, models: list[dict[str, Any]]) -> None:
        self.models.append(models)

    def share_called(self, share: SharedAccess) -> None:
        self.calls.append(share.label)

    def rollout_changed(self, rollout: RolloutView) -> None:
        self.rollouts.append(rollout.told)

    def ticked(self, tick: Tick) -> None:
        self.ticks.append(tick)

    def caught_up(self, ticks: Sequence[Tick]) -> None:
        assert not self.ticks or ticks[0].time > self.ticks[-1].time
        self.past += ticks

    def worked(self) -> None:
        self.works += 1
