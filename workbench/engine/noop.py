"""Provides an observer and a journal that do nothing: the defaults of an engine."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import DesiredModel, ModelStatus
from workbench.core.ports import Outcome
from workbench.core.version_plan import VersionPlan


class NoopObserver:
    """Ignores all events."""

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

    def serving(
        self, model: DesiredModel, plan: VersionPlan | None = None, beside: Sequence[DesiredModel] = ()
    ) -> None: ...

    def arranged(self, name: str, plan: VersionPlan, beside: Sequence[DesiredModel] = ()) -> None: ...

    def restored(self, model: DesiredModel) -> None: ...

    def remembered(self, name: str, version: str) -> DesiredModel | None:
        return None

    def settled(self, name: str) -> None: ...

    def unloaded(self, name: str, version: str | None = None) -> None: ...
