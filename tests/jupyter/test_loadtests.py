"""A load test from a page: begun, told while it runs, stopped, kept, and looked at afterwards."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask, Fetch, Socket
from tests.loadtest.runs import run as a_run
from tests.models import add_constant
from workbench.client.shared_service import SharedService
from workbench.jupyter.extension import ACTIVITY, InferWorkbench
from workbench.jupyter.loadtests import POINTS, timeline
from workbench.loadtest.analysis.aggregate import Second
from workbench.loadtest.analysis.latency_histogram import counted
from workbench.loadtest.options import plan_of
from workbench.loadtest.patterns import KINDS
from workbench.loadtest.plan import Target
from workbench.loadtest.store.history import history


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


@pytest_asyncio.fixture
async def plus(ask: Ask, jp_root_dir: Path) -> str:
    """A model that is served."""
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await ask("models", "plus", "load", body={"path": "plus.onnx"})
    return "plus"


async def refused(ask: Ask, *parts: str, **more: Any) -> tuple[int, str]:
    with pytest.raises(HTTPClientError) as caught:
        await ask(*parts, **more)
    assert caught.value.response is not None
    return caught.value.code, json.loads(caught.value.response.body)["message"]


SHORT = {"rate": 100, "duration": "600ms", "warm_up": "200ms"}
LONG = {"users": 2, "duration": "10m", "warm_up": 0}


async def test_a_load_test_is_told_while_it_runs_and_kept_when_it_has_ended(
    ask: Ask, plus: str, page: Socket, extension: InferWorkbench, jp_fetch: Fetch
) -> None:
    assert extension.serverapp is not None
    settings = extension.serverapp.web_app.settings
    settings.pop(ACTIVITY)
    run = (await ask("models", plus, "bench", body=SHORT))["run"]
    assert run == "plus-1"
    assert ACTIVITY in settings

    told = await page.until("bench", lambda message: bool(message["running"]))
    (first,) = told["running"]
    assert (first["run"], first["model"], first["stopping"]) == (run, plus, False)
    assert "100 requests/s" in first["summary"]
    assert first.keys() >= {"state", "elapsed_s", "total_s", "done", "errors", "rate_per_s", "p50_s", "p99_s", "step"}
    ended = await page.until("bench", lambda message: not message["running"])
    assert ended["changes"] > told["changes"]

    found = await ask("bench")
    assert found["running"] == []
    assert [(each["run"], each["state"]) for each in found["runs"]] == [(run, "done")]
    assert await ask("bench", model="other") == {**found, "runs": []}

    figures = await ask("bench", run)
    assert figures["due"] == 60
    assert figures["errors"] == 0
    # A hundred were asked for; what is told is what came of it on this machine.
    said = re.findall(r"([\d.,]+) requests/s", " ".join([figures["sentence"], *figures["details"]]))
    assert said and all(float(each.replace(",", "")) > 0 for each in said), figures
    assert figures["quantiles"]["p50_s"] <= figures["quantiles"]["p99_s"] <= figures["quantiles"]["max_s"]
    assert [each["warm_up"] for each in figures["seconds"]][-1] is False
    assert (await ask("bench", "last"))["run"] == run

    answer = await jp_fetch("infer-workbench", "api", "bench", run, "report")
    assert answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "style-src 'unsafe-inline'", "sandbox", "frame-ancestors 'self'"} <= set(
        policy.split("; ")
    )
    html = answer.body.decode()
    assert html.startswith("<!DOCTYPE html>")
    assert "<svg" in html and "<script" not in html


async def test_one_that_is_stopped_keeps_what_was_measured_and_two_at_once_are_refused(
    ask: Ask, plus: str, page: Socket
) -> None:
    run = (await ask("models", plus, "bench", body=LONG))["run"]
    await page.until("bench", lambda message: any(each["done"] for each in message["running"]))
    assert await refused(ask, "models", plus, "bench", body=SHORT) == (
        409,
        f"a load test of 'plus' is under way ({run}), and two at once would measure each other: stop it, or wait for "
        "its end",
    )
    stopped = await ask("bench", run, "stop", body={})
    assert (stopped["run"], stopped["state"]) == (run, "cut short")
    assert stopped["quantiles"]["p50_s"] is not None
    assert any("cut short" in each for each in stopped["details"])
    assert (await ask("bench"))["running"] == []
    assert (await ask("bench", run, "stop", body={}))["state"] == "cut short"


async def test_a_search_says_what_it_looks_for(ask: Ask, plus: str, page: Socket) -> None:
    run = (await ask("models", plus, "bench", body={"slo": "p99<1s", "duration": "1s"}))["run"]
    told = await page.until("bench", lambda message: bool(message["running"]))
    assert told["running"][0]["summary"] == "plus: the highest rate that holds p99<1s"
    assert (await ask("bench", run, "stop", body={}))["state"] == "cut short"


async def test_a_sweep_says_which_setting_it_is_at_and_gives_them_back(ask: Ask, plus: str, page: Socket) -> None:
    (before,) = await ask("models", plus)
    asked = {"users": 2, "duration": "200ms", "warm_up": 0, "sweep": "batch=1:8,delay=0:1ms"}
    run = (await ask("models", plus, "bench", body=asked))["run"]
    told = await page.until("bench", lambda message: any(each["number"] == 2 for each in message["running"]))
    (second,) = told["running"]
    assert (second["step"], second["count"]) == ("batch=1, delay=1ms", 4)
    assert second["summary"].endswith(", with each setting of batch=1:8,delay=0:1ms")
    await page.until("bench", lambda message: not message["running"])
    figures = await ask("bench", run)
    assert (figures["kind"], len(figures["points"])) == ("sweep", 4)
    assert "with 4 settings of batch and delay" in figures["summary"]

    run = (await ask("models", plus, "bench", body={**LONG, "sweep": "batch=3"}))["run"]
    await page.until("bench", lambda message: any(each["done"] for each in message["running"]))
    (lent,) = await ask("models", plus)
    assert lent["config"]["max_batch_size"] == 3
    assert (await ask("bench", run, "stop", body={}))["state"] == "cut short"
    await page.until("models", lambda message: message["models"][0]["config"] == before["config"])


async def test_runs_are_compared(ask: Ask, plus: str, page: Socket) -> None:
    for _ in range(2):
        await ask("models", plus, "bench", body={**SHORT, "duration": "1.1s"})
        await page.until("bench", lambda message: bool(message["running"]))
        await page.until("bench", lambda message: not message["running"])
    found = await ask("bench", "plus-1", "compare", "plus-2")
    assert found["sentence"].startswith("plus-2 against plus-1: ")
    assert {each["name"] for each in found["ratios"]} >= {"p50", "requests/s"}
    assert all(each["low"] is None for each in found["ratios"])
    assert found["cautions"]


async def test_a_form_is_told_every_pattern_and_what_it_begins_with_can_be_run(ask: Ask) -> None:
    form = await ask("load-patterns")
    assert [each["kind"] for each in form["patterns"]] == [*KINDS, "search"]
    for each in form["patterns"]:
        fields = {field["name"]: field["text"] for field in [*each["fields"], *form["options"]]}
        fields |= {"poisson": True} if "poisson" in fields else {}
        fields |= {"replay": "0, 0.5, 2"} if "replay" in fields else {}
        plan = plan_of(Target("plus", "http://127.0.0.1:1"), **fields)
        assert (plan.pattern.kind == each["kind"]) is each["sweeps"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "say how requests are to come"),
    ({"rate": 0}, "rate must be above 0"),
    ({"rate": 10, "users": 3}, "rate and users were given"),
    ({"rate": "many"}, "rate must be a number, got 'many'"),
    ({"rate": 10, "duration": "-3s"}, "duration"),
    ({"slo": "p99 soon"}, "p99 soon"),
    ({"rate": 10, "rate_per_s": 3}, "there is no option 'rate_per_s'"),
    ({"rate": 10, "requests": [[1]]}, "there is no option 'requests'"),
    ({"rate": 10, "version": 3}, "version must be text"),
    ({"rate": 10, "sweep": ["batch"]}, "sweep must be text"),
    ({"rate": 10, "sweep": "bacth=1"}, "there is no setting 'bacth'"),
    ({"slo": "p99<1s", "sweep": "batch"}, "a sweep runs one load with many settings"),
    ({"rate": 10, "rows": 0}, "rows must be 1 or more, got 0"),
]


async def test_what_cannot_be_run_is_refused_in_words(ask: Ask, plus: str) -> None:
    for asked, words in REFUSED:
        status, message = await refused(ask, "models", plus, "bench", body=asked)
        assert (status, words in message) == (400, True), (asked, message)
    assert (await ask("bench"))["runs"] == []


async def test_unknown_models_and_runs_are_told_from_each_other(ask: Ask, plus: str) -> None:
    assert (await refused(ask, "models", "plsu", "bench", body=SHORT))[0] == 404
    for parts in (["nothing-1"], ["nothing-1", "report"], ["nothing-1", "compare", "plus-1"]):
        assert await refused(ask, "bench", *parts) == (
            404,
            "there is no run 'nothing-1': no load test has been kept yet",
        )
    assert (await refused(ask, "bench", "nothing-1", "stop", body={}))[0] == 404


async def test_a_jupyter_server_that_stops_ends_its_load_tests(
    ask: Ask, plus: str, page: Socket, extension: InferWorkbench
) -> None:
    run = (await ask("models", plus, "bench", body=LONG))["run"]
    await page.until("bench", lambda message: any(each["done"] for each in message["running"]))
    async with asyncio.timeout(10):
        await extension.load_tests.close()
    assert (await ask("bench", run))["state"] == "cut short"
    assert "shutting down" in (await refused(ask, "models", plus, "bench", body=SHORT))[1]


async def test_a_page_that_was_paused_meanwhile_is_told_that_something_has_ended(
    ask: Ask, plus: str, page: Socket
) -> None:
    await page.say(type="pause")
    await page.say(type="nonsense")
    await page.hear("error")  # so it has been heard
    await ask("models", plus, "bench", body=SHORT)
    run = await ask("bench", "last")
    await ask("bench", run["run"], "stop", body={})
    await page.say(type="resume")
    assert (await page.hear("bench"))["running"] == []


def test_a_long_timeline_is_of_several_seconds_a_point() -> None:
    each = counted(np.array([0.01, 0.02]))
    seconds = [Second(float(at), 0, 3, {"ok": 2, "failed": 1}, each) for at in range(2 * POINTS + 10)]
    found = timeline(seconds)
    assert len(found) <= POINTS
    assert found[1]["at_s"] == 3
    assert (found[1]["due_per_s"], found[1]["answered_per_s"], found[1]["errors_per_s"]) == (3, 2, 1)
    assert found[0]["p99_s"] == pytest.approx(0.02, rel=0.005)


async def test_what_another_process_keeps_is_told(extension: InferWorkbench, ask: Ask, page: Socket) -> None:
    await page.hear("models")  # so it is open
    kept = await asyncio.to_thread(history().begin, a_run(model="digits"))
    assert (await page.hear("bench"))["running"] == []
    (found,) = (await ask("bench"))["runs"]
    assert (found["run"], found["model"]) == (kept.id, "digits")
