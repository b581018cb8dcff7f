"""Results of calls: mappings and lists that display well in a terminal and in a notebook.

Everything is escaped where it becomes HTML, and nothing here talks to a service.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import numpy as np

from workbench.client.array_table import grids
from workbench.client.formatting import counted, escape, milliseconds, text_lines
from workbench.client.input_adapter import describe
from workbench.client.summary import state_dot
from workbench.client.table import Cell, Table, heading_html, output_html
from workbench.core.circuit import CircuitState
from workbench.core.messages import CacheUse, Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.tensor import Array
from workbench.errors import InvalidInput
from workbench.visible_text import visible

if TYPE_CHECKING:
    import pandas as pd


T = TypeVar("T", covariant=True)


class Tabular:
    """Base of results that can become a pandas DataFrame."""

    def to_pandas(self) -> pd.DataFrame:
        raise NotImplementedError

    @property
    def df(self) -> pd.DataFrame:
        """Short for `to_pandas()`."""
        return self.to_pandas()


class Rows(Tabular, Sequence[T]):
    """Base of results that are a sequence of rows. A slice is of the same type."""

    def __init__(self, rows: Sequence[T]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> T | Self:
        if not isinstance(index, slice):
            return self._rows[index]
        part = copy.copy(self)
        part._rows = self._rows[index]
        return part

    def __len__(self) -> int:
        return len(self._rows)


def state_cell(state: str, text: str = "") -> Cell:
    """A state with a dot in its colour, and what is said of it."""
    return Cell(text or str(state), f"{state_dot(state)} ")


# Predictions

_FROM_CACHE: Mapping[str, str] = {
    CacheUse.HIT: "a kept answer, from the model's cache",
    CacheUse.REMOTE: "a kept answer, from the cache that several services share",
    CacheUse.JOINED: "answered by the run of an equal request that was under way",
}


@dataclass(frozen=True, slots=True, repr=False)
class CallTimings:
    """The timings of one call. A call of many rows is sent as several requests at the same time."""

    wall_s: float
    """Seconds from the call to the answer, as the caller saw it."""
    requests: tuple[Timings, ...] = ()
    """The service's timings of each request, in the order of the rows."""
    batched: bool = True
    """Whether the model is batched. A request of an unbatched one counts as one row, whatever it holds."""

    @property
    def cache(self) -> str:
        """Where an answer of a model with a result cache came from: "hit" (it had been kept), "remote" (where several
        services keep them), "joined" (an equal request was under way); empty where the model ran, and where only some
        of the requests were answered so."""
        uses = {timings.cache.value for timings in self.requests}
        return uses.pop() if len(uses) == 1 else ""

    @property
    def queued_s(self) -> float:
        """Seconds of waiting for a runner; the mean over the requests."""
        return self._mean("queued_s")

    @property
    def ran_s(self) -> float:
        """Seconds inside the runtime, for the whole batch; the mean over the requests."""
        return self._mean("ran_s")

    @property
    def batch_size(self) -> int:
        """Rows of the largest batch that ran one of the requests, other callers' rows included; 0 if unbatched."""
        return max((timings.batch_size for timings in self.requests), default=0) if self.batched else 0

    def _mean(self, name: str) -> float:
        return float(np.mean([getattr(timings, name) for timings in self.requests])) if self.requests else 0.0

    def __str__(self) -> str:
        if not self.requests:
            return milliseconds(self.wall_s)
        inside = float(np.mean([timings.total_s for timings in self.requests]))
        rest = max(inside - self.queued_s - self.ran_s, 0.0)
        spent = f"compute {milliseconds(self.ran_s)}, queue {milliseconds(self.queued_s)}"
        if len(self.requests) == 1:
            wire = max(self.wall_s - inside, 0.0) + rest
            if self.cache:
                return f"{milliseconds(self.wall_s)}: {_FROM_CACHE[self.cache]}"
            batch = f"; {counted(self.batch_size, 'row')} in its batch" if self.batch_size else ""
            return f"{milliseconds(self.wall_s)}: {spent}, the way there and back {milliseconds(wire)}{batch}"
        batch = f"; batches of up to {counted(self.batch_size, 'row')}" if self.batch_size else ""
        many = f"{len(self.requests)} requests at once, each {spent} on average"
        cached = sum(bool(timings.cache) for timings in self.requests)
        kept = f"; {cached} of them answered from the cache" if cached else ""
        return f"{milliseconds(self.wall_s)}: {many}{batch}{kept}"

    __repr__ = __str__


