"""Runs a model on made-up rows before anyone asks it something."""

from __future__ import annotations

import numpy as np

from workbench.core.model import FREE, Signature
from workbench.core.ports import Exampled, Session
from workbench.core.random_inputs import MAX_ELEMENTS, largest_input, random_inputs
from workbench.core.tensor import Array
from workbench.errors import WorkbenchError

FREE_SIZES = (8, 1, 32, 224)
"""Sizes tried, in turn, for free axes other than the first; one size for all of them, as tied axes need."""


def warmup_inputs(
    signature: Signature, rows: int, free_size: int, *, scale: float = 1.0, seed: int = 0
) -> dict[str, Array]:
    """`rows` random rows. Whole numbers are 0 or 1, which are valid as ids and as masks."""
    rng = np.random.default_rng(seed)
    return random_inputs(signature.inputs, rows, rng, free_size=free_size, scale=scale, whole_numbers=2)


def made_up_rows(session: Session, rows: int, free_size: int, seed: int = 0) -> dict[str, Array]:
    """`rows` rows that `session` takes, as far as its signature or itself tells."""
    if isinstance(session, Exampled):
        return session.examples(rows, seed)
    return warmup_inputs(session.signature, rows, free_size, seed=seed)


def first_size_that_runs(session: Session, rows: int = 1) -> tuple[int | None, str]:
    """The first size for free axes with which one row runs, or None and what the last try said.

    Sizes with which `rows` rows would be too large are passed over.
    """
    signature = session.signature
    inner_free = any(FREE in spec.shape[1:] for spec in signature.inputs)
    trouble = ""
    for free_size in FREE_SIZES if inner_free else FREE_SIZES[:1]:
        if largest_input(signature.inputs, rows, free_size) > MAX_ELEMENTS:
            trouble = "its inputs are too large to make up"
            continue
        try:
            session.run(made_up_rows(session, 1, free_size), [spec.name for spec in signature.outputs])
        except WorkbenchError as error:
            trouble = error.message
        else:
            return free_size, ""
    return None, trouble
