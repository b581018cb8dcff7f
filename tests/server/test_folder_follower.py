"""What becomes of a model when its folder changes: a real engine on a real folder."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests import models
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.engine import Engine
from workbench.errors import StorageError
from workbench.repository.local import LocalRepository
from workbench.repository.settled_changes import FolderChange, SettledChanges
from workbench.repository.store import ModelStore
from workbench.repository.tree_listing import TreeReader
from workbench.server.folder_follower import FolderFollower, takes_over


def change(*versions: str, changed: str = "", gone: str = "", settings: bool = False) -> FolderChange:
    return FolderChange("m", 0, versions, frozenset(changed.split()), frozenset(gone.split()), settings)


@pytest.mark.parametrize(
    ("target", "routed", "seen", "broken", "over"),
    [
        ("2", None, change("1", "2", changed="2"), "", True),
        ("2", "1", change("1", "2", changed="2"), "", True),
        ("2", "2", change("1", "2", changed="2"), "", True),  # its own files
        ("2", "1", change("1", "2", changed="1"), "", False),  # a rollback to 1 holds
        ("2", "1", change("1", "2", settings=True), "", True),  # but the settings say which serves
        ("2", "3", change("1", "2", gone="3"), "", True),
        ("2", "2", change("1", "2", gone="3"), "", False),  # nothing to do
        ("2", "2", change("1", "2", "3", changed="3"), "3", False),
        ("2", None, change("1", "2", gone="3"), "", False),  # somebody unloaded it
        ("2", None, change("1", "2", settings=True), "", True),
        ("2", "3", change("1", "2", "3", changed="3"), "3", False),  # the new files of 3 are broken: 3 stays
        ("2", "3", change("1", "2", "3", settings=True), "3", False),
        ("2", "3", change("1", "2", "3", changed="2 3"), "3", True),
    ],
)
def test_what_takes_over(target: str, routed: str | None, seen: FolderChange, broken: str, over: bool) -> None:
    wanted = [target]
    assert takes_over(target, routed, seen, set(broken.split()), wanted) is over


@dataclass
class Watched:
    root: Path
    engine: Engine
    tidied: int = 0
    recorded: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        async def tidy() -> None:
            self.tidied += 1

        async def record(action: str, name: str, detail: str) -> None:
            assert name == "m"
            self.recorded.append((action, detail))

        self.reader = TreeReader([self.root])
        self.settled = SettledChanges({}, rest_s=0)
        self.follower = FolderFollower(self.engine, [LocalRepository(self.root)], tidy=tidy, record=record)

    def save(self, version: int, amount: float | None = None) -> Path:
        model = models.add_constant(version if amount is None else amount)
        return models.save(model, self.root / "m" / str(version) / "model.onnx")

    async def look(self) -> bool:
        """Follow what has changed."""
        done = True
        for each in self.settled.look(self.reader.read(), 0, 0):
            done = await self.follower.follow(each) and done
        return done

    async def answer(self, version: str | None = None) -> float:
        response = await self.engine.infer(InferRequest("m", {"x": np.zeros((1, 4), np.float32)}, version))
        return float(response.outputs["y"][0, 0])

    @property
    def loaded(self) -> dict[str, bool]:
        return {each.version: each.routed for each in self.engine.statuses("m") if each.state is ModelState.READY}

    @property
    def failed(self) -> list[str]:
        return [each.version for each in self.engine.statuses("m") if each.state is ModelState.FAILED]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    root = tmp_path / "repository"
    root.mkdir()
    engine = Engine(ModelStore(tmp_path / "store"), repositories=[LocalRepository(root)])
    await engine.start()
    watched = Watched(root, engine)
    watched.save(1)
    await watched.look()
    yield watched
    await engine.close(5)


async def test_a_new_version_takes_over_and_a_removed_one_falls_back(watched: Watched) -> None:
    assert watched.loaded == {"1": True}
    watched.save(2)
    await watched.look()
    assert (watched.loaded, await watched.answer()) == ({"2": True}, 2)
    shutil.rmtree(watched.root / "m" / "2")
    await watched.look()
    assert (watched.loaded, await watched.answer()) == ({"1": True}, 1)
    shutil.rmtree(watched.root / "m")
    await watched.look()
    assert watched.engine.statuses("m") == []
    assert watched.tidied == 4


async def test_what_served_when_is_written_down_and_nothing_that_failed_or_changed_nothing(watched: Watched) -> None:
    watched.save(2)
    await watched.look()
    watched.save(3).write_bytes(b"half a fi")
    await watched.look()
    watched.save(2, 20)
    await watched.look()
    (watched.root / "m" / "model.toml").write_text('versions = "latest:2"\n')
    await watched.look()
    shutil.rmtree(watched.root / "m" / "2")
    await watched.look()
    shutil.rmtree(watched.root / "m")
    await watched.look()
    assert watched.recorded == [
        ("load", "version 1 of the repository"),
        ("load", "version 2 of the repository, in place of 1"),
        ("load", "version 2 of the repository with its new files or settings"),
        ("set", "the settings in the repository"),
        ("load", "version 1 of the repository, in place of 2"),
        ("unload", "version 2, gone from the repository"),
        ("unload", "its folder in the repository is gone"),
    ]


async def test_a_broken_version_is_told_once_and_what_serves_goes_on(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.save(3).write_bytes(b"half a fi")
    await watched.look()
    assert (watched.loaded, watched.failed, await watched.answer()) == ({"1": True}, ["3"], 1)
    assert caplog.text.count("version 3 in the repository was not loaded, and version 1 goes on serving") == 1
    watched.save(2)
    await watched.look()
    assert watched.loaded == {"2": True}, "the highest that is not broken"
    watched.save(3)
    await watched.look()
    assert (watched.loaded, watched.failed) == ({"3": True}, [])


async def test_new_files_of_the_version_that_serves_take_its_place_unless_they_are_broken(watched: Watched) -> None:
    watched.save(1, 100)
    await watched.look()
    assert await watched.answer() == 100
    watched.save(1).write_bytes(b"nothing")
    await watched.look()
    assert await watched.answer() == 100
    (note,) = watched.engine.status("m").notes
    assert note.startswith("version 1 goes on serving as it was, its new files were not loaded: the file is no ONNX")
    watched.save(1, 101)
    await watched.look()
    assert (await watched.answer(), watched.engine.status("m").notes) == (101, ())


async def test_other_inputs_are_refused_and_the_status_says_so(watched: Watched) -> None:
    models.save(models.identity(shape=("batch", 3)), watched.root / "m" / "2" / "model.onnx")
    await watched.look()
    assert (watched.loaded, await watched.answer()) == ({"1": True}, 1)
    (note,) = watched.engine.status("m").notes
    assert note.startswith("version 2 in the repository was not loaded, and version 1 goes on serving")
    assert "other inputs or outputs" in note
    shutil.rmtree(watched.root / "m" / "2")
    await watched.look()
    assert watched.loaded == {"1": True}
    assert watched.engine.status("m").notes == (), "the reason is gone"


async def test_settings_are_followed_and_broken_ones_told(watched: Watched) -> None:
    settings = watched.root / "m" / "model.toml"
    watched.save(2)
    settings.write_text('versions = "all"\nmax_queue_size = 77')
    await watched.look()
    assert watched.loaded == {"1": False, "2": True}
    assert watched.engine.status("m").config.max_queue_size == 77
    watched.save(1, 50)
    await watched.look()
    assert await watched.answer("1") == 50, "a version beside has other files"
    settings.write_text("max_queue_size = none")
    await watched.look()
    assert (watched.loaded, await watched.answer()) == ({"1": False, "2": True}, 2)
    assert "the files beside its versions cannot be used" in watched.engine.status("m").notes[0]
    settings.unlink()
    await watched.look()
    assert watched.engine.status("m").config.max_queue_size != 77
    assert watched.engine.status("m").notes == ()


async def test_what_somebody_did_by_hand_holds_until_the_folder_changes_in_that(watched: Watched) -> None:
    watched.save(2)
    await watched.look()
    await watched.engine.versions.rollback("m")
    shutil.rmtree(watched.root / "m" / "1")
    (watched.root / "n").mkdir()
    await watched.look()
    assert watched.loaded == {"2": True}, "what it was rolled back to is gone"
    own = await watched.engine.load("m", models.add_constant(9).SerializeToString())
    shutil.rmtree(watched.root / "m")
    await watched.look()
    assert watched.loaded == {own.status.version: True}, "that is nothing of the folder's"
    await watched.engine.unload("m")
    watched.save(1)
    await watched.look()
    assert watched.loaded == {"1": True}


async def test_on_a_full_disk_what_serves_goes_on_and_it_is_tried_again(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watched.save(2)
    with monkeypatch.context() as full:

        def add(self: ModelStore, path: Path, root: Path | None = None) -> None:
            raise StorageError("the model store's disk is full")

        full.setattr(ModelStore, "add_file", add)
        assert not await watched.look()
        again = change("1", "2", changed="2")
        assert not await watched.follower.follow(again)
        assert (watched.loaded, await watched.answer()) == ({"1": True}, 1)
    assert caplog.text.count("which is tried again: the model store's disk is full") == 1
    assert await watched.follower.follow(again)
    assert watched.loaded == {"2": True}


async def test_no_request_fails_while_versions_come_and_go(watched: Watched) -> None:
    answers: list[float] = []
    ended = asyncio.Event()

    async def ask() -> None:
        while not ended.is_set():
            answers.append(await watched.answer())

    asking = [asyncio.ensure_future(ask()) for _ in range(4)]
    for version in range(2, 8):
        watched.save(version)
        await watched.look()
        shutil.rmtree(watched.root / "m" / str(version - 1))
        await watched.look()
    shutil.rmtree(watched.root / "m" / "7")
    watched.save(8).write_bytes(b"")
    await watched.look()
    ended.set()
    await asyncio.gather(*asking)
    assert answers == sorted(answers)
    assert set(answers) <= set(range(1, 8))
    assert watched.loaded == {"7": True}, "it goes on serving, since 8 cannot take its place"
