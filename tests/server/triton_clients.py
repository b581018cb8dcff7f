"""The unmodified tritonclient over HTTP and over gRPC, called and read in one way."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

from tests.helpers.service_process import Serve
from workbench.core.tensor import datatype_of

X = np.linspace(-1, 1, 48, dtype=np.float32).reshape(3, 16)

CLIENTS = {
    "HTTP": (tritonclient.http, True, True),
    "gRPC": (tritonclient.grpc, True, True),
    "HTTP, JSON": (tritonclient.http, False, False),
    "HTTP, JSON sent": (tritonclient.http, False, True),
    "HTTP, JSON answered": (tritonclient.http, True, False),
}
"""Name -> module, and whether the tensors sent and answered are binary."""


class Client:
    """tritonclient with the token in each call's headers, which is the only way it takes one."""

    def __init__(self, serve: Serve, name: str) -> None:
        self.module, self.sends_binary, self.gets_binary = CLIENTS[name]
        self.grpc = self.module is tritonclient.grpc
        self.plain = self.module.InferenceServerClient(serve.grpc if self.grpc else serve.address)
        self.headers = {"authorization": f"Bearer {serve.token}"}

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.plain, name)
        # A copy for each: tritonclient writes the length of a binary body's JSON into the dict that it is given.
        return lambda *args, **kwargs: call(*args, headers=dict(self.headers), **kwargs)

    def read(self, name: str, *args: str) -> Any:
        """The answer of the call `get_NAME`, in the form of `json_of`."""
        found = json_of(getattr(self, f"get_{name}")(*args, **({"as_json": True} if self.grpc else {})))
        if self.grpc and name in ("model_repository_index", "model_config", "system_shared_memory_status"):
            (found,) = found.values()
        return list(found.values()) if self.grpc and name == "system_shared_memory_status" else found

    def response(self, result: Any) -> Any:
        """Of an inference, in the form of `json_of`."""
        return json_of(result.get_response(**({"as_json": True} if self.grpc else {})))

    def given(self, array: Any, name: str = "x") -> Any:
        datatype = "BYTES" if array.dtype == object else datatype_of(array)
        tensor = self.module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, **({} if self.grpc else {"binary_data": self.sends_binary}))
        return tensor

    def asked(self, name: str = "y", **more: Any) -> Any:
        return self.module.InferRequestedOutput(
            name, **({} if self.grpc else {"binary_data": self.gets_binary}), **more
        )

    def output(self, model: str, array: Any, **more: Any) -> Any:
        """What `model` makes of `array`."""
        return self.infer(model, [self.given(array)], **more).as_numpy("y")


def json_of(value: Any) -> Any:
    """`value` with numbers for digits, since protobuf's JSON has strings, and parameters without their types."""
    if isinstance(value, dict):
        (name, only), *more = [*value.items()] or [("", None)]
        return json_of(only) if name.endswith("_param") and not more else {k: json_of(v) for k, v in value.items()}
    if isinstance(value, list):
        return [json_of(each) for each in value]
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else value
