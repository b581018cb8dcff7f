"""What a call gives back: mappings and lists that show themselves well in a terminal and in a notebook.

Everything is escaped where it becomes HTML, and nothing here talks to a service.
"""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from workbench.client.adapt import describe
from workbench.client.grid import grids
from workbench.core.messages import Timings
from workbench.core.model import ModelState, ModelStatus
from workbench.core.tensor import Array
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd

    from workbench.rendezvous.record import ServiceRecord


class Tabular:
    """What can become a pandas DataFrame."""

    def to_pandas(self) -> pd.DataFrame:
        raise NotImplementedError

    @property
    def df(self) -> pd.DataFrame:
        """`to_pandas()`, for short."""
        return self.to_pandas()


# Predictions


@dataclass(frozen=True, slots=True, repr=False)
class CallTimings:
    """Where the time of one call went. A call of many rows travels as several requests at the same time."""

    wall_s: float
    """From the call to the answer, as the caller saw it."""
    requests: tuple[Timings, ...] = ()
    """What the service says of each request, in the order of the rows."""

    @property
    def queued_s(self) -> float:
        """Waiting for a runner; the mean over the requests."""
        return self._mean("queued_s")

    @property
    def ran_s(self) -> float:
        """Inside the runtime, for the whole batch; the mean over the requests."""
        return self._mean("ran_s")

    @property
    def batch_size(self) -> int:
        """Rows of the largest batch that one of the requests travelled in, other callers' rows included."""
        return max((timings.batch_size for timings in self.requests), default=0)

    def _mean(self, name: str) -> float:
        return float(np.mean([getattr(timings, name) for timings in self.requests])) if self.requests else 0.0

    def __str__(self) -> str:
        if not self.requests:
            return milliseconds(self.wall_s)
        inside = float(np.mean([timings.total_s for timings in self.requests]))
        rest = max(inside - self.queued_s - self.ran_s, 0.0)
        spent = f"{milliseconds(self.ran_s)} in the model, {milliseconds(self.queued_s)} waiting for it"
        if len(self.requests) == 1:
            wire = max(self.wall_s - inside, 0.0) + rest
            batch = f"; {counted(self.batch_size, 'row')} in its batch" if self.batch_size else ""
            return f"{milliseconds(self.wall_s)}: {spent}, {milliseconds(wire)} sending and receiving{batch}"
        batch = f"; batches of up to {counted(self.batch_size, 'row')}" if self.batch_size else ""
        many = f"{len(self.requests)} requests at once, each {spent} on average"
        return f"{milliseconds(self.wall_s)}: {many}{batch}"

    __repr__ = __str__


