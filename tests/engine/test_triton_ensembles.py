"""Ensembles in a model repository, as Triton has them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

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
        (
            "output {",
            'input { name: "MORE" data_type: TYPE_FP32 dims: 4 }\noutput {',
            InvalidInput,
            "ensemble_scheduling: no step takes the input 'MORE'; name it in an input_map, or leave it out",
        ),
        (
            'output_map { key: "y" value: "DONE" }',
            'output_map { key: "y" value: "DONE" } output_map { key: "z" value: "aside" }',
            InvalidInput,
            "no step takes the tensor 'aside', output 'z' of 'ten', and it is no output of the ensemble",
        ),
        ('input_map { key: "x" value: "RAW" }', "", InvalidInput, "no step takes the input 'RAW'"),
        (
            'input_map { key: "x" value: "between" }',
            'input_map { key: "w" value: "between" }',
            ModelError,
            "the model of stage 'ten' has no input 'w'; it has 'x'",
        ),
        (
            'key: "y" value: "between"',
            'key: "z" value: "between"',
            ModelError,
            "the model of stage 'one' has no output 'z'; it has 'y'",
        ),
        (
            'key: "y" value: "DONE"',
            'key: "y" value: "between"',
            InvalidInput,
            "ensemble_scheduling: the tensor 'between' is given twice",
        ),
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


async def test_an_input_of_a_stage_that_is_not_mapped_is_named(engine: Engine, repo: Path) -> None:
    models.save(models.two_in_two_out(), repo / "ten" / "1" / "model.onnx")
    inputs = [each.name for each in models.two_in_two_out().graph.input]
    outputs = [each.name for each in models.two_in_two_out().graph.output]
    text = ENSEMBLE.replace('"x" value: "between"', f'"{inputs[0]}" value: "between"', 1)
    (repo / "both" / "config.pbtxt").write_text(text.replace('"y" value: "DONE"', f'"{outputs[0]}" value: "DONE"', 1))
    with pytest.raises(ModelError, match=f"nothing is given to input '{inputs[1]}' of stage 'ten'"):
        await engine.load("both")


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


BRANCHED = """
platform: "ensemble"
max_batch_size: %(rows)s
input { name: "RAW" data_type: TYPE_FP32 dims: [ %(first)s 4 ] }
output [
  { name: "DONE" data_type: TYPE_FP32 dims: [ %(first)s 5 ] },
  { name: "HIDDEN" data_type: TYPE_FP32 dims: [ %(first)s 6 ] }
]
ensemble_scheduling {
  step [
    { model_name: "join" model_version: -1
      input_map [ { key: "a" value: "left" }, { key: "b" value: "right" } ]
      output_map { key: "sum" value: "DONE" } },
    { model_name: "left" input_map { key: "x" value: "HIDDEN" } output_map { key: "y" value: "left" } },
    { model_name: "right" input_map { key: "x" value: "HIDDEN" } output_map { key: "y" value: "right" } },
    { model_name: "encode" input_map { key: "x" value: "RAW" } output_map { key: "y" value: "HIDDEN" } }
  ]
}
"""


@pytest.mark.parametrize(("rows", "first"), [("64", ""), ("0", "-1,")], ids=["batched", "dynamic first axis"])
async def test_an_ensemble_answers_as_its_stages_called_one_after_another(
    engine: Engine, repo: Path, rows: str, first: str
) -> None:
    shape = ("batch", 5)
    added = models.model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [models.value(name, "FP32", shape) for name in "ab"],
        [models.value("sum", "FP32", shape)],
    )
    stages = {
        "encode": models.mlp((4, 8, 6), seed=1),
        "left": models.mlp((6, 5), seed=2),
        "right": models.mlp((6, 7, 5), seed=3),
        "join": added,
    }
    for name, model in stages.items():
        models.save(model, repo / name / "1" / "model.onnx")
    (repo / "branched" / "1").mkdir(parents=True)
    (repo / "branched" / "config.pbtxt").write_text(BRANCHED % {"rows": rows, "first": first})
    status = (await engine.load("branched")).status
    assert status.max_batch_size == int(rows)
    assert status.signature is not None and [spec.shape for spec in status.signature.outputs] == [(-1, 5), (-1, 6)]

    async def one(model: str, **inputs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        (output,) = (await engine.infer(InferRequest(model, inputs))).outputs.values()
        return output

    rng = np.random.default_rng(0)
    asked = [rng.standard_normal((1 + which % 5, 4), np.float32) for which in range(40)]
    # All in one turn of the loop, so that they meet at the first stage.
    answers = await asyncio.gather(*(engine.infer(InferRequest("branched", {"RAW": raw})) for raw in asked))
    largest = dict.fromkeys(stages, 0)
    for raw, answer in zip(asked, answers, strict=True):
        hidden = await one("encode", x=raw)
        done = await one("join", a=await one("left", x=hidden), b=await one("right", x=hidden))
        np.testing.assert_allclose(answer.outputs["HIDDEN"], hidden, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer.outputs["DONE"], done, rtol=1e-5, atol=1e-6)
        assert len(answer.timings.stages) == 4
        for stage in answer.timings.stages:
            largest[stage.stage] = max(largest[stage.stage], stage.timings.batch_size)
    assert all(size > 5 for size in largest.values()), largest  # each stage ran requests together
    only = await engine.infer(InferRequest("branched", {"RAW": asked[4]}, outputs=("HIDDEN",)))
    assert [stage.stage for stage in only.timings.stages] == ["encode"]
