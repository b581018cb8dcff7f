from __future__ import annotations

import re

import pytest

from workbench.client.pipeline_wiring import Stages, pairs_of, stages_of, wired
from workbench.core.model import FREE, ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.pipeline import Pipeline
from workbench.core.pipeline_document import MARK, decode, encode
from workbench.errors import InvalidInput, ModelError


def one(name: str, inputs: str, outputs: str) -> ModelStatus:
    """A model whose tensors are FP32 [-1, 4], but for those written "name:DATATYPE" or "name/WIDTH"."""

    def spec(text: str) -> TensorSpec:
        name, _, datatype = text.partition(":")
        name, _, width = name.partition("/")
        return TensorSpec(name, datatype or "FP32", (FREE, int(width or 4)))

    signature = Signature(tuple(map(spec, inputs.split())), tuple(map(spec, outputs.split())))
    return ModelStatus(name, "1", ModelState.READY, signature=signature)


def joints(pipeline: Pipeline) -> list[str]:
    sources = {tensor: name for name, tensor in pipeline.inputs.items()}
    told = []
    for label, step in zip(pipeline.labels, pipeline.steps, strict=True):
        told += [f"{label}.{name}={sources[tensor]}" for name, tensor in step.inputs.items()]
        sources |= {tensor: f"{label}.{name}" for name, tensor in step.outputs.items()}
    return [*told, *(f"{name}={sources[tensor]}" for name, tensor in pipeline.outputs.items())]


A, B = one("a", "x", "y"), one("b", "y", "z")


@pytest.mark.parametrize(
    ("models", "mapping", "expected"),
    [
        ([A, B], {}, ["a.x=x", "b.y=a.y", "z=b.z"]),
        ([A, one("b", "other", "z")], {}, ["a.x=x", "b.other=a.y", "z=b.z"]),
        ([A, A], {}, ["a.x=x", "a#2.x=a.y", "y=a#2.y"]),
        ([one("a", "x", "p q"), one("b", "q p", "z")], {}, ["a.x=x", "b.q=a.q", "b.p=a.p", "z=b.z"]),
        ([A, B, one("c", "z y", "w")], {}, ["a.x=x", "b.y=a.y", "c.z=b.z", "c.y=a.y", "w=c.w"]),
        ([one("a", "x", "p q"), one("b", "i", "z")], {"b.i": "a.q"}, ["a.x=x", "b.i=a.q", "z=b.z"]),
        ([A, one("b", "y lang", "z")], {"b.lang": "lang"}, ["a.x=x", "b.y=a.y", "b.lang=lang", "z=b.z"]),
        ([A, one("b", "y x", "z")], {}, ["a.x=x", "b.y=a.y", "b.x=x", "z=b.z"]),
        ([A, B], {"between": "a.y"}, ["a.x=x", "b.y=a.y", "z=b.z", "between=a.y"]),
        ([A, B], {"a.x": "pixels"}, ["a.x=pixels", "b.y=a.y", "z=b.z"]),
        ([one("m.pre", "x", "y"), one("m", "y", "z")], {"m.y": "m.pre.y"}, ["m.pre.x=x", "m.y=m.pre.y", "z=m.z"]),
    ],
)
def test_outputs_meet_inputs(models: list[ModelStatus], mapping: dict[str, str], expected: list[str]) -> None:
    pipeline, signature = wired(models, mapping)
    assert joints(pipeline) == expected
    assert decode(encode(pipeline, signature)) == (pipeline, signature)
    assert encode(pipeline, signature).startswith(MARK)


@pytest.mark.parametrize(
    ("models", "mapping", "message"),
    [
        ([], {}, "at least one stage"),
        ([A, one("b", "p q", "z")], {}, "nothing before stage 'b' is called 'p'"),
        ([A, one("b", "y:INT64", "z")], {}, "output 'y' of 'a' is FP32 [-1, 4], and input 'y' of 'b' takes INT64"),
        (
            [A, one("b", "y:INT64", "z")],
            {},
            "give it so, or put a function between them: return {'y': y.astype('int64')}",
        ),
        ([A, one("b", "y/8", "z")], {}, "output 'y' of 'a' is FP32 [-1, 4], and input 'y' of 'b' takes FP32 [-1, 8]"),
        ([A, B], {"c.x": "d.y"}, "neither 'c.x' nor 'd.y' begins with a stage; the stages are 'a', 'b'"),
        ([A, B], {"b.x": "a.y"}, "stage 'b' has no input 'x'; it has 'y'"),
        ([A, B], {"b.y": "a.w"}, "stage 'a' has no output 'w'; it has 'y'"),
        ([A, B], {"a.x": "b.z"}, "cannot take 'b.z', which comes after it"),
        ([A, B], {"z": "a.y"}, "has an output 'z' already"),
        ([A, one("b", "x", "z")], {"b.x": "other"}, "no later stage takes an output of 'a'"),
        ([ModelStatus("a", "1", ModelState.LOADING)], {}, "model 'a' is Loading"),
    ],
)
def test_what_does_not_fit_is_told_with_its_stage(
    models: list[ModelStatus], mapping: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        wired(models, mapping)


def test_stages_come_as_text_as_lists_and_as_handles() -> None:
    assert stages_of("a >> b>>c") == stages_of("a b, c") == stages_of(["a", "b >> c"]) == Stages(("a", "b", "c"))
    assert repr(Stages(("a",)) >> "b") == "<Stages a >> b>"
    assert "a" >> Stages(("b",)) == Stages(("a", "b"))
    with pytest.raises(InvalidInput, match="cannot name a model"):
        stages_of("a >> ")
    with pytest.raises(InvalidInput, match="got int"):
        stages_of(3)


def test_a_mapping_of_a_flag() -> None:
    assert dict(pairs_of("b.x=a.y, c.z=lang,")) == {"b.x": "a.y", "c.z": "lang"}
    with pytest.raises(InvalidInput, match="INPUT=OUTPUT"):
        list(pairs_of("b.x"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"workbench_pipeline":1', b'"workbench_pipeline":2', "form 2"),
        (b'"1/z"', b'"0/y"', "given twice"),
        (b'{"z":"1/z"}}}', b'{"z":"2/z"}}}', "no stage gives"),
        (b'"FP32"', b'"FP31"', "no datatype 'FP31'"),
        (b'"model":"a"', b'"model":"../a"', "cannot name a model"),
        (b'"steps":[', b'"steps":[[', "Expected object"),
        (b'{"x":"/x"}', b'{"x":"1/z"}', "given twice"),
    ],
)
def test_a_file_that_nobody_here_wrote_is_checked(old: bytes, new: bytes, message: str) -> None:
    document = encode(*wired([A, B]))
    spoilt = document.replace(old, new)
    assert spoilt != document
    with pytest.raises(ModelError, match=re.escape(message)):
        decode(spoilt)


def test_stages_in_a_circle_are_refused() -> None:
    document = encode(*wired([A, one("b", "y", "z"), one("c", "z", "w")]))
    circle = document.replace(b'"inputs":{"y":"0/y"}', b'"inputs":{"y":"2/w"}')
    with pytest.raises(ModelError, match="wait for each other in a circle: b, c"):
        decode(circle)
    with pytest.raises(ModelError, match="has more than"):
        decode(document + b" " * (1 << 20))
