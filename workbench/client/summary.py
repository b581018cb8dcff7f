"""Summaries of a model or of the service: a title and facts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.client.formatting import counted, megabytes, milliseconds, text_lines
from workbench.client.input_adapter import describe
from workbench.client.palette import EITHER
from workbench.client.table import facts_html, heading_html, output_html
from workbench.core.cache_figures import CacheFigures
from workbench.core.circuit import CircuitState
from workbench.core.model import ModelState, ModelStatus, Signature
from workbench.core.pipeline import Pipeline
from workbench.core.provenance import Provenance, told

if TYPE_CHECKING:
    from workbench.rendezvous.service_record import ServiceRecord


MOST_NAMES = 20
"""The most names of columns that a card shows."""


@dataclass(frozen=True, slots=True)
class Card:
    """A title and facts, as aligned text or a small table."""

    title: str
    facts: Mapping[str, object]
    """In display order; empty ones are left out."""

    def _shown(self) -> list[tuple[str, str]]:
        return [(name, str(value)) for name, value in self.facts.items() if value not in ("", None, ())]

    def __getitem__(self, name: str) -> object:
        return self.facts[name]

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self._shown()), default=0)
        return text_lines([self.title, *(f"  {name:<{width}}  {value}" for name, value in self._shown())])

    def _repr_html_(self) -> str:
        return output_html(heading_html(self.title) + facts_html(self._shown()))


def model_card(status: ModelStatus) -> Card:
    """Summarise one version."""
    signature = status.signature
    facts: dict[str, object] = {
        "state": f"{status.state}: {status.reason}" if status.reason else status.state,
        "device": status.device,
        "inputs": ", ".join(map(describe, signature.inputs)) if signature else "",
        "columns": _columns(signature) if signature else "",
        "outputs": ", ".join(map(describe, signature.outputs)) if signature else "",
        "classes": _classes(status.labels),
        "stages": " > ".join(status.pipeline.labels) if status.pipeline else "",
        "joints": _joints(status.pipeline) if status.pipeline else "",
        "batching": status.batching,
        "largest batch": counted(status.max_batch_size, "row") if status.max_batch_size else "",
        "queue delay": milliseconds(status.config.max_queue_delay_s) if status.config.max_queue_delay_s else "",
        "instances": status.config.instances,
        "circuit breaker": _circuit(status),
        "result cache": _cache(status.cache) if status.cache else "",
        "waiting": counted(status.queued, "request") if status.queued else "",
        "size": megabytes(status.size_bytes),
        "loaded in": milliseconds(status.load_s) if status.load_s else "",
        "digest": status.digest.removeprefix("sha256:")[:12],
        "execution": status.execution,
        **_provenance(status.provenance),
        "notes": " ".join(status.notes),
    }
    which = ", ".join(["serving"] * status.routed + list(status.version_labels))
    return Card(f"{status.name}, version {status.version}{f' ({which})' if which else ''}", facts)


def _circuit(status: ModelStatus) -> str:
    """Empty while it is closed and was never open."""
    circuit = status.circuit
    if circuit is None or not circuit.opened:
        return ""
    times = "once" if circuit.opened == 1 else f"{circuit.opened} times"
    if circuit.state is CircuitState.CLOSED:
        return f"closed; it has opened {times} since the load"
    meanwhile = f"version {circuit.fallback} answers calls without a version" if circuit.fallback else "calls get 503"
    return f"{circuit.state}: {circuit.reason}; {meanwhile} until some that are let through end well"


def _cache(cache: CacheFigures) -> str:
    size = f"{megabytes(cache.size_bytes) or '0 MB'} of {megabytes(cache.limit_bytes)}"
    kept = f"{counted(cache.entries, 'answer')} in {size}"
    if not cache.looked:
        return f"{kept}; no calls yet"
    saved = f"{cache.hit_rate:.1%} of {counted(cache.looked, 'call')} not run"
    parts = [f"{cache.joined} joined an equal one under way"] if cache.joined else []
    parts += [f"{cache.remote} found in Redis"] if cache.remote else []
    joined = f" ({', '.join(parts)})" if parts else ""
    spared = f"{milliseconds(cache.saved_s)} in the model saved"
    return "; ".join(filter(None, [f"{saved}{joined}", spared, kept, cache.remote_note, cache.note]))


def port_card(opened: Mapping[str, object] | None) -> Card:
    """Summarise the port on a network that shares are called on; None: none is open."""
    if opened is None:
        return Card("no port for shares is open; %infer share NAME --with LABEL --host 0.0.0.0 opens one", {})
    facts = {name: opened.get(name, "") for name in ("url", "grpc", "ca_file", "sha256", "warning")}
    return Card("a port for shares is open", {**facts, "closed by": "%infer port --close"})


def _columns(signature: Signature) -> str:
    """Of inputs that take a table as a whole: its columns, in order."""
    told = []
    for spec in signature.inputs:
        shown = [*spec.columns[:MOST_NAMES]]
        more = [f"{len(spec.columns) - MOST_NAMES} more"] if len(spec.columns) > MOST_NAMES else []
        told += [f"{spec.name}: {', '.join([*shown, *more])}"] if shown else []
    return "; ".join(told)


def _classes(labels: Mapping[str, Sequence[str]]) -> str:
    """Which column is which: "probabilities: 0 setosa, 1 versicolor", with MOST_NAMES of each output at most."""
    told = []
    for output, names in labels.items():
        shown = [name if name == str(place) else f"{place} {name}" for place, name in enumerate(names[:MOST_NAMES])]
        more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        told.append(f"{output}: {', '.join([*shown, *more])}")
    return "; ".join(told)


def _joints(pipeline: Pipeline) -> str:
    """Which output becomes which input, as "b.x = a.y"."""
    sources = {tensor: name for name, tensor in pipeline.inputs.items()}
    told = []
    for label, step in zip(pipeline.labels, pipeline.steps, strict=True):
        told += [f"{label}.{name} = {sources[tensor]}" for name, tensor in step.inputs.items()]
        sources |= {tensor: f"{label}.{name}" for name, tensor in step.outputs.items()}
    told += [f"{name} = {sources[tensor]}" for name, tensor in pipeline.outputs.items()]
    return ", ".join(told)


def _provenance(found: Provenance | None) -> dict[str, object]:
    if found is None:
        return {}
    check = found.check.summary if found.check is not None else ""
    return {"exported from": told(found), "export": " · ".join(found.notes), "answers": check}


def service_card(service: Mapping[str, object], token_file: str | None) -> Card:
    """Summarise a service's own status; `token_file` is None if this process did not start it."""
    started = service.get("started_at")
    resident = service.get("resident_bytes")
    models = service.get("models")
    devices = service.get("devices")
    notes = service.get("notes")
    facts: dict[str, object] = {
        "state": f"{service.get('state', '')}{_not_ready(service)}",
        "url": service.get("url", ""),
        "grpc": service.get("grpc", ""),
        "token file": token_file or "",
        "pid": service.get("pid") if token_file is None else f"{service.get('pid')}, ends with this process",
        "version": service.get("version", ""),
        "up for": f"{max(time.time() - started, 0):.0f} s" if isinstance(started, int | float) else "",
        "runs under": _surroundings(service.get("runs_under")),
        "devices": ", ".join(map(str, devices)) if isinstance(devices, list) else "",
        "memory": megabytes(resident) if isinstance(resident, int) else "",
        "models": ", ".join(sorted({str(model["name"]) for model in models})) if isinstance(models, list) else "",
        "stored": _stored(service.get("store")),
        "notes": "; ".join(map(str, notes)) if isinstance(notes, list) else "",
    }
    return Card("the service", facts)


