"""A version that gets copies of the calls: what it costs callers (nothing), and what is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import EndedSession, FakeSession, Opener, Recorder, rows
from tests.helpers.clock import Clock
from tests.helpers.waiting import until_async
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.core.ports import Outcome
from workbench.core.shadow_figures import ShadowFigures
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.shadow_traffic import LONGEST_WAIT_S, MOST_BYTES, MOST_WAITING, CopyBudget
from workbench.errors import Conflict, ExecutionError, InvalidInput, ModelNotFound
from workbench.repository.desired_state import DesiredState
from workbench.repository.store import ModelStore

pytestmark = pytest.mark.timeout(60)


class House:
    """An engine with version 1 of "m" that serves, y = x + 1, and 2 beside it."""

    def __init__(self, folder: Path, shadow: Callable[[Array], Array], clock: Clock | None = None) -> None:
        self.serving, self.shadow = FakeSession(), EndedSession()
        self.shadow.function = shadow
        self.seen = Recorder()
        more = {} if clock is None else {"clock": clock}
        opener = Opener(self.serving, self.shadow)
        self.engine = Engine(ModelStore(folder / "store"), open_session=opener, observer=self.seen, **more)  # type: ignore[arg-type]

    async def start(self) -> None:
        await self.engine.start()
        await self.engine.load("m", models.add_constant(1).SerializeToString(), {"versions": "latest:2"})
        await self.engine.load("m", models.add_constant(2).SerializeToString(), route=False)
        self.seen.requests.clear()
        self.seen.batches.clear()
        for session in (self.serving, self.shadow):
            session.batches.clear()

    async def start_with_shadow_held(self) -> None:
        """Start with a copy of all calls; the shadow is in its first run, which lasts until its gate is set."""
        await self.start()
        await self.engine.routing.route("m", shadow={"2": 1.0})
        self.shadow.hold()
        await self.calls(1)
        await asyncio.to_thread(self.shadow.entered.acquire)

    async def ask(self, *values: float, version: str | None = None, **more: object) -> Array:
        request = InferRequest("m", {"x": rows(*values)}, version, **more)  # type: ignore[arg-type]
        response = await self.engine.infer(request)
        assert response.version == (version or "1")
        return response.outputs["y"]

    async def calls(self, count: int) -> None:
        for value in range(count):
            assert (await self.ask(value))[0, 0] == value + 1

    @property
    def figures(self) -> ShadowFigures:
        traffic = self.engine.routing.shadow("m")
        assert traffic is not None
        return traffic.figures()

    async def settled(self) -> ShadowFigures:
        await until_async(lambda: not self.figures.waiting)
        return self.figures

    @property
    def target(self) -> object:
        return self.engine._deployments.table.target("m", None)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Callable[..., House]]:
    made: list[House] = []

    def build(shadow: Callable[[Array], Array] = lambda x: x + 1.5, clock: Clock | None = None) -> House:
        made.append(House(tmp_path, shadow, clock))
        return made[-1]

    yield build  # type: ignore[misc]
    for each in made:
        each.shadow.gate.set()
        await each.engine.close(5)


Build = Callable[..., House]


async def test_copies_are_compared_and_are_in_nobodys_figures(house: Build) -> None:
    at = house()
    await at.start()
    await at.engine.routing.route("m", shadow={"2": 1.0}, keep_rows=3)
    await at.calls(8)
    found = await at.settled()
    (y,) = found.outputs
    assert (found.compared, found.failed, found.rows, found.chosen) == (8, 0, 8, 8)
    assert (y.largest, y.rows) == (0.5, 8)
    assert found.examples == 3
    assert {(version, outcome) for _, version, outcome, _ in at.seen.requests} == {("1", Outcome.OK)}
    assert len(at.seen.requests) == 8
    assert sum(count for count, _, _ in at.seen.batches) == 8
    assert at.engine.status("m", "2").shadow == found
    assert at.engine.status("m", "1").shadow is None


async def test_without_a_shadow_a_call_goes_to_the_version_itself(house: Build) -> None:
    at = house()
    await at.start()
    serves = at.engine._deployments.get("m", "1")
    assert at.target is serves
    await at.engine.routing.route("m", shadow={"2": 0.5})
    assert at.target is not serves
    await at.engine.routing.route("m", shadow={})
    assert at.target is serves
    assert at.engine.routing.shadow("m") is None


async def test_a_shadow_that_hangs_takes_nothing_from_callers_and_is_left_behind(house: Build) -> None:
    at = house(clock=Clock())
    await at.start_with_shadow_held()
    await at.calls(MOST_WAITING + 20)
    found = at.figures
    assert (found.waiting, found.dropped) == (MOST_WAITING + 1, {"busy": 20})
    await at.engine.routing.route("m", shadow={})
    await at.calls(2)
    assert at.engine._deployments._copies.held == 0


async def test_a_copy_that_takes_too_long_is_ended_and_counted_as_failed(house: Build) -> None:
    clock = Clock()
    at = house(clock=clock)
    await at.start_with_shadow_held()
    assert at.engine.interrupt_stuck(10) == []
    clock.now += 11
    assert at.engine.interrupt_stuck(10) == ["m"]
    found = await at.settled()
    assert (found.compared, found.failed) == (0, 1)
    assert "did not end within 10 s" in found.last_error
    await at.calls(2)
    assert at.engine.status("m", "2").state is ModelState.READY


async def test_copies_that_wait_too_long_are_dropped(house: Build) -> None:
    clock = Clock()
    at = house(clock=clock)
    await at.start_with_shadow_held()
    await at.calls(5)
    clock.now += LONGEST_WAIT_S + 1
    at.shadow.gate.set()
    await until_async(lambda: at.figures.waiting == 0)
    found = at.figures
    assert (found.compared, found.dropped) == (1, {"busy": 5})


async def test_a_shadow_that_fails_is_counted_with_its_error_and_callers_see_none(house: Build) -> None:
    def fails(x: Array) -> Array:
        if not (x == 0).all():  # as warm-up asks, maybe
            raise ExecutionError("the shadow has a fault")
        return x

    at = house(lambda x: x)
    await at.start()
    at.shadow.function = fails
    await at.engine.routing.route("m", shadow={"2": 1.0})
    for value in (5, 6):
        await at.ask(value)
    found = await at.settled()
    assert (found.compared, found.failed, found.last_error) == (0, 2, "the shadow has a fault")
    assert [outcome for *_, outcome, _ in at.seen.requests] == [Outcome.OK] * 2


async def test_outputs_of_another_shape_are_counted_and_said(house: Build) -> None:
    at = house()
    await at.start()
    at.shadow.function = lambda x: np.hstack([x, x])
    await at.engine.routing.route("m", shadow={"2": 1.0})
    await at.calls(2)
    (y,) = (await at.settled()).outputs
    assert (y.unlike, y.why_unlike) == (2, "the shapes differ: [1, 2] and [1, 4]")


async def test_calls_that_name_a_version_or_fail_are_not_copied(house: Build) -> None:
    at = house()
    await at.start()
    await at.engine.routing.route("m", shadow={"2": 1.0})
    await at.ask(1, version="1")
    await at.ask(1, version="2")
    with pytest.raises(InvalidInput):
        await at.ask(666)
    assert (await at.settled()).chosen == 0


async def test_a_caller_with_a_key_is_always_copied_or_never(house: Build) -> None:
    at = house()
    await at.start()
    await at.engine.routing.route("m", shadow={"2": 0.5}, by="user")
    copied = {}
    for user in ("ann", "bob", "cleo", "dan", "eve", "fay"):
        before = (await at.settled()).compared
        for _ in range(3):
            await at.ask(1, parameters={"user": user})
        copied[user] = (await at.settled()).compared - before
    assert set(copied.values()) == {0, 3}


async def test_a_shadow_ends_when_it_is_unloaded_or_serves_itself_or_by_a_rollback(house: Build) -> None:
    at = house()
    await at.start()
    await at.engine.routing.route("m", shadow={"2": 1.0})
    await at.engine.routing.route("m", {"2": 1.0})
    assert at.engine.routing.shadow("m") is None
    back = await at.engine.versions.rollback("m")
    assert back.status.version == "1"
    await at.engine.load("m", models.add_constant(3).SerializeToString(), route=False)
    await at.engine.routing.route("m", {"3": 0.5}, shadow={"3": 0.5})
    assert at.engine.routing.shadow("m") is not None
    await at.engine.versions.rollback("m")
    assert at.engine.routing.shadow("m") is None
    await at.engine.routing.route("m", shadow={"3": 1.0})
    await at.engine.unload("m", "3")
    assert at.engine.routing.shadow("m") is None
    await at.ask(1)


async def test_what_cannot_be_a_shadow_is_refused_and_nothing_changes(house: Build) -> None:
    at = house()
    await at.start()
    route = at.engine.routing.route
    with pytest.raises(InvalidInput, match="version 1 of model 'm' serves, so it cannot be its own shadow"):
        await route("m", shadow={"1": 0.5})
    with pytest.raises(ModelNotFound, match="version 7"):
        await route("m", shadow={"7": 0.5})
    with pytest.raises(InvalidInput, match="must be from 0 to 1"):
        await route("m", shadow={"2": 2.0})
    assert at.engine.routing.shadow("m") is None
    await at.calls(1)


async def test_a_shadow_of_another_signature_is_refused(tmp_path: Path) -> None:
    engine = Engine(ModelStore(tmp_path / "store"))
    await engine.start()
    await engine.load("m", models.add_constant(1).SerializeToString())
    await engine.load("m", models.identity(shape=("batch", 2)).SerializeToString(), route=False)
    with pytest.raises(Conflict, match="version 2 of model 'm' cannot be a shadow of version 1, since its inputs or"):
        await engine.routing.route("m", shadow={"2": 0.5})
    await engine.close(5)


async def test_copies_take_no_more_memory_than_they_may() -> None:
    budget = CopyBudget(100)
    assert budget.take(60)
    assert not budget.take(50)
    budget.give(60)
    assert budget.take(100)
    assert MOST_BYTES == 64 << 20


async def test_a_restart_brings_the_shadow_back_with_figures_anew(tmp_path: Path) -> None:
    state = DesiredState(tmp_path / "state.sqlite")
    state.open()
    engine = Engine(ModelStore(tmp_path / "store"), journal=state)
    await engine.start()
    await engine.load("m", models.add_constant(1).SerializeToString())
    await engine.load("m", models.add_constant(2).SerializeToString(), route=False)
    await engine.routing.route("m", shadow={"2": 0.5}, by="user", keep_rows=4)
    since = engine.routing.shadow("m").figures().since  # type: ignore[union-attr]
    await engine.close(5)
    again = Engine(ModelStore(tmp_path / "store"), journal=state)
    await again.start()
    for name, plan in state.plans().items():
        again.versions.plan_restored(name, plan)
    for each in state.models():
        await again.restore(each.model, suspect=each.suspect)
    for model, suspect in state.beside():
        await again.versions.restore(model, suspect=suspect)
    traffic = again.routing.shadow("m")
    assert traffic is not None
    found = traffic.figures()
    assert (found.version, found.beside, found.part, found.by, found.keep_rows) == ("2", "1", 0.5, "user", 4)
    assert found.compared == 0
    assert found.since > since
    await again.close(5)
    state.close()
