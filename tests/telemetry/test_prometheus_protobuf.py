from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.messages import ReleaseReason, Timings
from workbench.core.ports import Outcome
from workbench.telemetry import exposition, prometheus_protobuf, prometheus_text
from workbench.telemetry.families import Distribution, gauge, histogram
from workbench.telemetry.metrics import Metrics
from workbench.telemetry.native_histogram import DURATIONS, SIZES, NativeHistogram

PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,"
    "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
"""What Prometheus 3 sends with native histograms on."""

_T = descriptor_pb2.FieldDescriptorProto
_MESSAGES: dict[str, list[tuple[str, int, int, bool, str]]] = {
    # prometheus/client_model, metrics.proto: (field, number, type, repeated?, message)
    "LabelPair": [("name", 1, _T.TYPE_STRING, False, ""), ("value", 2, _T.TYPE_STRING, False, "")],
    "Gauge": [("value", 1, _T.TYPE_DOUBLE, False, "")],
    "Counter": [("value", 1, _T.TYPE_DOUBLE, False, "")],
    "BucketSpan": [("offset", 1, _T.TYPE_SINT32, False, ""), ("length", 2, _T.TYPE_UINT32, False, "")],
    "Bucket": [("cumulative_count", 1, _T.TYPE_UINT64, False, ""), ("upper_bound", 2, _T.TYPE_DOUBLE, False, "")],
    "Histogram": [
        ("sample_count", 1, _T.TYPE_UINT64, False, ""),
        ("sample_sum", 2, _T.TYPE_DOUBLE, False, ""),
        ("bucket", 3, _T.TYPE_MESSAGE, True, "Bucket"),
        ("schema", 5, _T.TYPE_SINT32, False, ""),
        ("zero_threshold", 6, _T.TYPE_DOUBLE, False, ""),
        ("zero_count", 7, _T.TYPE_UINT64, False, ""),
        ("positive_span", 12, _T.TYPE_MESSAGE, True, "BucketSpan"),
        ("positive_delta", 13, _T.TYPE_SINT64, True, ""),
    ],
    "Metric": [
        ("label", 1, _T.TYPE_MESSAGE, True, "LabelPair"),
        ("gauge", 2, _T.TYPE_MESSAGE, False, "Gauge"),
        ("counter", 3, _T.TYPE_MESSAGE, False, "Counter"),
        ("histogram", 7, _T.TYPE_MESSAGE, False, "Histogram"),
    ],
    "MetricFamily": [
        ("name", 1, _T.TYPE_STRING, False, ""),
        ("help", 2, _T.TYPE_STRING, False, ""),
        ("type", 3, _T.TYPE_INT32, False, ""),
        ("metric", 4, _T.TYPE_MESSAGE, True, "Metric"),
    ],
}


def family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="io.prometheus.client", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated, of in fields:
            label = _T.LABEL_REPEATED if repeated else _T.LABEL_OPTIONAL
            type_name = f".io.prometheus.client.{of}" if of else None
            message.field.add(name=field, number=number, type=kind, label=label, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("io.prometheus.client.MetricFamily"))


def read(body: bytes) -> dict[str, Any]:
    """The families by name, read by protobuf itself. No byte may be left that it does not know."""
    family_of, found, at = family_class(), {}, 0
    while at < len(body):
        size = shift = 0
        while True:
            byte = body[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        family = family_of.FromString(body[at : at + size])
        assert family.ByteSize() == size
        found[family.name] = family
        at += size
    return found


def buckets_of(found: Any) -> dict[int, int]:
    """{index: count} out of spans and deltas, as Prometheus reads them."""
    index, count, buckets, deltas = 0, 0, {}, iter(found.positive_delta)
    for span in found.positive_span:
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            buckets[index] = count
            index += 1
    assert next(deltas, None) is None
    return buckets


@given(st.lists(st.floats(1e-7, 1e4), max_size=80))
def test_a_native_histogram_is_read_back_bucket_by_bucket(values: list[float]) -> None:
    native = NativeHistogram(DURATIONS)
    native.add(values)
    family = histogram("h", "help", "model")
    family.add(["digits"], Distribution(len(values), sum(values), [(0.1, 3)], native))
    (metric,) = read(prometheus_protobuf.write([family]))["h"].metric
    found = metric.histogram
    assert buckets_of(found) == dict(native.filled())
    assert (found.schema, found.zero_threshold, found.zero_count) == (3, 2.0**-20, native.zeros)
    assert sum(buckets_of(found).values()) + found.zero_count == found.sample_count == len(values)
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in found.bucket] == [(0.1, 3)]


