"""Codecs of the Open Inference Protocol's metadata and of Triton's repository extension."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

import msgspec

from workbench.config import ModelConfig
from workbench.core import triton_config
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec, check_model_version
from workbench.core.runtime import ONNX, model_files, runtimes
from workbench.core.sequence_config import SequenceConfig
from workbench.core.triton_message import Message
from workbench.core.turns import give_way
from workbench.errors import InvalidInput, TooLarge, Unsupported, WorkbenchError
from workbench.protocols import dictionary
from workbench.protocols.json_cutting import check_values
from workbench.protocols.parameters import take_flag

OURS = "infer_workbench"
"""Among a server's extensions: it is this one, whatever it calls itself."""

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    dictionary.EXTENSION,
    OURS,
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "sequence",
    "sequence(string_id)",
    "statistics",
)

MAX_CONFIG_LENGTH: Final = 256 * 1024
"""Characters of a configuration in a load."""

_BASE64_STEP: Final = 1024 * 1024
"""Characters decoded at once: four are three bytes."""

_FILE = re.compile(r"file:([^/]{1,40})/((?!\.)[A-Za-z0-9_.\-]{1,128})")
_SETTINGS = frozenset(each.name for each in fields(ModelConfig))


@dataclass(frozen=True, slots=True)
class RepositoryLoad:
    """The parameters of a repository load."""

    settings: Mapping[str, object] = field(default_factory=dict)
    version: str | None = None
    """The version of `model`; None if the model is in the service's own repositories."""
    model: bytes | None = None
    """A model file in the request; None if the model is in the service's own repositories."""
    model_file: str = ONNX.model_file
    """Name of that file, which says which runtime it is for."""
    beside: Mapping[str, bytes] = field(default_factory=dict)
    """Name -> content of the model's external data files."""
    notes: tuple[str, ...] = ()
    """Parts of a Triton configuration that are not supported, one sentence each."""
    sequences: SequenceConfig | None = None
    """What the configuration says of sequences."""
    message: Message = field(default_factory=dict)
    """That configuration itself, where it does."""
    allow_code: bool = False
    """True: a model that is its author's code may run."""


def server_metadata(name: str, version: str, *more: str) -> bytes:
    """Return the server's metadata; `more` are extensions that not every service has."""
    return msgspec.json.encode({"name": name, "version": version, "extensions": sorted((*EXTENSIONS, *more))})


def model_metadata(status: ModelStatus, versions: Sequence[str]) -> bytes:
    """Return a version's metadata; `versions` are all that serve."""
    signature = status.signature or Signature((), ())
    told: dict[str, object] = {
        "name": status.name,
        "versions": list(versions),
        "platform": status.platform,
        "inputs": [_with(_spec(spec), columns=spec.columns, missing=spec.missing) for spec in signature.inputs],
        "outputs": [_with(_spec(spec), labels=status.labels.get(spec.name)) for spec in signature.outputs],
    }
    return msgspec.json.encode(_with(told, ignored_columns=signature.ignored))


def decode_status(metadata: Mapping[str, Any], config: Mapping[str, Any], version: str | None = None) -> ModelStatus:
    """A serving model's status, as far as its metadata and its Triton configuration have it; `version`: the one that
    was asked for. Raises KeyError, TypeError, ValueError for what is no metadata."""
    versions = metadata.get("versions") or ("",)
    epoch = config.get("parameters", {}).get(triton_config.EPOCH, {})
    return ModelStatus(
        metadata["name"],
        version or str(versions[-1]),
        ModelState.READY,
        platform=metadata.get("platform", ""),
        signature=decode_signature(metadata),
        routed=version is None,
        max_batch_size=int(config.get("max_batch_size", 0)),
        epoch=str(epoch.get("string_value", "")),
        labels={each["name"]: names for each in metadata.get("outputs") or () if (names := _names(each, "labels"))},
    )


def decode_signature(metadata: Mapping[str, Any]) -> Signature:
    """Raises KeyError, TypeError, ValueError for what is no metadata."""
    inputs, outputs = (tuple(map(_decoded_spec, metadata.get(of) or ())) for of in ("inputs", "outputs"))
    return Signature(inputs, outputs, _names(metadata, "ignored_columns"))


