"""Warms a model up: finds out whether it runs, whether its rows may share a batch, and how long runs take.

A free first axis does not prove a batch: `x - mean(x, axis=0)` gives each caller the others' data. The model's graph
mostly tells; where it does not, rows are tried out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workbench.core.batch_proof import BatchEvidence, BatchProof, Verdict
from workbench.core.model import FREE, Signature
from workbench.core.ports import Session
from workbench.core.random_inputs import MAX_ELEMENTS, largest_input
from workbench.engine.admission import ALONE, ShapeKey
from workbench.engine.row_trial import trouble_with_two, try_rows
from workbench.errors import WorkbenchError
from workbench.runtimes.first_run import FREE_SIZES, first_size_that_runs, made_up_rows

ATTEMPTS = 5
"""Runs of each size at the most."""

SEED_BUDGET_S = 0.5
"""Seconds that measuring run times may take, for one model on one session."""

QUANTIZATION = (
    "Dynamic quantization takes one scale for all rows of a batch, so a large number or a NaN in one caller's row "
    "would spoil the others' answers. Quantize the model statically to have it batched; if all rows are of one "
    "magnitude, you may set batching = always (%infer set NAME batching=always)"
)

MOST_NAMED = 4
"""Operators that a status names."""

UNANALYSED = BatchProof()

_ROWS = 5
"""The most that a trial of its rows has at once."""


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The findings of a warm-up."""

    ran: bool
    """False: no made-up input was accepted, so no run was measured."""
    batched: bool
    reason: str
    """One sentence saying why it is, or is not, served batched."""
    evidence: BatchEvidence = BatchEvidence.NONE
    """Of a batched model, what shows that its rows may share a run."""
    advice: str = ""
    """One sentence saying what would have it batched, where that is known."""
    run_s: Mapping[int, float] = field(default_factory=dict)
    """Batch size -> seconds of one run; empty where none was measured."""
    key: ShapeKey = ALONE
    """The shape of the rows that were measured."""
    free_size: int | None = None
    """Of free axes other than the first, with which it ran."""
    untried: str = ""
    """Why no run was tried, or none was measured, as a clause; empty: it was, or nothing batched needs it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What measuring runs has found."""

    run_s: Mapping[int, float]
    """Batch size -> seconds of one run."""
    untried: str = ""
    """Why there is none, as a clause."""


def warm_up(
    session: Session,
    batching: str,
    max_batch_size: int,
    proof: BatchProof = UNANALYSED,
    clock: Callable[[], float] = time.perf_counter,
    sizes: Sequence[int] = (),
    promised: bool = False,
) -> WarmUp:
    """Run `session` on made-up rows. `batching` is ModelConfig's, `proof` what the model's graph says. Blocks.

    `sizes` are those to measure; empty: doubling ones up to `max_batch_size`. `promised`: its owner says that its rows
    may share a run, which counts where nothing speaks against it.
    """
    signature = session.signature
    free_size, trouble = first_size_that_runs(session, _ROWS)
    found = _decided(session, batching, proof, promised, free_size, clock)
    if free_size is None:
        return replace(found, untried=f"made-up inputs failed ({trouble})")
    if not found.batched:
        return found
    row = made_up_rows(session, 1, free_size)
    key = tuple(row[spec.name].shape[1:] for spec in signature.inputs)
    measured = measure(session, free_size, sizes or doubling(max_batch_size), clock)
    return replace(found, run_s=measured.run_s, untried=measured.untried, key=key)


