"""Loads models, calls them, and says what they are."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from workbench.api.service_handle import ServiceHandle, run_told, version_of
from workbench.errors import InvalidInput, WorkbenchError

if TYPE_CHECKING:
    from workbench.client.client import AsyncClient
    from workbench.client.futures import Job
    from workbench.client.load_progress import LoadProgress, Told
    from workbench.client.model_card import ModelCard
    from workbench.client.results import LoadReport, ModelTable, Prediction
    from workbench.client.summary import Card
    from workbench.client.window_stats import RecentFigures


class ModelCalls(ServiceHandle):
    """The calls of a `Workbench` that load, call, describe and set models."""

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

        async def call(told: LoadProgress) -> LoadReport:
            report = await load(
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
            return await _with_whose(self._client, report)

        return run_told(f"load {name}", call, progress)

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

        return run_told(f"function {name}", call, progress)

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

        return run_told(f"pipeline {name}", call, False)

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

        name, wanted = version_of(name, version)

        def call(told: LoadProgress) -> Coroutine[Any, Any, Card]:
            return export(self._client, name, Path(path), version=wanted, force=force, progress=told)

        return run_told(f"export {name}", call, progress)

    def unload(self, name: str) -> None:
        """Unloads every version of model `name` and frees its memory, after its current requests have ended.

        "digits:1" unloads version 1 alone. Raises Conflict for the version that serves.
        """
        from workbench.client import sync

        name, version = version_of(name)
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
        return run_told(f"predict {name}", self._prediction(name, value, version, outputs), progress)

    def submit(
        self, name: str, value: object, *, version: str | int | None = None, outputs: Sequence[str] = ()
    ) -> Job[Prediction]:
        """Runs `predict` in the background and returns a job: await it, cancel it, or ask for its result."""
        from workbench.client.futures import Job

        return Job(f"predict {name}", self._prediction(name, value, version, outputs))

    def _prediction(
        self, name: str, value: object, version: str | int | None, outputs: Sequence[str]
    ) -> Callable[[LoadProgress], Coroutine[Any, Any, Prediction]]:
        name, wanted = version_of(name, version)

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

        name, wanted = version_of(name, version)
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


async def _with_whose(client: AsyncClient, report: LoadReport) -> LoadReport:
    """The report with whose version was replaced. A service that does not tell, as an older one, changes nothing."""
    from workbench.client.replaced_load import replaced_note
    from workbench.client.user_agent import user_agent

    status, previous = report.status, report.previous
    if report.unchanged or not status.routed or previous in (None, status.version):
        return report
    assert previous is not None
    try:
        history = (await client.versions(status.name)).history
    except WorkbenchError:
        return report
    return replace(report, replaced=replaced_note(status.name, previous, history, user_agent(), time.time()))
