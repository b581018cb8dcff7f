"""What a service says of its models is a stranger's text: no object of the client shows it as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.hostile_text import HOSTILE, harmful_in
from tests.loadtest.runs import run
from workbench.client.audit_results import AuditTable
from workbench.client.futures import Job
from workbench.client.model_card import described
from workbench.client.results import CallTimings, Lines, LoadReport, ModelTable, Prediction
from workbench.client.share_results import Share, SharedAccess, ShareTable
from workbench.client.slow_requests import SlowRequests
from workbench.client.summary import model_card, service_card, shared_card
from workbench.client.window_stats import RecentFigures, VersionFigures
from workbench.core.audit_entry import AuditEntry
from workbench.core.description import Description, Graph, RunTimes
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.report.report import Report
from workbench.loadtest.store.recording import Mark
from workbench.loadtest.store.run import Run
from workbench.rendezvous.process_identity import this_process
from workbench.rendezvous.service_record import ServiceRecord


def signature(text: str) -> Signature:
    spec = TensorSpec(text, text, (-1, 4))
    return Signature((spec,), (spec,))


def status(text: str) -> ModelStatus:
    said = dict.fromkeys(("name", "version", "reason", "device", "batching", "execution", "digest"), text)
    return ModelStatus(**said, state=ModelState.FAILED, signature=signature(text), notes=(text,))  # type: ignore[arg-type]


def description(text: str) -> Description:
    graph = Graph({text: 3}, opsets={text: 1}, producer=text)
    return Description(status(text), graph, {text: {text: 1}, f"{text}2": {text: 2}}, (RunTimes(((4,),), {1: 0.1}),))


def slow_request(text: str) -> dict[str, object]:
    told = {"request_id": text, "version": text, "outcome": text, "release_reason": text}
    figures = {"duration_s": 1.0, "time": 0.0, "rows": 1, "batch_size": 2, "batch_rows": [1], "request_bytes": 9}
    return {**told, **figures, "stages_s": {"queue": 0.5}}


def record(text: str) -> ServiceRecord:
    return ServiceRecord("u", "t", "", this_process(), reason=text, progress=text, version=text, log_file=text)


def failed_job(text: str) -> Job[None]:
    async def fail() -> None:
        raise ValueError(text)

    job = Job[None]("predict", lambda progress: fail())
    with pytest.raises(ValueError, match="x"):
        job.result()
    return job


def load_test(text: str) -> Run:
    return replace(run(), reason=text, limit=text, notes=(text,), marks=(Mark(1.0, "lost", text),), id=text)


MADE: dict[str, Callable[[str], object]] = {
    "status": status,
    "signature": signature,
    "spec": lambda text: signature(text).inputs[0],
    "table": lambda text: ModelTable([status(text)]),
    "load": lambda text: LoadReport(status(text), False, text, 1.0, text, text),
    "prediction": lambda text: Prediction(
        text, text, {text: np.array([text, "y"], object), f"{text}2": np.zeros((2, 3))}, CallTimings(0.1), [text, 2]
    ),
    "card": lambda text: model_card(status(text)),
    "full card": lambda text: described(description(text)),
    "service": lambda text: service_card({"state": text, "notes": [text], "models": [{"name": text}]}, text),
    "shared service": lambda text: shared_card(record(text), ("", 0.0), 1, None),
    "no service": lambda text: shared_card(None, (text, 1.0), 0, None),
    "lines": lambda text: Lines([text, "more"]),
    "slowest": lambda text: SlowRequests(text, [slow_request(text)]),
    "none slow": lambda text: SlowRequests(text, []),
    "figures": lambda text: RecentFigures(60, 60, [VersionFigures(text, text, text, text)]),
    "job": failed_job,
    "report": lambda text: Report(load_test(text)),
    "share": lambda text: Share(text, text, (text,), text, text, 1.0, version=text, env_file=text),
    "shares": lambda text: ShareTable(
        [
            SharedAccess(
                text,
                text,
                (text,),
                "holds",
                1.0,
                16,
                0.0,
                1.0,
                None,
                1,
                2,
                0,
                None,
                version=text,
                suspended={text: text},
            )
        ]
    ),
    "audit": lambda text: AuditTable([AuditEntry(1.0, text, text, text, text, text, text, text, text)]),
    "comparison": lambda text: compare(load_test(text), replace(load_test(f"{text}2"), machine={"cpu": text})),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_hostile_text_is_shown_visibly_and_begins_no_line(make: Callable[[str], object]) -> None:
    plain, hostile = make("x y"), make(HOSTILE)
    shown = repr(hostile)
    assert not harmful_in(shown)
    assert len(shown.splitlines()) == len(repr(plain).splitlines())
    assert len(str(hostile).splitlines()) == len(str(plain).splitlines())
    html = getattr(hostile, "_repr_html_", None)
    if html is not None:
        assert not harmful_in(html())
        assert "<b onclick" not in html() and "<img src=x" not in html()


def test_a_job_is_shown_so_in_a_notebook_too() -> None:
    bundle = failed_job(HOSTILE)._repr_mimebundle_()
    assert not harmful_in("".join(bundle.values()))


def test_a_missing_output_is_named_visibly() -> None:
    prediction = Prediction("m", "1", {HOSTILE: np.zeros(1)}, CallTimings(0.1))
    with pytest.raises(KeyError) as caught:
        prediction["other"]
    assert not harmful_in(str(caught.value))
