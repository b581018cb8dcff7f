"""The public Python API: a `Workbench` has every verb as a method that blocks until it is done.

wb = workbench.connect()
wb.load("digits", clf)
wb["digits"](X_test)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from workbench.core.model import ModelStatus, Signature, named_version
from workbench.errors import InvalidInput, Unavailable, Unsupported, WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.client.audit_results import AuditTable
    from workbench.client.client import AsyncClient
    from workbench.client.futures import Job
    from workbench.client.load_progress import LoadProgress, Told
    from workbench.client.model_card import ModelCard
    from workbench.client.pipeline_wiring import Stages
    from workbench.client.predict import Predictor
    from workbench.client.results import Lines, LoadReport, ModelTable, Prediction
    from workbench.client.rollout_results import Rollout
    from workbench.client.shadow_results import ShadowReport
    from workbench.client.share_results import Share, ShareTable
    from workbench.client.shared_service import SharedService
    from workbench.client.slow_requests import SlowRequests
    from workbench.client.summary import Card
    from workbench.client.version_comparison import VersionComparison
    from workbench.client.version_results import VersionTable
    from workbench.client.window_stats import RecentFigures
    from workbench.loadtest.analysis.compare import Comparison
    from workbench.loadtest.job import LoadTestJob
    from workbench.loadtest.report.report import Report
    from workbench.notebook.kernel_feed import Feed
    from workbench.notebook.live import LivePlot
    from workbench.notebook.panel import ControlPanel

T = TypeVar("T")

_latest: tuple[int, Workbench] | None = None


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    token_file: str | os.PathLike[str] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    own: bool = False,
    timeout: float | None = None,
) -> Workbench:
    """Connects to the service at `url`, or else to your shared service, which is started if none runs.

    `token_file`, in place of `token`, is a file with the token; it is read again when the token was replaced.

    `ca_file`, for an https:// or grpcs:// address, is PEM with the authority that signed the service's certificate, or
    with that certificate; without it the machine's own authorities are trusted.

    The token of a share opens the models that it is for: to predict with, `models` and `show`.

    `own`: the service at `url` is yours and runs on this machine, so nothing is sent to a process of another user that
    has taken its port. Your shared service is always called so.

    `timeout`, for your shared service: for how many seconds (60) this and later calls wait while it is started, or
    replaces a worker that ended.

    Raises Unavailable if no service answers, and Unauthenticated if the token is wrong or missing.
    """
    global _latest
    from workbench.client import sync
    from workbench.client.client import AsyncClient

    if timeout is not None and (url is not None or not timeout >= 0):
        raise InvalidInput(f"timeout is for your shared service, in seconds: connect(timeout=60), got {timeout!r:.40}")
    if url is not None:
        if token_file is not None:
            from workbench.rendezvous.token_file import read_token

            token = read_token(Path(token_file))
        file = None if token_file is None else Path(token_file)
        ca = None if ca_file is None else Path(ca_file)
        workbench = Workbench(AsyncClient(url, token, token_file=file, ca_file=ca, own=own))
    elif ca_file is not None:
        raise InvalidInput("a ca_file needs the url of the service that it is for: connect(url, token, ca_file=...)")
    elif token is not None or token_file is not None:
        raise InvalidInput("a token needs the url of the service that it opens: connect(url, token)")
    else:
        workbench = _with_shared_service(start=True, wait_s=timeout)
    try:
        sync.run(workbench.client.reach())
    except BaseException:
        sync.run(workbench.client.close())
        raise
    _latest = (os.getpid(), workbench)
    return workbench


def current(start: bool = True) -> Workbench:
    """Returns the workbench that this process connected to last, or else a new one; `%infer` uses it.

    With `start` False no service is started; for verbs that only ask about the service.
    """
    there = connected()
    if there is not None:
        return there
    return connect() if start else _with_shared_service(start=False)


def connected() -> Workbench | None:
    """Returns the workbench that this process connected to last, or None if it is closed; starts no service."""
    if _latest is None or _latest[0] != os.getpid() or _latest[1].closed:
        return None
    return _latest[1]


def running() -> Workbench | None:
    """Returns the workbench that this process connected to last, or else one on your shared service; None where the
    service does not run, or is not Ready. Starts no service and holds none."""
    there = connected() or _with_shared_service(start=False, wait_s=0.0)
    return there if there.running else None


class Workbench:
    """Loads, calls and manages the models of one service. Safe to use from any thread, and after a fork."""

    def __init__(
        self,
        client: AsyncClient,
        shared: SharedService | None = None,
        token_file: str | None = None,
    ) -> None:
        from workbench.client import sync
        from workbench.client.predict import Predictor

        sync.close_with(self, client.close)
        self._client = client
        self._shared = shared
        self._token_file = token_file
        self._predictor: Predictor = Predictor(client)
        self._feed: Feed | None = None
        self._closed = False

    @property
    def client(self) -> AsyncClient:
        """The asyncio client of this workbench. It belongs to a loop of its own; create another for your loop."""
        return self._client

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    @property
    def shared(self) -> bool:
        """True for the user's shared service, False for a service that was given by its URL."""
        return self._shared is not None

    @property
    def running(self) -> bool:
        """False where the shared service does not run, or is not Ready; a call would start it, or wait for it. Of a
        service that was given by its URL it is not known, and True."""
        from workbench.rendezvous.service_record import ServiceState

        record = None if self._shared is None else self._shared.record()
        return self._shared is None or (record is not None and record.state is ServiceState.READY)

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
        as_python: bool = False,
        batch: bool = False,
        allow_code: bool = False,
        signature: str = "",
        route: bool = True,
        **settings: object,
    ) -> LoadReport:
        """Serves `source` as model `name`, and reports what was done.

        `source` is a path to an .onnx file or its folder, the file's bytes, an onnx.ModelProto, a fitted
        scikit-learn estimator, or a Python function, which runs in processes of its own from its source. With
        `as_python` any object with `predict` does so. `sample` is then a call of it: an array, or a dict with an array
        for each parameter. `batch`: the function takes rows, and those of several requests may come in one call. A
        path or bytes that hold a function somebody has exported need `allow_code`: its code runs as the service's user.
        `signature` chooses one of a SavedModel of TensorFlow, where it has several.

        An estimator is exported here. Before it serves, the export is compared with the original on `sample` (rows as
        its `predict` takes them), or else on rows made up from what the estimator knows of its training data; where
        that is not enough, the error asks for `sample`.

        Loading the same model again changes nothing. Another model becomes the next version and takes over without a
        failed request. If its inputs or outputs differ, that needs `force`. With `route=False` the version that serves
        goes on, and the new one answers calls that name it: `wb["digits:2"]`.

        `delay` is seconds or a text like "5ms". `settings` are further settings of `ModelConfig`, by name. With
        `progress` True a bar is shown; a function is called with each step, up to four times a second.
        """
        from workbench.client.model_settings import settings_from
        from workbench.convert.load import load

        self._predictor.forget(name)
        given = {"device": device, "max_batch": max_batch, "delay": delay, "instances": instances, **settings}
        config = settings_from(given)

        def call(told: LoadProgress) -> Coroutine[Any, Any, LoadReport]:
            return load(
                self._client,
                name,
                source,
                config,
                sample=sample,
                tolerance=tolerance,
                force=force,
                progress=told,
                as_python=as_python,
                batch=batch,
                allow_code=allow_code,
                signature=signature,
                route=route,
            )

        return _run(f"load {name}", call, progress)

    def function(
        self,
        name: str,
        predict: object = None,
        *,
        preprocess: object = None,
        postprocess: object = None,
        model: str | None = None,
        sample: object | None = None,
        batch: bool = False,
        tolerance: float | None = None,
        force: bool = False,
        progress: Told | bool = False,
        **settings: object,
    ) -> LoadReport:
        """Serves Python functions from their source, in processes of their own, and reports what was done.

        `predict` alone is a model; `load` does the same. `preprocess`, `postprocess` or both are served around `model`,
        which is served already, as one model `name`: they become the models `name`.preprocess and `name`.postprocess,
        each with `settings`. Outputs become inputs by name, or where one output meets one input. `sample` is a call of
        the first of them: an array, or a dict with an array for each parameter.

        Raises InvalidInput where they do not fit each other or fail on the sample, ModelNotFound for the model.
        """
        around = {"preprocess": preprocess, "postprocess": postprocess}
        functions: dict[str, Any] = {kind: each for kind, each in around.items() if each is not None}
        if model is None or not functions or predict is not None:
            if functions or model is not None or predict is None:
                raise InvalidInput(
                    "function takes predict alone, or preprocess, postprocess or both with the model that they are "
                    "for, as model='m' (--model m)"
                )
            given = {"sample": sample, "batch": batch, "tolerance": tolerance, "force": force}
            return self.load(name, predict, progress=progress, as_python=True, **given, **settings)  # type: ignore[arg-type]
        from workbench.client.model_settings import settings_from
        from workbench.convert.python.function_around import load_around

        self._predictor.forget(name)
        model_name, config = model, settings_from(settings)

        def call(told: LoadProgress) -> Coroutine[Any, Any, LoadReport]:
            return load_around(
                self._client,
                name,
                functions,
                model_name,
                config,
                sample=sample,
                batch=batch,
                tolerance=tolerance,
                force=force,
                progress=told,
            )

        return _run(f"function {name}", call, progress)

    def pipeline(
        self,
        name: str,
        stages: object,
        mapping: Mapping[str, str] | None = None,
        *,
        force: bool = False,
        **settings: object,
    ) -> LoadReport:
        """Serves models that are served already, one after another, as one model `name`, and reports what was done.

        `stages` is `wb["det"] >> wb["rec"]`, "det >> rec", or a list of names. Outputs become inputs by name, or where
        one output meets one input. `mapping` says so otherwise: {"rec.x": "det.y"} has output y of det become input x
        of rec, {"rec.lang": "lang"} gives the pipeline an input of its own, {"boxes": "det.y"} a further output.

        Raises InvalidInput where the stages do not fit each other, ModelNotFound for a stage that is not loaded.
        """
        from workbench.client.model_settings import settings_from
        from workbench.client.pipeline_load import load_pipeline
        from workbench.client.pipeline_wiring import stages_of

        self._predictor.forget(name)
        models, config = stages_of(stages).models, settings_from(settings)

        def call(told: LoadProgress) -> Coroutine[Any, Any, LoadReport]:
            return load_pipeline(self._client, name, models, mapping or {}, config, force=force)

        return _run(f"pipeline {name}", call, False)

    def export(
        self,
        name: str,
        path: str | os.PathLike[str],
        *,
        version: str | int | None = None,
        force: bool = False,
        progress: Told | bool = False,
    ) -> Card:
        """Writes the served file of a model to `path`, a file or a folder, with the data beside it where it has such.

        Raises Conflict where a file of its data would replace another one, unless `force`.
        """
        from workbench.client.export import export

        name, wanted = _version_of(name, version)

        def call(told: LoadProgress) -> Coroutine[Any, Any, Card]:
            return export(self._client, name, Path(path), version=wanted, force=force, progress=told)

        return _run(f"export {name}", call, progress)

    def unload(self, name: str) -> None:
        """Unloads every version of model `name` and frees its memory, after its current requests have ended.

        "digits:1" unloads version 1 alone. Raises Conflict for the version that serves.
        """
        from workbench.client import sync

        name, version = _version_of(name)
        self._predictor.forget(name)
        sync.run(self._client.unload(name, version))

    def predict(
        self,
        name: str,
        value: object,
        *,
        version: str | int | None = None,
        outputs: Sequence[str] = (),
        progress: Told | bool = False,
    ) -> Prediction:
        """Returns the prediction of model `name`, or of a version of it as in "digits:2", for `value`.

        `value` is an array, a list, a DataFrame, or a dict of them by input name. Numbers are converted to the
        model's type if they fit. A single row gets the batch axis. More rows than a batch takes are split into
        several requests, and the answers are joined. `progress` is as for `load`.
        """
        return _run(f"predict {name}", self._prediction(name, value, version, outputs), progress)

    def submit(
        self, name: str, value: object, *, version: str | int | None = None, outputs: Sequence[str] = ()
    ) -> Job[Prediction]:
        """Runs `predict` in the background and returns a job: await it, cancel it, or ask for its result."""
        from workbench.client.futures import Job

        return Job(f"predict {name}", self._prediction(name, value, version, outputs))

    def _prediction(
        self, name: str, value: object, version: str | int | None, outputs: Sequence[str]
    ) -> Callable[[LoadProgress], Coroutine[Any, Any, Prediction]]:
        name, wanted = _version_of(name, version)

        def call(told: LoadProgress) -> Coroutine[Any, Any, Prediction]:
            return self._predictor.predict(name, value, version=wanted, outputs=outputs, progress=told)

        return call

    @overload
    def models(self) -> ModelTable: ...
    @overload
    def models(self, window: float | str) -> RecentFigures: ...
    def models(self, window: float | str | None = None) -> ModelTable | RecentFigures:
        """Lists every version of every model; with a `window` like "60s" or "5m", with its figures in that time."""
        from workbench.client import sync, window_stats
        from workbench.client.results import ModelTable

        if window is not None:
            asked_s = window_stats.window_s(window)
            return window_stats.decode(sync.run(self._client.figures(asked_s)), asked_s)
        return ModelTable(sync.run(self._client.statuses()))

    def show(self, name: str, version: str | int | None = None) -> ModelCard:
        """Describes one version of a model: by default the one that serves, or else the newest and why it failed."""
        from workbench.client import sync
        from workbench.client.model_card import described

        name, wanted = _version_of(name, version)
        return described(sync.run(self._client.describe(name, wanted)))

    def set(self, name: str, **settings: object) -> Card:
        """Changes a model's settings: at once if possible, or else by a reload that fails no request."""
        from workbench.client import sync
        from workbench.client.model_settings import settings_from
        from workbench.client.summary import model_card

        config = settings_from(settings)
        if not config:
            raise InvalidInput("set needs at least one setting, as max_batch=32")
        return model_card(sync.run(self._client.configure(name, config)).status)

    # Versions

    def versions(self, name: str) -> VersionTable:
        """Lists the versions of a model that are loaded or kept; `.history` says who had which one serve, and when."""
        from workbench.client import sync
        from workbench.client.version_results import VersionTable

        return VersionTable(sync.run(self._client.versions(name)))

    def label(
        self, name: str, labels: Mapping[str, str | int | None] | None = None, /, **more: str | int | None
    ) -> Card:
        """Has each label point to its version, all at one moment: `wb.label("digits", stable=1, canary=2)`.

        Calls name a label wherever they can name a version: `wb["digits:canary"]`. None takes a label away. A version
        with a label stays loaded. Raises InvalidInput for a version that is not Ready, or a label like a version.
        """
        from workbench.client import sync
        from workbench.client.version_results import labels_card

        asked = {
            each: None if version is None else str(version) for each, version in {**(labels or {}), **more}.items()
        }
        if not asked:
            raise InvalidInput("label needs at least one label, as canary=2")
        self._predictor.forget(name)
        return labels_card(name, sync.run(self._client.label(name, asked)))

    def route(
        self,
        name: str,
        weights: Mapping[str, float | str] | str | int | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float | str] | str | int | None = None,
        keep_rows: int = 0,
        share: str = "",
        wait: bool = False,
        force: bool = False,
    ) -> Card:
        """Splits the calls that name no version: `wb.route("digits", {"2": 0.10})` sends 10 % of them to version 2, and
        the rest to the version that serves.

        `wb.route("digits", "2")` has version 2 serve, and `{}` or a weight of 0 ends the split. Calls with the same
        value of the parameter `by`, or else of the same share, stay on one side, also when the weight grows. `wait`
        waits for a load of the model that is under way; `force` routes all calls to a version with other inputs or
        outputs.

        `shadow={"2": 0.25}` has version 2 get a copy of 25 % of the calls, which never delays them and whose answers
        nobody gets: `wb.shadow("digits")` tells how they differ. `keep_rows` of the rows that differ most are kept in
        the service's memory; they are callers' data. `shadow={}` ends it. What is left out stays as it is.

        `share="team-a"` has the calls of this share alone go by the weights, whatever others go by, until it ends; `{}`
        has them go as all others do.

        Raises InvalidInput for weights over 100 %, ModelNotFound or Unavailable for a version that is not Ready,
        NotFound for a share that does not hold.
        """
        from workbench.client import sync
        from workbench.client.version_results import route_card, share_route_card, weights_from

        if weights is None and shadow is None:
            raise InvalidInput('route takes weights, as {"2": 0.1}, a version, or shadow={"2": 0.25}')
        self._predictor.forget(name)
        copied = None if shadow is None else weights_from(shadow)
        parts = None if weights is None else weights_from(weights)
        done, split = sync.run(
            self._client.route(
                name, parts, by=by, shadow=copied, keep_rows=keep_rows, share=share, wait=wait, force=force
            )
        )
        return share_route_card(name, share, parts or {}) if share else route_card(done, split, by, copied)

    def shadow(self, name: str) -> ShadowReport:
        """Tells how the answers of a model's shadow differ from those that callers got: by output the largest
        difference, rows with the same label or class, and in `.examples` the rows that differ most, if they are kept.

        Raises NotFound where no calls are copied.
        """
        from workbench.client import sync
        from workbench.client.shadow_results import ShadowReport

        return ShadowReport(*sync.run(self._client.shadow(name)))

    def rollback(self, name: str) -> Card:
        """Has the version serve again that served before, without a failed request; again, the one before that.

        It is loaded again if it is not loaded any more, and the answer says how long that took. Raises Conflict where
        none served before.
        """
        from workbench.client import sync
        from workbench.client.version_results import rollback_card

        self._predictor.forget(name)
        return rollback_card(sync.run(self._client.rollback(name)))

    def rollout(
        self,
        name: str,
        version: str | int | None = None,
        *,
        steps: Sequence[float] | str = (0.01, 0.1, 0.5, 1.0),
        every: float | str = "5m",
        guard: str = "errors<1.5x,p99<1.1x",
        on_breach: str = "rollback",
        least_calls: int = 200,
        by: str = "",
        stop: bool = False,
        resume: bool = False,
    ) -> Rollout:
        """Gives a version more and more of the calls by itself, as long as `guard` holds:
        `wb.rollout("digits", "2", steps=[.01, .1, .5, 1], every="5m", guard="errors<0.5%,p99<1.2x")`.

        On a breach it gets none any more, or with `on_breach="halt"` no more than it has. A step goes on when its time
        is over and both versions have had `least_calls`. Without a version it tells how the last rollout stands;
        `stop` ends it, `resume` begins the step again in which it was halted. The service goes on with it whatever
        becomes of this process.

        Raises InvalidInput, ModelNotFound or Unavailable for a version that is not Ready, Conflict where a rollout is
        under way, NotFound where there was none.
        """
        from workbench.client import sync
        from workbench.client.rollout_results import Rollout, seconds_from, steps_from

        self._predictor.forget(name)
        if stop and resume:
            raise InvalidInput("stop ends a rollout, and resume goes on with it: give one of them")
        if version is None:
            act = self._client.stop_rollout if stop else self._client.resume_rollout if resume else self._client.rollout
            return Rollout(self._client, sync.run(act(name)))
        if stop or resume:
            raise InvalidInput("stop and resume are of the rollout that there is: leave the version out")
        begin = self._client.start_rollout(
            name,
            str(version),
            steps=steps_from(steps),
            every_s=seconds_from(every),
            guard=guard,
            on_breach=on_breach,
            least_calls=least_calls,
            by=by,
        )
        return Rollout(self._client, sync.run(begin))

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
        """Starts a load test of model `name` and returns a handle; its `.result()` (or `await`) is a `Report`.

        One option says how requests arrive:
        - `rate=200`: requests per second, each sent when it is due
        - `users=32`: users who wait for their answers
        - `ramp="10:1000"`: a rate that grows from one to the other
        - `step=50`: a rate that rises in stairs until something breaks
        - `sine="20:200"`: a rate that swings between two values
        - `replay=times`: recorded arrival times
        - `slo="p99<20ms"` alone: searches the highest rate that meets it; with another option, it judges the result

        `sweep="batch=1:8:32,delay"` runs the same load with each combination of settings, and then restores the
        model's own. Rows are sampled from `inputs`, `requests=[...]` are sent as they are, and without either the
        inputs are random. The other options are in `workbench.loadtest.options.OPTIONS`: `duration`, `warm_up`,
        `rows` and so on.

        `endpoint="http://HOST:PORT"`, `"https://HOST:PORT"` or `"grpc://HOST:PORT"` tests model `name` on another
        server of the Open Inference Protocol, for example Triton, with its `token` if it needs one.

        Raises at once any error that the first request would meet.
        """
        from workbench.client import sync
        from workbench.loadtest.bench import bench_target
        from workbench.loadtest.plan import Target

        wanted = None if version is None else str(version)
        if endpoint is not None:
            target = Target(name, endpoint, wanted, token)
        else:
            sync.run(self._client.status(name, wanted))  # which finds the service, where it has moved
            client = self._client
            token, file = client.token, client.token_file
            target = Target(
                name,
                client.url,
                wanted,
                token,
                controlled=True,
                token_file=file,
                own=client.own,
                ca_file=client.ca_file,
            )
        return bench_target(target, inputs, sweep=sweep, **options)

    def history(self, model: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Lists the stored load tests of all models or of one, the latest first: one row per run, indexed by its id."""
        from workbench.loadtest.store.history import history

        return history().to_pandas(model, limit)

    def report(self, run: str = "last") -> Report:
        """Returns the report of a stored run: its id, a model's name for its latest, or "last". Raises NotFound."""
        from workbench.loadtest.report.report import Report
        from workbench.loadtest.store.history import history

        return Report(history().run(run))

    def compare(
        self,
        a: str | Report,
        b: str | Report,
        rows: object = None,
        *,
        seconds: float | str | None = None,
        progress: Told | bool = False,
    ) -> Comparison | VersionComparison:
        """Compares two load tests, or two versions of a model, as "digits:1" and "digits:2".

        Of load tests: ratios of `b` to `a` with intervals, and the differences of their set-ups. Of versions: how
        both answer `rows` and how long they take, for `seconds` (5); without rows by the calls that they get within
        `seconds` (60). `progress` is as for `load`.
        """
        if isinstance(a, str) and isinstance(b, str) and ":" in a + b:
            return self._compare_versions(a, b, rows, seconds, progress)
        if rows is not None or seconds is not None:
            raise InvalidInput(f"rows and seconds go with two versions, as 'digits:1', got {a!r} and {b!r}")
        from workbench.loadtest.analysis.compare import compare

        first, second = (self.report(each) if isinstance(each, str) else each for each in (a, b))
        return compare(first.run, second.run)

    def _compare_versions(
        self, a: str, b: str, rows: object, seconds: float | str | None, progress: Told | bool
    ) -> VersionComparison:
        from workbench.client import version_comparison

        (model, first), (other, second) = _version_of(a), _version_of(b)
        if first is None or second is None or model != other:
            raise InvalidInput(
                f"compare takes two versions of one model, as 'digits:1' and 'digits:2', got {a!r}, {b!r}"
            )
        default_s = version_comparison.LIVE_S if rows is None else version_comparison.ROWS_S
        for_s = version_comparison.seconds_to_compare(seconds, default_s)

        def call(told: LoadProgress) -> Coroutine[Any, Any, VersionComparison]:
            if rows is None:
                return version_comparison.compare_traffic(self._client, model, first, second, for_s, told)
            return version_comparison.compare_on_rows(
                self._client, self._predictor, model, first, second, rows, for_s, told
            )

        return _run(f"compare {a} {b}", call, progress)

    def __getitem__(self, name: str) -> Model:
        """The model, or a version of it: `wb["digits:2"]`, `wb["digits:canary"]`. Raises ModelNotFound."""
        name, version = _version_of(name)
        status = self._status(name, version)
        return Model(self, status.name, version)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in list(self)

    def __iter__(self) -> Iterator[str]:
        """Iterates over the names of the models."""
        return iter(dict.fromkeys(status.name for status in self.models()))

    def _ipython_key_completions_(self) -> list[str]:
        """Completes model names after `wb["`."""
        try:
            return list(self)
        except WorkbenchError:
            return []

    # The service

    def status(self) -> Card:
        """Describes the service: its state and the reason, address, start time and resources. Starts no service."""
        from workbench.client import sync
        from workbench.client.shared_service import address_of
        from workbench.client.summary import service_card, share_card, shared_card

        if self._client.of_share:
            return share_card(self.url, sync.run(self._client.server_metadata()), list(self))
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
        """Returns the service's last log lines; those of the shared service also when it does not run."""
        from workbench.client import sync
        from workbench.client.results import Lines

        if self._shared is not None:
            return Lines(self._shared.logs(lines))
        return Lines(sync.run(self._client.logs(lines)))

    def token(self, *, show: bool = False) -> Card:
        """Says in which file the service's token is; with `show` also the token. Starts no service."""
        from workbench.client.summary import token_card
        from workbench.rendezvous.token_file import read_token

        file = self._client.token_file
        if self._shared is not None and (record := self._shared.record()) is not None:
            file = record.token_file
        token = self._client.token if not show or not file else read_token(Path(file))
        return token_card(file, token if show else None)

    def rotate_token(self) -> Card:
        """Replaces the service's token while it runs, and says in which file the new one is.

        No other token is valid from then on: calls with the old one are refused, and streams that it opened end. Your
        other programs that know the file read it again and go on.

        Raises Unavailable if no service runs, and StorageError if the file is not the service's to write.
        """
        from workbench.client import sync
        from workbench.client.summary import token_card

        if self._shared is not None and self._shared.record() is None:
            raise Unavailable(
                "no service runs, so there is no token to replace; to have the next start make another one, delete the "
                "file 'token' in the data folder"
            )
        return token_card(sync.run(self._client.rotate_token()), None, replaced=True)

    def share(
        self,
        model: str | Sequence[str],
        label: str,
        rate: float | str | None = None,
        expires: float | str = "7d",
        *,
        row_rate: float | str | None = None,
        quota: int | str | None = None,
        row_quota: int | str | None = None,
        version: int | str | None = None,
        max_body: int | str | None = None,
        metrics: bool = False,
        max_in_flight: int | None = None,
        show_token: bool = False,
        as_env: str | os.PathLike[str] | None = None,
    ) -> Share:
        """Gives somebody else a token for inferences on `model`, or on several models, and nothing else.

        `rate` are requests a second (20, "20/s", "600/min"), `row_rate` their rows, `quota` requests a UTC day
        (10000), and `row_quota` their rows; `expires` is a time from now on ("7d", "12h", or seconds); `max_in_flight`
        requests may be under way at once (16). It calls `version` of the model alone, by default the one that serves;
        a body may have `max_body` bytes (100000, "1MB"); with `metrics` it may read the metrics of its models.

        The answer has a link that gives the token once, within an hour; with `show_token` it has the token in its
        place. No token is shown, here or later. `as_env` is a new file for the address and the token, INFER_URL and
        INFER_TOKEN, that only you can read.

        Raises ModelNotFound for a model that is not served, Conflict for a label that a share has already.
        """
        from workbench.client import sync
        from workbench.client.share_env import into_env_file

        terms: dict[str, object] = {
            "models": [model] if isinstance(model, str) else list(model),
            "label": label,
            "rate": rate,
            "row_rate": row_rate,
            "quota": quota,
            "row_quota": row_quota,
            "version": version,
            "max_body": max_body,
            "metrics": metrics,
            "expires": expires,
            "show_token": show_token or as_env is not None,
        }
        # JSON has no NaN and no infinity: as text they are refused by their name.
        for name in ("rate", "row_rate", "expires"):
            if isinstance(value := terms[name], float) and not isfinite(value):
                terms[name] = str(value)
        if max_in_flight is not None:
            terms["max_in_flight"] = max_in_flight
        if self._shared is not None and (url := self._shared.jupyter_url()):
            terms["url"] = url
        if as_env is not None:
            return into_env_file(Path(as_env), lambda: sync.run(self._client.share(terms)), self.revoke)
        return sync.run(self._client.share(terms))

    def shares(self) -> ShareTable:
        """Lists the shares: for whom, of what, and how they are used. Those that ended stay listed for 30 days."""
        from workbench.client import sync

        return sync.run(self._client.shares())

    def revoke(self, share: str) -> None:
        """Ends the share with this id or label: the next call with its token is refused, on kept connections too.

        Raises NotFound.
        """
        from workbench.client import sync

        sync.run(self._client.revoke(share))

    def open_port(
        self,
        host: str,
        port: int = 0,
        *,
        grpc_port: int = 0,
        tls: str = "off",
        tls_cert: str | os.PathLike[str] | None = None,
        tls_key: str | os.PathLike[str] | None = None,
        insecure: bool = False,
    ) -> Card:
        """Opens a port of the service on a network, such as "0.0.0.0" for all, for calls with shares' tokens alone.

        Off loopback it needs `tls="self-signed"`, or the PEM files `tls_cert` and `tls_key` on the service's machine;
        `insecure` opens it without. `port` is that of HTTP, `grpc_port` that of gRPC; 0 takes a free one. The answer
        has `url`, `grpc` (HOST:PORT), `ca_file` for callers to trust, its `sha256`, and a `warning`. It is open until
        `close_port`, also after restarts; asked for again as it is, it stays.
        Raises Unavailable for a port that is taken, Conflict where another one is open.
        """
        from workbench.client import sync
        from workbench.client.summary import port_card

        files = {
            name: str(Path(path).absolute())
            for name, path in (("tls_cert", tls_cert), ("tls_key", tls_key))
            if path is not None
        }
        terms = {"host": host, "port": port, "grpc_port": grpc_port, "tls": tls, "insecure": insecure, **files}
        return port_card(sync.run(self._client.open_share_port(terms)))

    def port(self) -> Card:
        """Shows the port on a network that shares are called on."""
        from workbench.client import sync
        from workbench.client.summary import port_card

        return port_card(sync.run(self._client.share_port()))

    def close_port(self) -> None:
        """Closes the port for shares for good, once what is under way there is answered. Raises NotFound."""
        from workbench.client import sync

        sync.run(self._client.close_share_port())

    def audit(self, last: float | str = "7d") -> AuditTable:
        """Lists who changed the service and from where, of the `last` time ("7d", "12h", or seconds), the oldest first:
        loads, unloads, settings, shares made, claimed and revoked, tokens replaced, and what was refused.

        Raises StorageError where it cannot be read.
        """
        from workbench.client import sync
        from workbench.client.audit_results import seconds_back

        return sync.run(self._client.audit(time.time() - seconds_back(last)))

    def snapshots(self, interval: float = 0.5) -> Iterator[dict[str, Any]]:
        """Yields the service's live figures, one snapshot every `interval` seconds."""
        from workbench.client import sync

        return sync.iterate(self._client.snapshots(interval))

    def watch(self, model: str | None = None, window: float | str = 60.0) -> LivePlot:
        """Plots the live figures of `model`, or of the busiest model, in a notebook. Updates while cells run.

        The plot updates until its `close()`. `window` is the time that is shown: seconds, or a text like "5m". It
        starts no service; if none runs, the plot says so.
        """
        from workbench.client.window_stats import window_s
        from workbench.core.model import check_model_name
        from workbench.notebook.live import LivePlot

        name = None if model is None else check_model_name(model)
        return LivePlot(self.feed, name, window_s(window), shared=self._shared is not None)

    def panel(self) -> ControlPanel:
        """Shows the side panel's functions as widgets in a notebook, even without the side panel. Starts no service."""
        from workbench.notebook.panel import ControlPanel

        return ControlPanel(self)

    @property
    def feed(self) -> Feed:
        """The service's live figures for the widgets of this process; read only while a widget is open."""
        from workbench.notebook.kernel_feed import of_client, of_shared

        if self._feed is None:
            self._feed = of_client(self._client) if self._shared is None else of_shared(self._shared)
        return self._feed

    def restart(self) -> Card:
        """Restarts the shared service in your version, with the same models, after its current requests have ended.

        Raises Unsupported for a service that was given by its URL.
        """
        if self._shared is None:
            raise Unsupported("only your own shared service can be restarted from here; restart this one where it runs")
        from workbench.client import sync

        sync.run(self._client.rebind(self._shared.restart()))
        return self.status()

    def stop(self) -> None:
        """Stops the shared service after its current requests; the next call starts it again with the same models.

        A service that was given by its URL is left running, and only this workbench is closed.
        """
        from workbench.client import sync

        if self._shared is None:
            self.close()
        else:
            sync.run(self._client.close())
            self._shared.stop()
            self._shared.release()

    def close(self) -> None:
        """Closes this workbench's connections; the service keeps running."""
        from workbench.client import sync

        self._closed = True
        sync.run(self._client.close())

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


def _run(what: str, call: Callable[[LoadProgress], Coroutine[Any, Any, T]], told: Told | bool) -> T:
    """Returns the result of `call`. `told` gets its progress: True shows a bar, and a function is called."""
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


def _with_shared_service(start: bool, wait_s: float | None = None) -> Workbench:
    from workbench.client.client import AsyncClient
    from workbench.client.service_transport import WAIT_S
    from workbench.client.shared_service import Address, address_of, shared_service

    shared = shared_service()
    if start:
        address = shared.ensure() if wait_s is None else shared.ensure(wait_s)
    else:
        record = shared.record()
        address = Address(_NOWHERE, None) if record is None else address_of(record)
    client = AsyncClient(
        address.url,
        address.token,
        token_file=address.token_file,
        ca_file=address.ca_file,
        own=True,
        shared=shared,
        keeper=address.keeper,
        wait_s=WAIT_S if wait_s is None else wait_s,
    )
    return Workbench(client, shared, address.token_file)


_NOWHERE = "http://127.0.0.1:1"
"""An address that refuses connections, which makes a client of the shared service look up the real one."""


def _version_of(name: str, version: str | int | None = None) -> tuple[str, str | None]:
    """The model, and the version that "digits:2" or `version` names. Raises InvalidInput where they differ."""
    model, named = named_version(name) if isinstance(name, str) else (name, None)
    wanted = named if version is None else str(version)
    if named not in (None, wanted):
        raise InvalidInput(f"{name!r} names version {named}, and version={wanted!r} another one; give one of them")
    return model, wanted


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
