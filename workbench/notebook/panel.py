"""`wb.panel()`: the side panel's actions as ipywidgets below a cell, in any notebook front end.

A button's work runs on a thread of its own, since it may take seconds and the kernel must stay free; its result or
error is shown next to the button. The state of the service comes from the feed, on the background thread.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.display import display

from workbench.client import sync
from workbench.client.formatting import counted, escape, megabytes
from workbench.client.summary import state_dot
from workbench.core.model import Signature
from workbench.core.runtime import runtimes
from workbench.errors import InvalidInput
from workbench.live.tryout import TryRequest, try_out
from workbench.notebook.action_button import ActionButton, bad
from workbench.notebook.live import LivePlot, cell_id, is_interactive
from workbench.notebook.model_list import ASKED_FOR_S, FILTER_FROM, arranged, current, filtered, last_asked, line_of
from workbench.notebook.svg_snapshot import shown_s
from workbench.rendezvous.service_record import ServiceState
from workbench.visible_text import visible

if TYPE_CHECKING:
    from workbench.api.handles import Workbench

_WIDE = {"width": "auto", "max_width": "46em"}
_NARROW = {"width": "22em"}
_LABELS = {"description_width": "9em"}

_MOST_LINES = 10
"""The most models that are seen at once; the list scrolls."""

_LOOKS = 24
"""Points in which it is looked for the last request of a model."""

_SHOWN_NUMBERS = 200
"""Most characters of an output's numbers."""