def repository_index(entries: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Return the index of (name, version, state, reason)."""
    return msgspec.json.encode([dict(zip(_INDEX, entry, strict=True)) for entry in entries])


@contextmanager
def failing_to_load(name: str) -> Iterator[None]:
    """Have the errors within say which model failed to load, in Triton's words, which public clients look for."""
    try:
        yield
    except WorkbenchError as error:
        said = f"failed to load {name[:128]!r}"
        if not error.message.startswith(said):
            error.message = f"{said}: {error.message}"
            error.args = (error.message,)
        raise


def decode_index_request(body: bytes) -> bool:
    """Return whether only ready models are asked for; an empty body asks for all."""
    return _decoded(body, _IndexRequest).ready if body.strip() else False


def decode_repository_load(body: bytes, name: str) -> RepositoryLoad:
    """Decode the `parameters` of a load of the model `name` in a JSON body, which may be empty."""
    with failing_to_load(name):
        check_values(body, 0)
        return repository_load(_decoded(body, _LoadRequest).parameters if body.strip() else {})


def repository_load(parameters: Mapping[str, object]) -> RepositoryLoad:
    """Decode the settings (`config`: JSON in a string, ours or Triton's), the model (`file:VERSION/model.onnx` and
    its data files: bytes, or base64 in a string) and `allow_code`. Raises InvalidInput, ModelError, Unsupported."""
    asked = RepositoryLoad()
    given: dict[str, Any] = dict(parameters)
    allow_code = take_flag(given, "allow_code")
    versions: set[str] = set()
    files: dict[str, bytes] = {}
    for name, value in given.items():
        if name == "config":
            asked = _configured(value)
        elif found := _FILE.fullmatch(name):
            versions.add(check_model_version(found[1]))
            files[found[2]] = value if isinstance(value, bytes) else _base64(name, value)
        elif name.startswith("file:"):
            raise InvalidInput(f"{name[:80]!r} cannot be loaded; send file:VERSION/model.onnx and its data files")
        else:
            raise Unsupported(
                f"the load parameter {name[:80]!r} is not supported; use config, allow_code and file:VERSION/model.onnx"
            )
    if len(versions) > 1:
        raise InvalidInput("a load takes the files of one version; those of more than one were sent")
    file = next((each.model_file for each in runtimes() if each.model_file in files), ONNX.model_file)
    model = files.pop(file, None)
    if versions and model is None:
        raise InvalidInput(f"there is no file:{versions.pop()}/{model_files()} among the files that were sent")
    version = versions.pop() if versions else None
    return replace(asked, version=version, model=model, model_file=file, beside=files, allow_code=allow_code)


def decode_repository_unload(body: bytes) -> None:
    """Check an unload's parameters, none of which changes it: no model depends on another. Raises InvalidInput."""
    if body.strip():
        found = _decoded(body, _LoadRequest).parameters
        take_flag(found, "unload_dependents")
        if found:
            raise InvalidInput(f"the unload parameter {min(found)[:80]!r} is not known; use unload_dependents")


_INDEX = ("name", "version", "state", "reason")


class _IndexRequest(msgspec.Struct):
    ready: bool = False


class _LoadRequest(msgspec.Struct):
    parameters: dict[str, bool | int | float | str] = {}


def _spec(spec: TensorSpec) -> dict[str, object]:
    told: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": spec.wire_shape}
    return told if spec.ranked else {**told, "ranked": False}


def _decoded_spec(found: Mapping[str, Any]) -> TensorSpec:
    ranked = found.get("ranked") is not False  # ours alone says so
    shape = tuple(map(int, found["shape"])) if ranked else ()
    missing = str(_parameters(found).get("missing") or "")
    return TensorSpec(found["name"], found["datatype"], shape, ranked, missing, _names(found, "columns"))


def _with(told: dict[str, object], **parameters: str | Sequence[str] | None) -> dict[str, object]:
    """With those that are not empty as its `parameters`, which clients pass over that do not know them."""
    known = {name: value for name, value in parameters.items() if value}
    return {**told, "parameters": known} if known else told


def _names(found: Mapping[str, Any], what: str) -> tuple[str, ...]:
    return tuple(map(str, _parameters(found).get(what) or ()))


def _parameters(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return found.get("parameters") or {}


def _decoded(body: bytes | str, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidInput(f"the body is not what this route takes: {error}") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deep") from None


def _configured(value: object) -> RepositoryLoad:
    """Return what `config` says, which may mix our own and Triton's fields."""
    if not isinstance(value, str):
        raise InvalidInput("the load parameter config takes JSON in a string")
    if len(value) > MAX_CONFIG_LENGTH:
        raise TooLarge(f"the load parameter config has {len(value)} characters; {MAX_CONFIG_LENGTH} are the most")
    config: dict[str, object] = _decoded(value, dict[str, Any])
    if config.keys() <= _SETTINGS:
        return RepositoryLoad(config)
    ours = {name: config.pop(name) for name in _SETTINGS & config.keys() if name != "max_batch_size"}
    try:
        message = triton_config.from_json(config)
        said = triton_config.read(message)
    except RecursionError:
        raise InvalidInput("the load parameter config is nested too deep") from None
    if said.unknown:
        raise InvalidInput(f"the load parameter config: there is no setting {said.unknown[0]!r}")
    return RepositoryLoad(
        {**said.settings, **ours},
        notes=(*said.notes, *_only_in_a_file(said)),
        sequences=said.sequences,
        message=message if said.sequences is not None else {},
    )


def _only_in_a_file(said: triton_config.TritonConfig) -> Iterator[str]:
    if said.warmup:
        yield "model_warmup is honoured in a config.pbtxt only"
    if any(each.reshape is not None for each in said.declared):
        yield "a reshape is honoured in a config.pbtxt only"


def _base64(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} takes a base64 string")
    whole = io.BytesIO()  # gives its content without a copy
    try:
        for at in range(0, len(value), _BASE64_STEP):
            part = value[at : at + _BASE64_STEP]
            whole.write(base64.b64decode(part, validate=True))
            if part.endswith("=") and at + len(part) < len(value):
                raise ValueError("it goes on after its end")
            give_way()
    except (binascii.Error, ValueError):
        raise InvalidInput(f"{name} is not base64") from None
    return whole.getvalue()
