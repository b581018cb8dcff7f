"""Finds out which small change would have a torch module take an example that it refuses, by calling it so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from workbench.convert.pytorch.torch_axes import Run

Change = Callable[[torch.Tensor], torch.Tensor]


def cure(run: Run, names: Sequence[str], tensors: Sequence[torch.Tensor], weights: torch.dtype) -> str:
    """What to say, as "; it takes them with ids.long() in place of ids"; empty where nothing tried helps.

    `weights` is the precision that the module computes in. One tensor is changed at a time, then all of them.
    """
    for change, written in _changes(weights):
        for which in (*({place} for place in range(len(tensors))), set(range(len(tensors)))):
            changed = [change(each) if place in which else each for place, each in enumerate(tensors)]
            if all(one is other for one, other in zip(changed, tensors, strict=True)):
                continue
            try:
                run(changed)
            except Exception:  # the module's own, of any class
                continue
            what = ", ".join(f"{names[place]}{written}" for place in sorted(which))
            return f"; it takes {what}"
    return ""


def _changes(weights: torch.dtype) -> Iterator[tuple[Change, str]]:
    """Each gives the tensor itself where it has nothing to change."""
    yield (
        lambda tensor: tensor if tensor.dtype == weights else tensor.to(weights),
        {torch.float32: ".float()", torch.float64: ".double()", torch.float16: ".half()"}.get(
            weights, f".to({weights})"
        ),
    )
    yield lambda tensor: tensor.long(), ".long()"
    yield lambda tensor: tensor[None], "[None], with an axis for the rows in front"
