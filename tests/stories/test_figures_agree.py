"""Requests of all kinds, over all protocols at once: everything that tells of them tells the same."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop
from google.protobuf.json_format import MessageToDict
from prometheus_client.parser import text_string_to_metric_families

from tests import models
from tests.helpers.service_process import Serve
from tests.stories.counting import Client, Count, mixed, slow, too_long
from workbench.core.ports import Outcome
from workbench.telemetry.exposition import BATCH_SIZE_BOUNDS

Samples: TypeAlias = "defaultdict[str, list[tuple[dict[str, str], float]]]"

UNARY, STREAMED = 0.1, 0.3
"""The shares of requests that go over gRPC; the others go over HTTP."""
ROUNDS, ROOM, REFUSED = 2, 8, 4
"""Of clients that leave while a slow request runs, how many wait and leave, and how many are refused meanwhile."""
TOO_LONG = 200
INF = float("inf")

ALONE = 'batching = "never"\nrunners = "latency"\n'
MODELS = {
    "mlp": (models.mlp(), ""),
    "pair": (models.two_in_two_out(), "max_queue_delay_s = 0.001\n"),
    "single": (models.identity(shape=(1, 4)), ""),
    "wide": (models.identity(shape=(1, 1000)), ""),
    "picky": (models.gather(), ALONE),
    "slow": (models.loop(), f"{ALONE}max_queue_size = {ROOM}\n"),
}


pytestmark = pytest.mark.timeout(400)  # half a minute where nothing else runs


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    repository = tmp_path / "repository"
    for name, (model, settings) in MODELS.items():
        models.save(model, repository / name / "1" / "model.onnx")
        (repository / name / "model.toml").write_text(settings)
    cap = {"INFER_WORKBENCH_MAX_RESPONSE_BYTES": "8000"}
    with Serve(tmp_path, "--model-repository", str(repository), "--grpc-port", "0", environment=cap) as serve:
        yield serve.ready()
        assert serve.stop() == 0


@pytest.mark.parametrize(("total", "slow_s"), [(8_000, 1.5), pytest.param(100_000, 4.0, marks=pytest.mark.long)])
def test_statistics_metrics_and_snapshots_agree_with_what_the_client_counted(
    serve: Serve, total: int, slow_s: float
) -> None:
    client = Client(serve.address, serve.grpc, serve.token)
    with snapshots(serve) as lines, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all(client, total, slow_s))
        metrics = runner.run(client.get("/metrics")).body.decode()
        before_metrics = client.statuses - Counter({200: 1})
        over_http = json.loads(runner.run(client.get("/v2/models/stats")).body)["model_stats"]
        over_grpc = runner.run(client.statistics()).model_stats
    assert client.sent >= total
    assert client.unknown > 0
    told: Counter[str] = sum((count.outcomes for count in client.counts.values()), Counter())
    assert set(told) >= {"ok", "invalid", "rejected", "expired", "cancelled"}

    scraped = samples_of(metrics)
    shown = summed(lines)
    assert {each["name"] for each in over_http} == {each.name for each in over_grpc} == set(shown) == set(MODELS)
    by_http = {each["name"]: each for each in over_http}
    by_grpc = {each.name: each for each in over_grpc}
    for name, count in client.counts.items():
        assert told_by_snapshots(shown[name]) == as_counted(count), name
        assert told_by_metrics(scraped, name) == as_scraped(count), name
        assert told_in_triton_s_names(scraped, name) == in_triton_s_names(count), name
        assert told_by_statistics(by_http[name]) == as_statistics(count), name
        assert told_by_statistics(
            MessageToDict(by_grpc[name], preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        ) == as_statistics(count), name
    # The snapshots are an answer too, which is counted when it ends.
    answers = {int(labels["status"]): int(value) for labels, value in scraped["infer_http_answers_total"]}
    left = answers.pop(499, 0)
    assert left <= ROUNDS * ROOM
    assert answers == dict(before_metrics)


async def send_all(client: Client, total: int, slow_s: float) -> None:
    """So many requests of all kinds, and a few more where the machine is slow; clients leave runs of `slow_s`."""
    unary, streamed = round(UNARY * total), round(STREAMED * total)
    began = time.monotonic()
    await client.over_http([(slow(client, 20_000), False)])
    steps_per_s = 20_000 / (time.monotonic() - began)
    leaving = 1 + ROUNDS * (1 + ROOM + REFUSED)
    over_http = total - unary - streamed - leaving - TOO_LONG
    dice = random.Random(1)
    asks = [(ask, dice.random() < 0.5) for ask in mixed(client, over_http, 2)] + [(too_long(client), True)] * TOO_LONG
    dice.shuffle(asks)

    async def leavers() -> None:
        run_s = slow_s
        for _ in range(ROUNDS):
            while not await client.leave(slow(client, round(steps_per_s * run_s)), run_s, ROOM, REFUSED):
                run_s *= 2

    await asyncio.gather(
        client.over_http(asks),
        client.one_by_one(mixed(client, unary, 3)),
        client.in_streams(mixed(client, streamed, 4)),
        leavers(),
    )


# What each of them says, in the form that the client's count is brought into


def as_counted(count: Count) -> dict[str, Any]:
    return {
        "outcomes": {outcome.value: count.outcomes[outcome.value] for outcome in Outcome},
        "encode_failures": count.encode_failures,
        "answered": count.outcomes["ok"] - count.encode_failures,
        "rows": count.rows,
        "batches": count.sizes.total(),
        "sizes": dict(count.sizes),
    }


def told_by_snapshots(of: dict[str, Counter[str]]) -> dict[str, Any]:
    sizes = {int(size): count for size, count in of["batch_sizes"].items()}
    return {
        "outcomes": {outcome.value: of["requests"][outcome.value] for outcome in Outcome},
        "encode_failures": of["more"]["encode_failures"],
        "answered": of["more"]["answered"],
        "rows": sum(size * count for size, count in sizes.items()),
        "batches": of["release_reasons"].total(),
        "sizes": sizes,
    }


def as_scraped(count: Count) -> dict[str, Any]:
    """Of the sizes only how many are at most as large as each bound."""
    sizes = {bound: sum(n for size, n in count.sizes.items() if size <= bound) for bound in (*BATCH_SIZE_BOUNDS, INF)}
    return as_counted(count) | {"sizes": sizes, "run": count.sizes.total()}


def told_by_metrics(samples: Samples, model: str) -> dict[str, Any]:
    def of(name: str) -> list[tuple[dict[str, str], float]]:
        return of_model(samples, name, model)

    return {
        "outcomes": {each["outcome"]: value for each, value in of("infer_requests_total")},
        "encode_failures": only(of("infer_encode_failures_total")),
        "answered": only(of("infer_response_bytes_count")),
        "rows": only(of("infer_rows_total")),
        "batches": sum(value for _, value in of("infer_batches_total")),
        "sizes": {float(each["le"]): value for each, value in of("infer_batch_size_bucket")},
        "run": only(of("infer_batch_size_count")),
    }


def in_triton_s_names(count: Count) -> dict[str, Any]:
    outcomes = count.outcomes
    reasons = {
        "REJECTED": outcomes["rejected"] + outcomes["expired"],
        "CANCELED": outcomes["cancelled"],
        "BACKEND": outcomes["failed"],
        "OTHER": outcomes["invalid"],
    }
    return {"success": outcomes["ok"], "failure": reasons, "rows": count.rows, "batches": count.sizes.total()}


def told_in_triton_s_names(samples: Samples, model: str) -> dict[str, Any]:
    def of(name: str) -> list[tuple[dict[str, str], float]]:
        return of_model(samples, f"nv_inference_{name}", model)

    return {
        "success": only(of("request_success_total")),
        "failure": {each["reason"]: value for each, value in of("request_failure_total")},
        "rows": only(of("count_total")),
        "batches": only(of("exec_count_total")),
    }


def as_statistics(count: Count) -> dict[str, Any]:
    return {
        "success": count.outcomes["ok"],
        "fail": count.outcomes.total() - count.outcomes["ok"],
        "rows": count.rows,
        "batches": count.sizes.total(),
        "sizes": dict(count.sizes),
    }


def told_by_statistics(of: dict[str, Any]) -> dict[str, Any]:
    """`of` is one entry of model_stats; over gRPC a whole number may be a text."""
    stats = of["inference_stats"]
    return {
        "success": int(stats["success"]["count"]),
        "fail": int(stats["fail"]["count"]),
        "rows": int(of["inference_count"]),
        "batches": int(of["execution_count"]),
        "sizes": {int(each["batch_size"]): int(each["compute_infer"]["count"]) for each in of["batch_stats"]},
    }


def samples_of(text: str) -> Samples:
    found: Samples = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    return found


def of_model(samples: Samples, name: str, model: str) -> list[tuple[dict[str, str], float]]:
    return [(labels, value) for labels, value in samples[name] if labels["model"] == model]


def only(samples: list[tuple[dict[str, str], float]]) -> float:
    ((_, value),) = samples
    return value


@contextmanager
def snapshots(serve: Serve) -> Iterator[list[dict[str, Any]]]:
    """The lines of the stream from now on; once it is left, also all that has been counted by then."""
    lines: list[dict[str, Any]] = []
    enough = threading.Event()
    connection = http.client.HTTPConnection(serve.address, timeout=30)
    connection.request("GET", "/control/stream?interval=0.25", headers={"Authorization": f"Bearer {serve.token}"})
    response = connection.getresponse()
    lines.append(json.loads(response.readline()))  # it counts from here on

    def read() -> None:
        last = False
        while not last:
            last = enough.is_set()  # and then one more, which is of a time after that
            lines.append(json.loads(response.readline()))
            lines.append(json.loads(response.readline()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lines
    finally:
        enough.set()
        reader.join()
        connection.close()


def summed(lines: list[dict[str, Any]]) -> dict[str, dict[str, Counter[str]]]:
    """All lines together, by model."""
    assert [line["sequence"] for line in lines] == list(range(len(lines)))
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for line in lines:
        for model in line["models"]:
            of = found[model["name"]]
            for name in ("requests", "batch_sizes", "release_reasons"):
                of[name].update(model[name])
            of["more"].update({name: model[name] for name in ("answered", "encode_failures")})
    return found
