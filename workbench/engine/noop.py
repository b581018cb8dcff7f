"""Who nobody needs to be: an observer and a journal for an engine that is given none."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import DesiredModel, ModelStatus
from workbench.core.ports import Outcome


class NoopObserver:
    """Observes nothing."""

    def request_done(self, model: str, version: str, outcome: Outcome, timings: Timings | None) -> None: ...

    def answered(
        self, model: str, version: str, queued_s: Sequence[float], batched_s: float, ran_s: float, split_s: float
    ) -> None: ...

    def batch_done(
        self, model: str, version: str, rows: int, requests: int, reason: ReleaseReason, ran_s: float
    ) -> None: ...

    def model_changed(self, status: ModelStatus) -> None: ...


class NoopJournal:
    """Remembers nothing: what is served ends with the process."""

    def attempting(self, model: DesiredModel) -> None: ...

    def restoring(self, model: DesiredModel) -> None: ...

    def serving(self, model: DesiredModel) -> None: ...

    def settled(self, name: str) -> None: ...

    def unloaded(self, name: str) -> None: ...
