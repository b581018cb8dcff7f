"""Tries on made-up rows whether a model's rows influence each other, where its graph does not tell.

The same rows are run alone, together, and beside other rows. In batches of one size the same kernels compute a row in
the same order, whatever lies beside it, so there a difference beyond the last bits is an influence, however small it
is. Alone and together other kernels may run, so there a difference is judged against the rounding of the model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.core.batch_proof import InputHint
from workbench.core.ports import Exampled, Session
from workbench.core.random_inputs import MAX_ELEMENTS, largest_input
from workbench.core.tensor import EXTENSION_DTYPES, Array
from workbench.engine.trial_rows import ROWS, RowKind, made_rows
from workbench.errors import WorkbenchError

BUDGET_S = 3.0
"""Seconds after which no further kind of rows is begun, once one told something."""

REFUSED_BUDGET_S = 10.0
"""The same while none did."""

LAST_BITS = 64 * float(np.finfo(np.float32).eps)
"""Relative to a row's largest number: what alignment and reordered sums do to the same row in a batch of one size."""

ROUNDING, ROUNDING_16 = 1e-3, 2e-2
"""Relative to an output's largest number: what other kernels do to it in FP32, and in types of 16 bits."""

OWN_ROUNDING = 16.0
"""A difference is the model's own rounding if it is at most so many times what one unit in the last place of its inputs
changes."""

UNMEASURED_ROUNDING = 5e-2
"""The same for a model without inputs of floats, whose own rounding cannot be measured, relative to its output."""


@dataclass(frozen=True, slots=True)
class RowTrial:
    """The result of a trial."""

    finding: str = ""
    """How rows influence each other, as a clause; empty: it was not seen."""
    kinds: int = 0
    """Kinds of rows that told something. 0 and no finding: nothing is known."""
    trouble: str = ""
    """Why the last of the others told nothing."""


class _NoEvidence(Exception):
    """These rows tell nothing either way; says why."""


def try_rows(
    session: Session,
    hints: Mapping[str, InputHint],
    free_sizes: Sequence[int],
    clock: Callable[[], float] = time.perf_counter,
) -> RowTrial:
    """Try kinds of rows, one after another; `free_sizes` are tried in turn for free axes beside the first. Blocks.

    Every input must begin with a free axis. Never raises for what the model does.
    """
    began = clock()
    inputs = session.signature.inputs
    sizes = [size for size in free_sizes if largest_input(inputs, max(ROWS.values()), size) <= MAX_ELEMENTS]
    kinds, trouble = 0, "" if sizes else "its inputs are too large to make up"
    for kind in RowKind:
        for free_size in sizes:
            if clock() - began > (BUDGET_S if kinds else REFUSED_BUDGET_S):
                return RowTrial("", kinds, trouble)
            try:
                if finding := _influence(session, _rows(session, kind, hints, free_size)):
                    return RowTrial(finding, kinds)
            except _NoEvidence as error:
                trouble = str(error)
            else:
                kinds += 1
                break
    return RowTrial("", kinds, trouble)


def _rows(session: Session, kind: RowKind, hints: Mapping[str, InputHint], free_size: int) -> dict[str, Array]:
    if isinstance(session, Exampled):
        return session.examples(ROWS[kind], seed=1 + list(RowKind).index(kind))
    return made_rows(session.signature, kind, hints, free_size)


def trouble_with_two(session: Session, row: Mapping[str, Array]) -> str:
    """How a run of the same `row` twice goes wrong, where the row alone was taken; empty where it does not. Blocks."""
    names = [spec.name for spec in session.signature.outputs]
    try:
        return _misfit(
            names, [session.run({name: np.repeat(array, 2, axis=0) for name, array in row.items()}, names)], 2
        )
    except WorkbenchError as error:
        return f"several rows at once failed ({error.message})"


def differences(pairs: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]]) -> str:
    """How the answers that requests got of a batch differ from those that each gets alone, beyond any rounding; empty
    where they do not. `pairs` has both of each request, the second with the outputs that it asked for."""
    for name in dict.fromkeys(name for _, alone in pairs for name in alone):
        found = [(shared[name], alone[name]) for shared, alone in pairs if name in alone]
        scale = max(_largest(alone) for _, alone in found)
        gap = max(_gap(shared, alone) for shared, alone in found)
        if gap > ROUNDING_16 * scale:
            return f"an answer was another than for the same request alone ({_said(name, gap, scale)})"
    return ""


