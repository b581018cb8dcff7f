"""Pipelines of models, from the Python API to the running service."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import numpy as np

from tests.models import add_constant
from workbench.api import Workbench
from workbench.client.client import AsyncClient
from workbench.core.messages import InferRequest

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def posted(wb: Workbench, path: str, body: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"{wb.url}{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {wb.client.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_two_models_answer_as_one(wb: Workbench) -> None:
    wb.load("one", add_constant(1.0))
    wb.load("ten", add_constant(10.0))
    report = wb.pipeline("both", wb["one"] >> wb["ten"])
    assert "joined one >> ten" in repr(report)
    np.testing.assert_array_equal(wb["both"](ROWS).array, ROWS + 11)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [[1, 2, 3, 4]]}]}
    answer = posted(wb, "/v2/models/both/infer", body)
    assert answer["outputs"][0]["data"] == [12.0, 13.0, 14.0, 15.0]  # type: ignore[index]
    assert wb["both"].status.platform == "ensemble"


def test_an_exported_pipeline_keeps_its_largest_batch(wb: Workbench, tmp_path: Path) -> None:
    wb.load("one", add_constant(1.0))
    wb.load("ten", add_constant(10.0))
    before = wb.pipeline("wide", ["one", "ten"], max_batch=48).status
    wb.export("wide", tmp_path / "wide.pipeline")
    assert wb.load("wide", tmp_path / "wide.pipeline").unchanged
    again = wb.load("again", tmp_path / "wide.pipeline").status
    assert (again.config.max_batch_size, again.pipeline) == (before.config.max_batch_size, before.pipeline)
    assert again.config.max_batch_size == 48
    wb.unload("again")
    wb.unload("wide")


def test_one_requests_stages_are_one_line_of_the_slowest(wb: Workbench) -> None:
    wb.load("one", add_constant(1.0))
    wb.load("ten", add_constant(10.0))
    wb.pipeline("lined", "one >> ten")
    wb["lined"](ROWS)
    slowest = wb["lined"].slowest()
    (request,) = slowest
    assert [each["stage"] for each in request["pipeline"]] == ["one", "ten"]
    told = [each["stages_s"] for each in request["pipeline"]]
    assert 0 < sum(each["compute"] for each in told) <= request["stages_s"]["compute"] + 1e-9
    assert "stages" in repr(slowest)
    assert "one, compute: " in slowest._repr_html_()
    assert "ten took_s" in slowest.to_pandas()
    card = wb.show("lined")
    assert card["stages"] == "one > ten"
    assert card["joints"] == "one.x = x, ten.x = one.y, y = ten.y"


async def test_it_answers_over_grpc_as_any_model(wb: Workbench) -> None:
    await asyncio.to_thread(wb.load, "one", add_constant(1.0))
    await asyncio.to_thread(wb.pipeline, "grpc", "one >> one")
    address = (await asyncio.to_thread(wb.status))["grpc"]
    async with AsyncClient(f"grpc://{address}", wb.client.token) as client:
        answer = await client.infer(InferRequest("grpc", {"x": ROWS}, parameters={"timings": True}))
        assert [each.stage for each in answer.timings.stages] == ["one", "one#2"]
        np.testing.assert_array_equal(answer.outputs["y"], ROWS + 2)
        assert (await client.status("grpc")).signature == wb["one"].signature


async def test_an_answer_says_what_each_stage_took_where_it_is_asked_to(wb: Workbench) -> None:
    await asyncio.to_thread(wb.load, "one", add_constant(1.0))
    await asyncio.to_thread(wb.pipeline, "inner", "one >> one")
    await asyncio.to_thread(wb.pipeline, "outer", "one >> inner")
    timed = {"timings": True}
    async with AsyncClient(wb.url, wb.client.token) as client:
        answer = await client.infer(InferRequest("outer", {"x": ROWS}, parameters=timed))
        single = await client.infer(InferRequest("one", {"x": ROWS}, parameters=timed))
        untold = await client.infer(InferRequest("outer", {"x": ROWS}))
    first, second = answer.timings.stages
    assert (first.stage, first.version, first.timings.batch_size) == ("one", "1", 3)
    assert first.timings.ran_s > 0 and not first.timings.stages
    assert second.stage == "inner" and second.began_s >= first.began_s + first.timings.ran_s
    assert [each.stage for each in second.timings.stages] == ["one", "one#2"]
    assert not single.timings.stages and not untold.timings.stages
