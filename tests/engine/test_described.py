"""What lies beside a model's file, from the folder to its status."""

from __future__ import annotations

from pathlib import Path

from tests import models
from workbench.engine import Engine
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore


async def test_a_config_that_was_changed_is_taken_by_the_next_load(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    models.save(models.mlp(), folder / "1" / "model.onnx")
    engine = Engine(ModelStore(tmp_path / "store"), repositories=[LocalRepository(tmp_path / "repository")])
    await engine.start()
    await engine.load("m")
    assert engine.status("m").notes == () and not engine.labels("m", "1")
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "config.pbtxt").write_text(
        'max_batch_size: 8 model_warmup { name: "w" } output { name: "y" label_filename: "labels.txt" }'
    )
    await engine.load("m")
    status = engine.status("m")
    assert status.config.max_batch_size == 8
    assert "model_warmup" in status.notes[0]
    assert engine.labels("m", "1") == {"y": ("cat", "dog")}
    await engine.close()
    assert not engine.labels("m", "1")
