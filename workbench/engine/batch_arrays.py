"""Many requests' arrays into one batch, and its outputs back: pure numpy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from workbench.core.tensor import Array


class NotRows(Exception):
    """An output has not one row for each of the batch's, so nobody can tell whose its rows are."""


def join(members: Sequence[Mapping[str, Array]], names: Iterable[str], padding: int = 0) -> Mapping[str, Array]:
    """One array an input, the members' rows in order. A lone member is passed on as it is, without a copy.

    The rows of `padding` are copies of the last one: a row of zeros may be none that the model takes.
    """
    if padding:
        last = {name: np.repeat(array[-1:], padding, axis=0) for name, array in members[-1].items()}
        members = [*members, last]
    elif len(members) == 1:
        return members[0]
    return {name: np.concatenate([member[name] for member in members]) for name in names}


def split(
    outputs: Sequence[Array], rows: Sequence[int], names: Sequence[str], padding: int = 0
) -> list[dict[str, Array]]:
    """Each member's part of the batch's outputs, as views; the padding is left over. Raises NotRows."""
    total = sum(rows) + padding
    for name, output in zip(names, outputs, strict=True):
        if output.shape[:1] != (total,):
            raise NotRows(f"output {name!r} came back with shape {list(output.shape)} for a batch of {total} rows")
    parts = []
    start = 0
    for count in rows:
        stop = start + count
        parts.append({name: output[start:stop] for name, output in zip(names, outputs, strict=True)})
        start = stop
    return parts
