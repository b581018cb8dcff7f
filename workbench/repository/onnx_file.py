"""Looking at an ONNX file before a runtime does: is it one, what is its content, does it reach out of its folder?

A tensor may say that its data lie in another file, and a runtime reads whatever file that is. Such tensors hide
anywhere: initialisers, sparse ones, constants, subgraphs, functions, training graphs. So every message of the file is
walked, by what its type can hold instead of by a list of known places.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from workbench.core.description import Graph
from workbench.errors import ModelError, UntrustedModel
from workbench.graph.batch_axis import analyse
from workbench.graph.zipmap import drop_zipmaps
from workbench.repository.layout import check_own_file, contained
from workbench.repository.validate import ModelFile

PROTOBUF_MAX_BYTES = 2**31 - 1
"""The most that one protobuf message can hold; larger models keep their weights in files beside it."""

_CHUNK = 1 << 20

_OWN_DOMAIN = ("", "ai.onnx")
_MOST_AXES = 64
_ML_DOMAIN = "ai.onnx.ml"
_ZIPMAP = f"{_ML_DOMAIN}:ZipMap"
_METADATA = "metadata_props"
_EXTERNAL_KEYS = ("location", "offset", "length")
_RUNTIME_MEMORY = "_ORT_MEM_ADDR_"
"""ONNX Runtime's own mark, in place of a location, for an address in its memory: a file must never hold it."""


def inspect_onnx(path: Path) -> ModelFile:
    """The ONNX model at `path`; see repository.validate.Inspector."""
    model = _parse(path)
    operators: Counter[str] = Counter()
    parameters = 0
    data: dict[Path, int] = {}
    for message in _walk(model):
        if isinstance(message, onnx.NodeProto):
            domain, operator = _text(message.domain), _text(message.op_type)
            operators[operator if domain in _OWN_DOMAIN else f"{domain}:{operator}"] += 1
            if domain == _ML_DOMAIN:  # whose models lie in attributes
                parameters += sum(len(attribute.floats) for attribute in message.attribute)
        elif isinstance(message, onnx.TensorProto):
            parameters += _elements(message)
            if message.data_location == onnx.TensorProto.EXTERNAL:
                location, size = _external_file(message, path.parent)
                data[location] = size
        elif isinstance(message, onnx.SparseTensorProto):
            parameters -= _elements(message.indices)
        if _METADATA in message.DESCRIPTOR.fields_by_name:
            # Left out of the digest: exporters write times and paths there.
            message.ClearField(_METADATA)
    external_files = tuple(sorted(data))
    digest = _digest(model, path.parent, external_files)
    labels = drop_zipmaps(model)  # as the runtime does: from here on it is looked at as it runs
    operators.update({_ZIPMAP: -len(labels), "Identity": len(labels)})
    return ModelFile(
        path=path,
        digest=digest,
        size_bytes=path.stat().st_size + sum(data.values()),
        external_files=external_files,
        opset=max((entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAIN), default=0),
        graph=Graph(
            operators=dict((+operators).most_common()),
            parameters=min(max(parameters, 0), 2**63 - 1),
            opsets={_shown(entry.domain) or "ai.onnx": entry.version for entry in model.opset_import},
            ir_version=model.ir_version,
            producer=f"{_shown(model.producer_name)} {_shown(model.producer_version)}".strip(),
            batch=analyse(model),
            labels=labels,
        ),
    )


def _parse(path: Path) -> onnx.ModelProto:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("the model file is no regular file")  # a pipe or a device may have no end
        size = status.st_size
        if size > PROTOBUF_MAX_BYTES:
            raise ModelError(
                f"the model file has {size / 2**30:.1f} GiB, and an ONNX file can hold 2; save it with external data "
                "(onnx.save(model, path, save_as_external_data=True))"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError("there is no such model file") from None
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None
    if not content:
        raise ModelError("the model file is empty")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError, ValueError):
        # protobuf below 7 does not tell which it is.
        raise ModelError(
            "the file is no ONNX model, or a corrupt or truncated one, or its graphs are nested too deep "
            "(protobuf reads 100 levels)"
        ) from None
    # Almost any bytes are some protobuf message, of fields that ONNX does not have.
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError("the file is no ONNX model: there is no graph in it")
    if not model.opset_import:
        raise ModelError("the model does not say which opset it uses; export it again")
    return model