class Prediction(Tabular, Mapping[str, Array]):
    """The outputs of a model, by name and in its order; text comes as str where it is UTF-8.

    `np.asarray(prediction)` and `.array` are the first output, which for a classifier is its labels.
    """

    def __init__(
        self, model: str, version: str, outputs: Mapping[str, Array], timings: CallTimings, index: Any = None
    ) -> None:
        self.model = model
        self.version = version
        self.timings = timings
        self._outputs = {name: _readable(array) for name, array in outputs.items()}
        self._index = index

    def __getitem__(self, name: str) -> Array:
        try:
            return self._outputs[name]
        except KeyError:
            raise KeyError(f"{name!r}; the outputs are {', '.join(map(repr, self._outputs))}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    # A Mapping's own would take arrays for truth values; beside an array, numpy compares the first output.
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
        """A row a row, a column a value: an output of k values a row becomes NAME_0 to NAME_k-1.

        An output of more than two axes becomes one column of arrays. A DataFrame that was sent gives its index.
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
        lines = [line for grid in grids(self, self._index) for line in grid.text()]
        return "\n".join(
            [
                f"{self.model}, version {self.version}: {_shapes(self)}",
                *(f"  {line}" for line in lines),
                f"  {self.timings}",
            ]
        )

    def _repr_html_(self) -> str:
        title = f"<b>{escape(self.model)}</b>, version {escape(self.version)}: {escape(_shapes(self))}"
        tables = "".join(grid.html() for grid in grids(self, self._index))
        return f"<div>{title}{tables}<small>{escape(self.timings)}</small></div>"


# Models

NO_MODELS = "no models; load one: wb.load(NAME, SOURCE) or %infer load NAME SOURCE"


class ModelTable(Tabular, Sequence[ModelStatus]):
    """Model statuses that show as a table."""

    def __init__(self, statuses: Sequence[ModelStatus]) -> None:
        self._statuses = tuple(statuses)

    @overload
    def __getitem__(self, index: int) -> ModelStatus: ...
    @overload
    def __getitem__(self, index: slice) -> ModelTable: ...
    def __getitem__(self, index: int | slice) -> ModelStatus | ModelTable:
        return ModelTable(self._statuses[index]) if isinstance(index, slice) else self._statuses[index]

    def __len__(self) -> int:
        return len(self._statuses)

    def to_pandas(self) -> pd.DataFrame:
        """A row a version."""
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "model": status.name,
                    "version": status.version,
                    "state": str(status.state),
                    "reason": status.reason,
                    "routed": status.routed,
                    "device": status.device,
                    "max_batch_size": status.max_batch_size,
                    "batching": status.batching,
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
        return text_table([self._HEAD, *([cell.strip() for cell in self._row(status)] for status in self)])

    def _repr_html_(self) -> str:
        if not self:
            return "<div>No models yet: <code>%infer load NAME SOURCE</code> loads one.</div>"
        rows = [[escape(cell) for cell in self._row(status)] for status in self]
        for row, status in zip(rows, self, strict=True):
            row[2] = f"{state_dot(status.state)} {row[2]}"
        return html_table([escape(title) for title in self._HEAD], rows)

    _HEAD = ("model", "version", "state", "device", "batching")

    @staticmethod
    def _row(status: ModelStatus) -> list[str]:
        state = f"{status.state}: {status.reason}" if status.reason else str(status.state)
        return [status.name, status.version, state, status.device or "-", status.batching or "-"]


_STATE_COLOURS: Mapping[str, str] = {
    ModelState.LOADING: "#b8860b",
    ModelState.WARMING: "#b8860b",
    ModelState.READY: "#2e8b57",
    ModelState.DRAINING: "#808080",
    ModelState.GONE: "#808080",
    ModelState.FAILED: "#b22222",
}


def state_dot(state: str) -> str:
    """A dot in the state's colour, as HTML."""
    return f'<span style="color:{_STATE_COLOURS.get(state, "#808080")}">●</span>'


@dataclass(frozen=True, slots=True)
class Card:
    """A title and facts, as aligned text or a small table."""

    title: str
    facts: Mapping[str, object]
    """In the order shown; an empty one is left out."""

    def _shown(self) -> list[tuple[str, str]]:
        return [(name, str(value)) for name, value in self.facts.items() if value not in ("", None, ())]

    def __getitem__(self, name: str) -> object:
        return self.facts[name]

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self._shown()), default=0)
        return "\n".join([self.title, *(f"  {name:<{width}}  {value}" for name, value in self._shown())])

    def _repr_html_(self) -> str:
        rows = [[f"<b>{escape(name)}</b>", escape(value)] for name, value in self._shown()]
        return f"<div><b>{escape(self.title)}</b>{html_table([], rows) if rows else ''}</div>"


def model_card(status: ModelStatus) -> Card:
    """All that is known of one version."""
    signature = status.signature
    facts: dict[str, object] = {
        "state": f"{status.state}: {status.reason}" if status.reason else status.state,
        "device": status.device,
        "inputs": ", ".join(map(describe, signature.inputs)) if signature else "",
        "outputs": ", ".join(map(describe, signature.outputs)) if signature else "",
        "batching": status.batching,
        "largest batch": counted(status.max_batch_size, "row") if status.max_batch_size else "",
        "queue delay": milliseconds(status.config.max_queue_delay_s) if status.config.max_queue_delay_s else "",
        "instances": status.config.instances,
        "waiting": counted(status.queued, "request") if status.queued else "",
        "size": megabytes(status.size_bytes),
        "loaded in": milliseconds(status.load_s) if status.load_s else "",
        "digest": status.digest.removeprefix("sha256:")[:12],
        "execution": status.execution,
        "notes": " ".join(status.notes),
    }
    return Card(f"{status.name}, version {status.version}{' (serving)' if status.routed else ''}", facts)


def service_card(service: Mapping[str, object], token_file: str | None) -> Card:
    """What a service says of itself; `token_file` is None for one that this process did not start."""
    started = service.get("started_at")
    resident = service.get("resident_bytes")
    models = service.get("models")
    devices = service.get("devices")
    notes = service.get("notes")
    facts: dict[str, object] = {
        "state": service.get("state", ""),
        "url": service.get("url", ""),
        "token file": token_file or "",
        "pid": service.get("pid") if token_file is None else f"{service.get('pid')}, ends with this process",
        "version": service.get("version", ""),
        "up for": f"{max(time.time() - started, 0):.0f} s" if isinstance(started, int | float) else "",
        "runs under": _surroundings(service.get("runs_under")),
        "devices": ", ".join(map(str, devices)) if isinstance(devices, list) else "",
        "memory": megabytes(resident) if isinstance(resident, int) else "",
        "models": ", ".join(sorted({str(model["name"]) for model in models})) if isinstance(models, list) else "",
        "notes": "; ".join(map(str, notes)) if isinstance(notes, list) else "",
    }
    return Card("the service", facts)


