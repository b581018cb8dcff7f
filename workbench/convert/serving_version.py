"""The version that serves while another is exported for its name, and whether its callers would find it changed.

The service compares the two before it swaps. What is said here is said earlier: before an export where the object
tells its inputs, and before an upload where the exported file does.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from workbench.client.client import AsyncClient
from workbench.core.foreign_formats import HEAD_BYTES, is_zip
from workbench.core.model import FREE, Signature, TensorSpec, listed
from workbench.core.tensor import BYTES, DATATYPES
from workbench.errors import ModelError, NotFound, Unavailable, signature_changed
from workbench.functions.function_bundle import read_spec


@dataclass(frozen=True, slots=True)
class ServingVersion:
    name: str
    version: str
    signature: Signature

    def refuse_inputs(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """SignatureChanged where a model with these inputs must differ. FREE is said of an axis that may become free,
        and an input that nothing reads may be left out of the export: neither is held against it."""
        found = []
        for spec in self.signature.inputs:
            shape = shapes.get(spec.name)
            if shape is None:
                found.append(f"input {spec.name!r} was {spec.datatype} {spec.axes} and would be absent")
            elif spec.ranked and not _fits(spec.shape, shape):
                found.append(f"input {spec.name!r} was {spec.axes} and would be {list(shape)}")
        if found:
            known = {spec.name for spec in self.signature.inputs}
            found += [f"input {name!r} was absent" for name in shapes if name not in known]
            raise signature_changed(self.name, self.version, listed(found))

    def refuse(self, new: Signature) -> None:
        """SignatureChanged where callers would find inputs or outputs changed."""
        if difference := self.signature.difference(new):
            raise signature_changed(self.name, self.version, difference)

    def refuse_file(self, model: bytes | Path) -> None:
        """The same of an exported file, as far as it can be told without a runtime, which infers outputs' shapes."""
        new = _written_signature(model)
        if new is None:
            return
        shapes = {spec.name: spec for spec in self.signature.outputs}
        outputs = tuple(
            replace(spec, shape=shapes[spec.name].shape, ranked=shapes[spec.name].ranked)
            if spec.name in shapes
            else spec
            for spec in new.outputs
        )
        self.refuse(Signature(new.inputs, outputs))

    def differs_in_types_only(self, model: bytes | Path) -> bool:
        """Whether the inputs would be the same but for their types, as float32 where double is served."""
        if (new := _written_signature(model)) is None:
            return False
        was, now = (
            {spec.name: (spec.shape, spec.datatype) for spec in signature.inputs} for signature in (self.signature, new)
        )
        return was != now and {name: shape for name, (shape, _) in was.items()} == {
            name: shape for name, (shape, _) in now.items()
        }


async def serving_version(client: AsyncClient, name: str) -> ServingVersion | None:
    """What callers of `name` get now; None where nothing serves."""
    try:
        status = await client.status(name)
    except (NotFound, Unavailable):
        return None
    if not status.routed or status.signature is None:
        return None
    return ServingVersion(name, status.version, status.signature)


def _fits(was: Sequence[int], now: Sequence[int]) -> bool:
    return len(was) == len(now) and all(
        FREE in (one, other) or one == other for one, other in zip(was, now, strict=True)
    )


def _written_signature(model: bytes | Path) -> Signature | None:
    """What an ONNX file or a function's bundle says; None for other bundles, and for types that the protocol lacks."""
    file = model.open("rb") if isinstance(model, Path) else io.BytesIO(model)
    with file:
        if is_zip(file.read(HEAD_BYTES)):
            try:
                return read_spec(file).signature
            except ModelError:
                return None
    if isinstance(model, Path):
        graph = onnx.load_model(model, load_external_data=False).graph
    else:
        graph = onnx.load_model_from_string(model).graph
    try:
        return Signature(tuple(map(_spec, graph.input)), tuple(map(_spec, graph.output)))
    except KeyError:
        return None


def _spec(value: Any) -> TensorSpec:
    kind = value.type.tensor_type
    datatype = BYTES
    if kind.elem_type != onnx.TensorProto.STRING:
        datatype = DATATYPES[onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)]
    shape = tuple(axis.dim_value if axis.HasField("dim_value") else FREE for axis in kind.shape.dim)
    return TensorSpec(value.name, datatype, shape, kind.HasField("shape"))
