"""Converts skorch's nets: the torch module inside, with what `predict` and `predict_proba` do to its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch

from workbench.convert.converters import Check, Converted
from workbench.convert.export_folder import discard
from workbench.convert.pytorch.last_calls import last_call
from workbench.convert.pytorch.torch_example import Example
from workbench.convert.pytorch.torch_export import ModuleExport, export_module
from workbench.convert.pytorch.torch_module import converted, example_of
from workbench.errors import InvalidInput


def convert(source: object, sample: object | None) -> Converted:
    """The export of a fitted net. `sample`: rows as its `predict` takes them."""
    net: Any = source
    kind = type(net).__name__
    if not isinstance(module := getattr(net, "module_", None), torch.nn.Module):
        raise InvalidInput(f"{kind} is not fitted yet; call fit() first")
    called = last_call(module)
    if isinstance(sample, dict):  # skorch gives the module the parts by name
        called, sample = ((), sample), None
    inner = example_of(module, sample, called, kind)
    x = inner.args[0] if inner.args else dict(inner.kwargs)
    example = Example((x,), {}, inner.made_up, inner.said)
    export = export_module(_Predicting(net, module), (x,), kind=kind)
    made = converted(export, example, kind, skorch=version("skorch"))
    return replace(made, checks=(*made.checks, *_own_check(net, export)))


def step_model(net: Any, width: int) -> Any:
    """The ModelProto of a fitted net that is a step of scikit-learn's: of rows of `width` numbers in float32."""
    import onnx

    example = torch.zeros(2, width, device=next((each.device for each in net.module_.parameters()), None))
    export = export_module(_Predicting(net, net.module_, plain="variable"), (example,), kind=type(net).__name__)
    try:
        return onnx.load(export.model)
    finally:
        discard(export.model.parent)


def _own_check(net: Any, export: ModuleExport) -> Iterator[Check]:
    """The first rows again, with what `predict` and `predict_proba` of the net itself say of them."""
    first = export.checks[0]
    rows: Any = first.rows
    if len(rows) != 1:
        return
    (array,) = rows.values()
    own = {"label": net.predict, "probabilities": net.predict_proba} if len(first.expected) > 1 else {}
    methods = own or dict.fromkeys(first.expected, net.predict)
    yield Check(rows, first.row_count, {name: ask(array) for name, ask in methods.items()}, "by its own predict")


class _Predicting(torch.nn.Module):  # type: ignore[misc]
    """Gives `label` and `probabilities` of a classifier, and the module's first answer of any other net."""

    def __init__(self, net: Any, module: torch.nn.Module, plain: str = "") -> None:
        """`plain`: what the answer of a net that is no classifier is called."""
        super().__init__()
        self.training = module.training
        self.module = module
        self._is_classifier = hasattr(net, "classes") or hasattr(net, "threshold")
        self._threshold = getattr(net, "threshold", None)
        self._plain = plain
        self._probabilities: Callable[[Any], Any] = net._get_predict_nonlinearity()

    def forward(self, X: Any) -> Any:
        answer = self.module(**X) if isinstance(X, dict) else self.module(X)
        answer = answer[0] if isinstance(answer, tuple) else answer
        if self._threshold is not None:  # one score a row, as skorch reads it
            answer = answer.reshape(-1)
        answer = self._probabilities(answer)
        if not self._is_classifier:
            return {self._plain: answer} if self._plain else answer
        label = answer.argmax(1) if self._threshold is None else (answer[:, 1] > self._threshold).long()
        return {"label": label, "probabilities": answer}