def _surroundings(found: object) -> str:
    """What it runs under, in one line; nothing from a service that does not say."""
    if not isinstance(found, Mapping):
        return ""
    parts = [f"Python {found['python']}"] if "python" in found else []
    if isinstance(cores := found.get("cores"), int):
        parts.append(counted(cores, "core"))
    if "cuda_visible_devices" in found:
        parts.append(f"CUDA_VISIBLE_DEVICES={found['cuda_visible_devices']}")
    if "environment" in found:
        parts.append(f"the environment of {found['environment']}")
    return ", ".join(parts)


def shared_card(
    record: ServiceRecord | None, ended: tuple[str, float], holders: int, said: Mapping[str, object] | None
) -> Card:
    """The user's shared service: what its keeper publishes, and what the service itself says while it answers."""
    if record is None:
        why, when = ended
        return Card("the service", {"state": f"Stopped: {why}", "since": _clock_time(when)})
    facts: dict[str, object] = {
        "state": f"{record.state}: {record.reason}" if record.reason else record.state.value,
        "progress": record.progress,
        "since": _clock_time(record.since),
        "url": record.url,
        "token file": record.token_file,
        "processes": f"keeper {record.keeper.pid}" + (f", worker {record.worker.pid}" if record.worker else ""),
        "used by": counted(holders, "process", "es"),
        "version": record.version,
        "data": record.data_dir,
        "log": record.log_file,
    }
    if said is not None:
        card = service_card(said, None)
        facts |= {name: card[name] for name in ("up for", "runs under", "devices", "memory", "models", "notes")}
    return Card("the service", facts)


def _clock_time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s)) if unix_s else ""


# Loading


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did."""

    status: ModelStatus
    unchanged: bool
    previous: str | None
    """The version that served before and has been drained."""
    seconds: float
    """From the call to the routed version, conversion, upload and comparison included."""
    exported: str = ""
    """What a live object became; empty for a file."""
    compared: str = ""
    """How it was compared with the original, and the largest difference."""

    @property
    def version(self) -> str:
        return self.status.version

    def _headline(self) -> str:
        if self.unchanged:
            return f"{self.status.name} is unchanged, version {self.version} serving"
        instead = f" instead of version {self.previous}" if self.previous else ""
        if self.previous == self.version:
            instead = " with the new settings"
        where = f" on {self.status.device}" if self.status.device else ""
        return f"{self.status.name} version {self.version} serves{where}{instead}; it took {milliseconds(self.seconds)}"

    def _lines(self) -> list[str]:
        signature = self.status.signature
        lines = [self.exported, self.compared]
        if signature is not None and not self.unchanged:
            takes = ", ".join(map(describe, signature.inputs))
            gives = ", ".join(map(describe, signature.outputs))
            delay = self.status.config.max_queue_delay_s
            waits = f"a batch may wait {milliseconds(delay)} to grow" if delay else ""
            lines += [f"{takes} → {gives}", self.status.batching, waits, *self.status.notes]
        return [line for line in lines if line]

    def __repr__(self) -> str:
        return "\n  ".join([self._headline(), *self._lines()])

    def _repr_html_(self) -> str:
        lines = "".join(f"<br><small>{escape(line)}</small>" for line in self._lines())
        return f"<div><b>{escape(self._headline())}</b>{lines}</div>"


class Lines(tuple[str, ...]):
    """Lines of text, shown as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(self)


# Showing


def milliseconds(seconds: float) -> str:
    """`0.0042` -> `4.2 ms`; seconds from 1 s on."""
    if seconds >= 1.0:
        return f"{seconds:.2f} s"
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 0.095 else f"{value:.2f} ms"


def counted(count: int, what: str, plural: str = "s") -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {what}{'' if count == 1 else plural}"


def megabytes(size: int) -> str:
    if size <= 0:
        return ""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"


def _readable(array: Array) -> Array:
    """BYTES as str where all of it is UTF-8, else as it came."""
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


def text_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def escape(value: object) -> str:
    return html.escape(str(value))


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of cells that are HTML already."""
    align = ' style="text-align:left"'
    top = "<thead><tr>" + "".join(f"<th{align}>{cell}</th>" for cell in head) + "</tr></thead>" if head else ""
    body = "".join("<tr>" + "".join(f"<td{align}>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}<tbody>{body}</tbody></table>"
