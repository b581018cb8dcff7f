"""Codecs of the control plane: statuses and results of changes, both ways, and the requests that the service reads."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from workbench.core.description import Description, Graph, RunTimes
from workbench.core.model import ModelState, ModelStatus, TensorSpec
from workbench.core.provenance import Provenance, checked
from workbench.core.rollout_view import RolloutView
from workbench.core.version_overview import VersionOverview
from workbench.errors import InvalidInput, TooLarge, WorkbenchError

BODY_BYTES: Final = 64 * 1024
"""The most bytes of JSON that a call of the control plane takes: its values cost up to forty times as much."""

Settings = dict[str, bool | int | float | str]


MAX_KEEP_S: Final = 7 * 86400.0


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    config: Settings = {}
    force: bool = False
    stage: bool = False
    """Load it as a new version that nothing is routed to, as an upload does."""
    allow_code: bool = False
    """A model that is its author's code may run."""
    keep_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_KEEP_S)] | None = None
    """Of a staged version: it is discarded after so many seconds where nobody has committed it."""
    route: bool = True
    """False: it is loaded beside the version that serves, for requests that name it."""


class CommitRequest(msgspec.Struct, forbid_unknown_fields=True):
    force: bool = False
    provenance: Provenance | None = None
    route: bool = True


@dataclass(frozen=True, slots=True)
class LoadAnswer:
    """The result of a load, stage, commit or set, as a client reads it."""

    status: ModelStatus
    unchanged: bool
    previous: str | None
    seconds: float
    live: bool = False
    """True if settings changed without a reload."""


class _Loaded(msgspec.Struct):
    model: dict[str, Any]
    unchanged: bool = False
    previous: str | None = None
    seconds: float = 0.0
    live: bool = False


class _Described(msgspec.Struct):
    model: dict[str, Any]
    graph: Graph | None = None
    placement: dict[str, dict[str, int]] = {}
    run_times: tuple[RunTimes, ...] = ()
    memory_bytes: int | None = None


Body = TypeVar("Body")


def decode_load_request(body: bytes) -> LoadRequest:
    return decode_body(body, LoadRequest)


def decode_commit_request(body: bytes) -> CommitRequest:
    asked = decode_body(body or b"{}", CommitRequest)
    if asked.provenance is not None:
        checked(asked.provenance)
    return asked


def decode_labels(body: bytes) -> dict[str, str | None]:
    """Decode label -> version; None takes the label away. The names are not checked yet."""
    labels = decode_body(body, dict[str, str | None])
    if not labels:
        raise InvalidInput('the body names no label: {"canary": "2"}, or {"canary": null} to take it away')
    return labels


class RouteRequest(msgspec.Struct, forbid_unknown_fields=True):
    weights: dict[str, float] | None = None
    """Version or label -> the part of the calls without a version that it gets, from 0 to 1; None: as it is."""
    by: Annotated[str, msgspec.Meta(max_length=64)] = ""
    shadow: dict[str, float] | None = None
    """The version or label that gets a copy of this part of the calls; empty: none; None: as it is."""
    keep_rows: int = 0
    share: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """The label or id of a share, whose calls alone go by these weights; empty: all calls."""
    wait: bool = False
    force: bool = False


def decode_route_request(body: bytes) -> RouteRequest:
    asked = decode_body(body, RouteRequest)
    if asked.weights is None and asked.shadow is None:
        raise InvalidInput('the body says nothing of a route: {"weights": {"2": 0.1}}, or {"shadow": {"2": 0.25}}')
    if asked.share and (asked.shadow is not None or asked.by or asked.force or asked.keep_rows):
        raise InvalidInput(
            "the calls of a share go by weights alone, to versions with the inputs and outputs of the one that serves: "
            "leave shadow, keep_rows, by and force out"
        )
    return asked


class RolloutRequest(msgspec.Struct, forbid_unknown_fields=True):
    version: str
    steps: Annotated[list[float], msgspec.Meta(max_length=1000)]
    every_s: float = 300.0
    guard: Annotated[str, msgspec.Meta(max_length=500)] = "errors<1.5x,p99<1.1x"
    on_breach: Literal["rollback", "halt"] = "rollback"
    least_calls: int = 200
    by: Annotated[str, msgspec.Meta(max_length=64)] = ""


def decode_rollout_request(body: bytes) -> RolloutRequest:
    return decode_body(body, RolloutRequest)


def decode_rollout(found: object) -> RolloutView:
    """Decode the parsed JSON of a rollout. Raises WorkbenchError if it does not fit."""
    return _convert(found, RolloutView)


def decode_rollouts(found: object) -> list[RolloutView]:
    """Decode the parsed JSON of a list of rollouts. Raises WorkbenchError if it does not fit."""
    return _convert(found, list[RolloutView])


def decode_settings(body: bytes) -> Settings:
    """Decode setting -> value; the names are not checked yet."""
    return decode_body(body or b"{}", Settings)


