"""Every table that a cell may show, of made-up figures: with ordinary names, and with the longest ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tests.client.test_shadow_results import FIGURES
from tests.client.test_slow_requests import one
from tests.loadtest.runs import run
from workbench.client.audit_results import AuditTable
from workbench.client.client import AsyncClient
from workbench.client.model_card import described
from workbench.client.results import CallTimings, LoadReport, ModelTable, Prediction
from workbench.client.rollout_results import Rollout
from workbench.client.shadow_results import ShadowReport
from workbench.client.share_results import SharedAccess, ShareTable
from workbench.client.slow_requests import SlowRequests
from workbench.client.version_comparison import Figure, VersionComparison
from workbench.client.version_results import VersionTable
from workbench.client.window_stats import RecentFigures, VersionFigures
from workbench.core.audit_entry import AuditEntry
from workbench.core.description import Description, Graph, RunTimes
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.rollout_view import ClauseView, RolloutView
from workbench.core.version_overview import VersionEntry, VersionOverview
from workbench.loadtest.analysis.compare import compare
from workbench.loadtest.report.report import Report
from workbench.loadtest.report.run_table import RunTable
from workbench.loadtest.store.history import summary_of

LONG = "a" * 128

NOW = 1_700_000_000.0

LAB = """
:root { color-scheme: light dark; }
body { margin: 0; background: light-dark(#fff, #111); color: light-dark(#212121, #fffd); }
.jp-RenderedHTMLCommon { font: 14px/1.6 system-ui, sans-serif; padding: 8px 0; overflow: auto; }
.jp-RenderedHTMLCommon table { border-collapse: collapse; border: none; font-size: 13px; table-layout: fixed; }
.jp-RenderedHTMLCommon thead { border-bottom: 1px solid #8888; vertical-align: bottom; }
.jp-RenderedHTMLCommon td, .jp-RenderedHTMLCommon th, .jp-RenderedHTMLCommon tr { vertical-align: middle;
  padding: 0.5em; line-height: normal; white-space: normal; max-width: none; border: none; text-align: right; }
.jp-RenderedHTMLCommon tbody tr:nth-child(even) { background: #8882; }
"""
"""What JupyterLab sets for tables of an output, which ours must stand."""


def page(outputs: Mapping[str, object]) -> str:
    """All of them below each other, as JupyterLab shows them."""
    shown = "".join(
        f'<section class="jp-RenderedHTMLCommon" id="{name}">{_html(each)}</section>' for name, each in outputs.items()
    )
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>cells</title><style>{LAB}</style>{shown}'


def _html(output: object) -> str:
    return str(output._repr_html_())  # type: ignore[attr-defined]


def outputs(name: str = "digits") -> dict[str, object]:
    """Each by what shows it. `name` is the model's."""
    spec = TensorSpec("X", "FP32", (-1, 64))
    why = "each row is computed alone: Gemm, Relu, Softmax; up to 64 rows a run, 32 when many wait"
    ready = ModelStatus(
        name, "3", ModelState.READY, device="CPU", batching=why, max_batch_size=64, routed=True,
        signature=Signature((spec,), (spec,)), weight=0.9, version_labels=("stable",),
        digest="sha256:0123456789abcdef", size_bytes=2_000_000,
    )  # fmt: skip
    failed = replace(
        ready, version="4", state=ModelState.FAILED, reason="the runtime refused it: no kernel for operator Foo(17)",
        routed=False, weight=0.0, version_labels=(),
    )  # fmt: skip
    alone = replace(
        ready,
        name=f"other-{name}"[:128],
        max_batch_size=0,
        batching="unbatched: x - mean(x, axis=0) mixes rows",
        weight=1.0,
    )
    figures = VersionFigures(
        name, "3", "Ready", "CPU", True, 3, {"ok": 1190, "failed": 10}, 20.1, 1234.5, 5.0, 0.4, 0.0021, 0.012, 0.2,
        61.7, 0.0004, 0.001,
    )  # fmt: skip
    entries = (
        VersionEntry("2", "stored", before=True),
        VersionEntry("3", "Ready", routed=True, loaded_at=NOW, weight=0.9, labels=("stable",)),
        VersionEntry("4", "Failed", reason=failed.reason),
    )
    audited = [
        AuditEntry(
            NOW, "load", name, f"version {each}, in place of 1", "ok", "owner", "http", "127.0.0.1", "python/3.11"
        )
        for each in (2, 3)
    ]
    rolled = RolloutView(
        name, "4", "3", "running", "version 4: step 2 of 4, 10 %", "", 2, (0.01, 0.1, 0.5, 1.0), 300.0, "errors<1%",
        "rollback", 200, "", NOW - 400, NOW - 100, NOW + 200, NOW - 100, NOW - 100,
        (ClauseView("errors<1.5x", "holds", "0.1 % of 1,200 calls", 9), ClauseView("p99<1.1x", "too little to tell")),
    )  # fmt: skip
    tested = replace(run(model=name), id=f"{name}-1")
    graph = Graph({"Gemm": 3, "Relu": 2, "Softmax": 1}, opsets={"ai.onnx": 17}, producer="skl2onnx", parameters=12_345)
    ran = (RunTimes(((64,),), {1: 0.0001, 8: 0.0002, 64: 0.001}),)
    compared = [
        Figure("errors", "0.0 %", "0.4 %", "+0.1 to +0.7 points", "more; chance does not explain it"),
        Figure("p99", "12.1 ms", "11.8 ms", "0.98x", ""),
    ]
    return {
        "models": ModelTable([ready, failed, alone]),
        "figures": RecentFigures(60, 60, [figures, replace_figures(figures, name=alone.name)]),
        "show": described(Description(ready, graph, {"CPUExecutionProvider": {"Gemm": 3, "Relu": 2}}, ran)),
        "load": LoadReport(
            ready, False, "2", 0.8, "RandomForestClassifier to ONNX", "360 of 360 predictions are the same"
        ),
        "prediction": Prediction(name, "3", {"label": np.arange(9), "p": np.eye(9)}, CallTimings(0.1)),
        "versions": VersionTable(VersionOverview(name, "latest:2", entries, tuple(audited))),
        "shares": ShareTable([_share(name), replace(_share(name), label="team-b", rate=None, requests=0, p50_s=None)]),
        "audit": AuditTable(audited),
        "rollout": Rollout(AsyncClient("http://127.0.0.1:9"), rolled),
        "shadow": ShadowReport(replace(FIGURES, model=name)),
        "slowest": SlowRequests(name, [one(2.0, "r-1"), one(1.5, "r-2"), one(1.0, "r" * 200)]),
        "comparison": VersionComparison(
            name, ("3", "4"), f"{name}: version 4 beside version 3, live for 60 s", compared
        ),
        "bench": Report(tested),
        "history": RunTable([summary_of(replace(tested, id=f"{name}-{each}")) for each in (1, 2)]),
        "compare": compare(tested, replace(tested, id=f"{name}-2", machine={"cpu": "another one"})),
    }


def replace_figures(figures: VersionFigures, **changes: object) -> VersionFigures:
    import msgspec

    return msgspec.structs.replace(figures, **changes)  # type: ignore[arg-type]


def _share(name: str) -> SharedAccess:
    return SharedAccess(
        "s-4f2a", "team-a", (name,), "holds", 20.0, 16, NOW, NOW + 6e5, None, 12345, 17, 1, NOW + 9, rows=99_999,
        quota=10_000, day_requests=123, request_bytes=5_000_000, response_bytes=600_000, p50_s=0.0021, p99_s=0.2,
        first_call_at=NOW + 1,
    )  # fmt: skip
