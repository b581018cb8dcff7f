"""Turns a user's value into the arrays of a request, by the model's signature.

A wider number becomes the model's own type after a range check, one row gains the batch axis, a DataFrame's columns are
taken in order (or by name, for a model with one input per column), and text becomes BYTES. A missing value (None, NaN,
pandas.NA) is sent as the model says that it takes one. Nothing is rounded, cut, filled in or guessed. Each error says
what the model takes and what it got.
"""

from __future__ import annotations

import difflib
import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.table_columns import REFUSED
from workbench.core.tensor import BYTES, Array, dtype_of
from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Adapted:
    """The inputs of one or several requests."""

    inputs: Mapping[str, Array]
    """In the model's order, of the model's dtypes, C-contiguous."""
    rows: int | None
    """The common size of the first axes; None if the inputs do not share a free first axis."""
    index: Any = None
    """The pandas index of the rows, if the value had one."""


def adapt(value: object, signature: Signature, model: str, *, batched: bool = True) -> Adapted:
    """Convert `value` to a model's inputs; `model` is the name for errors. Raises InvalidInput.

    With `batched` False the first axes need not be rows, and so not agree.
    """
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        value = _from_records(value)
    parts = _by_name(value, signature, model)
    inputs = {spec.name: _fit(parts[spec.name], spec) for spec in signature.inputs}
    free = all(spec.shape[:1] == (FREE,) for spec in signature.inputs)
    rows = {name: array.shape[0] for name, array in inputs.items()} if free else {}
    if len(set(rows.values())) > 1 and not batched:
        rows = {}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name!r} has {count}" for name, count in rows.items())
        raise InvalidInput(f"the inputs of {model!r} need the same number of rows; {counts}")
    count = next(iter(rows.values()), None)
    index = getattr(value, "index", None) if _is_frame(value) or _is_series(value) else None
    return Adapted(inputs, count, index if index is not None and len(index) == count else None)


def split(inputs: Mapping[str, Array], rows: int | None, largest: int) -> Iterator[dict[str, Array]]:
    """Yield parts of at most `largest` rows, as views; with `largest` 0, all in one."""
    if rows is None or largest < 1 or rows <= largest:
        yield dict(inputs)
        return
    for start in range(0, rows, largest):
        yield {name: array[start : start + largest] for name, array in inputs.items()}


def describe(spec: TensorSpec) -> str:
    """Describe an input or output to a user: `X FP32[rows, 64]`, `X FP32[...]` if any shape fits."""
    if not spec.ranked:
        return str(spec)
    sizes = ["any" if size == FREE else str(size) for size in spec.shape]
    if spec.shape[:1] == (FREE,):
        sizes[0] = "rows"
    return f"{spec.name} {spec.datatype}[{', '.join(sizes)}]"