def _influence(session: Session, rows: Mapping[str, Array]) -> str:
    """Describes how these rows influence each other; empty when they do not. Raises _NoEvidence."""
    names = [spec.name for spec in session.signature.outputs]
    count = len(next(iter(rows.values())))

    def run(order: Sequence[int]) -> list[Array]:
        return session.run({name: array[list(order)] for name, array in rows.items()}, names)

    try:
        alone = [run([row]) for row in range(count)]
    except WorkbenchError as error:  # a row that the model would refuse from any caller
        raise _NoEvidence(error.message) from None
    # Those at even places, and then those at odd ones, keep their place and get other neighbours.
    even = [row - row % 2 for row in range(count)]
    odd = [row if row % 2 else row + (1 if row + 1 < count else -1) for row in range(count)]
    try:
        together, again = run(range(count)), run(range(count))
        beside = [run(even), run(odd)]
    except WorkbenchError as error:
        return f"several rows at once failed ({error.message})"
    if misfit := _misfit(names, alone, 1) or _misfit(names, (together, again, *beside), count):
        return misfit
    for i, name in enumerate(names):
        this, joined = together[i], np.concatenate([outputs[i] for outputs in alone])
        scale = _largest(this)
        rounding = scale * (ROUNDING_16 if this.dtype.itemsize == 2 else ROUNDING)
        noise = _gap(this, again[i])
        if noise > rounding:
            return f"two runs of the same rows differ ({_said(name, noise, scale)}), so rows cannot be compared"
        for order, outputs in zip((even, odd), beside, strict=True):
            for row in (row for row in range(count) if order[row] == row):
                mine = this[row : row + 1]  # as an array even where it is one text
                gap = _gap(mine, outputs[i][row : row + 1])
                if gap > (max(rounding, 8 * noise) if noise else _last_bits(mine, scale)):
                    _check_rounding(session, rows, i, gap, 0.0)
                    return f"a row's answer changes with the rows beside it ({_said(name, gap, _largest(mine))})"
        gap = _gap(this, joined)
        if gap > rounding:
            _check_rounding(session, rows, i, gap, UNMEASURED_ROUNDING * scale)
            return f"a row's answer alone is another than in a batch ({_said(name, gap, scale)})"
    return ""


def _misfit(names: Sequence[str], runs: Sequence[Sequence[Array]], rows: int) -> str:
    """The first output without a row for each one that went in, or whose rows are not always of one shape."""
    for i, name in enumerate(names):
        shapes = list(dict.fromkeys(outputs[i].shape for outputs in runs))
        for shape in shapes:
            if shape[:1] != (rows,):
                return f"output {name!r} has shape {list(shape)} for {'1 row' if rows == 1 else f'{rows} rows'}"
        if len(shapes) > 1:
            return f"output {name!r} has shape {list(shapes[0])} or {list(shapes[1])}, depending on what the rows hold"
    return ""


def _check_rounding(session: Session, rows: Mapping[str, Array], output: int, gap: float, unmeasured: float) -> None:
    """Raises _NoEvidence where a `gap` of an output is no more than the model's own rounding on these rows.

    That is measured by what the last bit of each float that goes in changes; without such inputs it is `unmeasured`.
    """
    names = [spec.name for spec in session.signature.outputs]
    floats = {name for name, array in rows.items() if array.dtype.kind == "f"}
    own = unmeasured
    if floats:
        try:
            before, up, down = (
                session.run(
                    {n: np.nextafter(a, a.dtype.type(end)) if n in floats and end else a for n, a in rows.items()},
                    names,
                )[output]
                for end in (0, np.inf, -np.inf)
            )
        except WorkbenchError:
            return
        own = OWN_ROUNDING * max(_gap(before, up), _gap(before, down))
    if np.isfinite(gap) and gap <= own:
        raise _NoEvidence(f"output {names[output]!r} is not exact enough on made-up rows to compare them")


def _rounds(array: Array) -> bool:
    return array.dtype.kind == "f" or array.dtype in EXTENSION_DTYPES


def _gap(this: Array, that: Array) -> float:
    """The largest difference; infinite where only one is finite, or where they differ and are no floats."""
    if this.shape != that.shape:
        return float("inf")
    if not _rounds(this):
        return 0.0 if np.array_equal(this, that) else float("inf")
    a, b = this.astype(np.float64), that.astype(np.float64)
    finite = np.isfinite(a)
    if not np.isfinite(b[finite]).all() or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0))


def _largest(array: Array) -> float:
    """The largest finite magnitude of floats; of anything else 0."""
    if not _rounds(array):
        return 0.0
    a = np.abs(array.astype(np.float64))
    return float(a[np.isfinite(a)].max(initial=0.0))


def _last_bits(row: Array, scale: float) -> float:
    """What may differ in `row` of an output whose largest number is `scale`: a row that is all but 0 came of others."""
    if not _rounds(row):
        return 0.0
    eps = float(np.finfo(row.dtype).eps) if row.dtype.kind == "f" else 2.0**-7
    return max(LAST_BITS, 4 * eps) * max(_largest(row), 1e-3 * scale)


def _said(name: str, gap: float, scale: float) -> str:
    return f"output {name!r} by {gap / scale:.2g} of its range" if np.isfinite(gap) and scale else f"output {name!r}"
