"""What a torch module is called with and what it gives back, as flat lists of named tensors.

ONNX knows named tensors only. A module may take and give dicts, tuples, dataclasses and any nesting of them, and
numbers and texts beside the tensors; those are part of the exported graph.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from workbench.errors import InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One call of a module, taken apart."""

    names: tuple[str, ...]
    """One for each tensor, as the module's `forward` calls them: `x`, or `batch_ids` inside of a dict `batch`."""
    tensors: tuple[torch.Tensor, ...]
    rebuild: Callable[[list[torch.Tensor]], tuple[list[Any], dict[str, Any]]]
    """Tensors in the same order -> the positional and the named arguments."""
    fixed: tuple[str, ...]
    """What is no tensor, as `flag=True`."""


def call_of(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Take the arguments of a call apart. Raises InvalidInput where there is no tensor among them."""
    names: list[str] = []
    tensors: list[torch.Tensor] = []
    fixed: list[str] = []

    def take(value: Any, name: str) -> Any:
        """What builds the value from all tensors: an index into them, a container, or the value itself."""
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            value = torch.from_numpy(np.ascontiguousarray(value))
        if isinstance(value, torch.Tensor):
            names.append(_unique(name, names))
            tensors.append(value.detach())
            return _At(len(tensors) - 1)
        if isinstance(value, Mapping):
            return {key: take(each, f"{name}_{key}") for key, each in value.items()}
        if isinstance(value, tuple | list) and _holds_tensors(value):
            parts = [take(each, f"{name}_{place}") for place, each in enumerate(value)]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        if value is not None:
            fixed.append(f"{name}={value!r}"[:60])
        return value

    by_position = _parameter_names(module, len(args))
    taken = [take(value, name) for value, name in zip(args, by_position, strict=True)]
    named = {key: take(value, key) for key, value in kwargs.items()}
    if not tensors:
        raise InvalidInput(f"the example of {type(module).__name__} holds no tensor, so there is nothing to send to it")

    def rebuild(values: list[torch.Tensor]) -> tuple[list[Any], dict[str, Any]]:
        return [_filled(each, values) for each in taken], {key: _filled(each, values) for key, each in named.items()}

    return Call(tuple(names), tuple(tensors), rebuild, tuple(fixed))


def outputs_of(value: Any) -> dict[str, torch.Tensor]:
    """Output name -> tensor, by the keys of dicts, the fields of dataclasses and named tuples, and places elsewhere.

    What is no tensor is left out.
    """
    if isinstance(value, torch.Tensor):
        return {"output": value}
    found: dict[str, torch.Tensor] = {}
    for name, tensor in _parts(value, ""):
        found[_unique(name if not name[:1].isdigit() else f"output_{name}", found)] = tensor
    return found


class Flat(torch.nn.Module):  # type: ignore[misc]
    """`module` as one that takes tensors alone and gives a tuple of tensors."""

    def __init__(self, module: torch.nn.Module, call: Call) -> None:
        super().__init__()
        self.training = module.training
        self.module = module
        self._call = call

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args, kwargs = self._call.rebuild(list(tensors))
        given = {id(tensor) for tensor in tensors}
        answers = []
        for tensor in outputs_of(self.module(*args, **kwargs)).values():
            answers.append(tensor.clone() if id(tensor) in given else tensor)  # an output has a name of its own
            given.add(id(tensor))
        return tuple(answers)


@dataclasses.dataclass(frozen=True, slots=True)
class _At:
    place: int


def _filled(value: Any, tensors: list[torch.Tensor]) -> Any:
    if isinstance(value, _At):
        return tensors[value.place]
    if type(value) is dict:
        return {key: _filled(each, tensors) for key, each in value.items()}
    if isinstance(value, tuple | list):
        parts = [_filled(each, tensors) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return True
    if isinstance(value, Mapping):
        return any(map(_holds_tensors, value.values()))
    return isinstance(value, tuple | list) and any(map(_holds_tensors, value))


def _parameter_names(module: torch.nn.Module, count: int) -> list[str]:
    """What `forward` calls its first `count` positional arguments."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # of a compiled class
        parameters = []
    names = [each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    rest = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "input")
    return [*names[:count], *(f"{rest}_{place}" for place in range(count - len(names)))]


def _parts(value: Any, name: str) -> Iterator[tuple[str, torch.Tensor]]:
    under = f"{name}_" if name else ""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):  # a ModelOutput of transformers too
        for key, each in value.items():
            yield from _parts(each, f"{under}{key}")
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from _parts(getattr(value, each.name), f"{under}{each.name}")
    elif isinstance(value, tuple | list):
        keys = getattr(value, "_fields", range(len(value)))
        for key, each in zip(keys, value, strict=True):
            yield from _parts(each, f"{under}{key}")


def _unique(name: str, taken: Any) -> str:
    name = re.sub(r"\W+", "_", name).strip("_") or "input"
    while name in taken:
        name += "_"
    return name
