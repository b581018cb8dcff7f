"""What the steps of a sequence take from the service and give back: control inputs, and the state between steps.

Arrays of one step have one row. Steps of several sequences are joined and split with the batch, as all rows are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.core.messages import SequenceStep
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.ports import Session
from workbench.core.sequence_config import CORRID, Control, ControlKind, ImplicitStateConfig
from workbench.core.tensor import BYTES, DTYPES, Array, element_count
from workbench.engine.warmup_requests import raw_elements
from workbench.engine.wrapped_session import WrappedSession
from workbench.errors import ExecutionError, InvalidInput, ModelError
from workbench.repository.layout import TRITON_FILE
from workbench.repository.model_metadata import ModelMetadata

State = Mapping[str, Array]
"""Input's name -> what it is given in the next step of one sequence."""

_TRIAL_VALUES: dict[ControlKind, bool] = {"START": False, "END": True, "READY": True}
"""What the controls say when the model is tried: that it is to look at its state."""


class ImplicitState:
    """The controls and states of one model, checked against it."""

    def __init__(self, described: ModelMetadata, signature: Signature) -> None:
        """`signature` is the model's own, with all of its inputs. Raises ModelError where they do not fit it."""
        said = described.triton
        assert said.sequences is not None
        self._batched = said.batched
        inputs = {spec.name: spec for spec in signature.inputs}
        outputs = {spec.name: spec for spec in signature.outputs}
        self._controls = [(each, _shape_of(each, inputs.get(each.name))) for each in said.sequences.controls]
        self._flags = {
            (start, end): {
                control.name: _told(control, shape, {"START": start, "END": end, "READY": True})
                for control, shape in self._controls
                if control.kind != CORRID
            }
            for start in (False, True)
            for end in (False, True)
        }
        """By START and END, the controls of all steps that have them."""
        self._states = said.sequences.states
        for state in self._states:
            _check_state(state, "input", inputs.get(state.input_name), said.batched)
            _check_state(state, "output", outputs.get(state.output_name), said.batched)
        filled = [each.name for each in said.sequences.controls] + [each.input_name for each in self._states]
        if twice := {name for name in filled if filled.count(name) > 1}:
            raise ModelError(f"{TRITON_FILE}: input {min(twice)[:80]!r} is more than one control or state")
        self._initial = {state.input_name: _initial(state, described, said.batched) for state in self._states}
        controls = {each.name for each in said.sequences.controls}
        self.tried = Signature(tuple(spec for spec in signature.inputs if spec.name not in controls), signature.outputs)
        """What is tried at warm-up: all but the controls, which only some values fit."""
        listed = {each.name for each in said.declared if each.kind == "output"}
        own = {state.output_name for state in self._states} - listed
        self.seen = Signature(
            tuple(spec for spec in self.tried.inputs if spec.name not in self._initial),
            tuple(spec for spec in signature.outputs if spec.name not in own),
        )
        """What callers see: neither controls nor states, but for state outputs that the configuration lists."""
        self.outputs = tuple(state.output_name for state in self._states)
        """To be run for each step."""

    def check(self, step: SequenceStep, inputs: Mapping[str, Array], model: str) -> None:
        """InvalidInput, in Triton's words, for a step of several rows, or of an id that the model cannot be told."""
        if self._batched and any(array.shape[:1] != (1,) for array in inputs.values()):
            raise InvalidInput(
                f"inference request to model '{model}' must specify batch-size 1 due to requirements of sequence "
                "batcher: a request is one step of one sequence"
            )
        for control, _ in self._controls:
            if control.kind == CORRID and isinstance(step.id, str) != (control.datatype == BYTES):
                raise InvalidInput(
                    f"sequence batching control '{control.name}' data-type is "
                    f"'{'BYTES' if isinstance(step.id, str) else 'UINT64'}', but model '{model}' expects "
                    f"'{control.datatype}': that is the type of its sequence_id"
                )

    def inputs(self, given: Mapping[str, Array], step: SequenceStep, state: State | None) -> dict[str, Array]:
        """All inputs of a step that passed `check`. `state` is None for the first one."""
        inputs = {**given, **self._flags[step.start, step.end]}
        for control, shape in self._controls:
            if control.kind == CORRID:
                inputs[control.name] = _told_id(control, shape, step.id)
        inputs.update(self._initial if state is None else state)
        return inputs

    def taken(self, answer: Mapping[str, Array]) -> State:
        """The state after a step. ExecutionError where it is not one of one row."""
        state = {}
        for each in self._states:
            array = answer[each.output_name]
            if self._batched and array.shape[:1] != (1,):
                raise ExecutionError(f"state {each.output_name!r} came back with shape {list(array.shape)} for one row")
            # A view would keep all rows of its batch.
            state[each.input_name] = array if array.base is None else array.copy()
        return state

    def filled(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """`inputs` with the controls and states that they lack, as at warm-up."""
        lacking = [(each, shape) for each, shape in self._controls if each.name not in inputs]
        states = [name for name in self._initial if name not in inputs]
        if not lacking and not states:
            return inputs
        rows = max((len(array) for array in inputs.values() if array.ndim), default=1) if self._batched else 1
        filled = dict(inputs)
        for control, shape in lacking:
            told = _told_id(control, shape, 1) if control.kind == CORRID else _told(control, shape, _TRIAL_VALUES)
            filled[control.name] = _rows_of(told, rows)
        for name in states:
            filled[name] = _rows_of(self._initial[name], rows)
        return filled


def state_bytes(state: State | None) -> int:
    """Memory of a state, the elements of BYTES tensors included."""
    size = 0
    for array in (state or {}).values():
        size += array.nbytes
        if array.dtype == DTYPES[BYTES]:
            size += sum(map(len, array.flat))
    return size


class SequenceSession(WrappedSession):
    """Stands over a session, whose controls and states are filled in where they lack."""

    def __init__(self, session: Session, states: ImplicitState) -> None:
        super().__init__(session, states.tried)
        self._states = states

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        return self._session.run(self._states.filled(inputs), outputs)


def _told(control: Control, shape: tuple[int, ...], flags: Mapping[ControlKind, bool]) -> Array:
    return np.full(shape, control.values[flags[control.kind]], DTYPES[control.datatype])


def _told_id(control: Control, shape: tuple[int, ...], id: int | str) -> Array:
    if control.datatype == BYTES:
        return np.full(shape, str(id).encode(), np.object_)
    return np.full(shape, id, np.uint64).astype(DTYPES[control.datatype])  # the low-order bits, as in Triton


def _rows_of(array: Array, rows: int) -> Array:
    return np.repeat(array, rows, axis=0) if rows != 1 and array.ndim else array


def _shape_of(control: Control, spec: TensorSpec | None) -> tuple[int, ...]:
    """Of the array that tells one step. ModelError where the model has no such input."""
    what = f"{TRITON_FILE}: the control_input {control.name[:80]!r}"
    if spec is None:
        raise ModelError(f"{what} is no input of the model")
    if spec.datatype != control.datatype:
        raise ModelError(f"{what} is {control.datatype}, and the model has {spec}")
    if any(size not in (FREE, 1) for size in spec.shape):
        raise ModelError(f"{what} is to have one element for each sequence, and the model has {spec}")
    return (1,) * len(spec.shape)


def _check_state(state: ImplicitStateConfig, kind: str, spec: TensorSpec | None, batched: bool) -> None:
    name = state.input_name if kind == "input" else state.output_name
    what = f"{TRITON_FILE}: the state's {kind} {name[:80]!r}"
    if spec is None:
        raise ModelError(f"{what} is no {kind} of the model")
    said = ((FREE,) if batched else ()) + state.dims
    fits = len(said) == len(spec.shape) and all(
        FREE in (one, other) or one == other for one, other in zip(said, spec.shape, strict=True)
    )
    if spec.datatype != state.datatype or not fits:
        raise ModelError(f"{what} is said to be {state.datatype} {list(said)}, and the model has {spec}")


def _initial(state: ImplicitStateConfig, described: ModelMetadata, batched: bool) -> Array:
    shape = ((1,) if batched else ()) + state.initial_dims
    if not state.initial_file:
        return np.full(shape, b"", np.object_) if state.datatype == BYTES else np.zeros(shape, DTYPES[state.datatype])
    data = described.initial_states[state.initial_file]
    if state.datatype != BYTES:  # as Triton, which reads as much as it needs
        data = data[: element_count(shape) * DTYPES[state.datatype].itemsize]
    try:
        return raw_elements(data, state.datatype, shape, state.initial_file)
    except InvalidInput as error:
        raise ModelError(f"{TRITON_FILE}: initial_state: {error.message}") from None
