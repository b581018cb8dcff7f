"""The disk is full: what would have to be written is refused in words, what serves goes on, also over a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.models import add_constant, save
from tests.stories.actors import full_disk, kill, running
from workbench.api import Workbench
from workbench.client.shared_service import SharedService
from workbench.errors import StorageError

ROW = np.zeros((1, 4), np.float32)


def test_on_a_full_disk_changes_are_refused_and_what_serves_goes_on_even_after_a_death(
    wb: Workbench, workplace: SharedService
) -> None:
    record = running(workplace)
    assert record.worker is not None
    with full_disk(record.keeper.pid, record.worker.pid):
        for change in (
            lambda: wb.load("other", add_constant(2.0)),
            lambda: wb.load("plus", add_constant(3.0)),
            lambda: wb.set("plus", max_batch_size=7),
            lambda: wb.unload("plus"),
        ):
            with pytest.raises(StorageError):
                change()
            assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
        before = workplace.logs(1000)
        kill(record.worker.pid)
        until(lambda: not record.worker.alive)  # type: ignore[union-attr]
        assert wb["plus"](ROW).array.tolist() == [[1, 1, 1, 1]]
        assert workplace.logs(1000) == before
        assert record.keeper.alive
    until(lambda: running(workplace).worker != record.worker)  # published once there is room
    after = running(workplace)
    assert (after.keeper, after.url) == (record.keeper, record.url)
    assert wb.load("plus", add_constant(3.0)).version != "1"
    assert wb["plus"](ROW).array.tolist() == [[3, 3, 3, 3]]
    assert len(workplace.logs(1000)) > len(before)


def test_a_worker_that_follows_on_a_full_disk_finds_its_ready_file_as_it_was(tmp_path: Path) -> None:
    path = save(add_constant(1.0), tmp_path / "plus.onnx")
    with Serve(tmp_path, "--load", f"plus={path}") as serve:
        published = serve.ready().published
        worker = worker_of(serve)
        with full_disk(serve.process.pid):
            worker.kill()
            serve.until("killed by signal 9")
            serve.ready()
            assert serve.published == published
        assert serve.stop() == 0


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("data/token", "the file 'token' cannot be written"),
        ("data/service.log", "the log file 'service.log' cannot be written"),
        ("ready.json", "ready.json' cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_at_the_start_is_why_there_is_none(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / file).mkdir(parents=True)
    with Serve(tmp_path) as serve:
        assert serve.ended() == 2
        assert any(said in line for line in serve.seen)
