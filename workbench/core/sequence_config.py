"""`sequence_batching` of a Triton configuration, read: what a model that keeps state between requests is given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from workbench.core.tensor import DTYPES
from workbench.core.triton_message import Message, element_type, file_name, flag, messages, number, text, whole
from workbench.errors import InvalidInput, ModelError

HONOURED_SEQUENCES: Final = {
    "max_sequence_idle_microseconds": "a sequence without a step for so long is dropped; 0 or none means 1 s",
    "control_input": "the model's inputs for START, END, READY (always true) and CORRID are filled for each step",
    "state": "the service keeps it; `initial_state` is zeros, or a file of `initial_state` beside the versions",
    "direct": "`max_batch_size` sequences at once for each of `instances`; `minimum_slot_utilization` is waited for "
    "until `max_queue_delay_microseconds`",
    "oldest": "`max_candidate_sequences` at once for each of `instances`; `preferred_batch_size` and "
    "`max_queue_delay_microseconds` are as those of `dynamic_batching`",
}
"""Field of sequence_batching -> what becomes of it, as docs/settings.md has it."""

DEFAULT_IDLE_S: Final = 1.0

MAX_STATES: Final = 256
"""States that one model may carry."""

CORRID: Final = "CORRID"

ControlKind: TypeAlias = Literal["START", "END", "READY", "CORRID"]

_KINDS: dict[object, ControlKind] = {"START": "START", "READY": "READY", "END": "END", "CORRID": "CORRID"}
_NUMBERS = dict(enumerate(_KINDS))
_CHOICES = {"int32_false_true": "INT32", "fp32_false_true": "FP32", "bool_false_true": "BOOL"}
_CORRID_TYPES = ("UINT64", "INT64", "UINT32", "INT32", "BYTES")


@dataclass(frozen=True, slots=True)
class Control:
    """An input by which the model is told something about a step."""

    name: str
    kind: ControlKind
    datatype: str
    values: tuple[float, float] = (0, 1)
    """What says false, and what says true. CORRID has the sequence's id instead."""


@dataclass(frozen=True, slots=True)
class ImplicitStateConfig:
    """A pair of tensors that carry state: the output of a step is the input of the next one."""

    input_name: str
    output_name: str
    datatype: str
    dims: tuple[int, ...]
    """Without the batch axis."""
    initial_dims: tuple[int, ...]
    """Of the state before the first step; none is free."""
    initial_file: str = ""
    """In the folder `initial_state` beside the model's versions; empty: zeros."""


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """How a model's requests form sequences."""

    strategy: Literal["direct", "oldest"] = "direct"
    max_idle_s: float = DEFAULT_IDLE_S
    """Seconds without a step after which a sequence is dropped."""
    candidates: int = 0
    """Sequences that may run at once, for each instance; 0: as many as a batch may have rows."""
    controls: tuple[Control, ...] = ()
    states: tuple[ImplicitStateConfig, ...] = ()

    def slots(self, max_batch_size: int, instances: int) -> int:
        """Sequences that may run at once."""
        return (self.candidates or max(1, max_batch_size)) * instances


@dataclass(frozen=True, slots=True)
class SequenceFigures:
    """The sequences of a model that keeps state between requests: how many there are, and were since its load."""

    active: int = 0
    """Begun, neither ended nor dropped, and with a slot."""
    backlog: int = 0
    """Begun, and waiting for a slot."""
    held: int = 0
    """Requests that wait for the one before them in their sequence, or for its slot."""
    state_bytes: int = 0
    """Memory of the states that are kept."""
    started: int = 0
    """Requests with START."""
    ended: int = 0
    """Sequences whose END was run."""
    dropped: int = 0
    """Sequences without a request for too long."""
    restarted: int = 0
    """Sequences begun anew before their END."""
    failed: int = 0
    """Requests that changed nothing, since they failed, expired or were cancelled."""


def read_sequence_batching(message: Message, max_batch_size: int) -> tuple[SequenceConfig, dict[str, object]]:
    """The meaning of a ModelSequenceBatching, and its settings for `config.model_config`.

    Raises InvalidInput, and ModelError for what is not served.
    """
    if flag(message, "iterative_sequence"):
        raise ModelError("iterative_sequence makes it a model that calls itself again, which is not served here")
    direct, oldest = messages(message, "direct"), messages(message, "oldest")
    if direct and oldest:
        raise InvalidInput("sequence_batching takes one of direct and oldest, got both")
    candidates = 0
    settings: dict[str, object] = {}
    for strategy in (*direct, *oldest):
        delay_us = whole(strategy, "max_queue_delay_microseconds") or 0
        candidates = whole(strategy, "max_candidate_sequences") or 0
        sizes = [number(each, "preferred_batch_size", low=1) for each in strategy.get("preferred_batch_size", ())]
        if any(size > max_batch_size for size in sizes):
            raise InvalidInput(f"preferred_batch_size must be at most max_batch_size, {max_batch_size}, got {sizes}")
        if direct:
            # Every size from the least that is worth a run: nothing smaller goes before its delay is over.
            least = math.ceil(_share(strategy) * max_batch_size)
            sizes = list(range(least, max_batch_size + 1)) if least and delay_us else []
            delay_us = delay_us if least else 0
        if sizes:
            settings["preferred_batch_sizes"] = sizes
        if delay_us:
            settings["max_queue_delay_s"] = delay_us / 1e6
    idle_us = whole(message, "max_sequence_idle_microseconds")
    config = SequenceConfig(
        strategy="oldest" if oldest else "direct",
        max_idle_s=idle_us / 1e6 if idle_us else DEFAULT_IDLE_S,
        candidates=candidates,
        controls=_controls(messages(message, "control_input")),
        states=_states(messages(message, "state")),
    )
    return config, settings


