"""MLServer: a custom inference runtime, as https://docs.seldon.ai/mlserver/user-guide/custom shows one."""

from typing import Any

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        given: dict[str, Any] = self.settings.parameters.extra
        options = ort.SessionOptions()
        options.intra_op_num_threads = given["threads"]
        self.session = ort.InferenceSession(given["path"], options, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        (y,) = self.session.run(None, {"x": x})
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output(name="y", payload=y)])