def share_card(url: str, server: Mapping[str, object], models: Sequence[str]) -> Card:
    """Summarise what a share's token may know: `server` is the service's metadata, `models` are those it may call."""
    return Card("a share of a service", {"url": url, "version": server.get("version", ""), "models": ", ".join(models)})


def _not_ready(service: Mapping[str, object]) -> str:
    """Tell where a service takes calls and answers health checks with "not ready" all the same."""
    if service.get("state") != "ready" or service.get("ready", True):
        return ""
    return "; takes calls, but health checks answer not ready, see notes"


def _stored(found: object) -> str:
    if not isinstance(found, Mapping):
        return ""
    used, left = found.get("used_bytes"), found.get("left_bytes")
    if not (isinstance(used, int) and isinstance(left, int)):
        return ""
    return f"{megabytes(used) or 'no models'}, room for {megabytes(left) or 'no'} more"


def _surroundings(found: object) -> str:
    """Describe the environment of the service in one line; empty if the service does not report it."""
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
    """Summarise the shared service: its supervisor's record, and the service's own status while it answers."""
    if record is None:
        why, when = ended
        return Card("the service", {"state": f"Stopped: {why}", "since": _clock_time(when)})
    facts: dict[str, object] = {
        "state": f"{record.state}: {record.reason}" if record.reason else record.state.value,
        "progress": record.progress,
        "since": _clock_time(record.since),
        "url": record.url,
        "grpc": record.grpc or "",
        "token file": record.token_file,
        "processes": f"keeper {record.keeper.pid}" + (f", worker {record.worker.pid}" if record.worker else ""),
        "used by": counted(holders, "process", "es"),
        "version": record.version,
        "data": record.data_dir,
        "log": record.log_file,
    }
    if said is not None:
        card = service_card(said, None)
        shown = ("up for", "runs under", "devices", "memory", "models", "stored", "notes")
        facts |= {name: card[name] for name in shown}
        facts["state"] = f"{facts['state']}{_not_ready(said)}"
    return Card("the service", facts)


def token_card(file: str, token: str | None, *, replaced: bool = False) -> Card:
    """Say where the token is; `token` None: it is not to be shown."""
    title = "the token was replaced; no other one is valid any more" if replaced else "the service's token"
    return Card(
        title,
        {"token file": file or "not known here: %infer status, where it was started, names it"}
        | ({} if token is None else {"token": token}),
    )


def _clock_time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s)) if unix_s else ""


_STATE_HUES: Mapping[str, str] = {
    ModelState.LOADING: "orange",
    ModelState.WARMING: "orange",
    ModelState.READY: "green",
    ModelState.FAILED: "red",
}


def state_dot(state: str) -> str:
    """Return a dot in the state's colour as HTML."""
    return f'<span aria-hidden="true" style="color:{EITHER[_STATE_HUES.get(state, "grey")]}">●</span>'
