"""Takes the rows that the caller gave to compare an export with."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.errors import InvalidInput

MOST_ROWS = 1000
"""More rows than these are thinned out evenly before they are compared."""


def thinned(sample: Any) -> Any:
    """`sample` itself when it is a DataFrame or Series, else an array; MOST_ROWS of it at most."""
    try:
        rows = sample if hasattr(sample, "iloc") else np.asarray(sample)
        count = len(rows) if np.ndim(rows) else 0
    except (ValueError, TypeError):
        raise InvalidInput("sample takes rows as predict takes them; this is no table of numbers or text") from None
    if not count:
        raise InvalidInput("sample takes rows as predict takes them; this holds none")
    every = -(-count // MOST_ROWS)
    return rows[::every] if every > 1 else rows
