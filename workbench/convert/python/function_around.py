"""Serves Python around a served model: a function before it, one after it, and the three as one pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Mapping
from types import FunctionType

from workbench.client.client import AsyncClient
from workbench.client.load_progress import LoadProgress
from workbench.client.pipeline_load import load_pipeline
from workbench.client.predict import Predictor
from workbench.client.results import LoadReport, Prediction
from workbench.convert.load import load
from workbench.convert.python.python_function import PythonFunction
from workbench.core.model import TensorSpec, check_model_name
from workbench.errors import InvalidInput, Unavailable, WorkbenchError

PREPROCESS, POSTPROCESS = "preprocess", "postprocess"


async def load_around(
    client: AsyncClient,
    name: str,
    functions: Mapping[str, FunctionType],
    model: str,
    settings: Mapping[str, object],
    *,
    sample: object,
    batch: bool = False,
    tolerance: float | None = None,
    force: bool = False,
    progress: LoadProgress | None = None,
) -> LoadReport:
    """Serve `functions`, which are `preprocess`, `postprocess` or both, around `model` as `name`.

    They become the models `name`.preprocess and `name`.postprocess, with `settings`. `sample` is a call of the first
    stage; each stage is tried with what the one before it answers. Raises what `load` and `load_pipeline` raise.
    """
    began = time.perf_counter()
    check_model_name(name)
    signature = (await client.status(model)).signature
    if signature is None:
        raise Unavailable(f"model {model!r} does not serve yet, so nothing can be put around it")
    if sample is None:
        raise InvalidInput(
            "functions around a model are declared by a sample: a call of the first one, as sample=X[:3]"
        )
    predictor = Predictor(client)
    stages: list[str] = []
    reports: list[LoadReport] = []
    known: dict[str, object] = dict(sample) if isinstance(sample, Mapping) else {}

    async def served(kind: str, given: object, takers: tuple[TensorSpec, ...] = ()) -> None:
        stages.append(f"{name}.{kind}")
        function = PythonFunction(functions[kind], batch, takers)
        report = await load(
            client, stages[-1], function, settings, sample=given, tolerance=tolerance, force=force, progress=progress
        )
        reports.append(report)

    try:
        if PREPROCESS in functions:
            await served(PREPROCESS, sample, signature.inputs)
            answer = await predictor.predict(stages[-1], sample)
            known.update(answer)
            given = _taken([spec.name for spec in signature.inputs], answer, known, f"model {model!r}", PREPROCESS)
        else:
            given = known or {signature.inputs[0].name: sample}
        stages.append(model)
        try:
            answer = await predictor.predict(model, given)
        except InvalidInput as error:
            of = "what preprocess answers to the sample" if PREPROCESS in functions else "the sample"
            raise InvalidInput(f"model {model!r} does not take {of}: {error.message}") from error
        if POSTPROCESS in functions:
            known.update(answer)
            parameters = inspect.signature(functions[POSTPROCESS]).parameters.values()
            names = [each.name for each in parameters if each.default is each.empty]
            await served(POSTPROCESS, _taken(names, answer, known, POSTPROCESS, f"model {model!r}"))
        joined = await load_pipeline(client, name, stages, {}, {}, force=force)
    except BaseException:
        for report in reversed(reports):
            await asyncio.shield(_taken_back(client, report))
        raise
    return LoadReport(
        joined.status,
        joined.unchanged,
        joined.previous,
        time.perf_counter() - began,
        " · ".join([*(report.exported for report in reports), joined.exported]),
        " · ".join(report.compared for report in reports if report.compared),
        tuple(detail for report in reports for detail in report.details),
    )


async def _taken_back(client: AsyncClient, report: LoadReport) -> None:
    """Have a function's model be what it was before it was loaded."""
    if report.unchanged or report.previous == report.version:
        return
    with contextlib.suppress(WorkbenchError):  # why it is taken back is worth more
        if report.previous is None:
            await client.unload(report.status.name)
        else:
            await client.rollback(report.status.name)
            await client.unload(report.status.name, report.version)


def _taken(
    names: list[str], answer: Prediction, known: Mapping[str, object], taker: str, giver: str
) -> dict[str, object]:
    """What a stage takes of what those before it gave, as a pipeline joins them: by name, or one by one."""
    if missing := [each for each in names if each not in known]:
        if len(names) == 1 and len(answer) == 1:
            return {names[0]: next(iter(answer.values()))}
        raise InvalidInput(
            f"{taker} takes {', '.join(map(repr, names))}; {giver} gives {', '.join(map(repr, answer))}, and so "
            f"nothing for {missing[0]!r}: name them alike"
        )
    return {each: known[each] for each in names}