class ControlPanel(ipywidgets.VBox):  # type: ignore[misc]
    """Loads, watches, sets, tries and unloads models of one service. Updates until it is closed."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._feed = workbench.feed
        self._closed = False
        self._lock = threading.RLock()
        self._feed.hold(self)
        self._service = _Service(workbench)
        self._load = _Load(workbench)
        self._chosen = ipywidgets.Select(
            rows=1, layout={"width": "auto", "min_width": "22em", "max_width": "46em"}, tooltip="Models"
        )
        """The models; a browser finds by typing in it, and goes through it by arrow keys."""
        self._filter = ipywidgets.Text(placeholder="Filter models", layout=_NARROW)
        self._standing = ipywidgets.HTML()
        self._unload = ActionButton("Unload", "Finish the requests in progress, then free its memory", self._unloaded)
        self._settings = _Settings(workbench)
        self._try = _Try(workbench)
        self.plot: LivePlot = workbench.watch()
        """The live plot of the chosen model."""
        row = ipywidgets.HBox([self._unload.button, self._standing])
        parts = ipywidgets.Accordion(
            [self._load.box, self._settings.box, self._try.box], titles=("Load a model", "Settings", "Try it")
        )
        listed = [self._filter, self._chosen]
        super().__init__([self._service.box, *listed, row, self._unload.said, self.plot, parts])
        self._parts = parts
        self._chosen.observe(lambda change: self._choose(change["new"]), "value")
        self._filter.observe(lambda change: sync.start(self._filtered()), "value")
        self._ended = self._feed.listen(self._refresh)
        self._refresh()
        parts.selected_index = None if self._names() else 0

    def close(self) -> None:
        """Close the panel and its plot. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._ended()
        self.plot.close()
        self._feed.let_go(self)
        super().close()

    def __repr__(self) -> str:
        if self._closed:
            return "<ControlPanel, closed>"
        names = ", ".join(self._names()) or "no models"
        return visible(
            f"<ControlPanel of the service at {self._workbench.url}: {self._feed.service.state.value}, {names}>"
        )

    def _ipython_display_(self) -> None:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        if not self._closed and is_interactive():
            bundle["application/vnd.jupyter.widget-view+json"] = {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.model_id,
            }
            bundle["text/html"] = "<i>The panel is alive while its kernel is: run the cell again.</i>"
        cell = cell_id()
        before = _shown.get(cell) if cell else None
        if before is not None and before is not self:
            before.close()
        if cell:
            _shown[cell] = self
        display(bundle, raw=True)  # type: ignore[no-untyped-call]

    def _refresh(self) -> None:
        """Show a change of the service or a model. Called on any thread."""
        # Not under the lock, since it waits for the background thread, which may wait for the lock.
        found = self._feed.history(None, ASKED_FOR_S, _LOOKS)["models"]
        with self._lock:
            if self._closed:
                return
            self._service.show(self._feed.service.state, self._feed.service.reason, self._feed.service.device_words)
            models = self._models()
            # The time of the newest figures: the service's clock, not this machine's.
            now = max((columns["time"][-1] for columns in found.values() if columns["time"]), default=0.0)
            names = arranged(models, last_asked(found), now)
            self._filter.layout.display = "" if len(names) >= FILTER_FROM else "none"
            shown = filtered(names, self._filter.value) if len(names) >= FILTER_FROM else names
            options = [(line_of(name, models[name]), name) for name in shown]
            if list(self._chosen.options) != options:
                kept = self._chosen.value if self._chosen.value in shown else next(iter(shown), None)
                self._chosen.options = options
                self._chosen.rows = min(max(len(options), 1), _MOST_LINES)
                self._chosen.value = kept
            self._show_chosen()

    async def _filtered(self) -> None:
        """Show what the filter lets through; on the background thread, as all changes of the list."""
        self._refresh()

    def _models(self) -> dict[str, list[Mapping[str, Any]]]:
        """The versions of each model."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for status in self._feed.models:
            found.setdefault(str(status["name"]), []).append(status)
        return found

    def _names(self) -> list[str]:
        return list(self._models())

    def _choose(self, name: str | None) -> None:
        if self._closed:
            return
        # Not under the lock: a plot that another cell shows waits for the background thread to draw its picture, and
        # that thread may wait for the lock.
        self.plot.model = name
        with self._lock:
            self._show_chosen()

    def _show_chosen(self) -> None:
        versions = self._models().get(self._chosen.value)
        status = current(versions) if versions else None
        self._standing.value = "" if status is None else _standing(status)
        self._unload.enabled = status is not None
        self._settings.show(status)
        self._try.show(status)

    def _unloaded(self) -> str:
        name = self._chosen.value
        self._workbench.unload(name)
        return f"{escape(name)} is unloaded."


_shown: weakref.WeakValueDictionary[str, ControlPanel] = weakref.WeakValueDictionary()
"""Cell id -> its panel. When the cell runs again, the earlier panel is closed."""


class _Service:
    """The state of the service; buttons that start, restart and stop a shared one."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._state = ipywidgets.HTML()
        self._start = ActionButton("Start", "Start the service", self._started)
        self._restart = ActionButton("Restart", "Restart it with the same models", self._restarted)
        self._stop = ActionButton("Stop", "Stop it after the requests in progress", self._stopped)
        acts = [self._start, self._restart, self._stop] if workbench.shared else []
        row = ipywidgets.HBox([self._state, *(act.button for act in acts)])
        self.box = ipywidgets.VBox([row, *(act.said for act in acts)])

    def show(self, state: ServiceState, reason: str, devices: str) -> None:
        why = f": {escape(reason)}" if reason else f" · {escape(devices)}" if state is ServiceState.READY else ""
        self._state.value = f"<b>Service</b> {state_dot(state)} {escape(state.value)}{why}"
        runs = state not in (ServiceState.STOPPED, ServiceState.FAILED)
        self._start.enabled = not runs
        self._restart.enabled = self._stop.enabled = state is not ServiceState.STOPPED

    def _started(self) -> str:
        sync.run(self._workbench.client.service())
        return ""

    def _restarted(self) -> str:
        self._workbench.restart()
        return ""

    def _stopped(self) -> str:
        self._workbench.stop()
        return ""


