"""Inspects the file of a pipeline of models: JSON, which holds nothing to run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from workbench.core.description import Graph
from workbench.core.model import Signature
from workbench.core.pipeline import Pipeline
from workbench.core.pipeline_document import MAX_BYTES, decode, encode, max_batch_size_of
from workbench.errors import ModelError
from workbench.repository.inspection import Inspection
from workbench.repository.layout import words


def inspect_pipeline(path: Path) -> Inspection:
    """Implements repository.validate.Inspector."""
    data = _read(path)
    alone = encode(*decode(data))
    graph = Graph(max_batch_size=max_batch_size_of(data))
    return Inspection(hashlib.sha256(data).hexdigest(), hashlib.sha256(alone).hexdigest(), graph=graph)


def read_pipeline(path: Path) -> tuple[Pipeline, Signature]:
    """The pipeline in a file, with its own inputs and outputs. ModelError where it holds none."""
    return decode(_read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"the pipeline's file cannot be read: {words(error)}") from None
