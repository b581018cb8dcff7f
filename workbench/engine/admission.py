"""A request against a model's signature, before it may join others in a batch: pure, and exact in its errors.

ONNX Runtime would refuse most of this too, but for the whole batch and in its own words. The messages begin with the
words that Triton has for the same, since public clients and tests look for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import DATATYPES, DTYPES
from workbench.engine.empty_requests import NO_ROWS, NO_RUN, empty_answer, have_no_rows
from workbench.errors import InvalidInput, TooLarge

ShapeKey: TypeAlias = tuple[tuple[int, ...], ...]
"""Requests with equal keys may share a batch: each input's shape without its batch axis. A share's name, in
bytes, comes before them where callers are kept apart."""

ALONE: ShapeKey = ()

MAX_SEEN = 256
"""Kinds of requests whose check is remembered: most clients send few."""


@dataclass(slots=True)  # frozen, it would cost a third of a microsecond more, on each request
class Admitted:
    rows: int
    """Rows it adds to a batch; 1 for an unbatched model, whatever its shapes."""
    key: ShapeKey
    outputs: tuple[str, ...]
    """The outputs to run for it, in the order that the caller sees them."""


class Admission:
    """Checks requests for one model. `max_batch_size` 0: the model is not batched. `aborts_on_empty`: it must never be
    run on an input without elements."""

    def __init__(self, signature: Signature, max_batch_size: int, *, aborts_on_empty: bool = False) -> None:
        self._signature = signature
        self._aborts_on_empty = aborts_on_empty
        self._specs = {spec.name: (spec, DTYPES[spec.datatype], _fixed(spec)) for spec in signature.inputs}
        self._outputs = tuple(spec.name for spec in signature.outputs)
        self._max_batch_size = max_batch_size
        self._seen: dict[object, Admitted] = {}
        """By what decides: names, datatypes and shapes of the inputs, and the outputs asked for."""

    def admit(self, request: InferRequest) -> Admitted:
        """What the batcher needs to know of this request. InvalidInput, or TooLarge for too many rows."""
        decides = request.outputs, *[(name, array.dtype, array.shape) for name, array in request.inputs.items()]
        admitted = self._seen.get(decides)
        if admitted is None:
            admitted = self._check(request)
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen[decides] = admitted
        return admitted

    def _check(self, request: InferRequest) -> Admitted:
        inputs = request.inputs
        if inputs.keys() != self._specs.keys():
            raise InvalidInput(self._wrong_names(request))
        rows: int | None = None
        key = []
        for name, (spec, dtype, fixed) in self._specs.items():
            array = inputs[name]
            shape = array.shape
            if array.dtype != dtype:
                found = DATATYPES.get(array.dtype, array.dtype)
                raise InvalidInput(
                    f"inference input {name!r} data-type is '{found}', but model {request.model!r} expects "
                    f"'{spec.datatype}' of {f'shape {_dims(spec.shape)}' if spec.ranked else 'any shape'}"
                )
            if len(shape) != len(spec.shape) and spec.ranked:
                raise InvalidInput(_wrong_shape(spec, shape, request.model))
            for axis, size in fixed:
                if shape[axis] != size:
                    raise InvalidInput(_wrong_shape(spec, shape, request.model))
            if self._max_batch_size:
                if rows is not None and shape[0] != rows:
                    raise InvalidInput(f"input {name!r} has {shape[0]} rows where another input has {rows}")
                rows = shape[0]
                key.append(shape[1:])
        outputs = self._wanted(request)
        if any(array.size == 0 for array in inputs.values()) and not self._runs_on(request, outputs, rows == 0):
            return Admitted(1, NO_RUN, outputs)
        if rows is None:
            return Admitted(1, ALONE, outputs)
        if rows > self._max_batch_size:
            raise TooLarge(
                f"inference request batch-size must be <= {self._max_batch_size} for {request.model!r}; this request "
                f"has {rows} rows: send them in several, or raise max_batch_size"
            )
        if rows == 0:
            return Admitted(1, (*key, NO_ROWS), outputs)
        return Admitted(rows, tuple(key), outputs)

    def _runs_on(self, request: InferRequest, outputs: tuple[str, ...], batched: bool) -> bool:
        """True where a request with an empty input must be run; False: it is answered without. `batched`: it has 0 rows
        of a batched model, whose answer has 0 rows too. Of another model only a run knows."""
        inputs = request.inputs
        known = have_no_rows(self._signature, inputs) and empty_answer(self._signature.outputs, outputs) is not None
        if known and (batched or self._aborts_on_empty):
            return False
        if self._aborts_on_empty:
            name = next(name for name, array in inputs.items() if array.size == 0)
            raise InvalidInput(
                f"input {name!r} of shape {list(inputs[name].shape)} has no elements, and an operator of model "
                f"{request.model!r} would end the whole service on it; send at least one"
            )
        return True

    def _wanted(self, request: InferRequest) -> tuple[str, ...]:
        if not request.outputs:
            return self._outputs
        for name in request.outputs:
            if name not in self._outputs:
                raise InvalidInput(
                    f"unexpected inference output {name[:80]!r} for model {request.model!r}; the outputs are "
                    f"{_listed(self._outputs)}"
                )
        return request.outputs

    def _wrong_names(self, request: InferRequest) -> str:
        wanted, sent = self._specs.keys(), request.inputs.keys()
        unknown, missing = sorted(sent - wanted), sorted(wanted - sent)
        model = f"for model {request.model!r}"
        found = []
        if missing and len(wanted) != len(sent):
            found.append(
                f"expected {len(wanted)} inputs but got {len(sent)} inputs {model}. Got input(s) "
                f"[{_listed(sent, ',')}], but missing required input(s) [{_listed(missing, ',')}]. Please provide all "
                "required input(s)."
            )
        if unknown:
            found.append(f"unexpected inference input {_listed(unknown)} {model}; the inputs are {_listed(wanted)}")
        return " ".join(found)


class CallersApart(Admission):
    """The same, until a time: requests of each share get batches of their own, so that it is known whose a run is."""

    def __init__(
        self,
        signature: Signature,
        max_batch_size: int,
        *,
        aborts_on_empty: bool,
        until: float,
        clock: Callable[[], float],
    ) -> None:
        """`until` is on `clock`."""
        Admission.__init__(self, signature, max_batch_size, aborts_on_empty=aborts_on_empty)
        self._until = until
        self._clock = clock

    def admit(self, request: InferRequest) -> Admitted:
        admitted = Admission.admit(self, request)
        if not request.caller or admitted.key is NO_RUN or self._clock() >= self._until:
            return admitted
        return Admitted(admitted.rows, (tuple(request.caller.encode()), *admitted.key), admitted.outputs)


def _fixed(spec: TensorSpec) -> tuple[tuple[int, int], ...]:
    """(axis, size) of the axes that are not free."""
    return tuple((axis, size) for axis, size in enumerate(spec.shape) if size != FREE)


def _wrong_shape(spec: TensorSpec, shape: tuple[int, ...], model: str) -> str:
    return (
        f"unexpected shape for input {spec.name!r} for model {model!r}. Expected {_dims(spec.shape)}, got "
        f"{_dims(shape)}; -1 is any size"
    )


def _dims(shape: Iterable[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _listed(names: Iterable[str], comma: str = ", ") -> str:
    some = [repr(name[:80]) for name in names]
    return comma.join(some[:8]) + (f" and {len(some) - 8} more" if len(some) > 8 else "")