class Prediction(Tabular, Mapping[str, Array]):
    """The outputs of a model by name, in the model's order. Text is str where it is UTF-8.

    `np.asarray(prediction)` and `.array` are the first output: the labels of a classifier.
    """

    def __init__(
        self,
        model: str,
        version: str,
        outputs: Mapping[str, Array],
        timings: CallTimings,
        index: Any = None,
        labels: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`labels`: what the columns of an output are called, as the classes of a classifier; they head its columns."""
        self.model = model
        self.version = version
        self.timings = timings
        self._outputs = {name: _readable(array) for name, array in outputs.items()}
        self._index = index
        self._labels = labels or {}

    def __getitem__(self, name: str) -> Array:
        try:
            return self._outputs[name]
        except KeyError:
            raise KeyError(f"{name!r}; the outputs are {', '.join(map(repr, self._outputs))}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    # A Mapping's own would use arrays as truth values; compared with an array, numpy compares the first output.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def array(self) -> Array:
        """The first output."""
        return next(iter(self._outputs.values()))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.array
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"{array.dtype} cannot become {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per row and one column per value: k values per row become NAME_0 to NAME_k-1.

        An output of more than two axes becomes one column of arrays. The index is that of the DataFrame that was sent.
        """
        import pandas as pd

        lengths = {name: array.shape[0] if array.ndim else None for name, array in self.items()}
        if None in lengths.values() or len(set(lengths.values())) > 1:
            raise InvalidInput(f"the outputs have no rows in common: {_shapes(self)}; take them by name")
        columns: dict[str, Any] = {}
        for name, array in self.items():
            if array.ndim == 1:
                columns[name] = array
            elif array.ndim == 2 and array.shape[1] == 1:
                columns[name] = array[:, 0]
            elif array.ndim == 2:
                columns |= {f"{name}_{k}": array[:, k] for k in range(array.shape[1])}
            else:
                columns[name] = list(array)
        return pd.DataFrame(columns, index=self._index)

    def __repr__(self) -> str:
        lines = [line for grid in grids(self, self._index, self._labels) for line in grid.text()]
        return text_lines(
            [
                f"{self.model}, version {self.version}: {_shapes(self)}",
                *(f"  {line}" for line in lines),
                f"  {self.timings}",
            ]
        )

    def _repr_html_(self) -> str:
        title = f"<b>{escape(self.model)}</b>, version {escape(self.version)}: {escape(_shapes(self))}"
        tables = "".join(grid.html() for grid in grids(self, self._index, self._labels))
        return output_html(f"{title}{tables}<small>{escape(self.timings)}</small>")


# Models

NO_MODELS = "no models; load one: wb.load(NAME, SOURCE) or %infer load NAME SOURCE"


class ModelTable(Rows[ModelStatus]):
    """Model statuses, displayed as a table."""

    def to_pandas(self) -> pd.DataFrame:
        """Return one row per version."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "model": status.name,
                    "version": status.version,
                    "state": str(status.state),
                    "reason": status.reason,
                    "routed": status.routed,
                    "labels": status.version_labels,
                    "weight": status.weight,
                    "device": status.device,
                    "max_batch_size": status.max_batch_size,
                    "batching": status.batching,
                    "batch_evidence": str(status.batch_evidence),
                    "queued": status.queued,
                    "size_bytes": status.size_bytes,
                    "load_s": status.load_s,
                }
                for status in self
            ]
        )

    def __repr__(self) -> str:
        if not self:
            return NO_MODELS
        return "\n".join([self._table().text(), *map(visible, self._troubles())])

    def _repr_html_(self) -> str:
        if not self:
            return "<div>No models yet: <code>%infer load NAME SOURCE</code> loads one.</div>"
        return self._table(whole=True).html()

    def _table(self, whole: bool = False) -> Table:
        """`whole`: what is wrong with a version stands beside its state, where a narrow cell ends in an ellipsis."""
        versions = Counter(status.name for status in self)
        rows = [self._row(status, versions[status.name] > 1, whole) for status in self]
        return Table(("model", "version", "state", "device", "batching"), rows)

    @staticmethod
    def _row(status: ModelStatus, several: bool, whole: bool) -> list[Cell | str]:
        share = [f"{status.weight * 100:g} %"] if 0 < status.weight < 1 else []
        serves = ["serves"] if status.routed and several and not share else []
        version = ", ".join((status.version, *status.version_labels, *share, *serves))
        state = str(status.state)
        if whole and (trouble := _trouble(status)):
            state = trouble if trouble.startswith(state) else f"{state}, {trouble}"
        return [status.name, version, state_cell(status.state, state), status.device or "-", _batching(status)]

    def _troubles(self) -> list[str]:
        """Why versions are not Ready, or get no calls, a line each."""
        return [f"{each.name}, version {each.version}: {trouble}" for each in self if (trouble := _trouble(each))]


def _trouble(status: ModelStatus) -> str:
    """Why it is in its state, and what its circuit breaker says; empty where all is well."""
    said = [f"{status.state}: {status.reason}"] if status.reason else []
    if status.circuit is not None and status.circuit.state is not CircuitState.CLOSED:
        said.append(f"circuit breaker {status.circuit.state}: {status.circuit.reason}")
    return ", ".join(said)


def _batching(status: ModelStatus) -> Cell | str:
    """The most rows of a batch, and why."""
    if status.state is ModelState.FAILED or not status.batching:
        return "-"
    if status.pipeline is not None:
        return Cell("by its stages", more=status.batching)
    rows = status.max_batch_size
    return Cell(counted(rows, "row") if rows > 1 else "unbatched", more=status.batching)


# Loading


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load."""

    status: ModelStatus
    unchanged: bool
    previous: str | None
    """The version that served before and was drained."""
    seconds: float
    """Seconds from the call to the routed version, conversion, upload and comparison included."""
    exported: str = ""
    """What a live object was converted to, and remarks on it, as clauses; empty for a file."""
    compared: str = ""
    """How it was compared with the original, with the largest difference: one clause."""
    details: tuple[str, ...] = ()
    """A sentence for each comparison: on which rows, and what came of it."""
    replaced: str = ""
    """Whose version it replaced and when that was loaded, where it was another notebook's; one line."""

    @property
    def version(self) -> str:
        return self.status.version

    def _headline(self) -> str:
        """One line of clauses for a live object; for a file, which version serves."""
        if self.exported and not self.unchanged:
            done = f"{'serving' if self.status.routed else 'loaded'} in {milliseconds(self.seconds)}"
            return " · ".join(filter(None, [self.exported, self.compared, done]))
        return self._serving()

    def _serving(self) -> str:
        if self.unchanged:
            compared = f" · {self.compared}" if self.compared else ""
            which = "serving" if self.status.routed else "loaded already"
            return f"{self.status.name} is unchanged, version {self.version} {which}{compared}"
        if not self.status.routed:
            serves = f"version {self.previous} serves" if self.previous else "no version serves calls that name none"
            name = f"{self.status.name}:{self.version}"
            return f"{self.status.name} version {self.version} is loaded and answers as {name}; {serves}"
        instead = f" instead of version {self.previous}" if self.previous else ""
        if self.previous == self.version:
            instead = " with the new settings"
        where = f" on {self.status.device}" if self.status.device else ""
        took = "" if self.exported else f"; it took {milliseconds(self.seconds)}"
        return f"{self.status.name} version {self.version} serves{where}{instead}{took}"

    def _lines(self) -> list[str]:
        """What is said below the headline, a line each."""
        signature = self.status.signature
        lines = [self._serving() if self.exported and not self.unchanged else "", self.replaced, self._checks()]
        if signature is not None and not self.unchanged:
            takes = ", ".join(map(describe, signature.inputs))
            gives = ", ".join(map(describe, signature.outputs))
            delay = self.status.config.max_queue_delay_s
            waits = f"a batch may wait {milliseconds(delay)} to grow" if delay else ""
            lines += [f"{takes} → {gives}", self._batches, waits, *self.status.notes]
        return [line for line in lines if line]

    @property
    def _batches(self) -> str:
        """The most rows of a batch, of which `%infer show` has the reason; where there are none, why."""
        rows = self.status.max_batch_size
        return f"batches of up to {counted(rows, 'row')}" if rows > 1 else self.status.batching

    def _checks(self) -> str:
        """The first comparison, and how many more there were; `%infer show` has the sums by output."""
        if len(self.details) < 2:
            return "".join(self.details)
        return f"{self.details[0]}; and in {counted(len(self.details) - 1, 'other way')}, in the report's .details"

    def __repr__(self) -> str:
        return text_lines([self._headline(), *(f"  {line}" for line in self._lines())])

    def _repr_html_(self) -> str:
        lines = "".join(f"<div><small>{self._line_html(line)}</small></div>" for line in self._lines())
        return output_html(heading_html(self._headline()) + lines)

    def _line_html(self, line: str) -> str:
        """A line; that of the batches unfolds to the reason."""
        if line != self._batches or not self.status.batching or line == self.status.batching:
            return escape(line)
        summary = f'<summary style="display:list-item;margin:0">{escape(line)}</summary>'
        return f'<details style="margin:0">{summary}<div>{escape(self.status.batching)}</div></details>'


class Lines(tuple[str, ...]):
    """Lines of text, displayed one below the other."""

    __slots__ = ()

    def __repr__(self) -> str:
        return text_lines(self)


def _readable(array: Array) -> Array:
    """Return BYTES as str if all of it is UTF-8, else unchanged."""
    if array.dtype != object:
        return array
    text = np.empty(array.shape, dtype=object)
    try:
        for where, item in np.ndenumerate(array):
            text[where] = item.decode() if isinstance(item, bytes) else item
    except UnicodeDecodeError:
        return array
    return text


def _kind(array: Array) -> str:
    kind = "text" if array.dtype == object else str(array.dtype)
    return f"{kind}[{', '.join(map(str, array.shape))}]"


def _shapes(outputs: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {_kind(array)}" for name, array in outputs.items())
