"""Finds what makes a model uncallable as the limits of this service stand, so that its load can say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workbench.config import MAX_MODEL_TENSORS, Limits
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import BYTES, MAX_RANK, dtype_of, element_count

_STRING_BYTES = 4
"""What an element of BYTES takes in binary at the least: its length."""


def uncallable(signature: Signature, limits: Limits) -> tuple[str, ...]:
    """Each reason why no request can be answered, as a sentence; empty where the smallest one can be. Pure."""
    return (*_of_requests(signature.inputs, limits), *_of_answers(signature.outputs, limits))


def _of_requests(inputs: Sequence[TensorSpec], limits: Limits) -> Iterator[str]:
    if len(inputs) > max(MAX_MODEL_TENSORS, limits.max_tensors):
        yield (
            f"It cannot be called: it has {len(inputs)} inputs, and a request can have "
            f"{max(MAX_MODEL_TENSORS, limits.max_tensors)}; take them as columns of fewer inputs, or raise max_tensors."
        )
    for spec in inputs:
        if len(spec.name) > limits.max_name_length:
            yield (
                f"It cannot be called: the name of input {spec.name[:40]!r}... has {len(spec.name)} characters, and "
                f"max_name_length is {limits.max_name_length}."
            )
        if len(spec.shape) > MAX_RANK:
            yield f"It cannot be called: input {spec.name[:80]!r} has {len(spec.shape)} axes; {MAX_RANK} can be sent."
        if (count := _least(spec)) > limits.max_elements:
            yield (
                f"It cannot be called: input {spec.name[:80]!r} has {count} elements at the least, and max_elements is "
                f"{limits.max_elements}."
            )
    if (size := sum(map(_least_bytes, inputs))) > limits.max_body_bytes:
        yield (
            f"It cannot be called: its inputs have {size} bytes at the least, and max_body_bytes is "
            f"{limits.max_body_bytes}."
        )


def _of_answers(outputs: Sequence[TensorSpec], limits: Limits) -> Iterator[str]:
    if (size := min(map(_least_bytes, outputs), default=0)) > limits.max_response_bytes:
        yield (
            f"It cannot be called: each of its outputs has {size} bytes or more, and max_response_bytes is "
            f"{limits.max_response_bytes}."
        )


def _least(spec: TensorSpec) -> int:
    return element_count(tuple(1 if size == FREE else size for size in spec.shape))


def _least_bytes(spec: TensorSpec) -> int:
    return _least(spec) * (_STRING_BYTES if spec.datatype == BYTES else dtype_of(spec.datatype).itemsize)
