"""The workbench as a user holds it: one object, the verbs as its methods, each blocking until it is done.

wb = workbench.connect()
wb.load("digits", clf)
wb["digits"](X_test)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from workbench.core.model import ModelStatus, Signature
from workbench.errors import InvalidInput, Unavailable, Unsupported, WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.client.client import AsyncClient
    from workbench.client.futures import Job
    from workbench.client.load_progress import LoadProgress, Told
    from workbench.client.model_card import ModelCard
    from workbench.client.own import OwnService
    from workbench.client.predict import Predictor
    from workbench.client.results import Lines, LoadReport, ModelTable, Prediction
    from workbench.client.shared_service import SharedService
    from workbench.client.slow_requests import SlowRequests
    from workbench.client.summary import Card
    from workbench.client.window_stats import RecentFigures
    from workbench.loadtest.analysis.compare import Comparison
    from workbench.loadtest.job import LoadTestJob
    from workbench.loadtest.report.report import Report
    from workbench.notebook.kernel_feed import Feed
    from workbench.notebook.live import LivePlot
    from workbench.notebook.panel import ControlPanel

T = TypeVar("T")

_latest: tuple[int, Workbench] | None = None


def connect(url: str | None = None, token: str | None = None) -> Workbench:
    """A workbench at the service of `url`; without one, at the user's shared service, started where none runs.

    Raises Unavailable where no service answers, Unauthenticated where the token is not its own.
    """
    global _latest
    from workbench.client import sync
    from workbench.client.client import AsyncClient

    if url is not None:
        workbench = Workbench(AsyncClient(url, token))
    elif token is not None:
        raise InvalidInput("a token needs the url of the service that it opens: connect(url, token)")
    elif sys.platform == "win32":
        workbench = _with_own_service()
    else:
        workbench = _with_shared_service(start=True)
    try:
        sync.run(workbench.client.service())
    except BaseException:
        sync.run(workbench.client.close())
        raise
    _latest = (os.getpid(), workbench)
    return workbench


def current(start: bool = True) -> Workbench:
    """The workbench that this process connected to last, else a new one; what `%infer` speaks to.

    `start` False: for verbs that must not start a service only to ask about it.
    """
    there = connected()
    if there is not None:
        return there
    return connect() if start or sys.platform == "win32" else _with_shared_service(start=False)


def connected() -> Workbench | None:
    """The workbench that this process connected to last, if it is still there; starts nothing."""
    if _latest is None or _latest[0] != os.getpid() or _latest[1].closed:
        return None
    return _latest[1]


class Workbench:
    """Models on one service. Safe to use from any thread, and after a fork."""

    def __init__(
        self,
        client: AsyncClient,
        service: OwnService | SharedService | None = None,
        token_file: str | None = None,
    ) -> None:
        from workbench.client import sync
        from workbench.client.predict import Predictor
        from workbench.client.shared_service import SharedService

        sync.close_with(self, client.close)
        self._client = client
        self._service = service
        self._shared = service if isinstance(service, SharedService) else None
        self._token_file = token_file
        self._predictor: Predictor = Predictor(client)
        self._feed: Feed | None = None
        self._closed = False

    @property
    def client(self) -> AsyncClient:
        """The asyncio client under this workbench; it lives on a loop of its own, so make another for yours."""
        return self._client

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def closed(self) -> bool:
        """True after `close`, and where a service that ends with this process has ended."""
        own = self._service if self._shared is None else None
        return self._closed or (own is not None and not own.running)  # type: ignore[union-attr]

    @property
    def shared(self) -> bool:
        """True on the user's shared service, False where it was attached to by a URL."""
        return self._shared is not None

    # Models

    def load(
        self,
        name: str,
        source: object,
        *,
        device: str | None = None,
        max_batch: int | None = None,
        delay: float | str | None = None,
        instances: int | None = None,
        sample: object | None = None,
        tolerance: float | None = None,
        force: bool = False,
        progress: Told | bool = False,
        **settings: object,
    ) -> LoadReport:
        """Serve `source` as `name`, and say what was done.

        `source` is a path to an .onnx file or its folder, the file's bytes, an onnx.ModelProto, or a fitted
        scikit-learn estimator, which is exported here and compared with the original before it serves: on `sample`
        (rows as its `predict` takes them) or on rows made up from it. The same model again changes nothing; another
        one becomes the next version, swapped in without a failed request. `force` lets the signature change.

        `delay` is seconds or a text like "5ms"; `settings` are further settings of `ModelConfig`, by name. `progress`:
        True shows a bar; a function is called, up to four times a second, with how far it has come.
        """
        from workbench.client.model_settings import settings_from
        from workbench.convert.load import load

        given = {"device": device, "max_batch": max_batch, "delay": delay, "instances": instances, **settings}
        config = settings_from(given)

        def call(told: LoadProgress) -> Coroutine[Any, Any, LoadReport]:
            return load(
                self._client, name, source, config, sample=sample, tolerance=tolerance, force=force, progress=told
            )

        return _run(f"load {name}", call, progress)

    def unload(self, name: str) -> None:
        """Finish what is under way, then give back the memory of every version."""
        from workbench.client import sync

        sync.run(self._client.unload(name))

    def predict(
        self,
        name: str,
        value: object,
        *,
        version: str | int | None = None,
        outputs: Sequence[str] = (),
        progress: Told | bool = False,
    ) -> Prediction:
        """The answer of model `name` for `value`: an array, a list, a DataFrame, or a dict of them by input name.

        Numbers become the model's own type where they fit, one row gains the batch axis, and more rows than a batch
        takes are split and joined again. `progress` as for `load`.
        """
        return _run(f"predict {name}", self._prediction(name, value, version, outputs), progress)

    def submit(
        self, name: str, value: object, *, version: str | int | None = None, outputs: Sequence[str] = ()
    ) -> Job[Prediction]:
        """As `predict`, in the background: a job at once, which can be awaited, cancelled and asked for its result."""
        from workbench.client.futures import Job

        return Job(f"predict {name}", self._prediction(name, value, version, outputs))

    def _prediction(
        self, name: str, value: object, version: str | int | None, outputs: Sequence[str]
    ) -> Callable[[LoadProgress], Coroutine[Any, Any, Prediction]]:
        wanted = None if version is None else str(version)

        def call(told: LoadProgress) -> Coroutine[Any, Any, Prediction]:
            return self._predictor.predict(name, value, version=wanted, outputs=outputs, progress=told)

        return call

    @overload
    def models(self) -> ModelTable: ...
    @overload
    def models(self, window: float | str) -> RecentFigures: ...
    def models(self, window: float | str | None = None) -> ModelTable | RecentFigures:
        """Every version of every model, as a table; with a `window` as "60s" or "5m", how each did in it."""
        from workbench.client import sync, window_stats
        from workbench.client.results import ModelTable

        if window is not None:
            asked_s = window_stats.window_s(window)
            return window_stats.decode(sync.run(self._client.figures(asked_s)), asked_s)
        return ModelTable(sync.run(self._client.statuses()))

    def show(self, name: str, version: str | int | None = None) -> ModelCard:
        """All that is known of one model: of the version that serves, else of the newest, which tells why it failed."""
        from workbench.client import sync
        from workbench.client.model_card import described

        wanted = None if version is None else str(version)
        return described(sync.run(self._client.describe(name, wanted)))

    def set(self, name: str, **settings: object) -> Card:
        """Change a model's settings: live where possible, else by a reload that fails no request."""
        from workbench.client import sync
        from workbench.client.model_settings import settings_from
        from workbench.client.summary import model_card

        config = settings_from(settings)
        if not config:
            raise InvalidInput("set needs at least one setting, as max_batch=32")
        return model_card(sync.run(self._client.configure(name, config)).status)

    # Load tests

    def bench(
        self,
        name: str,
        inputs: object = None,
        *,
        version: str | int | None = None,
        sweep: str | Mapping[str, Sequence[object]] | None = None,
        endpoint: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> LoadTestJob[Report]:
        """Load-test model `name`: a handle at once, whose `.result()` (or `await`) is a `Report`.

        How requests come is one of `rate=200` (a second, sent when they are due), `users=32` (who wait for their
        answers), `ramp="10:1000"`, `step=50` (stairs until something breaks), or `replay=times`. `slo="p99<20ms"` is
        judged; alone, the highest rate that holds it is searched. `sweep="batch=1:8:32,delay"` runs the same load
        with each combination of settings, which the service gives back afterwards. `inputs` are sampled by row,
        `requests=[...]` sent as they are; without either they are made up.
        The other options are those of `workbench.loadtest.options.plan_of`: `duration`, `warm_up`, `rows` and so on.

        `endpoint="http://HOST:PORT"` or `"grpc://HOST:PORT"`, with its `token` where it wants one, is any other server
        of the Open Inference Protocol, as Triton, whose model `name` is tested instead.

        Raises at once what the first request would have met.
        """
        from workbench.client import sync
        from workbench.loadtest.bench import bench
        from workbench.loadtest.options import plan_of, searches
        from workbench.loadtest.plan import Target
        from workbench.loadtest.store.history import history

        wanted = None if version is None else str(version)
        if endpoint is not None:
            target = Target(name, endpoint, wanted, token)
        else:
            sync.run(self._client.status(name, wanted))  # which finds the service, where it has moved
            target = Target(name, self._client.url, wanted, self._client.token, controlled=True)
        plan = plan_of(target, inputs=inputs, **options)
        return bench(plan, history(), find=searches(options), grid=sweep)

    def history(self, model: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """The load tests that are kept, of all models or of one, the latest first: a row a run, by its id."""
        from workbench.loadtest.store.history import history

        return history().to_pandas(model, limit)

    def report(self, run: str = "last") -> Report:
        """The report of a kept run: by its id, a model's name for its latest, or "last". Raises NotFound."""
        from workbench.loadtest.report.report import Report
        from workbench.loadtest.store.history import history

        return Report(history().run(run))

    def compare(self, a: str | Report, b: str | Report) -> Comparison:
        """Two runs beside each other: ratios of `b` to `a` with intervals, and what differed in the set-up."""
        from workbench.loadtest.analysis.compare import compare

        first, second = (self.report(each) if isinstance(each, str) else each for each in (a, b))
        return compare(first.run, second.run)

    def __getitem__(self, name: str) -> Model:
        status = self._status(name)
        return Model(self, status.name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in list(self)

    def __iter__(self) -> Iterator[str]:
        """The names of the models."""
        return iter(dict.fromkeys(status.name for status in self.models()))

    def _ipython_key_completions_(self) -> list[str]:
        """What Tab offers after `wb["`."""
        try:
            return list(self)
        except WorkbenchError:
            return []

    # The service

    def status(self) -> Card:
        """The service: its state and why, where it is, since when, what it uses. Starts nothing."""
        from workbench.client import sync
        from workbench.client.shared_service import address_of
        from workbench.client.summary import service_card, shared_card

        if self._shared is None:
            return service_card(sync.run(self._client.service()), self._token_file)
        record = self._shared.record()
        said = None
        if record is not None and record.state == "Ready":
            sync.run(self._client.rebind(address_of(record)))
            try:
                said = sync.run(self._client.service())
            except Unavailable:
                record = self._shared.record()  # it has just left that state
        return shared_card(record, self._shared.ended(), self._shared.holders(), said)

    def logs(self, lines: int = 20) -> Lines:
        """The service's last log lines, of the shared one also when it does not run."""
        from workbench.client import sync
        from workbench.client.results import Lines

        if self._shared is not None:
            return Lines(self._shared.logs(lines))
        return Lines(sync.run(self._client.logs(lines)))

    def snapshots(self, interval: float = 0.5) -> Iterator[dict[str, Any]]:
        """The service's live figures, one snapshot every `interval` seconds."""
        from workbench.client import sync

        return sync.iterate(self._client.snapshots(interval))

    def watch(self, model: str | None = None, window: float | str = 60.0) -> LivePlot:
        """The live figures of `model`, or of the busiest, in a notebook: moves while cells run, until its `close()`.

        `window`: the seconds that are shown, or a text like "5m". It starts no service, and says so where none runs.
        """
        from workbench.client.window_stats import window_s
        from workbench.core.model import check_model_name
        from workbench.notebook.live import LivePlot

        name = None if model is None else check_model_name(model)
        return LivePlot(self.feed, name, window_s(window), shared=self._shared is not None)

    def panel(self) -> ControlPanel:
        """The side panel's verbs as widgets in a notebook, also where there is no side panel. Starts no service."""
        from workbench.notebook.panel import ControlPanel

        return ControlPanel(self)

    @property
    def feed(self) -> Feed:
        """The service's figures in this process, for widgets; it is read while one of them is open."""
        from workbench.notebook.kernel_feed import of_client, of_shared

        if self._feed is None:
            self._feed = of_client(self._client) if self._shared is None else of_shared(self._shared)
        return self._feed

    def restart(self) -> Card:
        """Have the shared service start anew, in your version, with the same models; what is under way ends first.

        Unsupported for a service that was attached to by its URL.
        """
        if self._shared is None:
            raise Unsupported("only your own shared service can be restarted from here; restart this one where it runs")
        from workbench.client import sync

        sync.run(self._client.rebind(self._shared.restart()))
        return self.status()

    def stop(self) -> None:
        """End the shared service, after what is under way; the next call starts it again, with the same models.

        One that was attached to by its URL is left alone, and only this workbench is closed.
        """
        from workbench.client import sync

        if self._shared is None:
            self.close()
            if self._service is not None:
                self._service.stop()
        else:
            sync.run(self._client.close())
            self._shared.stop()
            self._shared.release()

    def close(self) -> None:
        """Close this workbench's connections; the service goes on."""
        from workbench.client import sync

        self._closed = True
        sync.run(self._client.close())

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        kind = "a service" if self._service is None else "your shared service" if self._shared else "its own service"
        return f"<Workbench at {self.url}, {kind}>"

    def _status(self, name: str, version: str | None = None) -> ModelStatus:
        from workbench.client import sync

        return sync.run(self._client.status(name, version))


def _run(what: str, call: Callable[[LoadProgress], Coroutine[Any, Any, T]], told: Told | bool) -> T:
    """The result of `call`, with whoever wants to know told how far it has come."""
    from workbench.client import sync
    from workbench.client.load_progress import LoadProgress

    progress = LoadProgress()
    if told is False:
        return sync.run(call(progress))
    if told is True:
        from workbench.notebook.progress_bar import Bar

        with Bar(what) as bar:
            return sync.run(call(progress), lambda: bar(progress.step))
    return sync.run(call(progress), lambda: told(progress.step))


def _with_shared_service(start: bool) -> Workbench:
    from workbench.client.client import AsyncClient
    from workbench.client.shared_service import Address, address_of, shared_service

    shared = shared_service()
    if start:
        address = shared.ensure()
    else:
        record = shared.record()
        address = Address(_NOWHERE, None) if record is None else address_of(record)
    client = AsyncClient(address.url, address.token, shared=shared, keeper=address.keeper)
    return Workbench(client, shared, address.token_file)


_NOWHERE = "http://127.0.0.1:1"
"""Refuses connections, upon which a client of the shared service looks where it is."""


def _with_own_service() -> Workbench:
    from workbench.client.client import AsyncClient
    from workbench.client.own import own_service

    service, address = own_service()
    workbench = Workbench(AsyncClient(address.url, address.token), service, address.token_file)
    workbench.client.gone = service.last_words
    return workbench


class Model:
    """One model of a workbench; calling it predicts."""

    def __init__(self, workbench: Workbench, name: str) -> None:
        self._workbench = workbench
        self.name = name

    def __call__(
        self,
        value: object,
        *,
        version: str | int | None = None,
        outputs: Sequence[str] = (),
        progress: Told | bool = False,
    ) -> Prediction:
        return self._workbench.predict(self.name, value, version=version, outputs=outputs, progress=progress)

    predict = __call__

    def submit(
        self, value: object, *, version: str | int | None = None, outputs: Sequence[str] = ()
    ) -> Job[Prediction]:
        """As calling it, in the background: a job at once."""
        return self._workbench.submit(self.name, value, version=version, outputs=outputs)

    @property
    def status(self) -> ModelStatus:
        """The version that serves, now."""
        return self._workbench._status(self.name)

    @property
    def signature(self) -> Signature | None:
        """What it takes and gives."""
        return self.status.signature

    def slowest(self) -> SlowRequests:
        """Its slowest requests of the last 15 minutes, 100 at most, and where the time of each went."""
        from workbench.client import sync
        from workbench.client.slow_requests import SlowRequests

        return SlowRequests(self.name, sync.run(self._workbench.client.slowest(self.name)))

    def bench(self, inputs: object = None, **options: Any) -> LoadTestJob[Report]:
        """Load-test it: a handle at once, whose `.result()` is a `Report`. Options as those of `Workbench.bench`."""
        return self._workbench.bench(self.name, inputs, **options)

    def set(self, **settings: object) -> Card:
        """Change its settings."""
        return self._workbench.set(self.name, **settings)

    def unload(self) -> None:
        """Unload it, every version."""
        self._workbench.unload(self.name)

    def __repr__(self) -> str:
        return repr(self._workbench.show(self.name))

    def _repr_html_(self) -> str:
        return self._workbench.show(self.name)._repr_html_()
