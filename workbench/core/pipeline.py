"""A pipeline of models: which stages it has, and which output becomes which input.

Each stage is a served model. Its inputs and outputs are joined by tensors, names that exist in the pipeline alone, as
in Triton's `ensemble_scheduling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """One stage."""

    model: str
    version: str | None = None
    """None: the version that the router sends requests to."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The model's input -> tensor."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The model's output -> tensor; the outputs that are not named are not computed."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    steps: tuple[PipelineStep, ...]
    """Each comes after those whose tensors it takes."""
    inputs: Mapping[str, str]
    """The pipeline's input -> tensor."""
    outputs: Mapping[str, str]
    """The pipeline's output -> tensor."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the stages are called: their models' names, and "NAME#2" for the second stage of one model."""
        return stage_labels(step.model for step in self.steps)

    @property
    def producers(self) -> dict[str, int]:
        """Tensor -> index of the step that gives it; the pipeline's inputs are not among them."""
        return {tensor: index for index, step in enumerate(self.steps) for tensor in step.outputs.values()}


def stage_labels(models: Iterable[str]) -> tuple[str, ...]:
    """As `Pipeline.labels`."""
    seen: Counter[str] = Counter()
    labels = []
    for model in models:
        seen[model] += 1
        labels.append(model if seen[model] == 1 else f"{model}#{seen[model]}")
    return tuple(labels)
