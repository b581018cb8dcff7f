"""Warms a model up: finds out whether it runs, whether its rows are independent, and how long runs take.

A free first axis does not prove a batch: `x - mean(x, axis=0)` gives each caller the others' data. So the same rows
are run alone, together and in another order, and a model whose answers differ is served unbatched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from workbench.core.model import FREE, Signature
from workbench.core.ports import Session
from workbench.core.random_inputs import MAX_ELEMENTS, largest_input
from workbench.core.tensor import EXTENSION_DTYPES, Array
from workbench.engine.admission import ALONE, ShapeKey
from workbench.errors import WorkbenchError
from workbench.runtimes.first_run import first_size_that_runs, warmup_inputs

ATTEMPTS = 5
"""Runs of each size at the most."""

SEED_BUDGET_S = 0.5
"""Seconds that measuring run times may take, for one model on one session."""

CHECK_BUDGET_S = 5.0
"""Seconds after which no further trial of the row check begins; the first trial is always made."""

_ROWS = 4


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The findings of a warm-up."""

    ran: bool
    """False: no made-up input was accepted, so nothing is known."""
    independent: bool
    reason: str
    """One sentence saying why it is, or is not, served batched."""
    run_s: Mapping[int, float] = field(default_factory=dict)
    """Batch size -> seconds of one run; empty for an unbatched model."""
    key: ShapeKey = ALONE
    """The shape of the rows that were measured."""
    free_size: int | None = None
    """Of free axes other than the first, with which it ran."""


def warm_up(
    session: Session,
    batching: str,
    max_batch_size: int,
    clock: Callable[[], float] = time.perf_counter,
    sizes: Sequence[int] = (),
) -> WarmUp:
    """Run `session` on made-up rows. `batching` is ModelConfig's: "auto", "always" or "never". Blocks.

    `sizes` are those to measure; empty: doubling ones up to `max_batch_size`.
    """
    signature = session.signature
    free_size, trouble = first_size_that_runs(session, _ROWS)
    ran = free_size is not None
    if fixed := _fixed_axis(signature):  # whatever the settings say: there are no rows to join
        return WarmUp(ran, False, f"unbatched: {fixed}", free_size=free_size)
    if free_size is None:
        return WarmUp(ran, batching == "always", _unproved(batching, trouble))
    if batching == "never":
        return WarmUp(ran, False, "unbatched: its settings say batching = never", free_size=free_size)
    if batching == "auto":
        try:
            found = _dependence(session, free_size, clock)
        except WorkbenchError as error:
            found = f"several rows at once failed ({error.message})"
        if found:
            return WarmUp(True, False, f"unbatched: {found}", free_size=free_size)
        reason = "batched: rows do not influence each other (checked at warm-up)"
    else:
        reason = "batched: its settings say batching = always"
    row = warmup_inputs(signature, 1, free_size)
    key = tuple(row[spec.name].shape[1:] for spec in signature.inputs)
    run_s = measure(session, free_size, sizes or doubling(max_batch_size), clock)
    return WarmUp(True, True, reason, run_s, key, free_size)


def _dependence(session: Session, free_size: int, clock: Callable[[], float]) -> str:
    """Describes how rows depend on their batch; empty when they were the same alone, together and permuted."""
    names = [spec.name for spec in session.signature.outputs]
    began = clock()
    for scale in (1.0, 10.0):
        rows = warmup_inputs(session.signature, _ROWS, free_size, scale=scale, seed=1)
        together = session.run(rows, names)
        again = session.run(rows, names)
        if difference := _different(names, together, again):
            return f"two runs of the same rows differ ({difference}), so rows cannot be compared"
        order = np.array([2, 0, 3, 1])
        permuted = session.run({name: array[order] for name, array in rows.items()}, names)
        for name, output in zip(names, together, strict=True):
            if output.shape[:1] != (_ROWS,):
                return f"output {name!r} has shape {list(output.shape)} for {_ROWS} rows"
        alone = [session.run({name: array[i : i + 1] for name, array in rows.items()}, names) for i in range(_ROWS)]
        joined = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
        if difference := _different(names, together, joined):
            return f"a row's answer changes with the rows beside it ({difference})"
        if difference := _different(names, [output[order] for output in together], permuted):
            return f"a row's answer changes with its place in the batch ({difference})"
        if clock() - began > CHECK_BUDGET_S:
            break
    return ""


