"""A session as its config.pbtxt has it: callers send and get the declared dims, the model has what `reshape` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.ports import Session
from workbench.core.tensor import Array
from workbench.core.triton_config import Declared, TritonConfig, fits
from workbench.engine.wrapped_session import WrappedSession
from workbench.errors import InvalidInput


def reshaped(session: Session, said: TritonConfig) -> Session:
    """`session` with the signature that `said` declares, where it reshapes tensors that the model has; else itself."""
    declared = {(each.kind, each.name): each for each in said.declared if each.reshape is not None}
    if not declared:
        return session

    def seen(kind: str, spec: TensorSpec) -> TensorSpec:
        each = declared.get((kind, spec.name))
        if each is None or not _possible(each, spec, said.batched):
            return spec
        return dataclasses.replace(spec, shape=(*spec.shape[: int(said.batched)], *each.dims))

    def given(spec: TensorSpec) -> TensorSpec:
        each = declared.get(("input", spec.name))
        if each is None or not _possible(each, spec, said.batched):
            return spec
        return dataclasses.replace(spec, shape=_filled(spec.shape, each, said.batched))

    own = session.signature
    signature = Signature(
        tuple(seen("input", spec) for spec in own.inputs), tuple(seen("output", spec) for spec in own.outputs)
    )
    if signature == own:
        return session
    return ReshapeAdapter(session, signature, [given(spec) for spec in own.inputs], said.batched)


def _possible(declared: Declared, spec: TensorSpec, batched: bool) -> bool:
    """Whether the model has what is to be reshaped, and sizes can be told from each other."""
    assert declared.reshape is not None
    one_free = declared.reshape.count(FREE) <= 1 and declared.dims.count(FREE) <= 1
    return one_free and spec.ranked and (not batched or bool(spec.shape)) and fits(declared.reshape, spec, batched)


def _filled(shape: tuple[int, ...], declared: Declared, batched: bool) -> tuple[int, ...]:
    """A model's shape, with the sizes that `declared` reshapes to where the model leaves them free."""
    said = (*shape[: int(batched)], *(declared.reshape or ()))
    if len(said) != len(shape):
        return shape
    return tuple(size if found == FREE else found for size, found in zip(said, shape, strict=True))


class ReshapeAdapter(WrappedSession):
    """Stands over a session, whose tensors hold the same elements in other shapes."""

    def __init__(self, session: Session, signature: Signature, given: Sequence[TensorSpec], batched: bool) -> None:
        """`signature` as callers have it, `given` the inputs as the model is to have them."""
        super().__init__(session, signature)
        self._batched = batched
        self._inputs = _changes(signature.inputs, given)
        self._outputs = _changes(session.signature.outputs, signature.outputs)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        changed = {name: self._shaped(name, array, self._inputs) for name, array in inputs.items()}
        results = self._session.run(changed, outputs)
        return [self._shaped(name, array, self._outputs) for name, array in zip(outputs, results, strict=True)]

    def _shaped(self, name: str, array: Array, to: Mapping[str, tuple[int, ...]]) -> Array:
        shape = to.get(name)
        if shape is None:
            return array
        # The batch axis keeps its size; another free one is what the elements leave.
        sizes = (array.shape[0], *shape[1:]) if self._batched and array.ndim else shape
        try:
            return array.reshape(sizes)
        except ValueError:
            raise InvalidInput(
                f"{name!r} of shape {list(array.shape)} cannot be reshaped to {list(shape)}, as config.pbtxt says"
            ) from None


def _changes(these: Sequence[TensorSpec], those: Sequence[TensorSpec]) -> dict[str, tuple[int, ...]]:
    return {that.name: that.shape for this, that in zip(these, those, strict=True) if this.shape != that.shape}
