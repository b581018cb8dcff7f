"""The Open Inference Protocol's metadata and Triton's repository extension: what is served, and loading by name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from workbench.core.model import ModelStatus, Signature, TensorSpec, check_model_version
from workbench.errors import InvalidInput, Unsupported

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "schedule_policy",
    "statistics",
)

_FILE = re.compile(r"file:([^/]{1,40})/model\.onnx")


@dataclass(frozen=True, slots=True)
class RepositoryLoad:
    """What a repository load asks for beside the model's name."""

    settings: Mapping[str, object] = field(default_factory=dict)
    version: str | None = None
    """The version that `model` is said to be; None: the service's own repositories have the model."""
    model: bytes | None = None
    """An ONNX file sent along; None: the service's own repositories have it."""


def server_metadata(version: str) -> bytes:
    return msgspec.json.encode({"name": "infer-workbench", "version": version, "extensions": EXTENSIONS})


def model_metadata(status: ModelStatus, versions: Sequence[str]) -> bytes:
    """One version's signature; `versions` are all that serve."""
    signature = status.signature or Signature((), ())
    return msgspec.json.encode(
        {
            "name": status.name,
            "versions": list(versions),
            "platform": status.platform,
            "inputs": [_spec(spec) for spec in signature.inputs],
            "outputs": [_spec(spec) for spec in signature.outputs],
        }
    )


def repository_index(entries: Iterable[tuple[str, str, str, str]]) -> bytes:
    """The index of (name, version, state, reason)."""
    return msgspec.json.encode([dict(zip(_INDEX, entry, strict=True)) for entry in entries])


def decode_index_request(body: bytes) -> bool:
    """Whether the ready ones alone are asked for; an empty body asks for all."""
    return _decoded(body, _IndexRequest).ready if body.strip() else False


def decode_repository_load(body: bytes) -> RepositoryLoad:
    """What the `parameters` in a JSON body ask for; an empty body asks for nothing."""
    return repository_load(_decoded(body, _LoadRequest).parameters if body.strip() else {})


def repository_load(parameters: Mapping[str, object]) -> RepositoryLoad:
    """The settings (`config`: JSON in a string) and the model (`file:VERSION/model.onnx`: bytes, or base64 in a
    string) in `parameters`. InvalidInput, Unsupported."""
    settings: dict[str, object] = {}
    version, model = None, None
    for name, value in parameters.items():
        if name == "config":
            settings = _settings(value)
        elif found := _FILE.fullmatch(name):
            if model is not None:
                raise InvalidInput("a load takes one model file; more than one file:VERSION/model.onnx was sent")
            version, model = check_model_version(found[1]), value if isinstance(value, bytes) else _base64(name, value)
        elif name.startswith("file:"):
            raise InvalidInput(f"{name[:80]!r} cannot be loaded; the one file taken is file:VERSION/model.onnx")
        else:
            raise Unsupported(
                f"the load parameter {name[:80]!r} is not supported; use config and file:VERSION/model.onnx"
            )
    return RepositoryLoad(settings, version, model)


_INDEX = ("name", "version", "state", "reason")


class _IndexRequest(msgspec.Struct):
    ready: bool = False


class _LoadRequest(msgspec.Struct):
    parameters: dict[str, bool | int | float | str] = {}


def _spec(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _decoded(body: bytes | str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInput(f"the body is not what this route takes: {error}") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deep") from None


def _settings(value: object) -> dict[str, object]:
    if not isinstance(value, str):
        raise InvalidInput("the load parameter config takes JSON in a string")
    settings: dict[str, object] = _decoded(value, dict[str, bool | int | float | str])
    return settings


def _base64(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} takes a base64 string")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{name} is not base64") from None
