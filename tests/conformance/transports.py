"""The ways of an inference: one case's request over each of them -> the answer, or the error of the tree."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.json_format import MessageToDict, ParseDict

from tests.conformance.cases import Case
from tests.helpers.service_process import Serve
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.tensor import DTYPES, Array
from workbench.engine import Engine
from workbench.protocols import pb
from workbench.protocols.binary import bytes_from_array
from workbench.protocols.oip_grpc import decode_response as decode_grpc
from workbench.protocols.oip_grpc import write_parameters
from workbench.protocols.oip_json import decode_response
from workbench.protocols.parameters import take_schedule
from workbench.protocols.status_codes import GRPC_CODE_KEY, error_from_grpc, error_from_http
from workbench.repository.local import LocalRepository
from workbench.repository.store import ModelStore


def array_of(tensor: dict[str, Any]) -> Array:
    if tensor["datatype"] == "BYTES":
        array = np.empty(len(tensor["data"]), np.object_)
        array[:] = [text.encode() for text in tensor["data"]]
        return array.reshape(tensor["shape"])
    return np.array(tensor["data"], DTYPES[tensor["datatype"]]).reshape(tensor["shape"])


class Http:
    def __init__(self, serve: Serve) -> None:
        self._serve = serve

    def json(self, case: Case) -> InferResponse:
        return self._infer(case, json.dumps(case.request).encode(), None)

    def binary(self, case: Case) -> InferResponse:
        inputs, parts = [], []
        for tensor in case.request["inputs"]:
            part = bytes(bytes_from_array(array_of(tensor), "an input", tensor["datatype"]))
            parts.append(part)
            described = {name: value for name, value in tensor.items() if name != "data"}
            inputs.append(described | {"parameters": {**tensor.get("parameters", {}), "binary_data_size": len(part)}})
        parameters = {"binary_data_output": True, **case.request.get("parameters", {})}
        request = {**case.request, "inputs": inputs, "parameters": parameters}
        head = json.dumps(request).encode()
        return self._infer(case, head + b"".join(parts), len(head))

    def call(self, case: Case) -> tuple[int, bytes]:
        asked = case.http
        body = bytes.fromhex(asked["raw"]) if "raw" in asked else asked.get("body")
        return self._serve.call(asked["method"], asked["path"], body, **asked.get("headers", {}))

    def _infer(self, case: Case, body: bytes, length: int | None) -> InferResponse:
        version = f"/versions/{case.version}" if case.version else ""
        headers = {"Content-Type": "application/json" if length is None else "application/octet-stream"}
        if length is not None:
            headers["Inference-Header-Content-Length"] = str(length)
        status, answer = self._serve.call("POST", f"/v2/models/{case.model}{version}/infer", body, **headers)
        if status != 200:
            raise error_from_http(status, answer)
        # The reply's own header is not at hand: its JSON ends where its braces do.
        _, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
        return decode_response(answer, None if end == len(answer) else end)


class Grpc:
    def __init__(self, serve: Serve) -> None:
        self._channel = grpc.insecure_channel(serve.grpc)
        self._metadata = (("authorization", f"Bearer {serve.token}"),)

    def infer(self, case: Case) -> InferResponse:
        request = pb.message("ModelInferRequest")(
            model_name=case.model, model_version=case.version or "", id=case.request.get("id", "")
        )
        for tensor in case.request["inputs"]:
            asked = request.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
            write_parameters(asked.parameters, tensor.get("parameters", {}))
            request.raw_input_contents.append(bytes(bytes_from_array(array_of(tensor), "", tensor["datatype"])))
        for output in case.request.get("outputs", []):
            write_parameters(request.outputs.add(name=output["name"]).parameters, output.get("parameters", {}))
        write_parameters(request.parameters, case.request.get("parameters", {}))
        return decode_grpc(self._call("ModelInfer", request.SerializeToString()))

    def call(self, case: Case) -> dict[str, Any]:
        """The answer of a method, as protobuf's JSON."""
        descriptor = next(each for each in pb.methods() if each.name == case.rpc["method"])
        request = ParseDict(case.rpc.get("request", {}), pb.message(descriptor.input_type.name)())
        answer = pb.message(descriptor.output_type.name).FromString(
            self._call(descriptor.name, request.SerializeToString())
        )
        found: dict[str, Any] = MessageToDict(answer, preserving_proto_field_name=True)
        return found

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: str, message: bytes) -> bytes:
        try:
            call = self._channel.unary_unary(f"/{pb.SERVICE}/{method}")
            answer: bytes = call(message, metadata=self._metadata, timeout=20)
            return answer
        except grpc.RpcError as error:
            code = dict(error.trailing_metadata() or ()).get(GRPC_CODE_KEY, "")
            raise error_from_grpc(error.code().value[0], error.details(), code) from None


class Process:
    """The engine itself, in this process."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self._runner = asyncio.Runner()
        self._engine = Engine(ModelStore(folder / "store"), repositories=[LocalRepository(repository)])

    def start(self, names: list[str]) -> None:
        async def load() -> None:
            await self._engine.start()
            for name in names:
                await self._engine.load(name)

        self._runner.run(load())

    def infer(self, case: Case) -> InferResponse:
        inputs = {tensor["name"]: array_of(tensor) for tensor in case.request["inputs"]}
        request = InferRequest(case.model, inputs, case.version, id=case.request.get("id", ""))
        request.outputs = tuple(output["name"] for output in case.request.get("outputs", []))
        take_schedule(dict(case.request.get("parameters", {})), request, time.monotonic())

        async def infer() -> InferResponse:
            return await self._engine.infer(request)

        return self._runner.run(infer())

    def close(self) -> None:
        self._runner.run(self._engine.close())
        self._runner.close()
