"""A client whose service is ONNX Runtime in this process: enough of one to load a model and predict with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from workbench.client.client import AsyncClient
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import FREE, ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.provenance import Provenance
from workbench.core.table_columns import METADATA_KEY, with_columns
from workbench.core.tensor import BYTES, Array
from workbench.errors import ExecutionError, ModelError, ModelNotFound
from workbench.protocols.control import LoadAnswer

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(double)": "FP64",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(string)": BYTES,
    "tensor(bool)": "BOOL",
}


class OnnxClient(AsyncClient):
    """Each load is version 1; what is discarded is gone."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.served: dict[str, tuple[ModelStatus, onnxruntime.InferenceSession]] = {}

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
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            signature = Signature(_specs(session.get_inputs()), _specs(session.get_outputs()))
            said = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
            signature = with_columns(signature, said)
        except Exception as error:
            raise ModelError(f"ONNX Runtime refuses it: {' '.join(str(error).split())}") from error
        status = ModelStatus(name, "1", ModelState.READY, signature=signature, epoch=name)
        self.served[name] = status, session
        return LoadAnswer(status, False, None, 0.0)

    async def commit(
        self,
        name: str,
        version: str,
        *,
        force: bool = False,
        provenance: Provenance | None = None,
        route: bool = True,
    ) -> LoadAnswer:
        status, session = self.served[name]
        self.served[name] = dataclasses.replace(status, routed=True), session
        return LoadAnswer(self.served[name][0], False, None, 0.0)

    async def discard(self, name: str, version: str) -> None:
        del self.served[name]

    async def status(self, name: str, version: str | None = None, *, serving: bool = True) -> ModelStatus:
        if name not in self.served:
            raise ModelNotFound(name)
        return self.served[name][0]

    async def infer(self, request: InferRequest) -> InferResponse:
        status, session = self.served[request.model]
        assert status.signature is not None
        texts = {spec.name for spec in status.signature.inputs if spec.datatype == BYTES}
        feeds = {name: _decoded(array) if name in texts else array for name, array in request.inputs.items()}
        try:
            found = session.run(None, feeds)
        except Exception as error:
            raise ExecutionError(f"the runtime failed: {error}") from error
        outputs = {spec.name: np.asarray(each) for spec, each in zip(status.signature.outputs, found, strict=True)}
        return InferResponse(request.model, "1", outputs, epoch=status.epoch)


def _specs(found: list[onnxruntime.NodeArg]) -> tuple[TensorSpec, ...]:
    specs = []
    for each in found:
        if each.type not in DATATYPES:
            raise TypeError(f"{each.name} is a {each.type}")
        shape = tuple(size if isinstance(size, int) and size > 0 else FREE for size in each.shape)
        specs.append(TensorSpec(each.name, DATATYPES[each.type], shape))
    return tuple(specs)


def _decoded(array: Array) -> Array:
    return np.array([each.decode() for each in array.flat], object).reshape(array.shape)
