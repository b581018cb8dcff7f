"""Looks at a bundle before a runtime does: what is in it, and at its ONNX file as at any other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec

from workbench.core.batch_proof import BatchProof, Verdict
from workbench.core.bundle import MODEL_MEMBER, read_bundle
from workbench.errors import ModelError, UntrustedModel
from workbench.repository.inspection import Inspection
from workbench.repository.onnx_file import inspect_onnx_content


def inspect_bundle(path: Path) -> Inspection:
    """The bundle at `path`; see repository.validate.Inspector."""
    bundle = read_bundle(path)
    found = inspect_onnx_content(bundle.model)
    if found.external:
        raise UntrustedModel(
            f"the bundle's {MODEL_MEMBER} names data in another file; its weights must be in it (2 GB at most)"
        )
    kept = (msgspec.json.encode(bundle.spec), bundle.tokenizer, found.identity.encode())
    identity = hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in kept)).hexdigest()
    inner = found.graph.batch
    if inner.verdict is Verdict.DEPENDENT:
        proof = BatchProof(Verdict.DEPENDENT, inner.reason, inner.only_quantization)
    elif inner.verdict is Verdict.INDEPENDENT and bundle.spec.image is not None:
        proof = BatchProof(Verdict.INDEPENDENT, "", row_outputs=("label", "score", "scores"))
    else:  # texts of one length run together, others one after another; what that does, a trial shows
        proof = BatchProof(Verdict.UNKNOWN, "what comes before and after the graph is not in it")
    labels = (
        {"scores": bundle.spec.labels} if bundle.spec.task in ("text-classification", "image-classification") else {}
    )
    try:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}") from None
    return replace(found, content=content, identity=identity, graph=replace(found.graph, batch=proof, labels=labels))
