"""Describes a model beyond its status: its file, where its nodes run, how long its runs take, its memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from workbench.core.batch_proof import BatchProof
from workbench.core.model import ModelStatus
from workbench.core.provenance import Provenance


@dataclass(frozen=True, slots=True)
class Graph:
    """The contents of a model's file."""

    operators: Mapping[str, int] = field(default_factory=dict)
    """Nodes by operator, those of subgraphs and functions included: "Gemm", or "domain:Operator" for those that are
    not ONNX's own."""
    parameters: int = 0
    """Numbers that the file holds for it to compute with: elements of initialisers and constants, and the coefficients
    in the attributes of ai.onnx.ml."""
    opsets: Mapping[str, int] = field(default_factory=dict)
    """Version by domain; ONNX's own is "ai.onnx"."""
    ir_version: int = 0
    producer: str = ""
    """The program that wrote the file, with its version, as the file says."""
    batch: BatchProof = field(default_factory=BatchProof)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Output -> what its columns are called, where the file says so."""
    provenance: Provenance | None = None
    """Where the file says that it came from."""
    max_batch_size: int = 0
    """The most rows of a batch where its load does not say, as the file has it; 0: it says nothing."""


@dataclass(frozen=True, slots=True)
class RunTimes:
    """Run times of one shape on this machine: t(b)."""

    shape: tuple[tuple[int, ...], ...]
    """The shape of each input, without its batch axis."""
    run_s: Mapping[int, float]
    """Seconds of one run by its rows, measured at warm-up and kept up to date."""


@dataclass(frozen=True, slots=True)
class Description:
    """One version of one model. What is not known is None or empty."""

    status: ModelStatus
    graph: Graph | None = None
    placement: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Execution provider -> operator -> nodes, as the runtime shared them out when it loaded the model, after it had
    simplified the graph."""
    run_times: tuple[RunTimes, ...] = ()
    memory_bytes: int | None = None
    """By which the process grew while it loaded and warmed the model up; None where something else was loaded too."""
