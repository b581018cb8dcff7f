"""What lies beside a model's file, from the folder to its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests import models
from tests.engine.fakes import FakeSession
from workbench.config import ModelConfig
from workbench.core.batch_proof import BatchProof, Verdict
from workbench.core.description import Graph
from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.ports import Session
from workbench.core.tensor import Array
from workbench.engine import Engine
from workbench.engine.model_loader import ModelLoader
from workbench.engine.reshape_adapter import reshaped
from workbench.engine.sources import ModelSource
from workbench.errors import InvalidInput
from workbench.repository.local import LocalRepository
from workbench.repository.model_metadata import describe
from workbench.repository.store import ModelStore
from workbench.runtimes.registry import open_session


async def test_a_config_that_was_changed_is_taken_by_the_next_load(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    models.save(models.mlp(), folder / "1" / "model.onnx")
    engine = Engine(ModelStore(tmp_path / "store"), repositories=[LocalRepository(tmp_path / "repository")])
    await engine.start()
    await engine.load("m")
    epoch = engine.status("m").epoch
    assert engine.status("m").notes == () and not engine.classes_of(epoch)[1]
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "config.pbtxt").write_text(
        'max_batch_size: 8 optimization { graph { level: 1 } } output { name: "y" label_filename: "labels.txt" }'
    )
    await engine.load("m")
    status = engine.status("m")
    assert status.config.max_batch_size == 8
    assert "optimization" in status.notes[0]
    assert status.epoch == epoch  # nothing was loaded for it
    assert engine.classes_of(epoch) == (True, {"y": ("cat", "dog")})
    await engine.close()
    assert engine.classes_of(epoch) == (False, {})


PBTXT = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } }
output { name: "y" data_type: TYPE_FP32 dims: [ 1, -1 ] reshape { shape: [ 4 ] } }
model_warmup [
  { name: "zero" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] zero_data: true } } batch_size: 3 },
  { name: "random" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] random_data: true } } batch_size: 5 },
  { name: "file" count: 2 inputs {
      key: "x" value { data_type: TYPE_FP32 dims: [ 2, 2 ] input_data_file: "ones" } } batch_size: 1 },
  { name: "wide" inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 3 ] zero_data: true } } batch_size: 1 },
  { name: "short" inputs { key: "x" value { data_type: TYPE_FP32 dims: 3 input_data_file: "ones" } } },
  { name: "empty" inputs { key: "x" value { data_type: TYPE_FP32 dims: 0 zero_data: true } } }
]
"""


async def test_shapes_and_warm_up_are_as_the_configuration_has_them(tmp_path: Path) -> None:
    folder = tmp_path / "repository" / "m"
    models.save(models.add_constant(1.0), folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(PBTXT)
    (folder / "warmup").mkdir()
    (folder / "warmup" / "ones").write_bytes(np.ones(4, np.float32).tobytes())
    runs: list[Array] = []

    def opened(path: Path, config: ModelConfig, *, instances: int = 1) -> Session:
        session = open_session(path, config, instances=instances)
        run = session.run

        def watched(inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            runs.append(inputs["x"])
            return run(inputs, outputs)

        session.run = watched  # type: ignore[method-assign]
        return session

    repositories = [LocalRepository(tmp_path / "repository")]
    engine = Engine(ModelStore(tmp_path / "store"), repositories=repositories, open_session=opened)
    await engine.start()
    await engine.load("m")
    status = engine.status("m")
    assert status.signature is not None
    assert [spec.shape for spec in (*status.signature.inputs, *status.signature.outputs)] == [(-1, 2, 2), (-1, 1, -1)]
    assert [note.split(": ")[1] for note in status.notes] == [
        "the model_warmup 'wide' did not run",
        "the model_warmup 'short' did not run",
        "the model_warmup 'empty' did not run",
    ]
    zero, random, *ones = [run for run in runs if run.shape in ((3, 4), (5, 4)) or (run.all() and np.ptp(run) == 0)][
        -4:
    ]
    assert (zero.shape, random.shape, len(ones)) == ((3, 4), (5, 4), 2)
    assert not zero.any() and random.any()
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    response = await engine.infer(InferRequest("m", {"x": x}))
    np.testing.assert_array_equal(response.outputs["y"], x.reshape(2, 1, 4) + 1)
    with pytest.raises(InvalidInput, match=r"got \[2,4\]"):
        await engine.infer(InferRequest("m", {"x": x.reshape(2, 4)}))
    assert engine.describe("m").placement
    await engine.close()


async def test_a_reshape_fills_in_the_sizes_that_the_model_leaves_free(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text(
        'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: [ 6 ] reshape { shape: [ 2, 3 ] } }'
    )
    free = (TensorSpec("x", "FP32", (FREE, FREE, FREE)),), (TensorSpec("y", "FP32", (FREE, FREE, FREE)),)
    session = reshaped(FakeSession(signature=Signature(*free)), describe(tmp_path, tmp_path).triton)
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    (y,) = session.run({"x": x}, ["y"])
    np.testing.assert_array_equal(y, x.reshape(2, 2, 3) + 1)


MIXED = BatchProof(Verdict.DEPENDENT, "ReduceMean 'mean' takes the mean of the whole batch")
ONE_BY_ONE = "max_batch_size 8 is not honoured, requests run one by one: ReduceMean 'mean'"


@pytest.mark.parametrize(
    ("proof", "said", "size", "notes"),
    [
        (BatchProof(Verdict.INDEPENDENT, "", row_outputs=("y",)), "max_batch_size: 8", 8, []),
        (BatchProof(), "max_batch_size: 8", 8, []),
        (BatchProof(), "backend: 'onnxruntime'", 0, []),
        (
            MIXED,
            "max_batch_size: 8",
            0,
            [ONE_BY_ONE],
        ),
        (MIXED, "max_batch_size: 0", 0, []),
        (replace(MIXED, only_quantization=True), "max_batch_size: 2", 0, ["max_batch_size 2", "Quantize the model"]),
    ],
)
def test_the_batch_size_of_a_configuration_is_honoured_or_the_notes_say_why_not(
    proof: BatchProof, said: str, size: int, notes: list[str], tmp_path: Path
) -> None:
    class Encoder(FakeSession):
        def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
            raise InvalidInput("no such word")

    (tmp_path / "config.pbtxt").write_text(said)
    described = describe(tmp_path, tmp_path)
    source = ModelSource(Path("m.onnx"), "d", 1, Graph(batch=proof), described)
    loader = ModelLoader(source, described.config, lambda path, config, *, instances: Encoder())
    loader.open()
    warm = loader.warm()
    assert (described.config.max_batch_size if warm.found.batched else 0) == size
    for found, expected in zip(warm.notes, [*notes, "run times were not tried ahead, since made-up"], strict=True):
        assert expected in found
