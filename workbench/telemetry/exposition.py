"""Metrics as Prometheus text. Every name that this service exports is in this module and in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from workbench.core.model import ModelState
from workbench.core.ports import Outcome
from workbench.telemetry.figures import Figures
from workbench.telemetry.histogram import EDGES, Histogram
from workbench.telemetry.metrics import ModelVersion, State

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# fmt: off
DURATION_BOUNDS_S = (
    0.0001, 0.00025, 0.0005,
    0.001, 0.0025, 0.005,
    0.01, 0.025, 0.05,
    0.1, 0.25, 0.5,
    1.0, 2.5, 5.0,
    10.0, 30.0,
)
# fmt: on

BATCH_SIZE_BOUNDS = tuple(2**power for power in range(11))

_VERSION_LABELS = ("model", "version")

# Each bound is an edge of the histogram (a test says so), so no count is guessed.
_BOUND_BUCKETS = np.searchsorted(EDGES, DURATION_BOUNDS_S)


def render(state: Callable[[], State]) -> bytes:
    """The metrics of `state()` as Prometheus text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(state))
    return generate_latest(registry)


def families(state: State) -> Iterator[Metric]:
    """Every metric family with its samples."""
    figures = state.figures
    yield _requests(figures)
    yield _durations(
        "infer_request_duration_seconds",
        "Acceptance by the engine until the answer is ready, of the requests that were run",
        ((key, each.request) for key, each in figures.items()),
    )
    yield _durations(
        "infer_queue_duration_seconds",
        "Acceptance by the engine until the request's batch was formed",
        ((key, each.queue) for key, each in figures.items()),
    )
    yield _durations(
        "infer_compute_duration_seconds",
        "Time inside the runtime of the batch that the request was in",
        ((key, each.compute) for key, each in figures.items()),
    )
    yield from _batches(figures)
    yield from _models(state)
    yield from _process(state)


class _Families(Collector):
    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        return families(self._state())


def _requests(figures: Mapping[ModelVersion, Figures]) -> Metric:
    family = CounterMetricFamily(
        "infer_requests_total", "Requests that ended, by how", labels=(*_VERSION_LABELS, "outcome")
    )
    for key, each in figures.items():
        for outcome in Outcome:
            family.add_metric((*key, outcome.value), each.outcomes[outcome])
    return family


def _durations(name: str, text: str, histograms: Iterable[tuple[ModelVersion, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=_VERSION_LABELS)
    for key, histogram in histograms:
        cumulative = np.cumsum(histogram.counts)
        buckets = [
            (f"{bound:g}", float(cumulative[bucket]))
            for bound, bucket in zip(DURATION_BOUNDS_S, _BOUND_BUCKETS, strict=True)
        ]
        family.add_metric(key, [*buckets, ("+Inf", float(cumulative[-1]))], histogram.total_s)
    return family


def _batches(figures: Mapping[ModelVersion, Figures]) -> Iterator[Metric]:
    sizes = HistogramMetricFamily("infer_batch_size", "Rows of the batches that were run", labels=_VERSION_LABELS)
    released = CounterMetricFamily(
        "infer_batches_total", "Batches that were run, by why they were released", labels=(*_VERSION_LABELS, "reason")
    )
    rows = CounterMetricFamily("infer_rows_total", "Rows that were run", labels=_VERSION_LABELS)
    busy = CounterMetricFamily(
        "infer_runner_busy_seconds_total", "Time that runners spent inside the runtime", labels=_VERSION_LABELS
    )
    for key, each in figures.items():
        buckets = [
            (str(bound), float(sum(count for size, count in each.batch_sizes.items() if size <= bound)))
            for bound in BATCH_SIZE_BOUNDS
        ]
        sizes.add_metric(key, [*buckets, ("+Inf", float(each.batches))], each.rows)
        for reason, count in each.release_reasons.items():
            released.add_metric((*key, reason.value), count)
        rows.add_metric(key, each.rows)
        busy.add_metric(key, each.busy_s)
    yield from (sizes, released, rows, busy)


def _models(state: State) -> Iterator[Metric]:
    depth = GaugeMetricFamily("infer_queue_depth", "Requests that wait for a runner", labels=_VERSION_LABELS)
    states = GaugeMetricFamily(
        "infer_model_state", "1 for the state that the version is in, else 0", labels=(*_VERSION_LABELS, "state")
    )
    routed = GaugeMetricFamily(
        "infer_model_routed", "1 where requests that name no version come here", labels=_VERSION_LABELS
    )
    load = GaugeMetricFamily("infer_model_load_seconds", "From Loading to Ready", labels=_VERSION_LABELS)
    info = GaugeMetricFamily(
        "infer_model_info", "Always 1; what the version runs on", labels=(*_VERSION_LABELS, "platform", "device")
    )
    for status in state.statuses:
        key = (status.name, status.version)
        depth.add_metric(key, status.queued)
        for each in ModelState:
            states.add_metric((*key, each.value), float(status.state is each))
        routed.add_metric(key, float(status.routed))
        load.add_metric(key, status.load_s)
        info.add_metric((*key, status.platform, status.device), 1)
    yield from (depth, states, routed, load, info)


def _process(state: State) -> Sequence[Metric]:
    process = state.process
    return (
        CounterMetricFamily(
            "infer_process_cpu_seconds_total", "User and system time of the service", value=process.cpu_s
        ),
        GaugeMetricFamily("infer_process_resident_memory_bytes", "Memory of the service", value=process.resident_bytes),
        GaugeMetricFamily(
            "infer_process_start_time_seconds", "Unix time at which the service began", value=process.started_at
        ),
    )
