"""Whether a pipeline's stages fit each other and their models as they serve now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from workbench.core.model import Signature, TensorSpec
from workbench.core.pipeline import Pipeline


def misfit(pipeline: Pipeline, own: Signature, members: Sequence[Signature]) -> str:
    """The first place at which it does not fit, as a sentence; empty: there is none. `members` are the signatures of
    the steps' models."""
    giving: dict[str, tuple[str, TensorSpec]] = {}
    own_inputs = {spec.name: spec for spec in own.inputs}
    for name, tensor in pipeline.inputs.items():
        giving[tensor] = f"the pipeline has its input {name!r}", own_inputs[name]
    for label, step, member in zip(pipeline.labels, pipeline.steps, members, strict=True):
        inputs = {spec.name: spec for spec in member.inputs}
        outputs = {spec.name: spec for spec in member.outputs}
        if problem := "; ".join(
            (*_names(label, "input", step.inputs, inputs, whole=True), *_names(label, "output", step.outputs, outputs))
        ):
            return problem
        for name, tensor in step.inputs.items():
            gives, given = giving[tensor]
            if not inputs[name].may_be(given):
                return (
                    f"stage {label!r} takes its input {name!r} as {_form(inputs[name])}, and {gives} as {_form(given)}"
                )
        for name, tensor in step.outputs.items():
            giving[tensor] = f"stage {label!r} gives its output {name!r}", outputs[name]
    own_outputs = {spec.name: spec for spec in own.outputs}
    for name, tensor in pipeline.outputs.items():
        gives, given = giving[tensor]
        if not own_outputs[name].may_be(given):
            return f"the pipeline has its output {name!r} as {_form(own_outputs[name])}, and {gives} as {_form(given)}"
    return ""


def _names(
    label: str, kind: str, used: Mapping[str, str], there: dict[str, TensorSpec], whole: bool = False
) -> Iterator[str]:
    if unknown := sorted(used.keys() - there.keys()):
        yield f"the model of stage {label!r} has no {kind} {unknown[0][:80]!r}; it has {', '.join(map(repr, there))}"
    elif whole and (missing := sorted(there.keys() - used.keys())):
        yield f"nothing is given to {kind} {missing[0][:80]!r} of stage {label!r}"


def _form(spec: TensorSpec) -> str:
    return f"{spec.datatype} {spec.axes}"
