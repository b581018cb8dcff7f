"""Says what a model's graph alone tells of its batch axis: whether rows that share a run can change each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What a graph proves about the rows of a batch."""

    INDEPENDENT = "independent"
    """No row's answer depends on the rows beside it, nor on its place among them."""
    DEPENDENT = "dependent"
    """Some answer does depend on them, so the model must never be batched."""
    UNKNOWN = "unknown"
    """The graph holds something that is not understood, so only a trial can tell."""


class BatchEvidence(StrEnum):
    """What shows that the rows of a batched model may share a run."""

    PROVED = "proved"
    """Its graph."""
    SAMPLED = "sampled"
    """A trial on made-up rows, which can miss what other rows would show."""
    DECLARED = "declared"
    """Its settings, which say `batching = always`."""
    NONE = ""
    """It is not batched."""


@dataclass(frozen=True, slots=True)
class InputHint:
    """What a trial of the model should put into one input, as found in the graph."""

    below: int | None = None
    """The input indexes something of this size: values are in [0, below). None: it is used as no index."""
    constants: tuple[float, ...] = ()
    """Numbers that the input is compared with; a trial needs values on both sides of each."""


@dataclass(frozen=True, slots=True)
class BatchProof:
    """The finding about a model's batch axis, drawn from its graph without a run."""

    verdict: Verdict = Verdict.UNKNOWN
    reason: str = "its graph was not analysed"
    """A clause that names the node and why, such as "DynamicQuantizeLinear 'quant_3' takes one scale for the whole
    batch"; of an unknown graph, what was not understood."""
    only_quantization: bool = False
    """Dependent, and dynamic quantization is the only reason: rows change each other by its rounding, no more."""
    row_outputs: tuple[str, ...] = ()
    """The outputs whose first axis is proved to be the rows of the inputs, whatever the verdict is."""
    operators: tuple[str, ...] = ()
    """Of an unknown graph, the operators that no rule covers, as "Gemm" or "domain:Operator", each once."""
    hints: Mapping[str, InputHint] = field(default_factory=dict)
    """By input, for what is made up to try the model with."""
    declared: bool = False
    """Its author says that rows may share a run, which counts where nothing speaks against it."""
