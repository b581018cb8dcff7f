"""Gives the inputs and outputs of an exported file names that a caller can rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def with_names(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> int:
    """Rename them in the file, in order, where their number is that; returns the opset."""
    import onnx
    from onnx import helper

    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    given = {value.name for value in graph.input}
    for value in graph.output:
        if value.name in given:  # an input that is answered as it came, and is to have two names
            graph.node.append(helper.make_node("Identity", [value.name], [f"{value.name}_answered"]))
            value.name = f"{value.name}_answered"
    names: dict[str, str] = {}
    for values, wanted in ((graph.input, inputs), (graph.output, outputs)):
        if len(values) == len(wanted):
            names |= {value.name: name for value, name in zip(values, wanted, strict=True)}
    taken = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    names |= {name: f"{name}_inner" for name in taken & set(names.values()) if name not in names}
    _rename(graph, names)
    onnx.save(model, path)
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=1)


def without_form(model: Any) -> list[str]:
    """The operators in a graph that ONNX does not know: exporters leave what they cannot express as it is."""
    import onnx

    found = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    return sorted(each for each in found if not onnx.defs.has(each))


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for each in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        each.name = names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename(inner, names)
