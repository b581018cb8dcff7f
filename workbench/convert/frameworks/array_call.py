"""What a function of arrays is called with and what it answers, under names that an export can have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from workbench.convert.converters import Check
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

ROWS = 64
"""The most rows of an example."""

Call = Callable[..., Any]


def example_arrays(function: Any, sample: Any) -> dict[str, Array]:
    """`sample` by the names of the function's parameters: an array, a tuple of arrays, or a dict. Rows come first."""
    if isinstance(sample, Mapping):
        found = {str(name): np.asarray(each) for name, each in sample.items()}
    else:
        arrays = [np.asarray(each) for each in (sample if isinstance(sample, tuple) else (sample,))]
        names = _parameters(function)
        names = names if len(names) == len(arrays) else ["x"] if len(arrays) == 1 else []
        found = {names[place] if names else f"x_{place}": each for place, each in enumerate(arrays)}
    if any(each.ndim < 1 or not len(each) or each.dtype.kind not in "biuf" for each in found.values()):
        raise InvalidInput("sample takes what it is called with: arrays of numbers, rows first")
    return {name: each[:ROWS] for name, each in found.items()}


def _parameters(function: Any) -> list[str]:
    try:
        return [name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty]
    except (TypeError, ValueError):
        return []


def answers(answer: Any, inputs: Collection[str] = ()) -> dict[str, Array]:
    """The outputs by name: a dict's keys in order, else `output_0` and so on. One that is called as an input is
    `NAME_out`."""
    if isinstance(answer, Mapping):
        names = {name: f"{name}_out" if name in inputs else str(name) for name in sorted(answer)}
        return {names[name]: _array(answer[name]) for name in names}
    several = answer if isinstance(answer, Sequence) else [answer]
    return {f"output_{place}": _array(each) for place, each in enumerate(several)}


def _array(answer: Any) -> Array:
    """As the service answers it: the bytes of TensorFlow's text are str there."""
    array = np.asarray(answer)
    if array.dtype.kind not in "OS":
        return array
    flat = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in array.ravel().tolist()]
    texts = np.empty(len(flat), object)
    texts[:] = flat
    return texts.reshape(array.shape)


def labels_of(outputs: Mapping[str, Array]) -> frozenset[str]:
    """Those of whole numbers and truth values, which must be equal."""
    return frozenset(name for name, array in outputs.items() if array.dtype.kind in "biu")


def checks(call: Call, given: Mapping[str, Array], *, free: bool) -> Iterator[Check]:
    """On the example and, where the batch axis is free, on one row and on three more rows than the example has."""

    def check(inputs: Mapping[str, Array], what: str = "") -> Check:
        rows: Any = dict(inputs) if len(inputs) > 1 else next(iter(inputs.values()))
        return Check(rows, len(next(iter(inputs.values()))), answers(call(*inputs.values()), inputs), what)

    yield check(given)
    if free:
        yield check({name: each[:1] for name, each in given.items()}, "in batches of 1")
        more = {name: np.resize(each, (len(each) + 3, *each.shape[1:])) for name, each in given.items()}
        yield check(more, "in a larger batch")
