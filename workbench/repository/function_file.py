"""Looks at the bundle of a Python function before it is served. What its source does is its author's word."""

from __future__ import annotations

import hashlib
from pathlib import Path

from workbench.core.batch_proof import BatchProof, Verdict
from workbench.core.description import Graph
from workbench.errors import ModelError
from workbench.functions.function_bundle import read_spec
from workbench.repository.inspection import Inspection


def inspect_function(path: Path) -> Inspection:
    """The function at `path`; see repository.validate.Inspector."""
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            spec = read_spec(file)
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None
    if spec.rows:
        proof = BatchProof(reason="a Python function has no graph", declared=True)
    else:
        proof = BatchProof(Verdict.DEPENDENT, "it is a Python function that takes one request at a time")
    return Inspection(content, graph=Graph(producer=f"Python {spec.interpreter.version}", batch=proof))
