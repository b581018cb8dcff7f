"""Which axes of a torch module's inputs a caller may choose the size of: the batch, and the length of a sequence.

The module itself is asked: it is run at other sizes. What it takes is free, whatever the example's size is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Run = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]
"""Runs a module on its flat inputs, and raises what the module raises."""

BATCH = "batch"
SEQUENCE = "seq"


@dataclass(frozen=True, slots=True)
class Axis:
    """A size that inputs share."""

    name: str
    places: tuple[tuple[int, int], ...]
    """(which input, which of its axes)"""
    size: int
    """In what is exported, or tried, with."""
    given: int = 0
    """In the user's own example, where that is known."""


def free_axes(run: Run, tensors: Sequence[torch.Tensor]) -> list[Axis]:
    """The axes at which the module takes other sizes too, the batch first."""
    first = next((tensor for tensor in tensors if tensor.ndim), None)
    if first is None:
        return []
    axes: list[Axis] = []
    for place in range(min(first.ndim, 3)):
        if place and not _may_be_a_sequence(first, place, axes):
            continue
        taken = {each for axis in axes for each in axis.places}
        for places in _groups(tensors, first.shape[place], place, taken):
            axis = Axis("", places, first.shape[place])
            if _takes_other_sizes(run, tensors, axis):
                known = {each.name for each in axes}
                name = BATCH if BATCH not in known and _rows_are_independent(run, tensors, axis) else SEQUENCE
                if name not in known:
                    axes.append(Axis(name, places, axis.size))
                break
    return sorted(axes, key=lambda axis: axis.name != BATCH)


def resized(tensors: Sequence[torch.Tensor], axis: Axis, size: int) -> list[torch.Tensor]:
    """`tensors` of another size along `axis`, by leaving out or repeating what is there."""
    found = list(tensors)
    for which, place in axis.places:
        rows = torch.arange(size, device=found[which].device) % found[which].shape[place]
        found[which] = found[which].index_select(place, rows)
    return found


def fresh(tensors: Sequence[torch.Tensor], seed: int = 0) -> list[torch.Tensor]:
    """Other values of the same kind: numbers around the given ones, whole numbers from their range.

    What may be a mask is a mask again: ones, and then zeros perhaps; truth values stay as they are.
    """
    random = torch.Generator().manual_seed(seed)
    return [_fresh(tensor, random) for tensor in tensors]


def _fresh(tensor: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    if tensor.dtype == torch.bool or not tensor.numel():
        return tensor.clone()
    if tensor.is_complex():
        return tensor.clone()
    if tensor.is_floating_point():
        values = tensor.double().cpu()
        spread = float(values.std()) if values.numel() > 1 else 0.0
        noise = torch.randn(values.shape, generator=random, dtype=torch.float64)
        return (values + noise * (spread if 0 < spread < float("inf") else 1.0)).to(tensor)
    low, high = int(tensor.min()), int(tensor.max())
    if low >= 0 and high <= 1 and tensor.ndim > 1:
        if not bool((tensor[..., 0] == 1).all()):
            return tensor.clone()
        lengths = torch.randint(1, tensor.shape[-1] + 1, (*tensor.shape[:-1], 1), generator=random)
        return (torch.arange(tensor.shape[-1]) < lengths).to(tensor)
    return torch.randint(low, high + 1, tensor.shape, generator=random).to(tensor)


def _may_be_a_sequence(first: torch.Tensor, place: int, axes: list[Axis]) -> bool:
    """Of ids [batch, length], of features [batch, length, n], and of signals [batch, channels, length]."""
    if first.ndim == 2:
        return place == 1 and not first.is_floating_point()
    return first.ndim == 3 and len(axes) < 2


def _groups(
    tensors: Sequence[torch.Tensor], size: int, place: int, taken: set[tuple[int, int]]
) -> list[tuple[tuple[int, int], ...]]:
    """What may have to share this size: the same axis of all inputs; every axis of that size; the first input's."""
    same = [(which, place) for which, each in enumerate(tensors) if each.ndim > place and each.shape[place] == size]
    every = [
        (which, axis) for which, each in enumerate(tensors) for axis in range(each.ndim) if each.shape[axis] == size
    ]
    groups = []
    for group in (same, every, same[:1]):
        left = tuple(each for each in group if each not in taken)
        if left and left not in groups:
            groups.append(left)
    return groups


def _takes_other_sizes(run: Run, tensors: Sequence[torch.Tensor], axis: Axis) -> bool:
    try:
        before = [tensor.ndim for tensor in run(tensors)]
        for size in (axis.size + 1, axis.size + 3, max(axis.size - 1, 1)):
            if [tensor.ndim for tensor in run(resized(tensors, axis, size))] != before:
                return False
    except Exception:  # the module's own, of any class: it does not take this size
        return False
    return True


def _rows_are_independent(run: Run, tensors: Sequence[torch.Tensor], axis: Axis) -> bool:
    """True where what is sent beside a row changes nothing in the answer to the row."""
    try:
        more = fresh(resized(tensors, axis, axis.size + 3))  # sizes that it is known to take
        fewer = resized(more, axis, axis.size + 1)
        pairs = list(zip(run(more), run(fewer), strict=True))
    except Exception:  # as above
        return False
    for all_rows, first_rows in pairs:
        places = [place for place in range(all_rows.ndim) if all_rows.shape[place] != first_rows.shape[place]]
        if len(places) != 1 or first_rows.shape[places[0]] != axis.size + 1:
            return False
        same = all_rows.narrow(places[0], 0, axis.size + 1)
        if not torch.allclose(same.double(), first_rows.double(), rtol=1e-2, atol=1e-3, equal_nan=True):
            return False
    return True
