"""Looking at an ONNX file before a runtime does: is it one, what is in it, which files does it name?

The file is read under caps first (graph.wire_check), and only then parsed. A tensor may say that its data lie in
another file, and a runtime reads whatever file that is. Such tensors hide anywhere: initialisers, sparse ones,
constants, subgraphs, functions, training graphs. So every message of the file is walked, by what its type can hold
instead of by a list of known places.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from workbench.core import class_names
from workbench.core.class_names import decode_classes
from workbench.core.description import Graph
from workbench.core.provenance import MAX_BATCH_KEY, METADATA_KEY, MOST_BATCH_ROWS, Provenance, decode
from workbench.errors import InvalidInput, ModelError, UntrustedModel
from workbench.graph.batch_axis import analyse
from workbench.graph.function_calls import check_functions
from workbench.graph.wire_check import check_wire
from workbench.graph.zipmap import drop_zipmaps
from workbench.repository.inspection import ExternalData, Inspection, described, location_of

PROTOBUF_MAX_BYTES = 2**31 - 1
"""The most that one protobuf message can hold; larger models keep their weights in files beside it."""

_OWN_DOMAIN = ("", "ai.onnx")
_MOST_AXES = 64
_MOST_ELEMENTS = 2**48
_MOST_LOCATION = 4096
_ML_DOMAIN = "ai.onnx.ml"
_ZIPMAP = f"{_ML_DOMAIN}:ZipMap"
_METADATA = "metadata_props"
_EXTERNAL_KEYS = ("location", "offset", "length")


def inspect_onnx(path: Path) -> Inspection:
    """The ONNX model at `path`; see repository.validate.Inspector."""
    return inspect_onnx_content(_content(path))


def inspect_onnx_content(content: bytes) -> Inspection:
    """The same for the content of a file."""
    digest = hashlib.sha256(content).hexdigest()
    model = _parsed(content)
    del content
    operators: Counter[str] = Counter()
    parameters = 0
    data: dict[Path, ExternalData] = {}
    provenance, classes, most = _provenance(model), _classes(model), _max_batch_size(model)
    for message in _walk(model):
        if isinstance(message, onnx.NodeProto):
            domain, operator = _text(message.domain), _text(message.op_type)
            operators[operator if domain in _OWN_DOMAIN else f"{domain}:{operator}"] += 1
            if domain == _ML_DOMAIN:  # whose models lie in attributes
                parameters += sum(len(attribute.floats) for attribute in message.attribute)
        elif isinstance(message, onnx.TensorProto):
            parameters += _elements(message)
            if message.data_location == onnx.TensorProto.EXTERNAL:
                found = _external(message)
                location = location_of(found)
                if location not in data or data[location].end < found.end:
                    data[location] = found
        elif isinstance(message, onnx.SparseTensorProto):
            parameters -= _elements(message.indices)
        if _METADATA in message.DESCRIPTOR.fields_by_name:
            # Left out of the identity: exporters write times and paths there.
            message.ClearField(_METADATA)
    check_functions(model)
    identity = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    labels = drop_zipmaps(model)  # as the runtime does: from here on it is looked at as it runs
    operators.update({_ZIPMAP: -len(labels), "Identity": len(labels)})
    return Inspection(
        content=digest,
        identity=identity,
        opset=max((entry.version for entry in model.opset_import if entry.domain in _OWN_DOMAIN), default=0),
        external=tuple(data[location] for location in sorted(data)),
        graph=Graph(
            operators=dict((+operators).most_common()),
            parameters=min(max(parameters, 0), 2**63 - 1),
            opsets={_shown(entry.domain) or "ai.onnx": entry.version for entry in model.opset_import},
            ir_version=model.ir_version,
            producer=f"{_shown(model.producer_name)} {_shown(model.producer_version)}".strip(),
            batch=analyse(model),
            labels={**classes, **labels},
            provenance=provenance,
            max_batch_size=most,
        ),
    )


def _provenance(model: onnx.ModelProto) -> Provenance | None:
    """The record that this project writes into exported files; what is no such record says nothing."""
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            with suppress(InvalidInput):
                return decode(entry.value.encode() if isinstance(entry.value, str) else entry.value)
    return None


def _classes(model: onnx.ModelProto) -> Mapping[str, tuple[str, ...]]:
    for entry in model.metadata_props:
        if entry.key == class_names.METADATA_KEY:
            return decode_classes(_text(entry.value))
    return {}


def _max_batch_size(model: onnx.ModelProto) -> int:
    """0 where the file says nothing of it, or what no setting can be."""
    for entry in model.metadata_props:
        if entry.key == MAX_BATCH_KEY and (text := _text(entry.value)).isascii() and text.isdigit():
            return int(text) if len(text) < 6 and int(text) <= MOST_BATCH_ROWS else 0
    return 0


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > PROTOBUF_MAX_BYTES:
            raise ModelError(
                f"the model file has {size / 2**30:.1f} GiB, and an ONNX file can hold 2; save it with external data "
                "(onnx.save(model, path, save_as_external_data=True))"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None


def _parsed(content: bytes) -> onnx.ModelProto:
    check_wire(content)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except (DecodeError, RecursionError, ValueError):
        # protobuf below 7 does not tell which it is.
        raise ModelError(
            "the file is no ONNX model, or a corrupt or truncated one: copy the whole file again, or export it again"
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


def _external(tensor: onnx.TensorProto) -> ExternalData:
    """What a tensor says of the file that holds its data."""
    found = ExternalData("", _shown(tensor.name))
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        key = _text(entry.key)
        if key in entries:
            raise UntrustedModel(f"{described(found)} gives its {key[:20]!r} twice")
        entries[key] = _text(entry.value)
    offset, length = (_whole_number(entries.get(key, "0"), key, described(found)) for key in _EXTERNAL_KEYS[1:])
    return ExternalData(entries.get("location", "")[:_MOST_LOCATION], found.tensor, offset + length)


def _text(field: str | bytes) -> str:
    """A text of the model. Protobuf hands out what is not UTF-8 as bytes, and a runtime would take it as it is."""
    if isinstance(field, bytes):
        raise ModelError("the model has a name that is not UTF-8, as ONNX wants its names to be; it may be corrupt")
    return field


def _elements(tensor: onnx.TensorProto) -> int:
    """As its shape has it. ModelError for a shape that no tensor has."""
    dims = tensor.dims
    elements = math.prod(dims) if len(dims) <= _MOST_AXES else _MOST_ELEMENTS + 1
    if elements > _MOST_ELEMENTS or any(size < 0 for size in dims):
        raise ModelError(
            f"tensor {_shown(tensor.name)!r} has a shape that no tensor has "
            f"({len(dims)} axes: {', '.join(map(str, dims[:8]))})"
        )
    return elements


def _shown(field: str | bytes) -> str:
    """A text of the model that is only told, never gone by."""
    text = field.decode(errors="replace") if isinstance(field, bytes) else field
    return " ".join(text.split())[:100]


def _whole_number(text: str, key: str, what: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ModelError(f"{what} has {key} {text[:40]!r}, which is no whole number of bytes")
    return int(text)
