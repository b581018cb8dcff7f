"""Counts what a model's functions come to when each call is replaced by its body, as a runtime does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from onnx import FunctionProto, ModelProto, NodeProto

from workbench.errors import ModelError

MAX_EXPANDED_NODES: Final = 2_000_000


def check_functions(model: ModelProto) -> None:
    """Raises ModelError where a function calls itself, over others or not, or where calls of calls come to more nodes
    than any model has: thirty functions that call the one before them twice are a billion."""
    functions = {_key(function): function for function in model.functions}
    if not functions:
        return
    sizes: dict[tuple[str, str, str], int] = {}
    for start in functions:
        # Depth first and without recursion: a function is counted once all that it calls are.
        under_way = [start]
        calling: set[tuple[str, str, str]] = set()
        while under_way:
            key = under_way[-1]
            if key in sizes:
                under_way.pop()
                continue
            called = [_key(node) for node in _nodes(functions[key].node) if _key(node) in functions]
            left = [each for each in called if each not in sizes]
            if (key in calling and left) or key in left:
                raise ModelError(f"the model's function {key[1][:100]!r} calls itself, which ONNX does not allow")
            if not left:
                sizes[key] = _expanded(functions[key].node, sizes)
                calling.discard(key)
                continue
            calling.add(key)
            under_way.extend(dict.fromkeys(left))
    _expanded(model.graph.node, sizes)


def _expanded(nodes: Iterable[NodeProto], sizes: dict[tuple[str, str, str], int]) -> int:
    total = 0
    for node in _nodes(nodes):
        total += sizes.get(_key(node), 1)
        if total > MAX_EXPANDED_NODES:
            raise ModelError(
                f"the model's functions come to over {MAX_EXPANDED_NODES} nodes where they are called, more than any "
                "model needs"
            )
    return total


def _key(called: FunctionProto | NodeProto) -> tuple[str, str, str]:
    name = called.name if isinstance(called, FunctionProto) else called.op_type
    return called.domain, name, called.overload


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """With those of subgraphs; without recursion."""
    waiting = [iter(nodes)]
    while waiting:
        for node in waiting[-1]:
            yield node
            if node.attribute:
                graphs = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
                waiting.extend(iter(graph.node) for graph in graphs if graph.node)
                break
        else:
            waiting.pop()
