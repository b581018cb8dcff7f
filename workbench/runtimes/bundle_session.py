"""Models that take text or images: around ONNX Runtime runs what turns these into tensors, and tensors into answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from workbench.config import ModelConfig
from workbench.core.bundle import BundleSpec, read_bundle
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.runtime import BUNDLE
from workbench.core.tensor import BYTES, Array
from workbench.errors import ModelError
from workbench.runtimes.bundle_images import ImagesClassified
from workbench.runtimes.bundle_tasks import (
    Classified,
    Embedded,
    QuestionsAnswered,
    TokensClassified,
)
from workbench.runtimes.bundle_text import Texts
from workbench.runtimes.onnx import OnnxSession, open_onnx


class Task(Protocol):
    """What a pipeline does with its inputs, all rows at once."""

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs. Raises InvalidInput, naming the row, for a text or image that cannot be read."""
        ...


class BundleSession:
    """Implements core.ports.Session, Placed, Interruptible and Trimmable, by the session inside."""

    platform = BUNDLE.platform

    def __init__(self, inner: OnnxSession, task: Task, signature: Signature) -> None:
        self._inner = inner
        self._task = task
        self.signature = signature
        self.device = inner.device
        self.runner_threads = inner.runner_threads
        self.notes = inner.notes
        self.placement = inner.placement

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The named outputs, in order; see core.ports.Session."""
        answers = self._task.answer(inputs)
        return [answers[name] for name in outputs]

    def interrupt(self, thread: int) -> None:
        """See core.ports.Interruptible."""
        self._inner.interrupt(thread)

    def trim(self) -> None:
        """See core.ports.Trimmable."""
        self._inner.trim()

    def close(self) -> None:
        """Give back the memory."""
        self._inner.close()


class ImageSession(BundleSession):
    """One of images. Implements core.ports.Exampled too."""

    def __init__(self, inner: OnnxSession, task: ImagesClassified, signature: Signature) -> None:
        super().__init__(inner, task, signature)
        self.examples = task.examples


def open_bundle(path: Path, config: ModelConfig, *, instances: int = 1) -> BundleSession:
    """The bundle at `path`, already validated, on the device that `config` asks for. Raises ModelError."""
    bundle = read_bundle(path)
    spec = bundle.spec
    texts = Texts(spec, bundle.tokenizer) if spec.text is not None else None
    inner = open_onnx(path, config, instances=instances, content=bundle.model)
    del bundle
    _check_graph(spec, inner.signature)
    scores = TensorSpec("score", "FP32", (FREE,))
    by_class = (TensorSpec("label", BYTES, (FREE,)), scores, TensorSpec("scores", "FP32", (FREE, len(spec.labels))))
    text = (TensorSpec("text", BYTES, (FREE,)),)
    if texts is None:
        images = ImagesClassified(spec, inner)
        return ImageSession(inner, images, Signature((TensorSpec("image", BYTES, (FREE,)),), by_class))
    match spec.task:
        case "text-classification":
            return BundleSession(inner, Classified(spec, inner, texts), Signature(text, by_class))
        case "sentence-embedding":
            width = inner.signature.outputs[0].shape[-1]
            return BundleSession(
                inner,
                Embedded(spec, inner, texts),
                Signature(text, (TensorSpec("embedding", "FP32", (FREE, width)),)),
            )
        case "token-classification":
            return BundleSession(
                inner,
                TokensClassified(spec, inner, texts),
                Signature(text, (TensorSpec("entities", BYTES, (FREE,)),)),
            )
        case _:
            asked = (TensorSpec("question", BYTES, (FREE,)), TensorSpec("context", BYTES, (FREE,)))
            where = (TensorSpec("start", "INT64", (FREE,)), TensorSpec("end", "INT64", (FREE,)))
            answers = (TensorSpec("answer", BYTES, (FREE,)), scores, *where)
            return BundleSession(inner, QuestionsAnswered(spec, inner, texts), Signature(asked, answers))


def _check_graph(spec: BundleSpec, signature: Signature) -> None:
    """ModelError where the graph is not the one that the bundle describes."""
    found = {each.name for each in signature.inputs}
    if found != set(spec.inputs):
        raise ModelError(f"the bundle's graph takes {sorted(found)}, and its description says {sorted(spec.inputs)}")
    if missing := set(spec.outputs) - {each.name for each in signature.outputs}:
        raise ModelError(f"the bundle's graph has no output {sorted(missing)[0]!r}, which its description names")
