"""Converts skorch's nets: the torch module inside, with what `predict` and `predict_proba` do to its answer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from workbench.convert.converters import Converted
from workbench.convert.pytorch.last_calls import last_call
from workbench.convert.pytorch.torch_example import Example
from workbench.convert.pytorch.torch_export import export_module
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
    return converted(export_module(_Predicting(net, module), (x,), kind=kind), example, kind, skorch=version("skorch"))


class _Predicting(torch.nn.Module):  # type: ignore[misc]
    """Gives `label` and `probabilities` of a classifier, and the module's first answer of any other net."""

    def __init__(self, net: Any, module: torch.nn.Module) -> None:
        super().__init__()
        self.training = module.training
        self.module = module
        self._is_classifier = hasattr(net, "classes") or hasattr(net, "threshold")
        self._threshold = getattr(net, "threshold", None)
        self._probabilities: Callable[[Any], Any] = net._get_predict_nonlinearity()

    def forward(self, X: Any) -> Any:
        answer = self.module(**X) if isinstance(X, dict) else self.module(X)
        answer = self._probabilities(answer[0] if isinstance(answer, tuple) else answer)
        if not self._is_classifier:
            return answer
        label = answer.argmax(1) if self._threshold is None else (answer[:, 1] > self._threshold).long()
        return {"label": label, "probabilities": answer}