def did_you_mean(wanted: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'digits'?`, or nothing."""
    near = difflib.get_close_matches(wanted, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


# Names


def _by_name(value: object, signature: Signature, model: str) -> Mapping[str, object]:
    names = [spec.name for spec in signature.inputs]
    if len(names) == 1 and (found := _by_columns(value, signature.inputs[0], model)) is not None:
        return {names[0]: found}
    if isinstance(value, Mapping):
        given = {name: part for name, part in value.items() if name not in signature.ignored}
        return _checked_names(given, names, f"the inputs of {model!r}", "inputs")
    held: Any = value
    columns: list[Any] = list(held.columns) if _is_frame(value) else list(held.index) if _is_series(value) else []
    if len(names) == 1 and not (names[0] in columns and len(columns) > 1 and signature.inputs[0].shape[1:] == (1,)):
        return {names[0]: value}
    if _is_frame(value) or (columns and not set(map(str, columns)).isdisjoint(names)):
        read = (column for column in columns if str(column) not in signature.ignored)
        by_name = {_spelt(str(column), names): held[column] for column in read}
        return _checked_names(by_name, names, f"the columns of {model!r}", "columns")
    table = "a DataFrame with these columns, or " if all(s.shape[1:] == (1,) for s in signature.inputs) else ""
    raise InvalidInput(
        f"{model!r} has {len(names)} inputs ({', '.join(map(describe, signature.inputs))}); "
        f"pass {table}a dict with an array for each, not one {type(value).__name__}"
    )


def _by_columns(value: Any, spec: TensorSpec, model: str) -> Any:
    """The columns of a table in the model's order, for an input that takes a table as a whole and knows their names;
    None for a value that has no names of columns."""
    wanted = list(spec.columns)
    if not wanted:
        return None
    what = f"the columns of {model!r}"
    if _is_frame(value) or (_is_series(value) and len(value)):
        given = list(value.columns if _is_frame(value) else value.index)
        names = [_spelt(str(name), wanted) for name in given]
        if not all(isinstance(name, str) for name in given) and set(names) != set(wanted):
            return None  # numbered columns are no names
        _checked_names(dict.fromkeys(names), wanted, what, "columns")
        places = [names.index(name) for name in wanted]
        return value.iloc[:, places] if _is_frame(value) else value.iloc[places]
    if isinstance(value, Mapping) and spec.name not in value:
        value = {_spelt(str(name), wanted): column for name, column in value.items()}
        _checked_names(value, wanted, what, "columns")
        return np.stack([np.asarray(value[column]) for column in wanted], axis=-1)
    return None


def _spelt(name: str, wanted: list[str]) -> str:
    """The model's own spelling of a column: LightGBM writes _ for a space."""
    return underscored if name not in wanted and (underscored := name.replace(" ", "_")) in wanted else name


def _from_records(rows: list[Mapping[Any, object]]) -> dict[Any, object]:
    """The columns of a list of rows, each of which is a dict of them."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    for place, row in enumerate(rows):
        if lacking := [str(name) for name in names if name not in row]:
            raise InvalidInput(f"row {place} has no {_listed(lacking)}, which other rows have")
    return {name: _column([row[name] for row in rows]) for name in names}


def _column(values: list[Any]) -> object:
    """An array, of objects where numpy would make text of all of them."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array if any(item is None or isinstance(item, str | bytes) for item in values) else values


def _checked_names(given: Mapping[Any, object], names: list[str], what: str, kind: str) -> Mapping[str, object]:
    missing = [name for name in names if name not in given]
    unknown = [str(name) for name in given if name not in names]
    if not missing and not unknown:
        return given
    said = [f"{what} are {_listed(names)}"]
    if missing:
        said.append(f"missing: {_listed(missing)}")
    if unknown:
        said.append(f"unknown: {_listed(unknown)}")
    if missing and unknown:
        pairs = [(name, difflib.get_close_matches(name, missing, n=1)) for name in unknown]
        if meant := [f"{near[0]!r} for {name!r}" for name, near in pairs if near]:
            said.append(f"did you mean {', '.join(meant)}?")
    elif unknown and kind == "columns":
        said.append("drop the others first")
    raise InvalidInput("; ".join(said))


def _listed(names: list[str], most: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


# Shapes


def _fit(value: object, spec: TensorSpec) -> Array:
    array = _cast(_as_array(value, spec), spec)
    if spec.missing == REFUSED and array.dtype.kind == "f" and (missing := np.isnan(array)).any():
        raise InvalidInput(_no_missing(spec, tuple(int(i) for i in np.argwhere(missing)[0])))
    if not spec.ranked:
        return np.asarray(array, order="C")
    array = np.asarray(_with_batch_axis(array, spec.shape), order="C")
    if array.ndim != len(spec.shape):
        raise InvalidInput(
            f"input {describe(spec)} has {len(spec.shape)} axes; an array of shape {list(array.shape)} was given"
            + _columns_hint(value, spec)
        )
    for axis, (size, wanted) in enumerate(zip(array.shape, spec.shape, strict=True)):
        if wanted not in (FREE, size):
            raise InvalidInput(
                f"input {describe(spec)}: axis {axis} takes {wanted}; an array of shape {list(array.shape)} was given"
                + _columns_hint(value, spec)
            )
    return array


def _with_batch_axis(array: Array, shape: tuple[int, ...]) -> Array:
    if len(shape) == 2 and shape[1] == 1 and array.ndim < 2:
        return array.reshape(-1, 1)  # a column, or one cell of it
    if array.ndim == len(shape) - 1 and shape[0] in (FREE, 1):
        return array[np.newaxis]
    return array


def _columns_hint(value: object, spec: TensorSpec) -> str:
    if not _is_frame(value) or len(spec.shape) != 2:
        return ""
    columns = [str(column) for column in value.columns]  # type: ignore[attr-defined]
    return f" (a DataFrame with the columns {_listed(columns)})"


# Types


def _is_frame(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_series(value: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series)


def _as_array(value: object, spec: TensorSpec) -> Array:
    if _is_frame(value) and spec.datatype != BYTES:
        frame: Any = value
        words = [str(name) for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if dtype.kind not in "iufb"]
        if words:
            raise InvalidInput(f"input {describe(spec)} takes numbers; the columns {_listed(words)} hold none")
        if frame.isna().to_numpy().any() and any(not isinstance(dtype, np.dtype) for dtype in frame.dtypes):
            return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(frame.to_numpy())
    if _is_series(value):
        series: Any = value
        if not isinstance(series.dtype, np.dtype) and series.dtype.kind in "iufb" and series.hasnans:
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(series.to_numpy())
    if spec.missing and isinstance(value, list):
        value = _column(value)
    for step in ("detach", "cpu", "toarray"):  # a torch tensor, on a GPU perhaps; a scipy sparse matrix
        if callable(convert := getattr(value, step, None)):
            value = convert()
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":  # numpy has no such type, and FP32 holds its values
        tensor: Any = value
        value = tensor.float()
    try:
        if spec.datatype == BYTES:  # numpy's own bytes would lose zeros at their ends
            return np.asarray(_files_of(value), dtype=None if isinstance(value, np.ndarray) else object)
        return np.asarray(value)
    except (ValueError, TypeError):
        raise InvalidInput(
            f"input {describe(spec)}: a {type(value).__name__} is not an array: "
            "it has rows of different lengths, or no numbers"
        ) from None


def _files_of(value: Any) -> Any:
    """`value`, with each picture of Pillow as the bytes of a PNG file."""
    module = sys.modules.get("PIL.Image")
    if module is None:
        return value
    if isinstance(value, list | tuple):
        return [_files_of(each) for each in value] if any(isinstance(each, module.Image) for each in value) else value
    if not isinstance(value, module.Image):
        return value
    file = io.BytesIO()
    value.save(file, "PNG")
    return file.getvalue()


def _cast(array: Array, spec: TensorSpec) -> Array:
    if spec.datatype == BYTES:
        return _text(array, spec)
    if array.dtype == object:
        array = _numbers(array, spec)
    target = dtype_of(spec.datatype)
    if array.dtype == target:
        return array
    kind = array.dtype.kind
    if kind in "US":
        raise InvalidInput(f"input {describe(spec)} takes numbers; text was given ({array.flat[0].item()!r:.40})")
    if kind not in "biufV" or (kind == "V" and array.dtype.names is not None):
        raise InvalidInput(f"input {describe(spec)} takes numbers; an array of {array.dtype} was given")
    if target.kind in "iu":
        return _whole(array, target, spec)
    if target.kind == "b":
        if kind not in "iu" or not np.isin(array, (0, 1)).all():
            raise InvalidInput(f"input {describe(spec)} takes True and False; an array of {array.dtype} was given")
        return array.astype(target)
    return _floats(array, target, spec)


def _floats(array: Array, target: np.dtype[Any], spec: TensorSpec) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(target)
        lost = np.isfinite(array) & ~np.isfinite(cast.astype(np.float32) if target.itemsize == 2 else cast)
    if lost.any():
        raise InvalidInput(_out_of_range(array, lost, spec))
    return cast


def _whole(array: Array, target: np.dtype[Any], spec: TensorSpec) -> Array:
    if array.dtype.kind not in "iub":
        raise InvalidInput(
            f"input {describe(spec)} takes whole numbers; an array of {array.dtype} was given. "
            f"Convert it yourself if that is meant: X.astype('{target}')"
        )
    if array.dtype.kind != "b" and array.size:
        low, high = np.iinfo(target).min, np.iinfo(target).max
        # Compared as Python integers: numpy would compare int64 with uint64 as float64 and miss the edge.
        if int(array.min()) < low or int(array.max()) > high:
            lost = np.zeros(array.shape, bool)
            lost.flat[array.argmin() if int(array.min()) < low else array.argmax()] = True
            raise InvalidInput(_out_of_range(array, lost, spec))
    return array.astype(target)


def _out_of_range(array: Array, lost: Array, spec: TensorSpec) -> str:
    where = tuple(int(i) for i in np.argwhere(lost)[0])
    return (
        f"input {describe(spec)}: {array[where]!s} at {list(where)} does not fit {spec.datatype}"
        if where
        else f"input {describe(spec)}: {array!s} does not fit {spec.datatype}"
    )


def _numbers(array: Array, spec: TensorSpec) -> Array:
    """Convert an object array to the narrowest of bool, int64 and float64 that holds it.

    None is NaN only where the model says that it takes missing values.
    """
    if spec.missing:
        missing = np.array([_is_missing(item) for item in array.flat], dtype=bool).reshape(array.shape)
        if missing.any():
            if spec.missing == REFUSED:
                raise InvalidInput(_no_missing(spec, tuple(int(i) for i in np.argwhere(missing)[0])))
            array = np.where(missing, np.nan, array)
    if array.size and all(isinstance(item, bool | np.bool_) for item in array.flat):
        return array.astype(np.bool_)
    for where, item in np.ndenumerate(array):
        if not isinstance(item, int | float | np.number | np.bool_):
            raise InvalidInput(f"input {describe(spec)} takes numbers; {_said(item)} was given{_place(where)}")
    whole = all(isinstance(item, int | np.integer) for item in array.flat)
    try:
        return array.astype(np.int64 if whole else np.float64)
    except OverflowError:
        raise InvalidInput(f"input {describe(spec)}: a number does not fit 64 bits") from None


def _said(item: object) -> str:
    """Describe a value that is not a number or text."""
    if item is None:
        return "None"
    if isinstance(item, str | bytes | int | float):
        return f"{item!r:.40}"
    name = type(item).__name__
    return f"{'an' if name[:1] in 'AEIOUaeio' else 'a'} {name}"


def _place(where: tuple[int, ...]) -> str:
    if len(where) == 2:
        return f" at row {where[0]}, column {where[1]}"
    return f" at index {', '.join(map(str, where))}" if where else ""


def _no_missing(spec: TensorSpec, where: tuple[int, ...]) -> str:
    row = f"row {where[0]} of " if where else ""
    column = f" (its column {where[1]})" if len(where) > 1 and spec.shape[1:] != (1,) else ""
    return (
        f"{row}{spec.name!r}{column} is missing, and the model was trained without missing values there; "
        "fill it, or leave the row out"
    )


def _is_missing(item: Any) -> bool:
    if isinstance(item, str | bytes):
        return False
    return item is None or item is getattr(sys.modules.get("pandas"), "NA", None) or _is_nan(item)


def _is_nan(item: Any) -> bool:
    differs = item != item
    return isinstance(differs, bool | np.bool_) and bool(differs)


def _text(array: Array, spec: TensorSpec) -> Array:
    if spec.missing and array.dtype.kind == "f" and np.isnan(array).all():
        array = array.astype(object)  # a column of text, all of it missing
    if array.dtype.kind not in "USO" and array.dtype.kind != "T":
        picture = array.dtype == np.uint8 and array.ndim > 1
        hint = "; send a picture as Pillow's, Image.fromarray(X), or as the bytes of its file" if picture else ""
        raise InvalidInput(f"input {describe(spec)} takes text; an array of {array.dtype} was given{hint}")
    items = array.reshape(-1).tolist()
    stand_in = spec.missing.encode() if spec.missing and spec.missing != REFUSED else None
    try:  # each different one once: columns repeat a few texts
        texts = {item: _encoded(item, stand_in) for item in dict.fromkeys(items)}
        encoded = np.empty(len(items), dtype=object)
        encoded[:] = list(map(texts.__getitem__, items))
    except TypeError:
        place = next(place for place, item in enumerate(items) if not _is_text(item, stand_in))
        where = tuple(int(i) for i in np.unravel_index(place, array.shape))
        if spec.missing == REFUSED and _is_missing(items[place]):
            raise InvalidInput(_no_missing(spec, where)) from None
        raise InvalidInput(
            f"input {describe(spec)} takes text; {_said(items[place])} was given{_place(where)}"
        ) from None
    return encoded.reshape(array.shape)


def _is_text(item: object, stand_in: bytes | None) -> bool:
    return isinstance(item, str | bytes) or (stand_in is not None and _is_missing(item))


def _encoded(item: Any, stand_in: bytes | None) -> bytes:
    """Raises TypeError for what is no text."""
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return bytes(item)
    if stand_in is not None and _is_missing(item):
        return stand_in
    raise TypeError
