"""Rollouts over the control plane: told, written down, enacted, and halted by whoever changes the routing by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests import models
from tests.engine.fakes import FakeSession
from tests.server.conftest import House, open_house
from workbench.config import Limits
from workbench.core.messages import Timings
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.ports import Outcome
from workbench.core.tensor import Array
from workbench.server.rollouts import Rollouts

PATH = "/control/models/digits/rollout"


async def with_version_2(house: House, folder: Path) -> None:
    other = models.identity(shape=("batch", 2))
    other.doc_string = "another version"
    path = models.save(other, folder / "other.onnx")
    await house.call("POST", "/control/models/digits/load", {"path": str(path), "route": False})


async def begun(house: House, **asked: object) -> dict[str, Any]:
    body = {"version": "2", "steps": [0.1, 1.0], "every_s": 1.0, "least_calls": 0, "guard": "errors<1%"} | asked
    reply = await house.call("POST", PATH, body)
    assert reply.status == 200, reply.error
    return dict(reply.json)


async def weights(house: House) -> dict[str, float]:
    found = (await house.call("GET", "/control/models/digits/versions")).json["versions"]
    return {each["version"]: each["weight"] for each in found}


async def until(house: House, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while not is_so(found := (await house.call("GET", PATH)).json):
            await asyncio.sleep(0.02)
    return dict(found)


def traffic(house: House, version: str, calls: int, failed: int = 0) -> None:
    """Have calls been counted, without making them."""
    metrics = house.service.metrics
    for at in range(calls):
        outcome = Outcome.FAILED if at < failed else Outcome.OK
        metrics.request_done("digits", version, outcome, Timings(0.001, 0.0, 0.002, 0.0))


async def test_a_rollout_goes_through_its_steps_and_then_its_version_serves(house: House, tmp_path: Path) -> None:
    await with_version_2(house, tmp_path)
    begin = await begun(house, version="v2")
    assert (begin["status"], begin["told"]) == ("running", "version 2: step 1 of 2, 10 %")
    assert await weights(house) == {"1": 0.9, "2": 0.1}
    await until(house, lambda found: found["step"] == 2)
    assert await weights(house) == {"1": 0.0, "2": 1.0}, "the one before stays loaded until the last step is over"
    done = await until(house, lambda found: found["status"] == "done")
    assert done["told"] == "version 2: done, it serves"
    found = (await house.call("GET", "/control/models/digits/versions")).json
    assert [(each["version"], each["routed"]) for each in found["versions"] if each["routed"]] == [("2", True)]
    told = [(each["who"], each["detail"]) for each in found["history"] if each["action"] == "rollout"]
    assert told == [
        ("owner", "version 2, begin; errors<1%"),
        ("service", "version 2: step 2 of 2, 100 %"),
        ("service", "version 2: done, it serves"),
    ]
    text = (await house.call("GET", "/metrics")).body.decode()
    assert 'infer_rollout_status{model="digits",version="2",status="done"} 1' in text
    assert 'infer_rollout_step{model="digits",version="2"} 2' in text


async def test_errors_roll_it_back_and_it_says_why(house: House, tmp_path: Path) -> None:
    await with_version_2(house, tmp_path)
    await begun(house, every_s=6.0)
    changes = house.service.metrics.changes.count
    for _ in range(100):
        traffic(house, "1", 50)
        traffic(house, "2", 50, failed=10)
        if (found := (await house.call("GET", PATH)).json)["status"] != "running":
            break
        await asyncio.sleep(0.1)
    assert found["status"] == "rolled back"
    assert found["reason"].startswith("errors<1% is breached: 20 %")
    assert [(each["clause"], each["finding"]) for each in found["clauses"]] == [("errors<1%", "breached")]
    assert await weights(house) == {"1": 1.0, "2": 0.0}
    assert house.service.metrics.changes.count > changes, "the panel is told at once"


@asynccontextmanager
async def agreeing(folder: Path, answers: Callable[[Array], Array]) -> AsyncIterator[House]:
    """A service whose version 2 of digits answers so, and version 1 what it is sent."""
    one, other = (FakeSession(each) for each in (lambda x: x, answers))
    async with open_house(folder, one, beside=other) as house:
        await with_version_2(house, folder)
        yield house


async def called(house: House, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """How the rollout stands once it is so, while 40 rows a call are asked, whose class is the first or the second."""
    rows = [float(number % 3 == side) for number in range(40) for side in (0, 1)]
    sent = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [40, 2], "data": rows}]}
    async with asyncio.timeout(30):
        while not is_so(found := (await house.call("GET", PATH)).json):
            assert (await house.call("POST", "/v2/models/digits/infer", sent)).status == 200
            await asyncio.sleep(0.01)
    return dict(found)


async def test_answers_that_agree_let_it_go_on_and_the_copies_end_with_it(tmp_path: Path) -> None:
    async with agreeing(tmp_path, lambda x: x + 0.125) as house:
        await begun(house, steps=[0.1, 0.5], guard="agreement>99%", least_calls=200)
        shadow = (await house.call("GET", "/control/models/digits/route")).json["shadow"]
        assert (shadow["version"], shadow["part"]) == ("2", 1.0)
        assert not house.service.engine.versions.plan("digits").shadow, "it is not kept on the disk"
        second = await called(house, lambda found: found["step"] == 2)
        assert second["status"] == "running"
        done = await called(house, lambda found: found["status"] != "running")
        assert (done["status"], done["clauses"][0]["finding"], done["clauses"][0]["measured"]) == (
            "done",
            "holds",
            "100 %",
        )
        assert done["clauses"][0]["calls"] >= 200
        assert (await house.call("GET", "/control/models/digits/route")).json["shadow"] is None


async def test_answers_that_disagree_roll_it_back(tmp_path: Path) -> None:
    async with agreeing(tmp_path, lambda x: np.where(np.arange(len(x))[:, None] == 4, x[:, ::-1], x)) as house:
        await begun(house, steps=[0.1], every_s=3.0, guard="agreement>99%")
        found = await called(house, lambda found: found["status"] != "running")
        assert found["status"] == "rolled back"
        assert found["reason"].startswith("agreement>99% is breached: 97.")
        assert await weights(house) == {"1": 1.0, "2": 0.0}
        assert (await house.call("GET", "/control/models/digits/route")).json["shadow"] is None


async def test_outputs_that_differ_in_shape_roll_it_back_with_one_line(tmp_path: Path) -> None:
    async with agreeing(tmp_path, lambda x: np.hstack([x, x])) as house:
        await begun(house, steps=[0.1], every_s=3.0, guard="agreement>99%")
        found = await called(house, lambda found: found["status"] != "running")
        assert found["reason"] == (
            "agreement>99% is breached: the answers cannot be compared (y: the shapes differ: [40, 2] and [40, 4])"
        )


async def test_an_agreement_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    async with agreeing(tmp_path, lambda x: x) as house:
        await house.call("POST", "/control/models/digits/route", {"shadow": {"2": 0.5}})
        other = models.save(models.add_constant(3), tmp_path / "third.onnx")
        await house.call("POST", "/control/models/digits/load", {"path": str(other), "route": False})
        body = {"version": "3", "steps": [0.1], "guard": "agreement>99%"}
        reply = await house.call("POST", PATH, body)
        assert (reply.status, "those of model 'digits' are for version 2: end that first" in reply.error) == (409, True)
    numbers = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 1)),))
    (tmp_path / "numbers").mkdir()
    session = FakeSession(lambda x: x[:, :1], numbers)
    async with open_house(tmp_path / "numbers", session) as house:
        await with_version_2(house, tmp_path)
        reply = await house.call("POST", PATH, {"version": "2", "steps": [0.1], "guard": "agreement>99%"})
        assert (reply.status, "has neither in its outputs (y)" in reply.error) == (400, True), reply.error


async def test_a_route_by_hand_halts_it_and_it_can_be_resumed_and_stopped(house: House, tmp_path: Path) -> None:
    await with_version_2(house, tmp_path)
    await begun(house, every_s=3.0)
    await house.call("POST", "/control/models/digits/route", {"weights": {"2": 0.3}})
    found = await until(house, lambda found: found["status"] != "running")
    assert (found["status"], await weights(house)) == ("halted", {"1": 0.7, "2": 0.3})
    assert "routed by hand, version 2 30 % in place of version 2 10 %" in found["reason"]
    resumed = await house.call("POST", f"{PATH}/resume", {})
    assert (resumed.status, resumed.json["status"]) == (200, "running")
    assert await weights(house) == {"1": 0.9, "2": 0.1}
    again = await house.call("POST", PATH, {"version": "2", "steps": [1.0]})
    assert (again.status, "is under way" in again.error) == (409, True)
    stopped = await house.call("POST", f"{PATH}/stop", {})
    assert (stopped.json["status"], stopped.json["reason"]) == ("stopped", "by owner")
    assert await weights(house) == {"1": 1.0, "2": 0.0}
    assert (await house.call("POST", f"{PATH}/stop", {})).status == 409
    assert [each["model"] for each in (await house.call("GET", "/control/rollouts")).json] == ["digits"]


async def test_a_version_that_is_unloaded_is_a_breach(house: House, tmp_path: Path) -> None:
    await with_version_2(house, tmp_path)
    await begun(house, every_s=3.0)
    assert (await house.call("POST", "/control/models/digits/versions/2/unload", {})).status == 200
    found = await until(house, lambda found: found["status"] != "running")
    assert (found["status"], found["reason"]) == ("rolled back", "version 2 is not loaded any more")


async def test_what_cannot_be_rolled_out_is_refused_and_nothing_changes(house: House, tmp_path: Path) -> None:
    assert (await house.call("GET", PATH)).status == 404
    assert (await house.call("GET", "/control/models/nobody/rollout")).status == 404
    await with_version_2(house, tmp_path)
    for asked, status, said in (
        ({"version": "7"}, 404, "version 7 is not found"),
        ({"version": "1"}, 409, "version 1 serves already"),
        ({"steps": []}, 400, "got none"),
        ({"steps": [0.5, 0.2]}, 400, "must rise"),
        ({"guard": "errors"}, 400, "clauses are"),
        ({"guard": "agreement>99%", "steps": [1.0]}, 400, "begin with a smaller one"),
        ({"on_breach": "panic"}, 400, "does not fit"),
        ({"every_s": 0}, 400, "must take from 1 s"),
    ):
        body = {"version": "2", "steps": [0.1]} | asked
        reply = await house.call("POST", PATH, body)
        assert (reply.status, said in reply.error) == (status, True), (reply.status, reply.error)
    assert await weights(house) == {"1": 1.0, "2": 0.0}
    assert (await house.call("GET", "/control/rollouts")).json == []


async def test_the_next_process_goes_on_and_does_what_was_not_enacted(tmp_path: Path) -> None:
    async with open_house(tmp_path, limits=Limits()) as house:
        await with_version_2(house, tmp_path)
        await begun(house, steps=[0.1], every_s=60.0)
        service = house.service
        await service.rollouts.close()
        await service.engine.routing.shift("digits", "2", 0.0, instead_of="1")
        (text,) = service.persistence.state.rollouts().values()
        service.persistence.state.keep_rollout("digits", text.replace('"enacted":true', '"enacted":false'))
        began = time.time()
        next_one = Rollouts(service.engine, service.persistence, service.metrics, service.audit)
        await next_one.restore()
        async with asyncio.timeout(20):
            while not (await weights(house))["2"]:
                await asyncio.sleep(0.02)
        found = next_one.of("digits")
        assert (found.status, found.step, await weights(house)) == ("running", 1, {"1": 0.9, "2": 0.1})
        assert found.seen_since >= began
        assert "counted anew" in found.reason
        await next_one.close()
        await service.rollouts.close()
