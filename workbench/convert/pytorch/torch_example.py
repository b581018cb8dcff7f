"""What to call a torch module with, where its user gave an example, or gave none."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from workbench.convert.converters import variable_of
from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Example:
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    made_up: bool = False
    said: str = ""
    """Where it is from, for the one line; empty where the user gave it."""


def given_example(module: torch.nn.Module, sample: Any, kind: str) -> Example:
    """`sample` as a call: a tuple is several arguments, a dict is arguments by name, anything else is one argument.

    A dict whose keys are no parameters of `forward` is one argument too, where `forward` takes one. Arrays and
    DataFrames become tensors of the module's own precision. Raises InvalidInput for what no tensor can be made of.
    """
    if isinstance(sample, Mapping):
        named = {str(key): _tensor(module, value, kind) for key, value in sample.items()}
        if _takes(module, (), named):
            return Example((), named)
        if not _takes(module, (named,), {}):
            raise InvalidInput(_other_names(module, named, kind))
        return Example((named,), {})
    if isinstance(sample, tuple):
        return Example(tuple(_tensor(module, value, kind) for value in sample), {})
    return Example((_tensor(module, sample, kind, whole=True),), {})


def as_called(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], said: str = "") -> Example:
    """A call that was remembered, on the module's device."""

    def there(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return _on_device(module, value)
        if isinstance(value, Mapping):
            return {key: there(each) for key, each in value.items()}
        return type(value)(map(there, value)) if isinstance(value, tuple | list) else value

    found = {name: there(value) for name, value in kwargs.items()}
    return Example(tuple(map(there, args)), found, said=said)


def first_layer_example(module: torch.nn.Module) -> Example | None:
    """Two rows as the first layer takes them, where that says enough and the module has one argument."""
    if not _takes(module, (None,), {}) or _takes(module, (), {}):
        return None
    layer = next((part for part in module.modules() if not list(part.children())), None)
    values = torch.Generator().manual_seed(0)
    tensor: torch.Tensor | None = None
    if isinstance(known := getattr(module, "default_cfg", None), Mapping) and "input_size" in known:  # timm's
        tensor = torch.randn(2, *known["input_size"], generator=values)
    elif isinstance(layer, torch.nn.Linear | torch.nn.LazyLinear) and layer.in_features:
        tensor = torch.randn(2, layer.in_features, generator=values)
    elif isinstance(layer, torch.nn.BatchNorm1d):
        tensor = torch.randn(2, layer.num_features, generator=values)
    elif isinstance(layer, torch.nn.Embedding):
        tensor = torch.randint(0, layer.num_embeddings, (2, 8), generator=values)
    elif isinstance(layer, torch.nn.LSTM | torch.nn.GRU | torch.nn.RNN):
        tensor = torch.randn(2, 8, layer.input_size, generator=values)
    if tensor is None:
        return None
    example = Example((_like_weights(module, tensor),), {}, made_up=True)
    return example if _runs(module, example) else None


def needs_example(module: torch.nn.Module, kind: str) -> InvalidInput:
    """The error that asks for one, with a line to paste."""
    name = variable_of(module, "net")
    return InvalidInput(
        f"an export of {kind} needs one example of its input; give one, as %infer load NAME {name} --example "
        f"{_guess(module)} (sample=... in Python)"
    )


def _other_names(module: torch.nn.Module, named: Mapping[str, Any], kind: str) -> str:
    """Of a dict that is no call of `forward`."""
    parameters = inspect.signature(module.forward).parameters.values()
    wanted = [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_POSITIONAL]
    known = [each.name for each in parameters]
    wrong = {name: difflib.get_close_matches(name, known, n=1) for name in named if name not in known}
    lacking = [name for name in wanted if name not in named]
    said = f"; missing: {', '.join(map(repr, lacking))}" if lacking else ""
    said += f"; unknown: {', '.join(map(repr, wrong))}" if wrong else ""
    said += "".join(f"; did you mean {near[0]!r} for {name!r}?" for name, near in wrong.items() if near)
    return f"forward of {kind} takes {', '.join(map(repr, known))}, and the example is a dict for other ones{said}"


def _guess(module: torch.nn.Module) -> str:
    """An example's text; image sizes and the like are to be put right by the reader."""
    try:
        wanted = [
            each.name
            for each in inspect.signature(module.forward).parameters.values()
            if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        wanted = []
    if len(wanted) > 1:
        return f"({', '.join(wanted)})"
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            return f"torch.randn(2, {part.in_channels}, 224, 224)"
        if isinstance(part, torch.nn.Conv1d):
            return f"torch.randn(2, {part.in_channels}, 100)"
        if isinstance(part, torch.nn.Linear):
            return f"torch.randn(2, {part.in_features})"
        if isinstance(part, torch.nn.Embedding):
            return f"torch.randint(0, {part.num_embeddings}, (2, 16))"
    return wanted[0] if wanted else "x"


def _takes(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    try:
        inspect.signature(module.forward).bind(*args, **kwargs)
    except TypeError:
        return False
    except ValueError:  # it tells no signature
        return not kwargs
    return True


def _runs(module: torch.nn.Module, example: Example) -> bool:
    from workbench.convert.pytorch.torch_export import in_eval_mode

    try:
        with in_eval_mode(module), torch.no_grad():
            module(*example.args, **example.kwargs)
    except Exception:  # the module's own
        return False
    return True


def _tensor(module: torch.nn.Module, value: Any, kind: str, *, whole: bool = False) -> Any:
    """A tensor of what is an array; at the top level (`whole`) also of lists of numbers."""
    if isinstance(value, torch.Tensor):
        return _on_device(module, value)
    if hasattr(value, "to_numpy"):  # of pandas
        value = value.to_numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return _on_device(module, _like_weights(module, torch.from_numpy(np.ascontiguousarray(value))))
    if isinstance(value, np.ndarray) and value.dtype != object:
        raise InvalidInput(f"the example of {kind} is an array of {value.dtype}; a module takes tensors of numbers")
    if isinstance(value, Mapping):
        return {key: _tensor(module, each, kind) for key, each in value.items()}
    if isinstance(value, list | tuple) and any(isinstance(each, torch.Tensor | np.ndarray | Mapping) for each in value):
        return type(value)(_tensor(module, each, kind) for each in value)
    if not whole:
        return value
    try:
        return _on_device(module, _like_weights(module, torch.as_tensor(np.asarray(value))))
    except (TypeError, ValueError, RuntimeError):
        raise InvalidInput(
            f"the example of {kind} is of type {type(value).__name__}; it takes a tensor or an array, a tuple of them "
            "for several arguments, or a dict of them by the names of forward's parameters"
        ) from None


def _like_weights(module: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor:
    """Fractions in the precision of the module: NumPy's are float64 mostly."""
    if not tensor.is_floating_point():
        return tensor
    weights = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    return tensor.to(weights)


def _on_device(module: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor:
    device = next((each.device for each in module.parameters()), None)
    return tensor if device is None else tensor.to(device)
