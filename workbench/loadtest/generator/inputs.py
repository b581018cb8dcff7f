"""Prepares the inputs of requests: rows sampled from a value, requests as given, or random ones. Pure.

A foreign server may not describe a model's inputs (MLServer does not for a model without `inputs` in its settings);
then names and datatypes are those of the values given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from workbench.client.input_adapter import adapt
from workbench.config import Limits
from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.random_inputs import random_inputs
from workbench.core.tensor import BYTES, Array, datatype_of
from workbench.errors import InvalidInput, TooLarge, Unsupported
from workbench.loadtest.plan import Inputs, Plan, Target
from workbench.protocols import oip_json

VARIANTS = 64
"""Different requests that are sent in turn, so that no cache of the server answers all."""

VARIANT_BYTES = 64 << 20
"""The most bytes of all of them together; large inputs have fewer variants."""

_LIMITS = Limits(max_tensors=1 << 20, max_elements=1 << 48, max_string_bytes=1 << 32)


@dataclass(frozen=True, slots=True)
class PreparedInputs:
    """One request's inputs, ready to be encoded."""

    inputs: Mapping[str, Array]
    rows: int = 1
    body: Mapping[str, Any] = field(default_factory=dict)
    """The protocol's own JSON, where the request was given in that form: it is sent as it is."""


def prepared_inputs(plan: Plan, signature: Signature) -> Iterator[PreparedInputs]:
    """Different requests for the plan. A `signature` without inputs: the server does not describe the model.

    Raises InvalidInput for inputs that do not fit.
    """
    inputs, target = plan.inputs, plan.target
    if inputs.kind == "requests":
        for number, value in enumerate(inputs.values, 1):
            try:
                yield _given(value, signature, target)
            except (InvalidInput, Unsupported, TooLarge) as error:
                raise InvalidInput(f"request {number} of {len(inputs.values)}: {error.message}") from None
        return
    sample = _sampler(inputs, signature, target, np.random.default_rng(plan.seed))
    first = sample()
    yield first
    size = sum(array.nbytes for array in first.inputs.values())
    for _ in range(min(VARIANTS, VARIANT_BYTES // max(size, 1)) - 1):
        yield sample()


def _given(value: object, signature: Signature, target: Target) -> PreparedInputs:
    if (body := _protocol_body(value)) is None:
        known = signature if signature.inputs else _signature_of(value, target)
        adapted = adapt(value, known, target.model).inputs
        return PreparedInputs(adapted, _rows(adapted, known))
    arrays = _arrays(body, target)
    if signature.inputs:
        adapt(arrays, signature, target.model)  # raises where they do not fit
    return PreparedInputs(arrays, _rows(arrays, signature if signature.inputs else _signature_of(arrays, target)), body)


def _sampler(
    inputs: Inputs, signature: Signature, target: Target, rng: np.random.Generator
) -> Callable[[], PreparedInputs]:
    value: object = inputs.values
    if (body := _protocol_body(value)) is not None:
        if any(each.get("parameters") for each in body["inputs"]):
            raise InvalidInput("inputs with parameters cannot be sampled by row; give them as requests")
        value = _arrays(body, target)
    if inputs.kind == "random":
        if not signature.inputs:
            raise InvalidInput(_unknown_inputs(target))

        def random_sample() -> PreparedInputs:
            found = random_inputs(signature.inputs, inputs.rows, rng, free_size=inputs.free_size)
            return PreparedInputs(found, _rows(found, signature))

        return random_sample
    known = signature if signature.inputs else _signature_of(value, target)
    adapted = adapt(value, known, target.model)
    rows = adapted.rows
    if rows is None:  # nothing to sample from: the value is one request
        return lambda: PreparedInputs(adapted.inputs, _rows(adapted.inputs, known))
    if not rows:
        raise InvalidInput("the inputs of a load test have no rows; give one at least")

    def sample() -> PreparedInputs:
        chosen = rng.integers(0, rows, inputs.rows)
        return PreparedInputs({name: array[chosen] for name, array in adapted.inputs.items()}, inputs.rows)

    return sample


def _rows(inputs: Mapping[str, Array], signature: Signature) -> int:
    """Rows in a request; 1 where the inputs have no free first axis."""
    spec = signature.inputs[0] if signature.inputs else None
    return int(inputs[spec.name].shape[0]) if spec is not None and spec.shape[:1] == (FREE,) else 1


# Requests in the protocol's JSON


def _protocol_body(value: object) -> Mapping[str, Any] | None:
    """`value`, where it is the JSON of an inference: {"inputs": [{"name", "shape", "datatype", "data"}]}."""
    if not isinstance(value, Mapping) or not isinstance(inputs := value.get("inputs"), list) or not inputs:
        return None
    return value if all(isinstance(each, Mapping) and "datatype" in each for each in inputs) else None


def _arrays(body: Mapping[str, Any], target: Target) -> dict[str, Array]:
    text = json.dumps({"inputs": body["inputs"]}, default=_plain).encode()
    request, _ = oip_json.decode_request(target.model, target.version, text, None, _LIMITS, 0.0)
    return dict(request.inputs)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise InvalidInput(f"a request of the protocol is JSON, which a {type(value).__name__} is not")


def body_of(prepared: PreparedInputs, request: InferRequest, *, binary: bool) -> tuple[bytes, int | None]:
    """The HTTP body, and how many of its bytes are JSON; None: all."""
    if prepared.body:
        return json.dumps(prepared.body, default=_plain).encode(), None
    parts, header_length = oip_json.encode_request(request, binary=binary)
    return b"".join(bytes(part) for part in parts), header_length


# Servers that do not describe the model


def _signature_of(value: object, target: Target) -> Signature:
    """A signature made from the given inputs. They share rows where all have the same number."""
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput(_unknown_inputs(target))
    arrays = {str(name): np.asarray(each) for name, each in value.items()}
    counts = {array.shape[:1] for array in arrays.values()}
    free = len(counts) == 1 and counts != {()}
    return Signature(tuple(_spec(name, array, free) for name, array in arrays.items()), ())


def _spec(name: str, array: Array, free: bool) -> TensorSpec:
    datatype = BYTES if array.dtype.kind in "USO" else datatype_of(array)
    return TensorSpec(name, datatype, (FREE, *array.shape[1:]) if free else array.shape)


def _unknown_inputs(target: Target) -> str:
    return (
        f"the server at {target.url} does not say what {target.model!r} takes; give inputs by name, as "
        '{"x": [[0.5, 1.5]]}, or requests as the protocol has them, as '
        '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.5]}]}'
    )
