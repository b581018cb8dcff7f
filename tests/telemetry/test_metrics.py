from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers.clock import Clock
from tests.telemetry.statuses import ready
from workbench.core.cache_figures import CacheFigures
from workbench.core.circuit import Circuit, CircuitState
from workbench.core.histogram import SERVICE, Histogram
from workbench.core.messages import ReleaseReason, Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Observer, Outcome
from workbench.telemetry import exposition
from workbench.telemetry.counters import Durations
from workbench.telemetry.families import MetricKind
from workbench.telemetry.machine_use import GpuUse, MachineUse
from workbench.telemetry.metrics import FOLD_AT, KEPT_AFTER_GONE, Metrics
from workbench.telemetry.request_record import RequestRecord
from workbench.telemetry.rollout_figures import RolloutFigures
from workbench.telemetry.share_usage import ModelUse, ShareFigures
from workbench.telemetry.snapshots import Snapshots, snapshot
from workbench.telemetry.triton_metrics import REASONS

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


GPU = GpuUse("GPU-1", "a GPU", 80 << 30, 1 << 30, 0.25, 300.0, 700.0, 1e6)


def timings(total_s: float = 0.010) -> Timings:
    return Timings(total_s * 0.4, total_s * 0.1, total_s * 0.4, total_s * 0.1, 4, 2)


