"""A server of others, small: it answers over HTTP and gRPC as MLServer 1.7.1 does, in threads of this process.

Unlike ours it knows no binary tensors over HTTP (500 for them), names no extensions, says nothing of what its model
`plain` takes, has versions that are words, and tells what does not fit a schema as FastAPI does.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import grpc

from workbench.protocols import pb

X = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1, 4]}
MODELS: dict[str, dict[str, Any]] = {
    "declared": {"name": "declared", "versions": [], "platform": "", "inputs": [X], "outputs": [Y], "parameters": {}},
    "plain": {"name": "plain", "versions": [], "platform": "", "inputs": [], "outputs": [], "parameters": {}},
}
SERVER = {"name": "mlserver", "version": "1.7.1", "extensions": []}
VERSION = "v1.2"


class Foreign:
    """`http` and `grpc` are where; `seen` are the inferences' inputs, as JSON has them. End it with `with`."""

    def __init__(self) -> None:
        self.seen: list[list[dict[str, Any]]] = []
        self._http = _Http(("127.0.0.1", 0), _Answers)
        self._http.foreign = self
        self.http = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._grpc = grpc.server(ThreadPoolExecutor(4))
        self._grpc.add_generic_rpc_handlers((_handlers(self),))
        self.grpc = f"grpc://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._grpc.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answered(self, inputs: list[dict[str, Any]]) -> str:
        """Why an inference fails; empty: it does not."""
        self.seen.append(inputs)
        wrong = [each["datatype"] for each in inputs if each["datatype"] != "FP32"]
        return f"Unexpected input data type: {wrong[0]}, expected: FP32" if wrong else ""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    foreign: Foreign


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        if self.path == "/v2":
            self._say(200, SERVER)
        else:
            self._model(lambda name: self._say(200, MODELS[name]))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._model(lambda name: self._infer(name, body))

    def log_message(self, *words: object) -> None:
        pass

    def _model(self, answer: Any) -> None:
        parts = self.path.removesuffix("/infer").split("/")  # "", "v2", "models", NAME and perhaps "versions", VERSION
        if parts[3] not in MODELS or parts[4:] not in ([], ["versions", VERSION]):
            self._say(404, {"error": f"Model {parts[3]} not found"})
        else:
            answer(parts[3])

    def _infer(self, name: str, body: bytes) -> None:
        try:
            inputs = json.loads(body)["inputs"]
        except UnicodeDecodeError:
            self._say(500, None)
            return
        except ValueError:
            self._say(422, {"detail": [{"type": "x", "loc": ["body"], "msg": "Input should be a valid dictionary"}]})
            return
        if why := self.server.foreign.answered(inputs):
            self._say(500, {"error": why})
        else:
            outputs = [{**Y, "shape": [1, 4], "parameters": {"content_type": "np"}, "data": [1.0, 1.0, 1.0, 1.0]}]
            self._say(200, {"model_name": name, "id": "1", "parameters": {}, "outputs": outputs})

    def _say(self, status: int, body: object) -> None:
        data = b"Internal Server Error" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _handlers(foreign: Foreign) -> grpc.GenericRpcHandler:
    def known(asked: Any, context: grpc.ServicerContext, name: str) -> dict[str, Any]:
        if name not in MODELS:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Model {name} with version {asked} not found")
        return MODELS[name]

    def server(asked: Any, context: grpc.ServicerContext) -> Any:
        return pb.message("ServerMetadataResponse")(**SERVER)

    def model(asked: Any, context: grpc.ServicerContext) -> Any:
        found = known(asked.version, context, asked.name)
        return pb.message("ModelMetadataResponse")(name=asked.name, inputs=found["inputs"], outputs=found["outputs"])

    def infer(asked: Any, context: grpc.ServicerContext) -> Any:
        known(asked.model_version, context, asked.model_name)
        inputs = [
            {
                "name": each.name,
                "shape": list(each.shape),
                "datatype": each.datatype,
                "parameters": {name: value.string_param for name, value in each.parameters.items()},
            }
            for each in asked.inputs
        ]
        if why := foreign.answered(inputs):
            context.abort(grpc.StatusCode.INTERNAL, why)
        return pb.message("ModelInferResponse")(model_name=asked.model_name)

    methods = {"ServerMetadata": server, "ModelMetadata": model, "ModelInfer": infer}
    return grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService",
        {
            name: grpc.unary_unary_rpc_method_handler(
                answer, pb.message(f"{name}Request").FromString, lambda said: bytes(said.SerializeToString())
            )
            for name, answer in methods.items()
        },
    )
