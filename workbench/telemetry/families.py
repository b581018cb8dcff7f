"""Metric families as plain values. `exposition` and `triton_metrics` make them; the Prometheus writers format them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from workbench.telemetry.native_histogram import NativeHistogram


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's sample, with classic buckets and native ones."""

    count: int
    total: float
    buckets: Sequence[tuple[float, int]]
    """(upper bound, number of values up to it), ascending, without +Inf."""
    native: NativeHistogram


@dataclass(slots=True)
class Family:
    """All samples of one name."""

    name: str
    """The scraped name; our own counters end in _total."""
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    samples: list[tuple[tuple[str, ...], float | Distribution]] = field(default_factory=list)
    """(values of the labels, value)."""

    def add(self, labels: Iterable[str], value: float | Distribution) -> None:
        self.samples.append((tuple(labels), value))


def counter(name: str, help: str, *labels: str) -> Family:
    return Family(name, MetricKind.COUNTER, help, labels)


def gauge(name: str, help: str, *labels: str) -> Family:
    return Family(name, MetricKind.GAUGE, help, labels)


def histogram(name: str, help: str, *labels: str) -> Family:
    return Family(name, MetricKind.HISTOGRAM, help, labels)
