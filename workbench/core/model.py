"""A model as the control plane sees it: names, signature, states, status."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from workbench.config import ModelConfig
from workbench.core.batch_proof import BatchEvidence
from workbench.core.cache_figures import CacheFigures
from workbench.core.circuit import Circuit
from workbench.core.pipeline import Pipeline
from workbench.core.provenance import Provenance
from workbench.core.sequence_config import SequenceConfig, SequenceFigures
from workbench.core.shadow_figures import ShadowFigures
from workbench.errors import InvalidInput
from workbench.visible_text import visible

FREE = -1
"""A dimension that any size fits, as the protocol writes it."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def check_model_name(name: str) -> str:
    """`name`, when it may name a model (and so a folder); InvalidInput otherwise."""
    if not isinstance(name, str):  # the arguments in the wrong order, mostly
        raise InvalidInput(f"the name must be text, not of type {type(name).__name__}: the name comes first")
    if not _NAME.fullmatch(name) or ".." in name:
        raise InvalidInput(
            f"{name[:80]!r} cannot name a model: use letters, digits, '_', '-' and single '.', "
            "128 at most, not starting with '.' or '-'"
        )
    return name


def check_model_version(version: str) -> str:
    """`version`, when it is a positive whole number without leading zeros; InvalidInput otherwise."""
    if not _VERSION.fullmatch(version):
        raise InvalidInput(f"{version[:40]!r} is not a model version: versions are whole numbers from 1")
    return version


def named_version(name: str) -> tuple[str, str | None]:
    """Model and version of "digits:2"; of "digits" without one. InvalidInput where there is nothing after the colon."""
    model, colon, version = name.partition(":")
    if colon and not version:
        raise InvalidInput(f"{name[:80]!r} names no version: write NAME:VERSION, as digits:2, or NAME alone")
    return model, version or None


class ModelState(StrEnum):
    """Loading > Warming > Ready > Draining > Gone, or Failed with a reason from either of the first two."""

    LOADING = "Loading"
    WARMING = "Warming"
    READY = "Ready"
    DRAINING = "Draining"
    GONE = "Gone"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, repr=False)
class TensorSpec:
    """One input or output: `shape` has FREE (-1) where any size fits, the batch axis included."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    ranked: bool = True
    """False: the number of axes is not known either, any shape fits, and `shape` is ()."""
    missing: str = ""
    """What a missing value is sent as: a text, or "NaN"; "refused": none may be missing; empty: not known."""
    columns: tuple[str, ...] = ()
    """The names of the second axis' places, where the model was trained on a table; empty: not known."""

    def __str__(self) -> str:
        return visible(f"{self.name} {self.datatype}{self.axes}")

    @property
    def axes(self) -> str:
        """The shape as messages show it."""
        return str(list(self.shape)) if self.ranked else "[...]"

    @property
    def wire_shape(self) -> tuple[int, ...]:
        """The shape as the protocol's metadata has it, which can say of an unknown rank only that sizes are free."""
        return self.shape if self.ranked else (FREE,)

    def may_be(self, other: TensorSpec) -> bool:
        """Whether one tensor may be of this form and of the other."""
        if self.datatype != other.datatype:
            return False
        if not (self.ranked and other.ranked):
            return True
        return len(self.shape) == len(other.shape) and all(
            FREE in (one, another) or one == another for one, another in zip(self.shape, other.shape, strict=True)
        )

    def __repr__(self) -> str:
        return f"<TensorSpec {self}>"


