"""A client whose service is this process: it inspects a file and opens it with its runtime, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.helpers.onnx_client import OnnxClient
from workbench.config import ModelConfig
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelState, ModelStatus
from workbench.core.ports import Session
from workbench.protocols.control import LoadAnswer
from workbench.repository.store import ModelStore
from workbench.runtimes.registry import open_session


class ServedHere(OnnxClient):
    """Each load is version 1; what is discarded is gone. Files are kept below `folder`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.sessions: dict[str, Session] = {}

    async def stage(
        self,
        name: str,
        model: bytes | Path,
        config: Mapping[str, object] | None = None,
        *,
        sent: Callable[[int], object] | None = None,
        allow_code: bool = False,
        keep_s: float | None = None,
        route: bool = True,
    ) -> LoadAnswer:
        store = ModelStore(self._folder)
        kept = store.add_bytes(model if isinstance(model, bytes) else model.read_bytes())
        session = open_session(kept.path, ModelConfig(device="cpu", intra_op_threads=1), instances=1)
        status = ModelStatus(name, "1", ModelState.READY, signature=session.signature, epoch=name, max_batch_size=64)
        self.sessions[name] = session
        self.served[name] = status, None  # type: ignore[assignment]
        return LoadAnswer(status, False, None, 0.0)

    async def infer(self, request: InferRequest) -> InferResponse:
        session = self.sessions[request.model]
        names = [spec.name for spec in session.signature.outputs]
        outputs = dict(zip(names, session.run(request.inputs, names), strict=True))
        return InferResponse(request.model, "1", outputs, epoch=request.model)