def _decided(
    session: Session,
    batching: str,
    proof: BatchProof,
    promised: bool,
    free_size: int | None,
    clock: Callable[[], float],
) -> WarmUp:
    """Whether the rows of requests may share a run, and why."""

    def unbatched(why: str, advice: str = "") -> WarmUp:
        return WarmUp(free_size is not None, False, f"unbatched: {why}", advice=advice, free_size=free_size)

    def batched(why: str, evidence: BatchEvidence) -> WarmUp:
        return WarmUp(free_size is not None, True, f"batched: {why}", evidence, free_size=free_size)

    if fixed := _fixed_axis(session.signature):  # whatever the settings say: there are no rows to join
        return unbatched(fixed)
    if batching == "never":
        return unbatched("its settings say batching = never")
    if _independent(proof, session.signature):
        row = None if free_size is None else made_up_rows(session, 1, free_size)
        if row and (trouble := trouble_with_two(session, row)):  # an export that holds the batch it was made with
            return unbatched(f"its graph keeps rows apart, but {trouble}")
        return batched("rows do not influence each other, proved by its graph", BatchEvidence.PROVED)
    if batching == "always":
        known = f", though {proof.reason}" if proof.verdict is Verdict.DEPENDENT else ""
        return batched(f"its settings say batching = always{known}", BatchEvidence.DECLARED)
    if proof.verdict is Verdict.DEPENDENT:
        return unbatched(proof.reason, QUANTIZATION if proof.only_quantization else "")
    unclear = _unclear(proof)
    if batching == "proved":
        return unbatched(f"its settings say batching = proved, and its graph does not prove it: {unclear}")
    trial = try_rows(session, proof.hints, FREE_SIZES if free_size is None else (free_size,), clock)
    if trial.finding:
        return unbatched(f"{trial.finding}, in a trial of made-up rows")
    if not trial.kinds:
        nothing = f"its graph does not prove it ({unclear}), and made-up rows told nothing ({trial.trouble})"
        if promised:
            who = "its author says so" if proof.declared else "its config.pbtxt gives a max_batch_size"
            return batched(f"{who}, though {nothing}", BatchEvidence.DECLARED)
        return unbatched(f"{nothing}; set batching = always if you know")
    return batched(
        f"rows did not influence each other in a trial (sampled, not proved: {unclear})", BatchEvidence.SAMPLED
    )


def _independent(proof: BatchProof, signature: Signature) -> bool:
    """Proved, and so that each output can be split among the callers."""
    outputs = {spec.name for spec in signature.outputs}
    return proof.verdict is Verdict.INDEPENDENT and outputs <= set(proof.row_outputs)


def _unclear(proof: BatchProof) -> str:
    """What of its graph was not understood, as a clause."""
    if not proof.operators:
        return proof.reason
    others = len(proof.operators) - MOST_NAMED
    return f"no rule for {', '.join(proof.operators[:MOST_NAMED])}" + (f" and {others} more" if others > 0 else "")


def measure(
    session: Session, free_size: int, sizes: Iterable[int], clock: Callable[[], float] = time.perf_counter
) -> Measured:
    """The quickest of a few runs for each batch size. Each has its first before any has its second, so that a machine
    that is busy for a moment spoils no size; where the budget is spent before that, the larger ones are not measured.
    """
    signature = session.signature
    sizes = [size for size in sizes if largest_input(signature.inputs, size, free_size) <= MAX_ELEMENTS]
    if not sizes:
        return Measured({}, f"batches of the sizes that are set have more than {MAX_ELEMENTS:,} elements")
    names = [spec.name for spec in signature.outputs]
    rows = made_up_rows(session, max(sizes), free_size)
    free = {spec.name for spec in signature.inputs if spec.shape[:1] == (FREE,)}
    run_s: dict[int, float] = {}
    untried = ""
    started = clock()
    end = started + SEED_BUDGET_S
    try:
        for attempt in range(ATTEMPTS):
            for size in sizes:
                inputs = {name: array[:size] if name in free else array for name, array in rows.items()}
                if not attempt:
                    session.run(inputs, names)  # the first run of a new size allocates
                if (now := clock()) > end:
                    slow = f"the first run took {now - started:.1f} s, and measuring may take {SEED_BUDGET_S:g} s"
                    return Measured(run_s, "" if run_s else slow)
                session.run(inputs, names)
                run_s[size] = min(run_s.get(size, float("inf")), clock() - now)
    except WorkbenchError as error:  # what was measured holds
        untried = f"a run of {size} rows failed ({error.message})"
    return Measured(run_s, "" if run_s else untried)


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
    ranked_outputs = [spec for spec in signature.outputs if spec.ranked]
    spec = next(spec for spec in (*signature.inputs, *ranked_outputs) if spec.shape[:1] != (FREE,))
    kind = "input" if spec in signature.inputs else "output"
    if not spec.ranked:
        return f"the file does not say how many axes {kind} {spec.name!r} has, so any shape is taken"
    if not spec.shape:
        return f"{kind} {spec.name!r} is a scalar"
    return f"the first axis of {kind} {spec.name!r} is fixed at {spec.shape[0]}"
