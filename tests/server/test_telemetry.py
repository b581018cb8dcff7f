"""What the service tells of its requests, seen from outside: names, traces, the slowest, and figures that agree."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import LIMITS, House, open_house
from tests.server.driver import Reply, body
from workbench.core.ports import Outcome
from workbench.protocols.status_codes import UNFORESEEN
from workbench.telemetry.snapshots import Snapshots

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
INFER = "/v2/models/digits/infer"


async def slowest(house: House, asked: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await house.call("GET", f"/control/models/digits/slowest{asked}")).json
    return found


async def test_an_answer_is_named_as_the_caller_named_its_request(house: House) -> None:
    for path, sent in ((INFER, body(1)), ("/v2", None), ("/nowhere", None), ("/v2/models/none/infer", body(1))):
        method = "POST" if sent else "GET"
        assert (await house.call(method, path, sent, x_request_id="mine-7")).headers["x-request-id"] == "mine-7"


async def test_who_names_nothing_or_nonsense_is_given_a_name_of_its_own(house: House) -> None:
    names = {
        (await house.call("POST", INFER, body(1), x_request_id=given)).headers["x-request-id"]
        for given in (None, None, "", "a b", "\xe9", "x" * 129)
    }
    assert len(names) == 6
    assert (await house.stranger("GET", "/v2")).headers["x-request-id"] not in names


async def test_the_slowest_tell_what_a_request_was_called_and_where_its_time_went(house: House) -> None:
    await house.call("POST", INFER, body(1, 2, id="seven"), x_request_id="mine", traceparent=TRACE)
    await house.call("POST", INFER, b"{", x_request_id="broken", traceparent="00-nonsense")
    by_name = {request["request_id"]: request for request in await slowest(house)}
    good, bad = by_name["mine"], by_name["broken"]
    assert (good["outcome"], good["model"], good["version"], good["id"]) == ("ok", "digits", "1", "seven")
    assert good["trace_id"] == TRACE[3:35]
    assert (good["rows"], good["batch_size"], good["batch_rows"], good["release_reason"]) == (2, 2, [2], "idle")
    assert sum(good["stages_s"].values()) - good["stages_s"]["receive"] <= good["duration_s"]
    assert good["response_bytes"] > good["request_bytes"] > 0 or good["request_bytes"] > good["response_bytes"] > 0
    assert (bad["outcome"], bad["trace_id"], bad["rows"]) == ("invalid_argument", "", None)


async def test_the_slowest_of_a_span_of_time_are_those_that_ended_in_it(house: House) -> None:
    for name in ("one", "two", "three"):
        await house.call("POST", INFER, body(1), x_request_id=name)
    ends = {request["request_id"]: request["time"] for request in await slowest(house)}
    asked = f"?since={ends['one'] + 1e-6}&until={ends['two'] + 1e-6}"
    assert [each["request_id"] for each in await slowest(house, asked)] == ["two"]
    assert len(await slowest(house, "?limit=2")) == 2
    assert await slowest(house, f"?since={ends['three'] + 60}") == []
    assert (await house.call("GET", "/control/models/digits/slowest?since=yesterday")).status == 400


async def test_the_latest_error_is_in_the_snapshots_as_its_caller_got_it(house: House) -> None:
    series = Snapshots(house.service.metrics.state, "epoch")
    reply = await house.call("POST", INFER, {"inputs": []})
    (model,) = series.take()["models"]
    assert model["last_error"]["code"] == "invalid_argument"
    assert model["last_error"]["message"] == reply.json["error"]
    assert model["requests"] == {"invalid": 1}


async def test_the_slowest_of_a_model_that_is_not_there_is_404(house: House) -> None:
    assert (await house.call("GET", "/control/models/none/slowest")).status == 404
    assert await slowest(house) == []


async def test_the_slowest_come_first_and_tell_who_shared_their_batch(house: House) -> None:
    house.session.hold()
    first = asyncio.ensure_future(house.call("POST", INFER, body(1), x_request_id="first"))
    await asyncio.to_thread(house.session.entered.acquire)
    mates = [asyncio.ensure_future(house.call("POST", INFER, body(*range(n)))) for n in (1, 3)]
    await asyncio.sleep(0)  # they are in line
    house.session.gate.set()
    await asyncio.gather(first, *mates)
    await house.call("POST", INFER, body(1), x_request_id="quick")
    found = await slowest(house)
    # Which of them took longest is the machine's to say: the first was held for no longer than its mates took to come.
    durations = [request["duration_s"] for request in found]
    assert durations == sorted(durations, reverse=True)
    batches = {request["request_id"]: request["batch_rows"] for request in found}
    assert (batches.pop("first"), batches.pop("quick")) == ([1], [1])
    assert list(batches.values()) == [[1, 3], [1, 3]]
    assert {request["rows"] for request in found if request["request_id"] in batches} == {1, 3}


async def test_the_traceparent_goes_with_the_request(house: House, monkeypatch: Any) -> None:
    seen = []
    submit = house.service.engine.submit

    def watched(request: Any, completion: Any) -> None:
        seen.append(request.trace)
        submit(request, completion)

    monkeypatch.setattr(house.service.engine, "submit", watched)
    await house.call("POST", INFER, body(1), traceparent=TRACE)
    await house.call("POST", INFER, body(1))
    assert seen == [TRACE, ""]


async def test_a_failure_is_logged_under_the_name_that_the_caller_knows_and_tells_it_nothing(
    house: House, monkeypatch: Any, caplog: Any
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of /the/house")

    monkeypatch.setattr(house.service.engine, "submit", broken)
    with caplog.at_level(logging.INFO):
        reply = await house.call("POST", INFER, body(1), traceparent=TRACE)
    assert (reply.status, reply.error) == (500, UNFORESEEN)
    assert "a secret of /the/house" in caplog.text
    named = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [fields["request_id"] for fields in named] == [reply.headers["x-request-id"]] * 2
    assert named[0]["trace_id"] == TRACE[3:35]


async def test_metrics_come_as_protobuf_to_who_prefers_it(house: House) -> None:
    accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    reply = await house.call("GET", "/metrics", accept=f"{accept},text/plain;q=0.2")
    assert reply.headers["content-type"].startswith("application/vnd.google.protobuf; proto=")


async def test_every_figure_agrees_with_what_the_callers_counted(tmp_path: Path) -> None:
    """Hundreds of requests of all kinds at once; each is told once and the same by every means."""
    async with open_house(tmp_path, limits=replace(LIMITS, max_response_bytes=200)) as house:
        await _figures_agree(house)


async def _figures_agree(house: House) -> None:
    series = Snapshots(house.service.metrics.state, "e")
    rng = random.Random(7)
    answers: list[Reply] = []
    bytes_in = bytes_out = rows = 0

    async def caller() -> None:
        nonlocal bytes_in, bytes_out, rows
        for _ in range(60):
            count = rng.randint(1, 4)
            kind = rng.choice(["ok"] * 6 + ["invalid", "broken", "expired", "left", "long", "unknown", "type"])
            path, headers, leave = INFER, {}, False
            sent: Any = body(*(float(rng.randint(0, 9)) for _ in range(count)))
            if kind == "invalid":
                sent["inputs"][0]["name"] = "other"
            elif kind == "broken":
                sent = b"{"
            elif kind == "expired":
                sent["parameters"] = {"timeout": 1}
            elif kind == "left":
                sent, leave = [b"{", b"}"], True
            elif kind == "long":
                sent = body(*([1.0] * 40))
            elif kind == "unknown":
                path = "/v2/models/none/infer"
            elif kind == "type":
                headers = {"content_type": "text/html"}
            reply = await house.call("POST", path, sent, leave, **headers)
            if kind != "unknown":
                answers.append(reply)
            if reply.status == 200:
                rows += count
                bytes_out += len(reply.body)
                bytes_in += len(json.dumps(sent))
            await asyncio.sleep(0)

    await asyncio.gather(*(caller() for _ in range(6)))
    figures = house.service.metrics.state().figures
    assert list(figures) == [("digits", "1")]
    each = figures["digits", "1"]
    statuses = Counter(reply.status for reply in answers)
    assert each.encode_failures > 0
    assert {200, 400, 413, 429, 499, 504, 415} <= set(statuses)

    assert each.requests == len(answers) == statuses.total()
    assert each.outcomes[Outcome.OK] - each.encode_failures == each.answered == statuses[200]
    assert each.outcomes[Outcome.INVALID] + each.encode_failures == statuses[400] + statuses[413] + statuses[415]
    assert each.outcomes[Outcome.REJECTED] == statuses[429]
    assert each.outcomes[Outcome.EXPIRED] == statuses[504]
    assert each.outcomes[Outcome.CANCELLED] == statuses[499]
    assert each.request.linear.count == each.queue.native.count == each.compute.linear.count
    assert each.request.linear.count == each.outcomes[Outcome.OK]
    assert (each.request_bytes.total, each.response_bytes.total) == (bytes_in, bytes_out)

    (told,) = series.take()["models"]
    assert told["requests"] == {outcome.value: count for outcome, count in each.outcomes.items()}
    assert (told["answered"], told["encode_failures"]) == (each.answered, each.encode_failures)
    assert told["latency"]["compute"]["count"] == each.outcomes[Outcome.OK]
    assert told["payload"]["response"]["count"] == statuses[200]
    assert sum(int(size) * count for size, count in told["batch_sizes"].items()) == each.rows

    text = (await house.call("GET", "/metrics")).body.decode()
    samples = {
        (sample.name, sample.labels.get("outcome") or sample.labels.get("reason") or sample.labels.get("status")): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    for outcome in Outcome:
        assert samples["infer_requests_total", outcome.value] == each.outcomes[outcome]
    assert samples["infer_response_bytes_count", None] == samples["infer_http_answers_total", "200"] == statuses[200]
    assert samples["nv_inference_request_success_total", None] == each.outcomes[Outcome.OK]
    assert samples["infer_rows_total", None] == samples["nv_inference_count_total", None] == each.rows
    assert samples["infer_request_duration_seconds_count", None] == each.outcomes[Outcome.OK]


async def test_statistics_are_of_this_load_and_prometheus_counters_go_on(house: House) -> None:
    async def counts() -> tuple[list[int], float]:
        stats = (await house.call("GET", "/v2/models/digits/stats")).json["model_stats"]
        text = (await house.call("GET", "/metrics")).body.decode()
        samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
        name, labels = "infer_requests_total", {"model": "digits", "version": "1", "outcome": "ok"}
        total = sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())
        return [each["inference_count"] for each in stats], total

    for _ in range(3):
        await house.call("POST", INFER, body(1, 2))
    assert await counts() == ([6], 3)
    await house.service.engine.unload("digits")
    await house.service.engine.load("digits")
    assert await counts() == ([0], 3)
    await house.call("POST", INFER, body(1, 2))
    assert await counts() == ([2], 4)
    await house.service.engine.configure("digits", {"max_batch_size": 4})  # live: the same load
    assert await counts() == ([2], 4)
    await house.service.engine.configure("digits", {"runners": "latency"})  # another load of the same version
    assert await counts() == ([0], 4)