def test_an_empty_histogram_is_still_a_native_one() -> None:
    family = histogram("h", "help")
    family.add((), Distribution(0, 0.0, [], NativeHistogram(SIZES)))
    found = read(prometheus_protobuf.write([family]))["h"].metric[0].histogram
    assert found.zero_threshold > 0  # this is what tells Prometheus


def test_both_formats_say_the_same() -> None:
    metrics = Metrics()
    for _ in range(300):
        metrics.request_done('a "quoted"\nname', "1", Outcome.OK, Timings(0.001, 0.0, 0.002, 0.0, 4, 2))
    metrics.batch_done('a "quoted"\nname', "1", 4, 2, ReleaseReason.IDLE, 0.004)
    state = metrics.state()
    families = read(exposition.render(state, PROTOBUF)[0])
    lines = exposition.render(state)[0].decode().splitlines()
    for name, family in families.items():
        kind = {0: "counter", 1: "gauge", 4: "histogram"}[family.type]
        assert f"# HELP {name} {family.help}" in lines
        assert f"# TYPE {name} {kind}" in lines
        for metric in family.metric:
            pairs = ",".join(
                f'{pair.name}="' + pair.value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") + '"'
                for pair in metric.label
            )
            labels = f"{{{pairs}}}" if pairs else ""
            if kind == "histogram":
                assert f"{name}_count{labels} {metric.histogram.sample_count}" in lines
            else:
                value = getattr(metric, kind).value
                assert f"{name}{labels} {value!r}" in lines or f"{name}{labels} {value:.0f}" in lines
    assert len(families) == sum(line.startswith("# TYPE") for line in lines)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", prometheus_text.CONTENT_TYPE),
        ("*/*", prometheus_text.CONTENT_TYPE),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            prometheus_text.CONTENT_TYPE,
        ),
        (PROTOBUF, prometheus_protobuf.CONTENT_TYPE),
        (PROTOBUF.replace("q=0.6", "q=0"), prometheus_text.CONTENT_TYPE),
        (PROTOBUF.replace("q=0.6", "q=0.1"), prometheus_text.CONTENT_TYPE),
        (PROTOBUF.replace("q=0.6", "q=many"), prometheus_text.CONTENT_TYPE),
        (PROTOBUF.replace("delimited", "text"), prometheus_text.CONTENT_TYPE),
        (PROTOBUF.replace("MetricFamily", "Other"), prometheus_text.CONTENT_TYPE),
        (";;,=,q=", prometheus_text.CONTENT_TYPE),
    ],
)
def test_protobuf_is_what_one_gets_who_prefers_it(accept: str, content_type: str) -> None:
    assert exposition.render(Metrics().state(), accept)[1] == content_type


def test_numbers_are_written_as_prometheus_reads_them() -> None:
    family = gauge("g", "back\\slash\nand line", "l")
    for value in (1, 0.5, 1e-9, float("inf"), float("-inf"), float("nan"), 2**60):
        family.add(["x"], value)
    assert prometheus_text.write([family]).decode().splitlines() == [
        r"# HELP g back\\slash\nand line",
        "# TYPE g gauge",
        'g{l="x"} 1',
        'g{l="x"} 0.5',
        'g{l="x"} 1e-09',
        'g{l="x"} +Inf',
        'g{l="x"} -Inf',
        'g{l="x"} NaN',
        'g{l="x"} 1152921504606846976',
    ]
