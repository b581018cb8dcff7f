"""Renders the metrics for Prometheus under our names; `triton_metrics` adds Triton's. docs/metrics.md lists both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from workbench.core.cache_figures import CacheFigures
from workbench.core.circuit import CircuitState
from workbench.core.histogram import SERVICE
from workbench.core.messages import ReleaseReason
from workbench.core.model import ModelState
from workbench.core.ports import Outcome
from workbench.telemetry import prometheus_protobuf, prometheus_text, triton_metrics
from workbench.telemetry.counters import Counters, Durations
from workbench.telemetry.families import Distribution, Family, counter, gauge, histogram
from workbench.telemetry.metrics import ModelVersion, State
from workbench.telemetry.native_histogram import SIZES, NativeHistogram
from workbench.telemetry.request_record import Stage

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
PAYLOAD_POWERS = tuple(range(6, 31, 2))
"""The bounds of payloads are these powers of two: 64 bytes to 1 GiB."""

_VERSION = ("model", "version")
_SHARE = ("share", "model")

# Each bound is an edge of the histogram (a test says so), so no count is guessed.
_BOUND_BUCKETS = np.searchsorted(SERVICE.edges, DURATION_BOUNDS_S)


def render(state: State, accept: str = "", sees: Callable[[str, str], bool] | None = None) -> tuple[bytes, str]:
    """Return the metrics and their content type: text or protobuf, as `accept`, an Accept header, prefers.

    Prometheus asks for protobuf where its native histograms are switched on. `sees`: only what is of a model and
    version that it is true for, and nothing of the service or the machine.
    """
    writer = prometheus_protobuf if _prefers_protobuf(accept) else prometheus_text
    return writer.write(families(state) if sees is None else _of_models(state, sees)), writer.CONTENT_TYPE


def _of_models(state: State, sees: Callable[[str, str], bool]) -> Iterator[Family]:
    """The families of models, of those alone that are seen."""
    seen = replace(
        state,
        figures={key: each for key, each in state.figures.items() if sees(*key)},
        statuses=[each for each in state.statuses if sees(each.name, each.version)],
        routes={key: count for key, count in state.routes.items() if sees(key[0], key[1])},
        rollouts=[each for each in state.rollouts if sees(each.model, each.version)],
    )
    for family in families(seen):
        if family.labels[:2] == _VERSION:
            yield family


def families(state: State) -> Iterator[Family]:
    """Yield every metric family with its samples."""
    yield from _requests(state.figures)
    yield from _payloads(state.figures)
    yield from _batches(state.figures)
    yield from _models(state)
    yield from _circuits(state)
    yield from _caches(state)
    yield from _shadows(state)
    yield from _sequences(state)
    yield from _rollouts(state)
    yield from _shares(state)
    yield from _process(state)
    yield from _machine(state)
    yield from triton_metrics.families(state.figures, state.statuses, state.machine)


def _requests(figures: Mapping[ModelVersion, Counters]) -> Iterator[Family]:
    outcomes = counter("infer_requests_total", "Requests that ended, by how", *_VERSION, "outcome")
    failures = counter(
        "infer_encode_failures_total", "Requests that were run and whose outputs could not be written", *_VERSION
    )
    stages = counter("infer_stage_seconds_total", "Where the time of requests went", *_VERSION, "stage")
    request = histogram(
        "infer_request_duration_seconds",
        "Acceptance by the engine until the answer is ready, of the requests that were run",
        *_VERSION,
    )
    queue = histogram(
        "infer_queue_duration_seconds", "Acceptance by the engine until the request's batch was formed", *_VERSION
    )
    compute = histogram(
        "infer_compute_duration_seconds", "Time inside the runtime of the batch that the request was in", *_VERSION
    )
    for key, each in figures.items():
        for outcome in Outcome:
            outcomes.add((*key, outcome.value), each.outcomes[outcome])
        failures.add(key, each.encode_failures)
        for stage in Stage:
            stages.add((*key, stage.name.lower()), float(each.stages_s[stage]))
        request.add(key, _durations(each.request))
        queue.add(key, _durations(each.queue))
        compute.add(key, _durations(each.compute))
    yield from (outcomes, failures, stages, request, queue, compute)


def _durations(durations: Durations) -> Distribution:
    cumulative = np.cumsum(durations.linear.counts)
    buckets = [(bound, int(cumulative[i])) for bound, i in zip(DURATION_BOUNDS_S, _BOUND_BUCKETS, strict=True)]
    return Distribution(int(cumulative[-1]), durations.linear.total, buckets, durations.native)


def _payloads(figures: Mapping[ModelVersion, Counters]) -> Iterator[Family]:
    request = histogram("infer_request_bytes", "Body of the requests that were answered", *_VERSION)
    response = histogram("infer_response_bytes", "Body of their answers", *_VERSION)
    for key, each in figures.items():
        request.add(key, _payload(each.request_bytes))
        response.add(key, _payload(each.response_bytes))
    yield from (request, response)


def _payload(sizes: NativeHistogram) -> Distribution:
    buckets = [(float(2**power), sizes.up_to_power(power)) for power in PAYLOAD_POWERS]
    return Distribution(sizes.count, sizes.total, buckets, sizes)


def _batches(figures: Mapping[ModelVersion, Counters]) -> Iterator[Family]:
    sizes = histogram("infer_batch_size", "Rows of the batches that were run", *_VERSION)
    released = counter("infer_batches_total", "Batches that were run, by why they were released", *_VERSION, "reason")
    rows = counter("infer_rows_total", "Rows that were run", *_VERSION)
    busy = counter("infer_runner_busy_seconds_total", "Time that runners spent inside the runtime", *_VERSION)
    for key, each in figures.items():
        batch_sizes, release_reasons = each.batch_sizes, each.release_reasons
        buckets = [
            (float(bound), sum(count for size, count in batch_sizes.items() if size <= bound))
            for bound in BATCH_SIZE_BOUNDS
        ]
        native = NativeHistogram(SIZES)
        native.add_counted(batch_sizes)
        sizes.add(key, Distribution(each.batches, each.rows, buckets, native))
        for reason in ReleaseReason:
            if count := release_reasons[reason]:
                released.add((*key, reason.value), count)
        rows.add(key, each.rows)
        busy.add(key, each.busy_s)
    yield from (sizes, released, rows, busy)


def _models(state: State) -> Iterator[Family]:
    depth = gauge("infer_queue_depth", "Requests that wait for a runner", *_VERSION)
    states = gauge("infer_model_state", "1 for the state that the version is in, else 0", *_VERSION, "state")
    routed = gauge("infer_model_routed", "1 where requests that name no version come here", *_VERSION)
    weight = gauge(
        "infer_model_weight", "The part of the calls that name no version which comes here, 0 to 1", *_VERSION
    )
    load = gauge("infer_model_load_seconds", "From Loading to Ready", *_VERSION)
    size = gauge("infer_model_size_bytes", "The model's files on the disk", *_VERSION)
    info = gauge("infer_model_info", "Always 1; what the version runs on", *_VERSION, "platform", "device")
    for status in state.statuses:
        key = (status.name, status.version)
        depth.add(key, status.queued)
        for each in ModelState:
            states.add((*key, each.value), int(status.state is each))
        routed.add(key, int(status.routed))
        weight.add(key, status.weight)
        load.add(key, status.load_s)
        size.add(key, status.size_bytes)
        info.add((*key, status.platform, status.device), 1)
    ways = counter(
        "infer_routed_requests_total",
        "Accepted requests that came here otherwise than as to the routed version, by what brought them",
        *_VERSION,
        "by",
    )
    for way, count in state.routes.items():
        ways.add(way, count)
    yield from (depth, states, routed, weight, load, size, info, ways)


def _circuits(state: State) -> Iterator[Family]:
    is_open = gauge("infer_circuit_open", "1 while the circuit breaker is open or half-open, else 0", *_VERSION)
    opened = counter("infer_circuit_opened_total", "How often the circuit breaker has opened", *_VERSION)
    for status in state.statuses:
        if (circuit := status.circuit) is not None:
            is_open.add((status.name, status.version), int(circuit.state is not CircuitState.CLOSED))
            opened.add((status.name, status.version), circuit.opened)
    yield from (is_open, opened)


def _caches(state: State) -> Iterator[Family]:
    requests = counter("infer_cache_requests_total", "Requests that were looked for, by what came", *_VERSION, "result")
    dropped = counter("infer_cache_dropped_total", "Kept answers that went, by why", *_VERSION, "reason")
    entries = gauge("infer_cache_entries", "Answers that are kept", *_VERSION)
    size = gauge("infer_cache_size_bytes", "Memory of the answers that are kept", *_VERSION)
    resting = gauge("infer_cache_resting", "1 while calls go past the cache because it did not pay", *_VERSION)
    remote_resting = gauge("infer_cache_remote_resting", "1 while Redis is not asked or takes nothing", *_VERSION)
    saved = counter("infer_cache_saved_seconds_total", "Time inside the runtime that was not needed", *_VERSION)
    for status in state.statuses:
        if (cache := status.cache) is not None:
            key = (status.name, status.version)
            for result, count in zip(CacheFigures.RESULTS, cache.asked, strict=True):
                requests.add((*key, result), count)
            dropped.add((*key, "room"), cache.evicted)
            dropped.add((*key, "age"), cache.expired)
            entries.add(key, cache.entries)
            size.add(key, cache.size_bytes)
            resting.add(key, int(bool(cache.note)))
            saved.add(key, cache.saved_s)
            remote_resting.add(key, int(bool(cache.remote_note)))
    yield from (requests, dropped, entries, size, resting, remote_resting, saved)


def _shadows(state: State) -> Iterator[Family]:
    copies = counter(
        "infer_shadow_copies_total", "Copies of calls for a shadow, by what came of them", *_VERSION, "result"
    )
    waiting = gauge("infer_shadow_copies_waiting", "Copies that wait for time to run, or run", *_VERSION)
    rows = counter("infer_shadow_rows_total", "Rows of which both versions' answers were compared", *_VERSION)
    differing = counter("infer_shadow_rows_differing_total", "Rows with another label, class or NaN", *_VERSION)
    for status in state.statuses:
        if (shadow := status.shadow) is not None:
            key = (status.name, status.version)
            for result, count in (("compared", shadow.compared), ("failed", shadow.failed), *shadow.dropped.items()):
                copies.add((*key, result), count)
            waiting.add(key, shadow.waiting)
            rows.add(key, shadow.rows)
            differing.add(key, shadow.differing)
    yield from (copies, waiting, rows, differing)


def _sequences(state: State) -> Iterator[Family]:
    active = gauge("infer_sequences_active", "Sequences that have begun and are not over", *_VERSION)
    backlog = gauge("infer_sequences_backlog", "Sequences that wait until another one is over", *_VERSION)
    size = gauge("infer_sequence_state_bytes", "Memory of the states that are kept between requests", *_VERSION)
    started = counter("infer_sequences_started_total", "Requests that started a sequence", *_VERSION)
    over = counter("infer_sequences_over_total", "Sequences that are over, by why", *_VERSION, "reason")
    failed = counter("infer_sequence_failures_total", "Requests of sequences that changed nothing", *_VERSION)
    for status in state.statuses:
        if (figures := status.sequences) is not None:
            key = (status.name, status.version)
            active.add(key, figures.active)
            backlog.add(key, figures.backlog)
            size.add(key, figures.state_bytes)
            started.add(key, figures.started)
            for reason, count in (("end", figures.ended), ("idle", figures.dropped), ("restart", figures.restarted)):
                over.add((*key, reason), count)
            failed.add(key, figures.failed)
    yield from (active, backlog, size, started, over, failed)


def _rollouts(state: State) -> Iterator[Family]:
    if not state.rollouts:
        return
    statuses = gauge("infer_rollout_status", "1 for how the last rollout of the model stands", *_VERSION, "status")
    step = gauge("infer_rollout_step", "The step of the last rollout of the model, from 1", *_VERSION)
    for each in state.rollouts:
        statuses.add((each.model, each.version, each.status), 1)
        step.add((each.model, each.version), each.step)
    yield from (statuses, step)


def _shares(state: State) -> Iterator[Family]:
    if not state.shares:
        return
    requests = counter("infer_share_requests_total", "Inferences of shares that ended, by how", *_SHARE, "outcome")
    rows = counter("infer_share_rows_total", "Rows that shares were answered", *_SHARE)
    sent = counter("infer_share_request_bytes_total", "Bodies of shares' requests that were answered", *_SHARE)
    got = counter("infer_share_response_bytes_total", "Bodies of their answers", *_SHARE)
    refused = counter("infer_share_refused_total", "Calls that were over a limit of their share", "share")
    in_flight = gauge("infer_share_in_flight", "Inferences of shares that are under way", "share")
    latency = histogram(
        "infer_share_request_duration_seconds",
        "The body's arrival until the answer had left, of the requests that were answered",
        "share",
    )
    for each in state.shares:
        for model, use in each.models.items():
            for outcome, count in use.outcomes.items():
                requests.add((each.label, model, outcome.value), count)
            rows.add((each.label, model), use.rows)
            sent.add((each.label, model), use.request_bytes)
            got.add((each.label, model), use.response_bytes)
        refused.add((each.label,), each.refused)
        in_flight.add((each.label,), each.in_flight)
        latency.add((each.label,), _durations(each.latency))
    yield from (requests, rows, sent, got, refused, in_flight, latency)


def _process(state: State) -> Iterator[Family]:
    process = state.process
    answers = counter("infer_http_answers_total", "Answers of the HTTP port, by status", "status")
    for status, count in sorted(state.answers.items()):
        answers.add((str(status),), count)
    yield answers
    loop = histogram("infer_loop_delay_seconds", "How late the event loop came to a timer of its own")
    loop.add((), _durations(state.loop_delay))
    yield loop
    for family, value in (
        (counter("infer_loop_run_seconds_total", "Time that the event loop spent in runs"), state.inline.total_s),
        (gauge("infer_loop_run_longest_seconds", "The longest of those"), state.inline.longest_s),
        (counter("infer_process_cpu_seconds_total", "User and system time of the service"), process.cpu_s),
        (gauge("infer_process_resident_memory_bytes", "Memory of the service"), process.resident_bytes),
        (gauge("infer_store_used_bytes", "Models that are stored or on their way in"), state.store.used),
        (gauge("infer_store_left_bytes", "What may still be stored, of the quota and of the disk"), state.store.left),
        (counter("infer_audit_failures_total", "Rows of the audit that could not be written"), state.audit_failures),
        (gauge("infer_process_start_time_seconds", "Unix time at which the service began"), process.started_at),
    ):
        family.add((), value)
        yield family


def _machine(state: State) -> Iterator[Family]:
    if not state.machine.gpus:
        return
    labels = ("gpu_uuid", "name")
    use = gauge("infer_device_utilization_ratio", "Part of the time in which the GPU ran something", *labels)
    total = gauge("infer_device_memory_bytes", "Memory of the GPU", *labels)
    used = gauge("infer_device_memory_used_bytes", "Memory of the GPU that is in use, by any process", *labels)
    for gpu in state.machine.gpus:
        if gpu.utilization is not None:
            use.add((gpu.uuid, gpu.name), gpu.utilization)
        total.add((gpu.uuid, gpu.name), gpu.memory_total)
        used.add((gpu.uuid, gpu.name), gpu.memory_used)
    yield from (use, total, used)


def _prefers_protobuf(accept: str) -> bool:
    best, best_text = 0.0, 0.0
    for offer in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if kind == "application/vnd.google.protobuf":
            if given.get("proto") == "io.prometheus.client.metricfamily" and given.get("encoding") == "delimited":
                best = max(best, quality)
        elif kind in ("text/plain", "application/openmetrics-text"):
            best_text = max(best_text, quality)
    return best > 0 and best >= best_text
