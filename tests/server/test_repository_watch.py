"""When the watcher looks, and what it does with a change that could not be acted upon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.clock import Clock
from tests.helpers.waiting import until, until_async
from workbench.repository.settled_changes import REST_S, FileMark, FolderChange, FolderListing, Listing
from workbench.server.folder_events import FolderEvents
from workbench.server.repository_watch import RepositoryWatch

POLL_S = 15.0


@dataclass
class World:
    """A repository and an engine that a test describes."""

    clock: Clock = field(default_factory=Clock)
    listing: dict[str, FolderListing] = field(default_factory=dict)
    followed: list[tuple[str, tuple[str, ...], set[str]]] = field(default_factory=list)
    refused: bool = False
    broken: bool = False
    reads: int = 0

    def __post_init__(self) -> None:
        self.put("m", "1")
        self.watch = RepositoryWatch(self, self.follow, POLL_S, clock=self.clock, wall=self.clock)

    def put(self, name: str, *versions: str) -> None:
        mark = FileMark(1, int(self.clock.now * 1e9), int(self.clock.now * 1e9))
        before = self.listing[name].versions if name in self.listing else {}
        self.listing[name] = FolderListing({each: before.get(each, {"model.onnx": mark}) for each in versions}, {})

    def read(self) -> Listing:
        self.reads += 1
        if self.broken:
            raise ZeroDivisionError("a fault of ours")
        return dict(self.listing)

    async def follow(self, change: FolderChange) -> bool:
        self.followed.append((change.name, change.versions, set(change.changed)))
        return not self.refused

    async def look(self, after_s: float) -> float:
        self.clock.now += after_s
        return await self.watch.look()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.watch.begin()
    yield world


async def test_what_is_there_at_the_start_is_loaded_once(world: World) -> None:
    for change in world.watch.first:
        await world.watch.load_first(change)
    assert world.followed == [("m", ("1",), {"1"})]
    assert await world.look(60) == POLL_S
    assert len(world.followed) == 1


async def test_it_looks_again_when_what_changes_may_be_at_rest(world: World) -> None:
    world.put("m", "1", "2")
    assert await world.look(0) == pytest.approx(REST_S)
    assert await world.look(REST_S) == POLL_S
    assert world.followed == [("m", ("1", "2"), {"2"})]


async def test_what_could_not_be_acted_upon_is_tried_again_with_what_changed_since(world: World) -> None:
    world.put("m", "1", "2")
    world.refused = True
    await world.look(0)
    await world.look(REST_S)
    await world.look(1)
    assert len(world.followed) == 1, "not at once"
    await world.look(POLL_S)
    assert world.followed[1:] == [("m", ("1", "2"), {"2"})]
    world.put("m", "1", "2", "3")
    world.refused = False
    await world.look(0)
    await world.look(REST_S)
    assert world.followed[2:] == [("m", ("1", "2", "3"), {"2", "3"})]
    await world.look(60)
    assert len(world.followed) == 3


async def test_it_begins_once_the_models_of_the_start_are_loaded_and_outlives_a_fault(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    loaded, reads = asyncio.Event(), world.reads
    running = asyncio.create_task(world.watch.run(loaded))
    await asyncio.sleep(0)
    assert world.reads == reads
    world.broken = True
    loaded.set()
    await until_async(lambda: "could not be looked at" in caplog.text)
    world.broken = False
    world.clock.now += 60
    world.listing.pop("m")
    world.watch.wake()
    await until_async(lambda: world.reads > reads + 1)
    world.clock.now += 60
    world.watch.wake()
    await until_async(lambda: world.followed == [("m", (), set())])
    running.cancel()


def test_events_tell_of_a_folder_also_after_another_one_took_its_place(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    told: list[int] = []
    events = FolderEvents([root, tmp_path / "missing"], lambda: told.append(1), look_s=0.2)
    events.start()

    def hears() -> None:
        """Writes until it is told of: when the thread has begun to listen is not known."""
        told.clear()

        def heard() -> bool:
            (root / "m" / "1").mkdir(parents=True, exist_ok=True)
            (root / "m" / "1" / "model.onnx").write_bytes(b"x")
            return bool(told)

        until(heard)

    hears()
    root.rename(tmp_path / "away")
    root.mkdir()
    hears()
    events.close()
    assert events._thread is not None
    assert not events._thread.is_alive()
