"""Ensembles in a model repository, as Triton has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tests import models
from workbench.core.messages import InferRequest
from workbench.core.model import ModelState
from workbench.engine import Engine
from workbench.errors import InvalidInput, ModelError
from workbench.protocols.model_config_body import triton_config
from workbench.repository import pbtxt
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore

ROWS = np.zeros((2, 4), np.float32)

ENSEMBLE = """
platform: "ensemble"
max_batch_size: 16
input { name: "RAW" data_type: TYPE_FP32 dims: 4 }
output { name: "DONE" data_type: TYPE_FP32 dims: 4 }
ensemble_scheduling {
  step [
    { model_name: "ten" model_version: -1
      input_map { key: "x" value: "between" } output_map { key: "y" value: "DONE" } },
    { model_name: "one" model_version: 3 input_map { key: "x" value: "RAW" } output_map { key: "y" value: "between" } }
  ]
}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    for name, version, amount in (("one", "3", 1.0), ("ten", "1", 10.0)):
        (root / name / version).mkdir(parents=True)
        models.save(models.add_constant(amount), root / name / version / "model.onnx")
    (root / "both" / "1").mkdir(parents=True)
    (root / "both" / "config.pbtxt").write_text(ENSEMBLE)
    return root


@pytest.fixture
async def engine(repo: Path, tmp_path: Path) -> AsyncIterator[Engine]:
    engine = Engine(ModelStore(tmp_path / "store"), repositories=[LocalRepository(repo)])
    await engine.start()
    yield engine
    await engine.close(5)


async def test_an_ensemble_brings_its_models_and_answers(engine: Engine) -> None:
    assert ("both", "1") in engine.available()
    status = (await engine.load("both")).status
    assert (status.platform, status.max_batch_size, status.version) == ("ensemble", 16, "1")
    assert {each.name for each in engine.statuses()} == {"one", "ten", "both"}
    answer = await engine.infer(InferRequest("both", {"RAW": ROWS}))
    np.testing.assert_array_equal(answer.outputs["DONE"], ROWS + 11)
    assert (await engine.load("both")).unchanged


async def test_its_configuration_is_tritons_and_comes_back_as_the_same_pipeline(
    engine: Engine, repo: Path, tmp_path: Path
) -> None:
    status = (await engine.load("both")).status
    told = triton_config(status)
    steps = told["ensemble_scheduling"]["step"]
    assert [(step["model_name"], step["model_version"]) for step in steps] == [("one", 3), ("ten", -1)]
    assert steps[0]["input_map"] == {"x": "RAW"}
    assert (told["platform"], told["max_batch_size"], told["input"][0]["dims"]) == ("ensemble", 16, [4])
    message = {
        "platform": ["ensemble"],
        "max_batch_size": [16],
        "input": [{"name": ["RAW"], "data_type": ["TYPE_FP32"], "dims": [4]}],
        "output": [{"name": ["DONE"], "data_type": ["TYPE_FP32"], "dims": [4]}],
        "ensemble_scheduling": [{"step": [_step(step) for step in steps]}],
    }
    folder = tmp_path / "again"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(pbtxt.text_of(message))
    again = (await engine.load("again", folder)).status
    assert again.pipeline == status.pipeline
    np.testing.assert_array_equal((await engine.infer(InferRequest("again", {"RAW": ROWS}))).outputs["DONE"], ROWS + 11)


def _step(step: dict[str, object]) -> dict[str, object]:
    maps = {
        field: [{"key": [key], "value": [value]} for key, value in step[field].items()]  # type: ignore[attr-defined]
        for field in ("input_map", "output_map")
    }
    return {"model_name": [step["model_name"]], "model_version": [step["model_version"]], **maps}


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('"ten"', '"eleven"', ModelError, "model 'eleven' of stage 'eleven' is not loaded"),
        (
            '"between" } }\n',
            '"nothing" } }\n',
            InvalidInput,
            "ensemble_scheduling: no stage gives the tensor 'between'",
        ),
        ('"RAW" }', '"between" }', InvalidInput, "ensemble_scheduling: its stages wait for each other in a circle"),
        ('"ten"', '"both"', ModelError, "its stages lead back to itself"),
        ("dims: 4 }\nens", "dims: 5 }\nens", ModelError, r"output 'DONE' as FP32 \[-1, 5\], and stage 'ten' gives"),
        ("model_version: 3", 'model_version: "x"', InvalidInput, "model_version must be a whole number"),
        ('"ensemble"', '"onnxruntime_onnx"', InvalidInput, 'platform: "ensemble"'),
    ],
)
async def test_one_that_cannot_work_says_where(
    engine: Engine, repo: Path, old: str, new: str, error: type[Exception], message: str
) -> None:
    text = ENSEMBLE.replace(old, new, 1)
    assert text != ENSEMBLE
    (repo / "both" / "config.pbtxt").write_text(text)
    with pytest.raises(error, match=message):
        await engine.load("both")
    assert engine.status("both").state is ModelState.FAILED


async def test_ensembles_of_a_repository_that_name_each_other_are_refused_and_do_not_wait_for_each_other(
    engine: Engine, repo: Path
) -> None:
    for name, other in (("both", "echo"), ("echo", "both")):
        (repo / name / "1").mkdir(parents=True, exist_ok=True)
        (repo / name / "config.pbtxt").write_text(
            ENSEMBLE.replace('"ten"', f'"{other}"')
            .replace('"x" value: "b', '"RAW" value: "b')
            .replace('"y" value: "D', '"DONE" value: "D')
        )
    with pytest.raises(ModelError, match="model 'echo' of stage 'echo' is not loaded"):
        await engine.load("both")
    assert (await engine.load("ten")).status.state is ModelState.READY
