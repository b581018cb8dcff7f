"""Writes metric families as `io.prometheus.client.MetricFamily` messages, the only format in which Prometheus scrapes
native histograms.

Encoded by hand: it is a few lines, and generated classes could clash with another library's package of that name.
Field numbers are those of prometheus/client_model, metrics.proto; a test reads every message back.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable

from workbench.core.varint import varint
from workbench.telemetry.families import Distribution, Family, MetricKind
from workbench.telemetry.native_histogram import SCHEMA, NativeHistogram

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_TYPES = {MetricKind.COUNTER: 0, MetricKind.GAUGE: 1, MetricKind.HISTOGRAM: 4}
_VALUES = {MetricKind.COUNTER: 3, MetricKind.GAUGE: 2, MetricKind.HISTOGRAM: 7}
"""Kind -> the field of Metric that holds its value."""

_DOUBLE = struct.Struct("<d")


def write(families: Iterable[Family]) -> bytes:
    """Return the messages, each after its length."""
    return b"".join(varint(len(message)) + message for message in map(_family, families))


def _family(family: Family) -> bytes:
    parts = [_text(1, family.name), _text(2, family.help), _whole(3, _TYPES[family.kind])]
    value_field = _VALUES[family.kind]
    for values, value in family.samples:
        labels = [_nested(1, _text(1, name) + _text(2, text)) for name, text in zip(family.labels, values, strict=True)]
        held = _histogram(value) if isinstance(value, Distribution) else _real(1, value)
        parts.append(_nested(4, b"".join(labels) + _nested(value_field, held)))
    return b"".join(parts)


def _histogram(value: Distribution) -> bytes:
    classic = [_nested(3, _whole(1, count) + _real(2, bound)) for bound, count in value.buckets]
    return b"".join((_whole(1, value.count), _real(2, value.total), *classic, _native(value.native)))


def _native(native: NativeHistogram) -> bytes:
    """Encode spans of adjacent buckets, each by its gap to the one before, and the counts as differences."""
    parts = [
        _whole(5, _zigzag(SCHEMA)),
        _real(6, native.layout.zero_threshold),
        _whole(7, native.zeros),
    ]
    filled = list(native.filled())
    end = 0
    # In a run of adjacent buckets, index and position rise together.
    for _, run in itertools.groupby(enumerate(filled), lambda item: item[1][0] - item[0]):
        members = list(run)
        start = members[0][1][0]
        parts.append(_nested(12, _whole(1, _zigzag(start - end)) + _whole(2, len(members))))
        end = start + len(members)
    counts = [count for _, count in filled]
    parts += [_whole(13, _zigzag(count - before)) for before, count in itertools.pairwise([0, *counts])]
    return b"".join(parts)


def _whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _real(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + _DOUBLE.pack(value)


def _text(number: int, value: str) -> bytes:
    return _nested(number, value.encode("utf-8", "replace"))


def _nested(number: int, message: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(message)) + message


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1