def encode_status(status: ModelStatus) -> dict[str, Any]:
    """Return a status as values that both `json.dumps` and msgspec can write."""
    signature = status.signature
    fields: dict[str, Any] = {field.name: getattr(status, field.name) for field in dataclasses.fields(status)}
    del fields["signature"]
    return {
        **fields,
        "state": status.state.value,
        "inputs": [_spec(spec) for spec in signature.inputs] if signature else None,
        "outputs": [_spec(spec) for spec in signature.outputs] if signature else None,
        **({"ignored_columns": list(signature.ignored)} if signature and signature.ignored else {}),
        "config": dataclasses.asdict(status.config),
        "circuit": dataclasses.asdict(status.circuit) if status.circuit else None,
        "cache": dataclasses.asdict(status.cache) if status.cache else None,
        "shadow": dataclasses.asdict(status.shadow) if status.shadow else None,
        "sequences": dataclasses.asdict(status.sequences) if status.sequences else None,
        "sequence_config": dataclasses.asdict(status.sequence_config) if status.sequence_config else None,
        "pipeline": dataclasses.asdict(status.pipeline) if status.pipeline else None,
        "notes": list(status.notes),
        "provenance": dataclasses.asdict(status.provenance) if status.provenance else None,
    }


def _spec(spec: TensorSpec) -> dict[str, Any]:
    told: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
    if spec.missing:
        told["missing"] = spec.missing
    if spec.columns:
        told["columns"] = list(spec.columns)
    return told if spec.ranked else {**told, "ranked": False}


def encode_load(
    status: ModelStatus, unchanged: bool, previous: str | None, seconds: float, live: bool = False
) -> dict[str, Any]:
    said = {"unchanged": unchanged, "previous": previous, "seconds": seconds, "live": live}
    return {"model": encode_status(status), **said}


def encode_description(description: Description) -> dict[str, Any]:
    """As `encode_status`."""
    return {
        "model": encode_status(description.status),
        "graph": dataclasses.asdict(description.graph) if description.graph else None,
        "placement": {provider: dict(nodes) for provider, nodes in description.placement.items()},
        "run_times": [
            {"shape": each.shape, "run_s": {str(rows): seconds for rows, seconds in each.run_s.items()}}
            for each in description.run_times
        ],
        "memory_bytes": description.memory_bytes,
    }


def decode_description(found: object) -> Description:
    """Decode the parsed JSON of describe. Raises WorkbenchError if it does not fit."""
    told = _convert(found, _Described)
    return Description(_status(told.model), told.graph, told.placement, told.run_times, told.memory_bytes)


def decode_status(found: object) -> ModelStatus:
    """Decode the parsed JSON of a status. Raises WorkbenchError if it does not fit."""
    return _status(_convert(found, dict[str, Any]))


def decode_load(found: object) -> LoadAnswer:
    """Decode the parsed JSON of load, stage, commit or set. Raises WorkbenchError if it does not fit."""
    loaded = _convert(found, _Loaded)
    return LoadAnswer(_status(loaded.model), loaded.unchanged, loaded.previous, loaded.seconds, loaded.live)


def decode_versions(found: object) -> VersionOverview:
    """Decode the parsed JSON of a model's versions. Raises WorkbenchError if it does not fit."""
    return _convert(found, VersionOverview)


def _status(found: Mapping[str, Any]) -> ModelStatus:
    """Decode docs/http.md, STATUS. Unknown fields are ignored, since a newer service may send more."""
    fields = dict(found)
    inputs, outputs = fields.pop("inputs", None), fields.pop("outputs", None)
    ignored = fields.pop("ignored_columns", ())
    told = {"inputs": inputs, "outputs": outputs or (), "ignored": ignored}
    fields["signature"] = None if inputs is None else told
    state = fields.get("state")
    if isinstance(state, str) and state not in set(ModelState):
        raise WorkbenchError(f"the service sent a state that this client does not know: {state[:40]!r}")
    return _convert(fields, ModelStatus)


def decode_body(body: bytes, kind: type[Body], max_bytes: int = BODY_BYTES) -> Body:
    """Decode JSON as `kind`. Raises InvalidInput with a readable message, and TooLarge."""
    if len(body) > max_bytes:
        raise TooLarge(f"the JSON must have at most {max_bytes} bytes, got {len(body)}")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the body does not fit: {str(error).replace('`', '')[:200]}") from None
    except RecursionError:
        raise InvalidInput("the JSON is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not JSON: {str(error)[:200]}") from None


def _convert(found: object, kind: type[Body]) -> Body:
    try:
        return msgspec.convert(found, kind, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise WorkbenchError(f"the service's answer could not be read: {str(error)[:200]}") from None


def number_in(name: str, text: str, low: float, high: float) -> float:
    """Read a number of a query. Raises InvalidInput unless it is from `low` to `high`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InvalidInput(f"{name} must be a number from {low:g} to {high:g}, got {text[:40]!r}")
    return value
