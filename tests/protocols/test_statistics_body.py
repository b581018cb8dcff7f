from __future__ import annotations

import json

from google.protobuf.json_format import ParseDict

from workbench.core.model_statistics import BatchStatistics, ModelStatistics, Spent
from workbench.protocols import pb
from workbench.protocols.statistics_body import model_statistics, statistics_body

SOME = ModelStatistics(
    "mlp",
    "1",
    1_700_000_000.25,
    rows=12,
    batches=3,
    success=Spent(5, 0.25),
    failed=Spent(1),
    queue=Spent(5, 0.1),
    by_size=(BatchStatistics(4, Spent(3, 0.03)),),
)


def test_times_are_nanoseconds_and_the_last_inference_milliseconds() -> None:
    (found,) = json.loads(statistics_body([SOME]))["model_stats"]
    assert found["last_inference"] == 1_700_000_000_250
    assert (found["inference_count"], found["execution_count"]) == (12, 3)
    assert found["inference_stats"]["success"] == {"count": 5, "ns": 250_000_000}
    assert found["inference_stats"]["fail"] == {"count": 1, "ns": 0}
    assert found["batch_stats"][0]["batch_size"] == 4
    assert found["batch_stats"][0]["compute_infer"] == {"count": 3, "ns": 30_000_000}


def test_they_fit_tritons_published_message() -> None:
    message = ParseDict(model_statistics(SOME), pb.message("ModelStatistics")())
    assert message.inference_stats.queue.ns == 100_000_000
