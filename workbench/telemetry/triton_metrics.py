"""The metrics under Triton's names, so that dashboards and tools made for Triton work.

Names, labels, types and units are those of Triton's docs/user_guide/metrics.md; times are sums in microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from workbench.core.model import ModelStatus
from workbench.core.ports import Outcome
from workbench.telemetry.counters import Counters
from workbench.telemetry.families import Family, counter, gauge
from workbench.telemetry.machine_use import GpuUse, MachineUse
from workbench.telemetry.request_record import Stage

REASONS = {
    Outcome.REJECTED: "REJECTED",
    Outcome.EXPIRED: "REJECTED",
    Outcome.CANCELLED: "CANCELED",
    Outcome.FAILED: "BACKEND",
    Outcome.INVALID: "OTHER",
}
"""Outcome -> Triton's `reason` label."""

_SUMS = (
    ("nv_inference_queue_duration_us", "Cumulative inference queuing duration in microseconds", Stage.QUEUE),
    ("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds", Stage.BATCH),
    ("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds", Stage.COMPUTE),
    ("nv_inference_compute_output_duration_us", "Cumulative compute output duration in microseconds", Stage.SPLIT),
)


def families(
    figures: Mapping[tuple[str, str], Counters], statuses: Sequence[ModelStatus], machine: MachineUse
) -> Iterator[Family]:
    labels = ("model", "version")
    success = counter("nv_inference_request_success", "Number of successful inference requests", *labels)
    failure = counter("nv_inference_request_failure", "Number of failed inference requests", *labels, "reason")
    rows = counter("nv_inference_count", "Number of inferences performed: rows that were run", *labels)
    executions = counter("nv_inference_exec_count", "Number of model executions performed: batches", *labels)
    request = counter(
        "nv_inference_request_duration_us", "Cumulative inference request duration in microseconds", *labels
    )
    sums = [(counter(name, text, *labels), stage) for name, text, stage in _SUMS]
    for key, each in figures.items():
        success.add(key, each.outcomes[Outcome.OK])
        failed = dict.fromkeys(REASONS.values(), 0)
        for outcome, reason in REASONS.items():
            failed[reason] += each.outcomes[outcome]
        for reason, count in failed.items():
            failure.add((*key, reason), count)
        rows.add(key, each.rows)
        executions.add(key, each.batches)
        request.add(key, _microseconds(each.request.linear.total))
        for family, stage in sums:
            family.add(key, _microseconds(float(each.stages_s[stage])))
    yield from (success, failure, rows, executions, request, *(family for family, _ in sums))
    pending = gauge(
        "nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution", *labels
    )
    loads = gauge("nv_model_load_duration_secs", "Model load time in seconds", *labels)
    hits = counter("nv_cache_num_hits_per_model", "Number of cache hits per model", *labels)
    misses = counter("nv_cache_num_misses_per_model", "Number of cache misses per model", *labels)
    for status in statuses:
        if (cache := status.cache) is not None:
            hits.add((status.name, status.version), cache.looked - cache.misses)
            misses.add((status.name, status.version), cache.misses)
        pending.add((status.name, status.version), status.queued)
        loads.add((status.name, status.version), status.load_s)
    yield from (pending, loads, hits, misses)
    yield from _machine(machine)


def _machine(machine: MachineUse) -> Iterator[Family]:
    for name, text, value in (
        ("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]", machine.cpu_utilization),
        ("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", machine.memory_total),
        ("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", machine.memory_used),
    ):
        family = gauge(name, text)
        family.add((), value)
        yield family
    if machine.gpus:
        yield from _gpus(machine.gpus)


def _gpus(gpus: Sequence[GpuUse]) -> Iterator[Family]:
    families = (
        (gauge("nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)", "gpu_uuid"), "utilization"),
        (gauge("nv_gpu_memory_total_bytes", "GPU total memory, in bytes", "gpu_uuid"), "memory_total"),
        (gauge("nv_gpu_memory_used_bytes", "GPU used memory, in bytes", "gpu_uuid"), "memory_used"),
        (gauge("nv_gpu_power_usage", "GPU power usage in watts", "gpu_uuid"), "power_w"),
        (gauge("nv_gpu_power_limit", "GPU power management limit in watts", "gpu_uuid"), "power_limit_w"),
        (counter("nv_energy_consumption", "GPU energy consumption in joules", "gpu_uuid"), "energy_j"),
    )
    for family, field in families:
        for gpu in gpus:
            if (value := getattr(gpu, field)) is not None:
                family.add((gpu.uuid,), value)
        yield family


def _microseconds(seconds: float) -> int:
    return round(seconds * 1e6)