class _Load:
    """Form to load a file or folder of the service's machine, with options."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self.path = ipywidgets.Text(
            description="ONNX file", placeholder="models/digits.onnx", layout=_WIDE, style=_LABELS
        )
        self.name = ipywidgets.Text(description="Name", placeholder="as the file", layout=_NARROW, style=_LABELS)
        self.options = _Knobs()
        self.force = ipywidgets.Checkbox(
            description="even if inputs or outputs change that callers may rely on", layout=_WIDE, indent=False
        )
        self.act = ActionButton("Load", "Serve it", self._loaded, "primary")
        options = ipywidgets.Accordion([ipywidgets.VBox([self.options.box, self.force])], titles=("Options",))
        options.selected_index = None
        self.box = ipywidgets.VBox([self.path, self.name, options, self.act.button, self.act.said])

    def _loaded(self) -> str:
        path = self.path.value.strip().strip("'\"")
        if not path:
            raise InvalidInput("enter the path of an .onnx file, or of a folder that holds model.onnx")
        name = self.name.value.strip() or _name_of(path)
        found = Path(path).expanduser()
        report = self._workbench.load(name, found, force=self.force.value, **self.options.changed({}))
        return report._repr_html_()


class _Knobs:
    """Fields of the most used settings; an empty one stays unchanged."""

    def __init__(self) -> None:
        def text(label: str, example: str) -> Any:
            return ipywidgets.Text(description=label, placeholder=example, layout=_NARROW, style=_LABELS)

        self.fields: dict[str, Any] = {
            "max_batch_size": text("Largest batch", "64 rows"),
            "max_queue_delay_s": text("Batch delay", "0ms"),
            "instances": text("Instances", "1"),
            "max_queue_size": text("Queue bound", "1024"),
            "device": text("Device", "auto, cpu, cuda"),
        }
        self.box = ipywidgets.VBox(list(self.fields.values()))

    def show(self, config: Mapping[str, Any]) -> None:
        for name, field in self.fields.items():
            value = config.get(name, "")
            field.value = f"{value * 1e3:g}ms" if name.endswith("_s") and value != "" else str(value)

    def changed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the typed settings that differ. The service checks them."""
        found: dict[str, object] = {}
        for name, field in self.fields.items():
            typed = field.value.strip()
            if not typed:
                continue
            value: object = typed
            if name not in ("device", "max_queue_delay_s"):
                if not typed.isascii() or not typed.isdigit():
                    raise InvalidInput(f"{field.description} must be a whole number, got {typed[:40]!r}")
                value = int(typed)
            elif name == "max_queue_delay_s":
                # A plain "5" would be seconds; a user who reads "0ms" in the field means milliseconds.
                value = typed if typed[-1:].isalpha() else f"{typed}ms"
                if f"{config.get(name, -1) * 1e3:g}ms" == value:
                    continue
            if value != config.get(name):
                found[name] = value
        return found


class _Settings:
    """The chosen model's settings; applied together."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._name = ""
        self._config: Mapping[str, Any] = {}
        self.knobs = _Knobs()
        self.act = ActionButton("Apply", "Live where possible, else by a reload without failed requests", self._applied)
        self.box = ipywidgets.VBox([self.knobs.box, self.act.button, self.act.said])

    def show(self, status: Mapping[str, Any] | None) -> None:
        """Show a model's settings. Typed text stays until the model or its settings change."""
        name, config = ("", {}) if status is None else (status["name"], status["config"])
        self.act.enabled = status is not None
        if (name, config) != (self._name, self._config):
            self._name, self._config = name, config
            self.knobs.show(config)

    def _applied(self) -> str:
        changed = self.knobs.changed(self._config)
        if not changed:
            return "No setting differs."
        self._workbench.set(self._name, **changed)
        return f"Applied to {escape(self._name)}: {escape(', '.join(changed))}."