def _different(names: list[str], these: list[Array], those: list[Array]) -> str:
    """The first output that differs by more than rounding may, as "output 'y' by 0.5"; empty when none does."""
    for name, this, that in zip(names, these, those, strict=True):
        if this.shape != that.shape:
            return f"output {name!r} has shape {list(this.shape)} or {list(that.shape)}"
        if this.dtype.kind == "f" or this.dtype in EXTENSION_DTYPES:
            gap = _relative_gap(this, that)
            if gap > (2e-2 if this.dtype.itemsize == 2 else 1e-3):
                return f"output {name!r} by {gap:.2g} of its range"
        elif not np.array_equal(this, that):
            return f"output {name!r}"
    return ""


def _relative_gap(this: Array, that: Array) -> float:
    """The largest difference over the largest finite magnitude; infinite where only one of them is finite."""
    a, b = this.astype(np.float64), that.astype(np.float64)
    if not a.size:
        return 0.0
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(a)
    scale = float(np.abs(a[finite]).max(initial=0.0)) or 1.0
    return float(np.abs(a[finite] - b[finite]).max(initial=0.0)) / scale


def measure(
    session: Session, free_size: int, sizes: Iterable[int], clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """The quickest of a few runs for each batch size. Each has its first before any has its second, so that a machine
    that is busy for a moment spoils no size; where the budget is spent before that, the larger ones are not measured.
    """
    signature = session.signature
    sizes = [size for size in sizes if largest_input(signature.inputs, size, free_size) <= MAX_ELEMENTS]
    names = [spec.name for spec in signature.outputs]
    rows = warmup_inputs(signature, max(sizes, default=1), free_size)
    free = {spec.name for spec in signature.inputs if spec.shape[:1] == (FREE,)}
    run_s: dict[int, float] = {}
    end = clock() + SEED_BUDGET_S
    try:
        for attempt in range(ATTEMPTS):
            for size in sizes:
                inputs = {name: array[:size] if name in free else array for name, array in rows.items()}
                if not attempt:
                    session.run(inputs, names)  # the first run of a new size allocates
                if clock() > end:
                    return run_s
                began = clock()
                session.run(inputs, names)
                run_s[size] = min(run_s.get(size, float("inf")), clock() - began)
    except WorkbenchError:
        pass  # what was measured holds
    return run_s


def doubling(largest: int) -> Iterator[int]:
    """1, 2, 4 ... and `largest`."""
    size = 1
    while size < largest:
        yield size
        size *= 2
    yield largest


def _fixed_axis(signature: Signature) -> str:
    """Why requests cannot share a batch, in words; empty where every input and output begins with a free axis."""
    if not signature.inputs:
        return "it takes no inputs"
    if signature.free_first_axis:
        return ""
    spec = next(spec for spec in (*signature.inputs, *signature.outputs) if spec.shape[:1] != (FREE,))
    kind = "input" if spec in signature.inputs else "output"
    if not spec.shape:
        return f"{kind} {spec.name!r} is a scalar"
    return f"the first axis of {kind} {spec.name!r} is fixed at {spec.shape[0]}"


def _unproved(batching: str, trouble: str) -> str:
    if batching == "always":
        return "batched: its settings say batching = always; it was not warmed up"
    if batching == "never":
        return "unbatched: its settings say batching = never; it was not warmed up"
    return (
        f"unbatched: made-up inputs did not run ({trouble}), so nothing was proved; set batching = always if you know"
    )