@dataclass(frozen=True, slots=True, repr=False)
class Signature:
    """A model's inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ignored: tuple[str, ...] = ()
    """Columns of the table that the model was trained on and does not read."""

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"<Signature {inputs} -> {outputs}>"

    @property
    def free_first_axis(self) -> bool:
        """True when every input and output begins with a free axis, as outputs of unknown rank may: needed for
        batching, but no proof of it."""
        rows = (FREE,)
        return all(spec.shape[:1] == rows for spec in self.inputs) and all(
            spec.shape[:1] == rows or not spec.ranked for spec in self.outputs
        )

    def difference(self, new: Signature) -> str:
        """The inputs and outputs that callers of this signature would find changed in `new`; empty: none."""
        found = []
        for kind, these, those in (("input", self.inputs, new.inputs), ("output", self.outputs, new.outputs)):
            was = {spec.name: f"{spec.datatype} {spec.axes}" for spec in these}
            now = {spec.name: f"{spec.datatype} {spec.axes}" for spec in those}
            found += [
                f"{kind} {name!r} was {was.get(name, 'absent')} and would be {now.get(name, 'absent')}"
                for name in {**was, **now}
                if was.get(name) != now.get(name)
            ]
        return listed(found)


MAX_DIFFERENCES = 5


def listed(differences: Sequence[str]) -> str:
    """The first few of them in one line, and how many more there are."""
    more = len(differences) - MAX_DIFFERENCES
    return "; ".join([*differences[:MAX_DIFFERENCES], *([f"and {more} more"] if more > 0 else [])])


@dataclass(frozen=True, slots=True)
class DesiredModel:
    """One version of a model that is to be served, now and after a restart."""

    name: str
    version: str
    digest: str
    """Digest of the stored file."""
    config: ModelConfig = field(default_factory=ModelConfig)


MAX_LABELS = 1000


def shown_labels(labels: Mapping[str, Sequence[str]]) -> Mapping[str, tuple[str, ...]]:
    """Without those of outputs with more than MAX_LABELS columns, since a status is told at every change."""
    return {output: tuple(names) for output, names in labels.items() if len(names) <= MAX_LABELS}


@dataclass(frozen=True, slots=True, repr=False)
class ModelStatus:
    """The state of one version of one model at one moment."""

    name: str
    version: str
    state: ModelState
    reason: str = ""
    """Why it Failed; empty otherwise."""
    platform: str = ""
    device: str = ""
    """The device that its nodes really run on: "cpu" or "cuda:0"."""
    signature: Signature | None = None
    config: ModelConfig = field(default_factory=ModelConfig)
    routed: bool = False
    """True when requests that name no version come here."""
    version_labels: tuple[str, ...] = ()
    """Names that requests can call this version by: "stable", "canary" or others."""
    weight: float = 0.0
    """The part of the requests that name no version that comes here: 1 where it is routed and nothing is split."""
    max_batch_size: int = 0
    """The most rows of one batch, and of one request; 0: served unbatched, any shape that the signature takes."""
    batching: str = ""
    """One sentence: batched or not, and why."""
    batch_evidence: BatchEvidence = BatchEvidence.NONE
    """What that rests on; empty where it is unbatched."""
    execution: str = ""
    """One phrase: on which threads its runs are."""
    digest: str = ""
    size_bytes: int = 0
    loaded_at: float = 0.0
    """Unix time at which it became Ready."""
    load_s: float = 0.0
    """Seconds from the start of Loading to Ready."""
    queued: int = 0
    """Requests that wait for a runner."""
    circuit: Circuit | None = None
    """Its circuit breaker; None: it has none."""
    cache: CacheFigures | None = None
    """Its result cache; None: it has none."""
    shadow: ShadowFigures | None = None
    """The copies of calls that it gets as a shadow; None: it gets none."""
    sequences: SequenceFigures | None = None
    """None: it keeps no state between requests."""
    sequence_config: SequenceConfig | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    """Input -> "FORMAT_NCHW" or "FORMAT_NHWC", where its config.pbtxt says so."""
    notes: tuple[str, ...] = ()
    """Remarks for the user, each one sentence."""
    provenance: Provenance | None = None
    """What it was exported from and how its answers were checked; None: it is not known."""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Output -> what its columns are called, where that is known, as the classes of a classifier's scores; see
    `shown_labels`."""
    epoch: str = ""
    """Names this load of the version, among those of all services: what a client knows of a model holds for answers
    with the same epoch only. A load that stops batching gets another one. Empty: a server that tells none."""
    pipeline: Pipeline | None = None
    """None: it is one model, not a pipeline of several."""

    def __repr__(self) -> str:
        where = f" on {self.device}" if self.device else ""
        why = f", {self.reason}" if self.reason else ""
        return visible(f"<ModelStatus {self.name}, version {self.version}: {self.state}{where}{why}>")
