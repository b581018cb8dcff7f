"""Codecs of all gRPC methods but inference: health, metadata, configuration, statistics and the repository."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from google.protobuf.json_format import ParseDict

from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.model_statistics import ModelStatistics
from workbench.core.triton_config import EPOCH
from workbench.protocols import pb
from workbench.protocols.grpc_wire import check_fields
from workbench.protocols.metadata import EXTENSIONS, RepositoryLoad, failing_to_load, repository_load
from workbench.protocols.model_config_body import triton_config
from workbench.protocols.oip_grpc import parse
from workbench.protocols.statistics_body import model_statistics as in_triton_form

_MOST_FIELDS: Final = 4096
"""Of a load, one for each file."""

_LoadRequest: Final = pb.message("RepositoryModelLoadRequest")


def named(method: str, message: bytes) -> tuple[str, str | None]:
    """Decode the (name, version) that a request of `method` asks for."""
    found = parse(pb.message(f"{method}Request"), message)
    return found.name, getattr(found, "version", "") or None


def encode_named(method: str, name: str, version: str | None) -> bytes:
    return _bytes(f"{method}Request", name=name, version=version or "")


def live(is_live: bool) -> bytes:
    return _bytes("ServerLiveResponse", live=is_live)


def ready(method: str, is_ready: bool) -> bytes:
    """Decode the answer of ServerReady or ModelReady."""
    return _bytes(f"{method}Response", ready=is_ready)


def decode_ready(method: str, message: bytes) -> bool:
    return bool(parse(pb.message(f"{method}Response"), message).ready)


def decode_signature(message: bytes) -> Signature:
    """Decode the signature in a ModelMetadataResponse."""
    return _signature(parse(pb.message("ModelMetadataResponse"), message))


def decode_status(metadata: bytes, config: bytes, version: str | None = None) -> ModelStatus:
    """Decode a serving model's status, as far as a ModelMetadataResponse and a ModelConfigResponse have it."""
    found = parse(pb.message("ModelMetadataResponse"), metadata)
    said = parse(pb.message("ModelConfigResponse"), config).config
    return ModelStatus(
        found.name,
        version or (found.versions[-1] if found.versions else ""),
        ModelState.READY,
        platform=found.platform,
        signature=_signature(found),
        max_batch_size=said.max_batch_size,
        epoch=said.parameters[EPOCH].string_value if EPOCH in said.parameters else "",
    )


def decode_server_metadata(message: bytes) -> dict[str, Any]:
    found = parse(pb.message("ServerMetadataResponse"), message)
    return {"name": found.name, "version": found.version, "extensions": list(found.extensions)}


def _signature(found: Any) -> Signature:
    inputs, outputs = (
        tuple(TensorSpec(each.name, each.datatype, tuple(each.shape)) for each in tensors)
        for tensors in (found.inputs, found.outputs)
    )
    return Signature(inputs, outputs)


def server_metadata(name: str, version: str, *more: str) -> bytes:
    """Encode a ServerMetadataResponse; `more` are extensions that not every service has."""
    extensions = sorted((*EXTENSIONS, *more))
    return _bytes("ServerMetadataResponse", name=name, version=version, extensions=extensions)


def model_metadata(status: ModelStatus, versions: Sequence[str]) -> bytes:
    """Encode a version's signature; `versions` are all that serve."""
    signature = status.signature or Signature((), ())
    return _bytes(
        "ModelMetadataResponse",
        name=status.name,
        versions=versions,
        platform=status.platform,
        inputs=[_spec(spec) for spec in signature.inputs],
        outputs=[_spec(spec) for spec in signature.outputs],
    )


def model_config(status: ModelStatus) -> bytes:
    """Encode a version's settings in Triton's form."""
    response = pb.message("ModelConfigResponse")()
    # Unknown values are left out, because a datatype may have no TYPE_ in Triton's proto.
    ParseDict(triton_config(status), response.config, ignore_unknown_fields=True)
    return bytes(response.SerializeToString())


def model_statistics(statistics: Iterable[ModelStatistics]) -> bytes:
    return _bytes("ModelStatisticsResponse", model_stats=[in_triton_form(each) for each in statistics])


def decode_index_request(message: bytes) -> bool:
    """Return whether only ready models are asked for."""
    return bool(parse(pb.message("RepositoryIndexRequest"), message).ready)


def repository_index(entries: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Encode the index of (name, version, state, reason)."""
    models = [dict(zip(("name", "version", "state", "reason"), entry, strict=True)) for entry in entries]
    return _bytes("RepositoryIndexResponse", models=models)


def decode_repository_load(message: bytes) -> tuple[str, RepositoryLoad]:
    """Decode the model's name and the load's parameters."""
    check_fields(message, _MOST_FIELDS)
    found = parse(_LoadRequest, message)
    parameters: dict[str, object] = {}
    for name, value in found.parameters.items():
        choice = value.WhichOneof("parameter_choice")
        parameters[name] = None if choice is None else getattr(value, choice)
    with failing_to_load(found.model_name):
        return found.model_name, repository_load(parameters)


def decode_repository_unload(message: bytes) -> str:
    return str(parse(pb.message("RepositoryModelUnloadRequest"), message).model_name)


def decode_region_registration(message: bytes) -> tuple[str, str, int, int]:
    """Decode (name, key, offset, byte_size) of a region to register."""
    found = parse(pb.message("SystemSharedMemoryRegisterRequest"), message)
    return found.name, found.key, found.offset, found.byte_size


def region_statuses(regions: Iterable[tuple[str, str, int, int]]) -> bytes:
    """Encode the status of each (name, key, offset, byte_size)."""
    fields = ("name", "key", "offset", "byte_size")
    told = {region[0]: dict(zip(fields, region, strict=True)) for region in regions}
    response = pb.message("SystemSharedMemoryStatusResponse")()
    ParseDict({"regions": told}, response)
    return bytes(response.SerializeToString())


def nothing(method: str) -> bytes:
    """Encode the empty answer of `method`."""
    return _bytes(f"{method}Response")


def _spec(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.wire_shape}


def _bytes(kind: str, **fields: Any) -> bytes:
    return bytes(pb.message(kind)(**fields).SerializeToString())
