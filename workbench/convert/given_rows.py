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
        count = len(rows) if np.ndim(rows) else None
    except (ValueError, TypeError):
        raise InvalidInput(
            f"sample takes rows as predict takes them; this {type(sample).__name__} is no table of numbers or text, as "
            "where its rows are of different lengths"
        ) from None
    if count is None:
        raise InvalidInput(
            f"sample takes rows as predict takes them, an array, a list of rows or a DataFrame as X[:100]; got "
            f"{_shown(sample)}"
        )
    if not count:
        raise InvalidInput("sample takes rows as predict takes them; this holds none")
    every = -(-count // MOST_ROWS)
    return rows[::every] if every > 1 else rows


def _shown(sample: Any) -> str:
    if isinstance(sample, str | int | float):
        return f"{sample!r:.60}"
    keys = f" with {', '.join(repr(str(each)) for each in list(sample)[:3])}" if isinstance(sample, dict) else ""
    return f"a {type(sample).__name__}{keys}"
