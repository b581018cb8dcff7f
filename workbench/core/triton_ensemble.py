"""Triton's `ensemble_scheduling`, read: a pipeline of models, whose tensors are called as they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.pipeline import Pipeline, PipelineStep
from workbench.core.pipeline_document import checked
from workbench.core.triton_message import Message, messages, number, text
from workbench.errors import InvalidInput

FIELD: Final = "ensemble_scheduling"
STEP_FIELDS: Final = ("model_name", "model_version", "input_map", "output_map")


class Tensor(Protocol):
    """An input or output as the configuration declares it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def dims(self) -> tuple[int, ...]: ...


def read_ensemble(message: Message, declared: Sequence[Tensor], batched: bool) -> tuple[Pipeline, Signature]:
    """The pipeline in a ModelConfig, and its inputs and outputs as `declared`, whose dims are without the batch axis
    where it is `batched`. InvalidInput where it is none."""
    steps = [step for scheduling in messages(message, FIELD) for step in messages(scheduling, "step")]
    signature = Signature(
        tuple(_spec(each, batched) for each in declared if each.kind == "input"),
        tuple(_spec(each, batched) for each in declared if each.kind == "output"),
    )
    own = {kind: {spec.name: spec.name for spec in specs} for kind, specs in _kinds(signature)}
    try:
        read = tuple(_step(step) for step in steps)
        pipeline = checked(Pipeline(read, own["input"], own["output"]), signature)
        _check_used(pipeline)
        return pipeline, signature
    except ValueError as error:
        raise InvalidInput(f"{FIELD}: {error}") from None


def _check_used(pipeline: Pipeline) -> None:
    """ValueError for what Triton refuses beyond `checked`: a tensor that nothing takes, which is mostly misspelt."""
    taken = {*pipeline.outputs.values(), *(tensor for step in pipeline.steps for tensor in step.inputs.values())}
    for name, tensor in pipeline.inputs.items():
        if tensor not in taken:
            raise ValueError(f"no step takes the input {name[:80]!r}; name it in an input_map, or leave it out")
    for label, step in zip(pipeline.labels, pipeline.steps, strict=True):
        if not step.inputs:
            raise ValueError(f"the step {label!r} has no input_map")
        for name, tensor in step.outputs.items():
            if tensor not in taken:
                raise ValueError(
                    f"no step takes the tensor {tensor[:80]!r}, output {name[:80]!r} of {label!r}, and it is no "
                    "output of the ensemble; leave it out of the output_map"
                )


def _kinds(signature: Signature) -> tuple[tuple[str, tuple[TensorSpec, ...]], ...]:
    return ("input", signature.inputs), ("output", signature.outputs)


def _spec(tensor: Tensor, batched: bool) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.datatype, (FREE, *tensor.dims) if batched else tensor.dims)


def _step(step: Message) -> PipelineStep:
    version = step.get("model_version", [-1])[-1]
    latest = version in (-1, "-1")
    wanted = None if latest else str(number(version, f"{FIELD}.step.model_version", low=1))
    return PipelineStep(text(step, "model_name"), wanted, _map(step, "input_map"), _map(step, "output_map"))


def _map(step: Message, field: str) -> Mapping[str, str]:
    """The model's input or output -> tensor."""
    found: dict[str, str] = {}
    for entry in messages(step, field):
        key = text(entry, "key")
        if key in found:
            raise InvalidInput(f"{FIELD}.step.{field} has {key[:80]!r} twice")
        found[key] = text(entry, "value")
    return found