def watched(clock: Clock | None = None) -> Metrics:
    metrics = Metrics(clock or Clock())
    metrics.watch(lambda: [ready(queued=3)])
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """name|label|label -> value. The parser would have every counter end in _total, and Triton's do not."""
    text = exposition.render(metrics.state())[0].decode()
    return {
        (sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name)
        + "".join(f"|{v}" for k, v in sorted(sample.labels.items()) if k not in ("model", "version")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_are_an_observer_of_the_engine() -> None:
    observer: Observer = Metrics()
    observer.model_changed(ready())


def test_requests_and_batches_show_in_the_prometheus_text() -> None:
    metrics = watched()
    for _ in range(3):
        metrics.request_done("digits", "1", Outcome.OK, timings(0.010))
    metrics.request_done("digits", "1", Outcome.REJECTED, None)
    metrics.batch_done("digits", "1", 4, 2, ReleaseReason.IDLE, 0.004)
    metrics.batch_done("digits", "1", 8, 3, ReleaseReason.FULL, 0.006)
    found = samples(metrics)
    assert found["infer_requests_total|ok"] == 3
    assert found["infer_requests_total|rejected"] == 1
    assert found["infer_request_duration_seconds_count"] == 3
    assert found["infer_request_duration_seconds_sum"] == pytest.approx(0.030)
    assert found["infer_request_duration_seconds_bucket|0.005"] == 0
    assert found["infer_request_duration_seconds_bucket|0.025"] == 3
    assert found["infer_batch_size_bucket|4"] == 1
    assert found["infer_batch_size_sum"] == 12
    assert found["infer_batches_total|full"] == 1
    assert found["infer_rows_total"] == 12
    assert found["infer_runner_busy_seconds_total"] == pytest.approx(0.010)
    assert found["infer_queue_depth"] == 3
    assert found["infer_model_state|Ready"] == 1
    assert found["infer_model_state|Failed"] == 0
    assert found["infer_model_info|cpu|onnxruntime_onnx"] == 1
    assert found["infer_process_resident_memory_bytes"] > 1e6
    assert found["infer_process_cpu_seconds_total"] > 0


def test_an_open_circuit_breaker_shows_in_the_prometheus_text() -> None:
    metrics = Metrics()
    for state, is_open in ((CircuitState.CLOSED, 0), (CircuitState.OPEN, 1), (CircuitState.HALF_OPEN, 1)):
        status = dataclasses.replace(ready(), circuit=Circuit(state, "", 2))
        metrics.watch(lambda status=status: [status])  # type: ignore[misc]
        found = samples(metrics)
        assert (found["infer_circuit_open"], found["infer_circuit_opened_total"]) == (is_open, 2)


def test_a_result_cache_shows_in_the_prometheus_text() -> None:
    metrics = Metrics()
    for note in ("", "it did not pay"):
        figures = CacheFigures(5, 2, 3, 4, 1, 6, 7000, 64_000_000, 0.25, remote=8, remote_note=note, note=note)
        metrics.watch(lambda figures=figures: [dataclasses.replace(ready(), cache=figures)])  # type: ignore[misc]
        found = samples(metrics)
        asked = [found[f"infer_cache_requests_total|{result}"] for result in ("hit", "remote", "joined", "miss")]
        assert asked == [5, 8, 2, 3]
        triton = [found[f"nv_cache_num_{each}_per_model"] for each in ("hits", "misses")]
        assert triton == [15, 3]
        assert found["infer_cache_remote_resting"] == bool(note)
        assert [found[f"infer_cache_dropped_total|{reason}"] for reason in ("room", "age")] == [4, 1]
        assert (found["infer_cache_entries"], found["infer_cache_size_bytes"]) == (6, 7000)
        assert (found["infer_cache_saved_seconds_total"], found["infer_cache_resting"]) == (0.25, bool(note))


def test_a_bound_counts_what_is_equal_to_it() -> None:
    metrics = watched()
    metrics.request_done("digits", "1", Outcome.OK, Timings(queued_s=0.0025))
    found = samples(metrics)
    assert found["infer_queue_duration_seconds_bucket|0.0025"] == 1
    assert found["infer_queue_duration_seconds_bucket|0.001"] == 0


def test_every_bound_is_an_edge_of_the_histogram() -> None:
    assert set(exposition.DURATION_BOUNDS_S) <= set(SERVICE.edges)


def test_every_metric_is_documented_with_its_type_and_labels_and_every_documented_one_exists() -> None:
    metrics = watched()
    metrics.request_done("digits", "1", Outcome.OK, timings())
    share = ShareFigures("team-a", 0, 0, {"digits": ModelUse()}, Durations())
    rollout = RolloutFigures("digits", "2", "running", 1)
    state = dataclasses.replace(metrics.state(), machine=MachineUse(gpus=(GPU,)), shares=[share], rollouts=[rollout])
    exported = {(family.name, family.kind, family.labels) for family in exposition.families(state)}
    rows = re.findall(r"^\| `((?:infer|nv)_\w+)` \| (\w+) \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert exported == {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_a_counter_of_ours_says_so_in_its_name() -> None:
    for family in exposition.families(watched().state()):
        if family.name.startswith("infer_"):
            assert family.name.endswith("_total") is (family.kind == MetricKind.COUNTER)


def test_the_stages_of_a_request_are_summed() -> None:
    metrics = watched()
    for _ in range(2):
        metrics.request_done("digits", "1", Outcome.OK, Timings(0.1, 0.2, 0.3, 0.4))
        metrics.exchange_done(
            RequestRecord("digits", "1", b"r", 1.0, 1.5, 1.75, 2.75, 2.875, 3.0, 100, 5000, timings())
        )
    found = samples(metrics)
    for stage, seconds in (
        ("receive", 1.0),
        ("decode", 0.5),
        ("queue", 0.2),
        ("batch", 0.4),
        ("compute", 0.6),
        ("split", 0.8),
        ("encode", 0.25),
        ("send", 0.25),
    ):
        assert found[f"infer_stage_seconds_total|{stage}"] == pytest.approx(seconds)
    assert found["infer_request_bytes_sum"] == 200
    assert found["infer_response_bytes_bucket|4096"] == 0
    assert found["infer_response_bytes_bucket|16384"] == found["infer_response_bytes_count"] == 2


def test_an_answer_that_could_not_be_written_is_counted_as_such() -> None:
    metrics = watched()
    metrics.request_done("digits", "1", Outcome.OK, timings())
    failed = RequestRecord(
        "digits", "1", b"r", 1.0, 1.0, 1.0, 1.0, sent_at=1.0, timings=timings(), error="invalid_argument"
    )
    metrics.exchange_done(failed)
    found = samples(metrics)
    assert found["infer_requests_total|ok"] == found["infer_encode_failures_total"] == 1
    assert found["infer_response_bytes_count"] == 0


def test_the_latest_error_is_told_with_its_time_and_its_words() -> None:
    clock = Clock()
    metrics = Metrics(clock, clock)
    metrics.watch(lambda: [ready()])
    series = Snapshots(metrics.state, "epoch")
    assert series.take()["models"][0]["last_error"] is None
    for sent_at, error, message in (
        (1000.5, "queue_full", "the queue is full"),
        (1001.0, "invalid_argument", "x takes FP32"),
        (1001.5, "cancelled", "the caller left"),
    ):
        metrics.exchange_done(RequestRecord("digits", "1", b"r", 1000.0, sent_at=sent_at, error=error, message=message))
    clock.now = 1002.0
    last = {"time": 1001.0, "code": "invalid_argument", "message": "x takes FP32"}
    assert series.take()["models"][0]["last_error"] == last
    assert series.take()["models"][0]["last_error"] == last  # it stays the latest
    assert metrics.slowest("digits")[0]["message"] in ("the queue is full", "x takes FP32", "the caller left")


def test_batches_are_counted_by_reason_and_rows_at_once() -> None:
    metrics = watched()
    series = Snapshots(metrics.state, "epoch")
    for rows, reason in ((4, ReleaseReason.IDLE), (4, ReleaseReason.IDLE), (8, ReleaseReason.FULL)):
        metrics.batch_done("digits", "1", rows, 1, reason, 0.001)
    (model,) = series.take()["models"]
    assert model["batches"] == {"idle": {"4": 2}, "full": {"8": 1}}
    assert (model["batch_sizes"], model["release_reasons"]) == ({"4": 2, "8": 1}, {"idle": 2, "full": 1})
    metrics.batch_done("digits", "1", 8, 1, ReleaseReason.IDLE, 0.001)
    assert series.take()["models"][0]["batches"] == {"idle": {"8": 1}}


def test_figures_are_copied_anew_only_where_something_happened() -> None:
    metrics = Metrics(Clock(), Clock())
    metrics.watch(lambda: [ready("busy"), ready("idle")])
    readers = [Snapshots(metrics.state, "epoch") for _ in range(2)]
    metrics.request_done("idle", "1", Outcome.OK, timings())
    first = metrics.state()
    for touch in (
        lambda: metrics.request_done("busy", "1", Outcome.OK, timings()),
        lambda: metrics.batch_done("busy", "1", 1, 1, ReleaseReason.IDLE, 0.001),
        lambda: metrics.exchange_done(RequestRecord("busy", "1", b"r", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        lambda: metrics.exchange_done(RequestRecord("busy", "1", b"r", 1.0, sent_at=1.0, error="internal")),
    ):
        touch()
        later = metrics.state()
        assert later.figures["idle", "1"] is first.figures["idle", "1"]
        assert later.figures["busy", "1"] is not first.figures["busy", "1"]
        first = later
    for reader in readers:  # each is told all, however often others looked
        told = {model["name"]: model["requests"] for model in reader.take()["models"]}
        assert told == {"busy": {"ok": 1}, "idle": {"ok": 1}}
        told = {model["name"]: model["requests"] for model in reader.take()["models"]}
        assert told == {"busy": {}, "idle": {}}


def test_a_version_that_loads_or_drains_has_figures_too() -> None:
    metrics = Metrics(Clock())
    states = {"1": ModelState.DRAINING, "2": ModelState.LOADING}
    metrics.watch(lambda: [dataclasses.replace(ready(version=version), state=states[version]) for version in states])
    series = Snapshots(metrics.state, "epoch")
    metrics.request_done("digits", "1", Outcome.OK, timings())
    found = {model["version"]: (model["state"], model["requests"]) for model in series.take()["models"]}
    assert found == {"1": ("Draining", {"ok": 1}), "2": ("Loading", {})}


def test_an_exchange_of_no_known_version_makes_no_label() -> None:
    metrics = watched()
    metrics.exchange_done(RequestRecord("made-up", "", b"r", 1.0, sent_at=1.0, error="model_not_found"))
    assert list(metrics.state().figures) == [("digits", "1")]


def test_tritons_names_say_the_same() -> None:
    metrics = watched()
    for outcome in (Outcome.OK, Outcome.OK, Outcome.REJECTED, Outcome.EXPIRED, Outcome.CANCELLED, Outcome.INVALID):
        metrics.request_done("digits", "1", outcome, Timings(0.1, 0.2, 0.3, 0.4) if outcome is Outcome.OK else None)
    metrics.batch_done("digits", "1", 7, 2, ReleaseReason.IDLE, 0.3)
    found = samples(metrics)
    assert found["nv_inference_request_success"] == 2
    failures = {reason: found[f"nv_inference_request_failure|{reason}"] for reason in set(REASONS.values())}
    assert failures == {"REJECTED": 2, "CANCELED": 1, "OTHER": 1, "BACKEND": 0}
    assert (found["nv_inference_count"], found["nv_inference_exec_count"]) == (7, 1)
    assert found["nv_inference_request_duration_us"] == 2e6
    assert found["nv_inference_queue_duration_us"] == 2e5
    assert found["nv_inference_compute_input_duration_us"] == 4e5
    assert found["nv_inference_compute_infer_duration_us"] == 6e5
    assert found["nv_inference_compute_output_duration_us"] == 8e5
    assert found["nv_inference_pending_request_count"] == 3


def test_every_outcome_but_ok_has_a_reason_of_tritons() -> None:
    assert set(REASONS) == set(Outcome) - {Outcome.OK}


def test_the_buffer_is_bounded_when_nobody_looks() -> None:
    metrics = watched()
    for _ in range(10 * FOLD_AT + 1):
        metrics.request_done("digits", "1", Outcome.OK, timings())
        metrics.batch_done("digits", "1", 1, 1, ReleaseReason.IDLE, 0.001)
        metrics.exchange_done(RequestRecord("digits", "1", b"r", 1.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    (notes,) = metrics._notes.values()
    assert len(notes.outcomes) < FOLD_AT
    assert len(notes.batches) < FOLD_AT
    assert len(notes.run) < 32 * FOLD_AT
    assert len(notes.answered) < 64 * FOLD_AT
    assert samples(metrics)["infer_requests_total|ok"] == 10 * FOLD_AT + 1


def test_figures_of_versions_that_are_gone_are_bounded_too() -> None:
    metrics = watched()
    metrics.request_done("digits", "1", Outcome.OK, timings())
    for number in range(2, KEPT_AFTER_GONE + 50):
        metrics.request_done("digits", str(number), Outcome.OK, timings())
        metrics.model_changed(ModelStatus("digits", str(number), ModelState.GONE))
    kept = metrics.state().figures
    assert len(kept) == KEPT_AFTER_GONE + 1
    assert ("digits", "1") in kept  # it still serves


def test_a_version_that_was_forgotten_and_comes_back_begins_anew() -> None:
    metrics = watched()
    metrics.request_done("digits", "2", Outcome.OK, timings())
    assert metrics.state().figures["digits", "2"].requests == 1
    for number in range(3, KEPT_AFTER_GONE + 50):
        metrics.request_done("digits", str(number), Outcome.OK, timings())
        metrics.model_changed(ModelStatus("digits", str(number), ModelState.GONE))
    metrics.watch(lambda: [ModelStatus("digits", "2", ModelState.READY)])
    assert metrics.state().figures["digits", "2"].requests == 0


def test_a_change_of_state_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    with caplog.at_level(logging.INFO, "workbench.models"):
        metrics.model_changed(ready())
        metrics.model_changed(ready())
        metrics.model_changed(ModelStatus("other", "2", ModelState.FAILED, reason="it is not ONNX"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "model digits version 1 is Ready"),
        ("ERROR", "model other version 2 is Failed"),
    ]


def test_a_snapshot_holds_what_came_since_the_one_before() -> None:
    clock = Clock()
    metrics = watched(clock)
    metrics.request_done("digits", "1", Outcome.OK, timings(5.0))
    series = Snapshots(metrics.state, "epoch")
    clock.now += 0.5
    for _ in range(10):
        metrics.request_done("digits", "1", Outcome.OK, timings(0.010))
    metrics.batch_done("digits", "1", 20, 10, ReleaseReason.IDLE, 0.25)
    first = series.take()
    assert (first["epoch"], first["sequence"], first["interval_s"], first["time"]) == ("epoch", 0, 0.5, 1000.5)
    (model,) = first["models"]
    assert model["requests"] == {"ok": 10}
    assert model["requests_per_s"] == 20
    assert model["rows_per_s"] == 40
    assert model["busy"] == 0.5
    assert model["batch_sizes"] == {"20": 1}
    assert model["release_reasons"] == {"idle": 1}
    assert model["queued"] == 3
    latency = Histogram.from_json(SERVICE, model["latency"]["request"])
    assert latency.count == 10
    assert model["p99_s"] == latency.quantile(0.99) == pytest.approx(0.010, rel=0.03)

    clock.now += 0.5
    second = series.take()
    assert second["sequence"] == 1
    assert second["models"][0]["requests_per_s"] == 0
    assert second["models"][0]["latency"]["request"]["buckets"] == {}
    assert second["models"][0]["p99_s"] is None


def test_a_snapshot_is_a_function_of_two_states() -> None:
    metrics = watched()
    before = metrics.state()
    after = metrics.state()
    assert snapshot(after, before, 7, "e") == snapshot(after, before, 7, "e")
    assert snapshot(after, before, 7, "e")["process"]["cpu"] == 0.0


def test_two_readers_each_see_everything() -> None:
    metrics = watched()
    one, two = Snapshots(metrics.state, "e"), Snapshots(metrics.state, "e")
    metrics.request_done("digits", "1", Outcome.OK, timings())
    assert one.take()["models"][0]["requests"] == {"ok": 1}
    assert two.take()["models"][0]["requests"] == {"ok": 1}


def test_the_last_requests_of_a_version_that_went_are_in_the_snapshot() -> None:
    metrics = watched()
    series = Snapshots(metrics.state, "e")
    metrics.request_done("digits", "7", Outcome.OK, timings())
    metrics.model_changed(ModelStatus("digits", "7", ModelState.GONE))
    assert [(m["version"], m["state"]) for m in series.take()["models"]] == [("1", "Ready"), ("7", "Gone")]
    assert [m["version"] for m in series.take()["models"]] == ["1"]


def test_every_field_of_a_snapshot_is_documented() -> None:
    metrics = watched()
    taken = Snapshots(metrics.state, "e").take()
    text = DOCS.read_text(encoding="utf-8").partition("## Snapshots")[2].partition("\n## ")[0]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert documented == set(taken) | set(taken["models"][0])