def _share(direct: Message) -> float:
    value = direct.get("minimum_slot_utilization", (0.0,))[-1]
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise InvalidInput(f"minimum_slot_utilization must be from 0.0 to 1.0, got {str(value)[:40]!r}")
    return float(value)


def _controls(inputs: Sequence[Message]) -> tuple[Control, ...]:
    found: dict[ControlKind, Control] = {}
    names: set[str] = set()
    for tensor in inputs:
        name = text(tensor, "name")
        if not name:
            raise InvalidInput("a control_input must have a name")
        if name in names:
            raise InvalidInput(f"control_input {name[:80]!r} is there more than once")
        names.add(name)
        for message in messages(tensor, "control"):
            control = _control(name, message)
            if control.kind in found:
                raise InvalidInput(f"there is more than one control_input for CONTROL_SEQUENCE_{control.kind}")
            found[control.kind] = control
    if len({control.name for control in found.values()}) < len(found):
        raise InvalidInput("one control_input has more than one control; give each an input of its own")
    return tuple(found.values())


def _control(name: str, message: Message) -> Control:
    said = message.get("kind", ("CONTROL_SEQUENCE_START",))[-1]
    kind = _KINDS.get(_NUMBERS.get(said, str(said).removeprefix("CONTROL_SEQUENCE_")))
    if kind is None:
        raise InvalidInput(f"control_input {name[:80]!r}: there is no control of kind {str(said)[:40]!r}")
    what = f"control_input {name[:80]!r}, CONTROL_SEQUENCE_{kind},"
    chosen = [choice for choice in _CHOICES if message.get(choice)]
    if kind == CORRID:
        datatype = element_type(message, "data_type")
        if datatype not in _CORRID_TYPES or chosen:
            raise InvalidInput(f"{what} must have a data_type of UINT64, INT64, UINT32, INT32 or STRING, and no values")
        return Control(name, kind, datatype)
    if len(chosen) != 1:
        raise InvalidInput(f"{what} must have one of {', '.join(_CHOICES)}")
    values = [_value(each, what) for each in message[chosen[0]]]
    if len(values) != 2:
        raise InvalidInput(f"{what} must have exactly 2 values in {chosen[0]}, for false and for true")
    return Control(name, kind, _CHOICES[chosen[0]], (values[0], values[1]))


def _value(value: Any, what: str) -> float:
    if value in ("true", "false"):
        return float(value == "true")
    if not isinstance(value, int | float):
        raise InvalidInput(f"{what} takes numbers or true and false, got {str(value)[:40]!r}")
    return value


def _states(states: Sequence[Message]) -> tuple[ImplicitStateConfig, ...]:
    if len(states) > MAX_STATES:
        raise InvalidInput(f"there are {len(states)} states; {MAX_STATES} are the most")
    found = tuple(map(_state, states))
    for kind in ("input_name", "output_name"):
        names = [getattr(state, kind) for state in found]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidInput(f"{kind} {min(twice)[:80]!r} is the {kind} of more than one state")
    return found


def _state(message: Message) -> ImplicitStateConfig:
    name, output = text(message, "input_name"), text(message, "output_name")
    what = f"state {name[:80]!r}"
    if not name or not output:
        raise InvalidInput("a state must have an input_name and an output_name")
    datatype = element_type(message, "data_type")
    if datatype not in DTYPES:
        raise InvalidInput(f"{what} has no data_type of Triton's")
    dims = tuple(number(each, f"{what}: dims", low=-1) for each in message.get("dims", ()))
    initial = messages(message, "initial_state")
    if len(initial) > 1:
        raise InvalidInput(f"{what} has {len(initial)} times initial_state; give one or none")
    # Triton leaves these elements unset: a model whose state has no initial_state looks at START.
    initial_dims, file = tuple(1 if size < 0 else size for size in dims), ""
    for each in initial:
        initial_dims, file = _initial(each, what, datatype, dims)
    return ImplicitStateConfig(name, output, datatype, dims, initial_dims, file)


def _initial(message: Message, what: str, datatype: str, dims: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    if element_type(message, "data_type") != datatype:
        raise InvalidInput(f"{what}: initial_state must have the state's data_type, {datatype}")
    if not text(message, "name"):
        raise InvalidInput(f"{what}: initial_state must have a name")
    found = tuple(number(each, f"{what}: initial_state.dims") for each in message.get("dims", ()))
    if len(found) != len(dims) or any(0 <= size != own for size, own in zip(dims, found, strict=True)):
        raise InvalidInput(f"{what}: initial_state has dims {list(found)}, which are not of {list(dims)}")
    file = text(message, "data_file")
    if not file and "zero_data" not in message:
        raise InvalidInput(f"{what}: initial_state must have zero_data or a data_file")
    return found, file_name(f"{what}: data_file", file)
