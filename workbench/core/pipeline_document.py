"""The file of a pipeline of models: its stages and its own inputs and outputs, as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Final

import msgspec

from workbench.core.model import Signature, check_model_name, check_model_version
from workbench.core.pipeline import Pipeline, PipelineStep
from workbench.core.provenance import MOST_BATCH_ROWS
from workbench.core.tensor import DTYPES
from workbench.errors import ModelError, WorkbenchError

MAX_STEPS: Final = 64
MAX_BYTES: Final = 1024 * 1024

MARK: Final = b'{"workbench_pipeline":'
"""How the file begins."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    workbench_pipeline: int
    """The version of this form. The first field, since the file is known by it."""
    signature: Signature
    pipeline: Pipeline
    max_batch_size: Annotated[int, msgspec.Meta(ge=0, le=MOST_BATCH_ROWS)] = 0
    """The most rows of a batch where its load does not say; 0: as the service has it."""


def encode(pipeline: Pipeline, signature: Signature, max_batch_size: int = 0) -> bytes:
    """The file of a pipeline whose own inputs and outputs are those of `signature`. The same for the same pipeline."""
    return msgspec.json.encode(_File(1, signature, pipeline, max_batch_size), order="deterministic")


def with_max_batch_size(data: bytes, rows: int) -> bytes:
    """The file `data` with another largest batch. ModelError where it is no pipeline."""
    return encode(*decode(data), rows)


def max_batch_size_of(data: bytes) -> int:
    """Of a file that was decoded."""
    return msgspec.json.decode(data, type=_File).max_batch_size


def decode(data: bytes) -> tuple[Pipeline, Signature]:
    """Read a file, whoever wrote it; ModelError where it is no pipeline."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        file = msgspec.json.decode(data, type=_File)
        if file.workbench_pipeline != 1:
            raise ValueError(f"it has the form {file.workbench_pipeline}, and this version reads 1")
        return checked(file.pipeline, file.signature), file.signature
    except (ValueError, RecursionError, msgspec.MsgspecError, WorkbenchError) as error:
        said = str(error).replace("`", "")[:300]
        raise ModelError(f"the file is no pipeline that can be served: {said}") from None


def checked(pipeline: Pipeline, signature: Signature) -> Pipeline:
    """`pipeline` with its steps in an order in which each can run. Raises InvalidInput for names that cannot be, and
    ValueError for tensors that nothing gives, that two give, or that go round in a circle."""
    steps = pipeline.steps
    if not 1 <= len(steps) <= MAX_STEPS:
        raise ValueError(f"a pipeline has 1 to {MAX_STEPS} stages, got {len(steps)}")
    for step in steps:
        check_model_name(step.model)
        if step.version is not None:
            check_model_version(step.version)
        if not step.outputs:
            raise ValueError(f"no output of stage {step.model!r} is used")
    for kind, specs, tensors in (
        ("input", signature.inputs, pipeline.inputs),
        ("output", signature.outputs, pipeline.outputs),
    ):
        names = [spec.name for spec in specs]
        if len(set(names)) != len(names) or set(names) != set(tensors) or not names:
            raise ValueError(f"the {kind}s that it has, {sorted(tensors)}, are not those of its signature, {names}")
        if unknown := [spec.datatype for spec in specs if spec.datatype not in DTYPES]:
            raise ValueError(f"there is no datatype {unknown[0][:20]!r}")
    given = Counter([*pipeline.inputs.values(), *(tensor for step in steps for tensor in step.outputs.values())])
    if twice := [tensor for tensor, count in given.items() if count > 1]:
        raise ValueError(f"the tensor {twice[0][:80]!r} is given twice")
    if passed := [name for name, tensor in pipeline.outputs.items() if tensor in pipeline.inputs.values()]:
        raise ValueError(f"the output {passed[0][:80]!r} is an input that no stage has changed; leave it out")
    taken = [*pipeline.outputs.values(), *(tensor for step in steps for tensor in step.inputs.values())]
    if missing := [tensor for tensor in taken if tensor not in given]:
        raise ValueError(f"no stage gives the tensor {missing[0][:80]!r}, and it is no input")
    return Pipeline(_ordered(steps, set(pipeline.inputs.values())), pipeline.inputs, pipeline.outputs)


def _ordered(steps: tuple[PipelineStep, ...], there: set[str]) -> tuple[PipelineStep, ...]:
    left, ordered = list(steps), list[PipelineStep]()
    while left:
        ready = [step for step in left if there.issuperset(step.inputs.values())]
        if not ready:
            raise ValueError(f"its stages wait for each other in a circle: {', '.join(step.model for step in left)}")
        ordered += ready
        left = [step for step in left if step not in ready]
        there = there.union(*(step.outputs.values() for step in ready))
    return tuple(ordered)