def _walk(model: onnx.ModelProto) -> Iterator[Any]:
    """Every message in the model that can hold a tensor or metadata, itself included; with no recursion."""
    waiting: list[Any] = [model]
    while waiting:
        message = waiting.pop()
        yield message
        for name, repeated in _fields_to_walk(message.DESCRIPTOR):
            if repeated:
                waiting.extend(getattr(message, name))
            elif message.HasField(name):
                waiting.append(getattr(message, name))


@cache
def _fields_to_walk(descriptor: Descriptor) -> tuple[tuple[str, bool], ...]:
    """(name, repeated?) of the fields through which a tensor, an operator or metadata can be reached."""
    return tuple(
        (field.name, _is_repeated(field))
        for field in descriptor.fields
        if field.message_type is not None and _leads_somewhere(field.message_type)
    )


@cache
def _leads_somewhere(start: Descriptor) -> bool:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        descriptor = waiting.pop()
        if descriptor.full_name in seen:
            continue
        seen.add(descriptor.full_name)
        if descriptor.full_name in ("onnx.TensorProto", "onnx.NodeProto") or _METADATA in descriptor.fields_by_name:
            return True
        waiting.extend(field.message_type for field in descriptor.fields if field.message_type is not None)
    return False


def _is_repeated(field: FieldDescriptor) -> bool:
    # `label` is deprecated from protobuf 6.31 on, `is_repeated` is not there before.
    found = getattr(field, "is_repeated", None)
    return bool(field.label == FieldDescriptor.LABEL_REPEATED if found is None else found)


def _external_file(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int]:
    """(location relative to the folder, size in bytes) of the file that holds a tensor's data."""
    what = f"the external data of tensor {_text(tensor.name)[:80]!r}"
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        key = _text(entry.key)
        if key in entries:
            raise UntrustedModel(f"{what} gives its {key[:20]!r} twice")
        entries[key] = _text(entry.value)
    location = _location(entries.get("location", ""), what)
    path = folder / location
    if not os.path.lexists(path):  # False too for what no system could name
        raise ModelError(
            f"{what} lies in a file {str(location)[:200]!r} that is not beside the model; give both, or save the model "
            "with its weights inside (onnx.save(model, path, save_as_external_data=False))"
        )
    if contained(path, folder, what) != folder.resolve() / location:
        raise UntrustedModel(f"{what} is reached by a symbolic link; put a copy there instead")
    size = check_own_file(path, what)
    offset, length = (_whole_number(entries.get(key, "0"), key, what) for key in _EXTERNAL_KEYS[1:])
    if offset + length > size:
        raise ModelError(f"{what} ends at byte {offset + length}, and its file has {size}: it is truncated")
    return location, size


def _location(text: str, what: str) -> Path:
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    if not text or "\0" in text or not posix.parts:
        raise UntrustedModel(f"{what} names no file")
    if _RUNTIME_MEMORY in text:
        raise UntrustedModel(f"{what} names an address in memory instead of a file")
    # Read as either system reads it: a model moves between them.
    if posix.is_absolute() or windows.anchor or ".." in posix.parts or ".." in windows.parts:
        raise UntrustedModel(f"{what} lies outside the model's folder; save it beside the model")
    return Path(posix)


def _text(field: str | bytes) -> str:
    """A text of the model. Protobuf hands out what is not UTF-8 as bytes, and a runtime would take it as it is."""
    if isinstance(field, bytes):
        raise ModelError("the model has a name that is not UTF-8, as ONNX wants its names to be; it may be corrupt")
    return field


def _elements(tensor: onnx.TensorProto) -> int:
    """As its shape has it, which nobody has checked yet: one of no sense counts for nothing."""
    return max(math.prod(tensor.dims), 0) if len(tensor.dims) <= _MOST_AXES else 0


def _shown(field: str | bytes) -> str:
    """A text of the model that is only told, never gone by."""
    text = field.decode(errors="replace") if isinstance(field, bytes) else field
    return " ".join(text.split())[:100]


def _whole_number(text: str, key: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ModelError(f"{what} has {key} {text[:40]!r}, which is no whole number of bytes")
    return int(text)


def _digest(model: onnx.ModelProto, folder: Path, external_files: tuple[Path, ...]) -> str:
    # Each part is preceded by its length, so that no two contents run together to the same bytes.
    content = model.SerializeToString(deterministic=True)
    digest = hashlib.sha256(len(content).to_bytes(8, "big"))
    digest.update(content)
    for location in external_files:
        name = location.as_posix().encode()
        path = folder / location
        try:
            digest.update(len(name).to_bytes(8, "big") + name + path.stat().st_size.to_bytes(8, "big"))
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ModelError(f"the model's external data cannot be read: {error.strerror}") from None
    return digest.hexdigest()
