"""`Workbench`, which has every verb as a method that blocks until it is done, and `Model`, one of its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from workbench.api.load_test_calls import LoadTestCalls
from workbench.api.model_calls import ModelCalls
from workbench.api.service_calls import ServiceCalls
from workbench.api.service_handle import version_of
from workbench.api.share_calls import ShareCalls
from workbench.api.version_calls import VersionCalls
from workbench.core.model import ModelStatus, Signature
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.client.futures import Job
    from workbench.client.load_progress import Told
    from workbench.client.pipeline_wiring import Stages
    from workbench.client.results import Prediction
    from workbench.client.slow_requests import SlowRequests
    from workbench.client.summary import Card
    from workbench.loadtest.job import LoadTestJob
    from workbench.loadtest.report.report import Report
    from workbench.notebook.panel import ControlPanel


class Workbench(ModelCalls, VersionCalls, LoadTestCalls, ShareCalls, ServiceCalls):
    """Loads, calls and manages the models of one service. Safe to use from any thread, and after a fork."""

    def panel(self) -> ControlPanel:
        """Shows the side panel's functions as widgets in a notebook, even without the side panel. Starts no service."""
        from workbench.notebook.panel import ControlPanel

        return ControlPanel(self)

    def __getitem__(self, name: str) -> Model:
        """The model, or a version of it: `wb["digits:2"]`, `wb["digits:canary"]`. Raises ModelNotFound."""
        name, version = version_of(name)
        status = self._status(name, version)
        return Model(self, status.name, version)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in list(self)

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of the models."""
        return iter(self._names())

    def _ipython_key_completions_(self) -> list[str]:
        """Completes model names after `wb["`."""
        try:
            return list(self)
        except WorkbenchError:
            return []

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = "a service" if self._shared is None else "your shared service"
        return f"<Workbench at {self.url}, {kind}>"

    def _status(self, name: str, version: str | None = None) -> ModelStatus:
        from workbench.client import sync

        return sync.run(self._client.status(name, version))


class Model:
    """Represents one model of a workbench, or one version of it; calling it returns a prediction."""

    def __init__(self, workbench: Workbench, name: str, version: str | None = None) -> None:
        self._workbench = workbench
        self.name = name
        self.version = version
        """None: whichever version serves."""

    def __call__(
        self,
        value: object,
        *,
        version: str | int | None = None,
        outputs: Sequence[str] = (),
        progress: Told | bool = False,
    ) -> Prediction:
        version = self.version if version is None else version
        return self._workbench.predict(self.name, value, version=version, outputs=outputs, progress=progress)

    predict = __call__

    def __rshift__(self, other: object) -> Stages:
        """Puts another model behind this one, as stages of a pipeline for `Workbench.pipeline`."""
        from workbench.client.pipeline_wiring import stages_of

        return stages_of(self) >> other

    def submit(
        self, value: object, *, version: str | int | None = None, outputs: Sequence[str] = ()
    ) -> Job[Prediction]:
        """Predicts in the background and returns a job."""
        version = self.version if version is None else version
        return self._workbench.submit(self.name, value, version=version, outputs=outputs)

    @property
    def status(self) -> ModelStatus:
        """The current status of this version, or of the one that serves."""
        return self._workbench._status(self.name, self.version)

    @property
    def signature(self) -> Signature | None:
        """The model's inputs and outputs; None while they are not known."""
        return self.status.signature

    def slowest(self) -> SlowRequests:
        """Returns its slowest requests of the last 15 minutes, at most 100, and where the time of each went."""
        from workbench.client import sync
        from workbench.client.slow_requests import SlowRequests

        return SlowRequests(self.name, sync.run(self._workbench.client.slowest(self.name)))

    def bench(self, inputs: object = None, **options: Any) -> LoadTestJob[Report]:
        """Starts a load test and returns a handle; its `.result()` is a `Report`. Options as for `Workbench.bench`."""
        return self._workbench.bench(self.name, inputs, **options)

    def set(self, **settings: object) -> Card:
        """Changes the model's settings, as `Workbench.set`."""
        return self._workbench.set(self.name, **settings)

    def unload(self) -> None:
        """Unloads every version of the model, or the one that this names."""
        self._workbench.unload(self.name if self.version is None else f"{self.name}:{self.version}")

    def __repr__(self) -> str:
        return repr(self._workbench.show(self.name, self.version))

    def _repr_html_(self) -> str:
        return self._workbench.show(self.name, self.version)._repr_html_()