class _Try:
    """Sends one request with random or typed inputs, and shows the answer."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._name = ""
        self.kind = ipywidgets.ToggleButtons(options=["random", "typed"], style={"button_width": "6em"})
        self.rows = ipywidgets.BoundedIntText(
            value=1, min=1, max=1_000_000, description="Rows", layout={"width": "16em"}, style=_LABELS
        )
        self.inputs = ipywidgets.Textarea(
            placeholder='{"x": [[1, 2, 3, 4]]}', description="Inputs, as JSON", layout=_WIDE, style=_LABELS
        )
        self.act = ActionButton("Send", "One request", self._tried, "primary")
        self.box = ipywidgets.VBox([self.kind, self.rows, self.inputs, self.act.button, self.act.said])
        self.kind.observe(lambda change: self._switch(), "value")
        self._switch()

    def show(self, status: Mapping[str, Any] | None) -> None:
        self._name = "" if status is None else str(status["name"])
        self.act.enabled = status is not None and status["state"] == "Ready"

    def _switch(self) -> None:
        random = self.kind.value == "random"
        self.rows.layout.display = "" if random else "none"
        self.inputs.layout.display = "none" if random else ""

    def _tried(self) -> str:
        inputs = None
        if self.kind.value == "typed":
            try:
                inputs = json.loads(self.inputs.value)
            except json.JSONDecodeError as error:
                raise InvalidInput(
                    f"the inputs are not JSON, line {error.lineno} column {error.colno}: {error.msg}"
                ) from None
            if not isinstance(inputs, dict):
                inputs = {self._only_input(): inputs}
        asked = TryRequest(inputs=inputs, rows=self.rows.value)
        return _answer(sync.run(try_out(self._workbench.client, self._name, asked)))

    def _only_input(self) -> str:
        """Return the name of the model's only input, for rows that were typed without a name."""
        signature: Signature | None = self._workbench[self._name].signature
        names = [] if signature is None else [spec.name for spec in signature.inputs]
        if len(names) != 1:
            raise InvalidInput(f'name the inputs: {{"{names[0] if names else "x"}": ...}}; they are {", ".join(names)}')
        return names[0]


def _standing(status: Mapping[str, Any]) -> str:
    facts = [
        f"version {status['version']}",
        str(status["state"]),
        str(status["device"]),
        megabytes(status["size_bytes"]),
    ]
    said = " · ".join(escape(fact) for fact in facts if fact)
    reason = status["reason"]
    return f"{state_dot(status['state'])} {said}" + (bad(reason) if reason else "")


def _answer(tried: Mapping[str, Any]) -> str:
    """Return the outputs and timings of a trial (docs/jupyter.md) as HTML."""
    timings = tried["timings"]
    spent = ", ".join(
        f"{shown_s(timings[f'{stage}_us'] / 1e6)} {stage}" for stage in ("queue", "batch", "compute", "split")
    )
    rows = "".join(
        f"<tr><td>{escape(str(each['name']))}</td><td>{escape(str(each['datatype']))} {escape(str(each['shape']))}</td>"
        f"<td><code>{_cut(each)}</code></td></tr>"
        for each in tried["outputs"]
    )
    batch = f"{counted(timings['batch_size'], 'row')} of {counted(timings['batch_requests'], 'request')} in its batch"
    whole = f"{shown_s(tried['seconds'])} in all: {spent}; {batch}, version {tried['version']}"
    # The style sheet of a cell's own tables does not reach into widgets.
    return f"<p>{escape(whole)}</p><table style='border-spacing: 1em 0; margin-left: -1em'>{rows}</table>"


def _cut(tensor: Mapping[str, Any]) -> str:
    text = json.dumps(tensor["data"])
    return escape(text if len(text) <= _SHOWN_NUMBERS else f"{text[:_SHOWN_NUMBERS]} …")


def _name_of(path: str) -> str:
    """Return a model name for a path: the file's name, or the folder's for a runtime's usual model file."""
    parts = [part for part in Path(path).parts if part not in ("/", *(each.model_file for each in runtimes()))]
    stem = Path(parts[-1] if parts else path).stem
    return "".join(char if char.isalnum() or char in "_-." else "-" for char in stem).strip("-.") or "model"
