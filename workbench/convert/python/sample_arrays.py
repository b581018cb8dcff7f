"""A sample of a function's call as arrays, and what they declare its inputs to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.core.model import FREE
from workbench.core.tensor import DATATYPES, Array
from workbench.errors import InvalidInput
from workbench.functions.function_bundle import ValueSpec
from workbench.functions.worker.function_arrays import as_array, kind_of

FEW = 20
"""Rows of a sample that are looked at before it is offered to serve something as Python."""


def is_table(sample: object) -> bool:
    return callable(getattr(sample, "to_dict", None)) and hasattr(sample, "columns")


def arrays_by_parameter(sample: object, names: list[str], what: str) -> dict[str, Array]:
    """The sample's arrays by parameter. InvalidInput where that does not fit."""
    given: Any = sample
    if not isinstance(given, Mapping):
        if len(names) == 1:
            given = {names[0]: given}
        elif isinstance(given, tuple) and len(given) == len(names):
            given = dict(zip(names, given, strict=True))
        else:
            raise InvalidInput(f"the sample of {what} is a dict with an array for each of {', '.join(names)}")
    if missing := [each for each in names if each not in given]:
        raise InvalidInput(f"the sample of {what} lacks {', '.join(missing)}")
    return {str(each): array_of(value, str(each)) for each, value in given.items()}


def array_of(value: object, name: str) -> Array:
    try:
        array = as_array(name, value)
    except Exception:
        array = None
    if (
        array is not None
        and array.dtype == object
        and not all(isinstance(each, str | bytes) for each in array.reshape(-1).tolist())
    ):
        array = None
    if array is None or (array.dtype not in DATATYPES and array.dtype.kind not in "UST"):
        raise InvalidInput(f"the sample of {name!r} {_why_not(value, array, name)}")
    found: Array = array
    return found.astype(object) if found.dtype.kind in "SUT" else found  # as it comes where it is served


def unsendable(sample: Any) -> str:
    """Why the first rows of a table cannot be sent to a function, with what to do; empty where they can."""
    if not is_table(sample):
        return ""
    try:
        for name, column in sample[:FEW].items():
            array_of(column.to_numpy(), str(name))
    except InvalidInput as error:
        return error.message
    return ""


def _why_not(value: Any, array: Array | None, name: str) -> str:
    """Why a value cannot be sent, and what to do."""
    dtype: Any = getattr(value, "dtype", None) if array is None else array.dtype
    if str(dtype).startswith(("datetime64", "timedelta64", "period")):
        return (
            f"holds dates ({dtype}), which no tensor can hold; send numbers or text in their place, as "
            f"df[{name!r}].astype('int64') or .astype(str), and make dates of them inside: pandas.to_datetime({name})"
        )
    if dtype is not None and any(each is None or _differs(each) for each in np.ravel(np.asarray(value, object))):
        return (
            "has missing values, and text that is sent cannot be missing; fill them before you train, as with "
            f"df[{name!r}].fillna(''), or leave the column out of the sample where it is not read"
        )
    kind = type(value).__name__ if array is None else f"array of {array.dtype}"
    return f"is of the type {kind}, which cannot be sent; give numbers or text"


def _differs(each: Any) -> bool:
    """Whether it differs from itself, as NaN does, or cannot tell, as pandas.NA."""
    try:
        return bool(each != each)
    except (TypeError, ValueError):
        return True


def spec_of(name: str, array: Array, rows: bool) -> ValueSpec:
    """With rows, further rows fit and all else is as in the sample; without, any sizes do."""
    datatype, text = kind_of(name, array)
    if rows and not array.ndim:
        raise InvalidInput(f"with --batch the first axis of each input is rows, and {name!r} is a single value")
    shape = (FREE, *array.shape[1:]) if rows else (FREE,) * array.ndim
    return ValueSpec(name, datatype, shape, text=text)
