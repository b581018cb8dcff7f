"""Reads a model as of an older opset or IR version, where nothing in it needs the newer one that its file names.

Exporters stamp files with the newest versions that they know, and a runtime refuses numbers that it does not know yet,
whatever is in the file. An operator is the same in both opsets where its definition did not change between them, or
changed in nothing but the datatypes that it takes: the runtime then checks these itself. So do a few more whose
changes were read one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, defs

_OWN_DOMAIN = "ai.onnx"

_READ: Final = frozenset({("Mod", 28), ("BitShift", 28), ("Range", 27), ("SpaceToDepth", 28)})
"""(operator, since): it changed in words, or by an attribute whose default is what there was, and else in datatypes."""

_IR_OF_TYPE: Final = {
    "FLOAT8E4M3FN": 9,
    "FLOAT8E4M3FNUZ": 9,
    "FLOAT8E5M2": 9,
    "FLOAT8E5M2FNUZ": 9,
    "UINT4": 10,
    "INT4": 10,
    "FLOAT4E2M1": 11,
    "FLOAT8E8M0": 12,
    "UINT2": 13,
    "INT2": 13,
    "FLOAT6E2M3": 14,
    "FLOAT6E3M2": 14,
}
"""Element type -> the IR version that brought it."""

_TYPE_ATTRIBUTES: Final = ("to", "dtype", "output_dtype")


def lower_opset(model: ModelProto, domain: str, version: int) -> str:
    """Have `model` say `version` of `domain`, in place, where it says a newer one. "" or "ai.onnx" is ONNX's own.

    Returns why it cannot be, as a clause, and then the model is as it was; empty: it was done.
    """
    domain = _plain(domain)
    own = {(_plain(function.domain), function.name) for function in model.functions}
    scopes: list[tuple[Any, Iterable[NodeProto]]] = [(model, model.graph.node)]
    scopes += [(function, function.node) for function in model.functions]
    newer = [
        (entry, nodes)
        for scope, nodes in scopes
        for entry in scope.opset_import
        if _plain(entry.domain) == domain and entry.version > version
    ]
    for entry, nodes in newer:
        for node in _nodes(nodes):
            if _plain(node.domain) != domain or (domain, node.op_type) in own:
                continue
            if problem := _problem(node, domain, entry.version, version):
                return problem
    for entry, _ in newer:
        entry.version = version
    return ""


def lower_ir(model: ModelProto, version: int) -> str:
    """Have `model` say the IR version `version`, in place; as `lower_opset`."""
    if model.ir_version > onnx.IR_VERSION:
        return f"IR version {model.ir_version} is newer than the installed onnx package knows"
    new = {TensorProto.DataType.Value(name): name for name, since in _IR_OF_TYPE.items() if since > version}
    for number in _element_types(model):
        if number in new:
            return f"it holds {new[number]}, which IR version {_IR_OF_TYPE[new[number]]} brought"
    model.ir_version = version
    return ""


def _problem(node: NodeProto, domain: str, declared: int, version: int) -> str:
    """Why this node cannot be read as of `version`; empty: it can."""
    operator = node.op_type
    if declared > _newest(domain):
        return f"nothing is known here of opset {declared} of {domain}"
    try:
        now = defs.get_schema(operator, declared, "" if domain == _OWN_DOMAIN else domain)
    except defs.SchemaError:
        return f"nothing is known here of its operator {operator} of {domain}"
    if now.since_version <= version:
        return ""
    try:
        before = defs.get_schema(operator, version, now.domain)
    except defs.SchemaError:
        return f"its operator {operator} is new in opset {now.since_version}"
    changed = f"its operator {operator} changed in opset {now.since_version}"
    if {attribute.name for attribute in node.attribute} - before.attributes.keys():
        return changed
    alike = _parameters(now) == _parameters(before) and _defaults(now, before) == _defaults(before, before)
    if not alike or (now.doc != before.doc and (operator, now.since_version) not in _READ):
        return changed
    return ""


@cache
def _newest(domain: str) -> int:
    """The newest opset of a domain that the installed onnx package knows; 0: it knows none."""
    wanted = "" if domain == _OWN_DOMAIN else domain
    schemas = defs.get_all_schemas_with_history()
    return max((schema.since_version for schema in schemas if schema.domain == wanted), default=0)


def _parameters(schema: defs.OpSchema) -> list[list[tuple[object, ...]]]:
    """Inputs and outputs, but for the types that they may have."""
    return [
        [(each.name, each.type_str, each.option, each.is_homogeneous, each.min_arity) for each in part]
        for part in (schema.inputs, schema.outputs)
    ]


def _defaults(schema: defs.OpSchema, of: defs.OpSchema) -> dict[str, tuple[object, ...] | None]:
    """What the attributes that `of` has are in `schema`."""
    found = {
        name: (each.type, each.required, each.default_value.SerializeToString())
        for name, each in schema.attributes.items()
    }
    return {name: found.get(name) for name in of.attributes}


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _element_types(message: Any) -> Iterator[int]:
    """Each element type that a model names: of tensors, of declared types, and in attributes such as Cast's `to`."""
    waiting = [message]
    while waiting:
        message = waiting.pop()
        if isinstance(message, AttributeProto) and message.name in _TYPE_ATTRIBUTES:
            yield message.i
        for field, content in message.ListFields():
            if field.message_type is not None:
                waiting.extend([content] if hasattr(content, "ListFields") else content)
            elif field.name in ("data_type", "elem_type"):  # a sequence's elem_type is a message
                yield content


def _plain(domain: str) -> str:
    return domain or _OWN_DOMAIN
