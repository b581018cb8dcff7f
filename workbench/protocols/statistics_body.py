"""Statistics of models in the form of Triton's statistics extension, as plain values for JSON and for the message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from workbench.core.model_statistics import ModelStatistics, Spent


def statistics_body(statistics: Iterable[ModelStatistics]) -> bytes:
    return msgspec.json.encode({"model_stats": [model_statistics(each) for each in statistics]})


def model_statistics(of: ModelStatistics) -> dict[str, Any]:
    """Return statistics by the field names of `inference.ModelStatistics`, in nanoseconds; `last_inference` in ms."""
    return {
        "name": of.name,
        "version": of.version,
        "last_inference": round(of.last_inference_at * 1e3),
        "inference_count": of.rows,
        "execution_count": of.batches,
        "inference_stats": {
            "success": _spent(of.success),
            "fail": _spent(of.failed),
            "queue": _spent(of.queue),
            "compute_input": _spent(of.join),
            "compute_infer": _spent(of.compute),
            "compute_output": _spent(of.split),
            # How long looking takes is not measured.
            "cache_hit": {"count": of.cache_hits, "ns": 0},
            "cache_miss": {"count": of.cache_misses, "ns": 0},
        },
        # Joining and splitting are not counted by batch size, but tools that read batches expect the fields.
        "batch_stats": [
            {
                "batch_size": each.rows,
                "compute_input": {"count": each.compute.count, "ns": 0},
                "compute_infer": _spent(each.compute),
                "compute_output": {"count": each.compute.count, "ns": 0},
            }
            for each in of.by_size
        ],
        "memory_usage": [],
    }


def _spent(spent: Spent) -> dict[str, int]:
    return {"count": spent.count, "ns": spent.nanoseconds}
