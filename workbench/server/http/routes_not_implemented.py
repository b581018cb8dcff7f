"""Parts of Triton's extensions that are not served: each route answers 501 with the reason, behind the gate."""

from __future__ import annotations

from typing import Final

from workbench.errors import Unsupported
from workbench.server.http.message import Response
from workbench.server.http.routing import Call, Route

LOGGING: Final = "log settings are not served: the log's settings are those of the service's start, docs/settings.md"
TRACE: Final = "trace settings are not served: send traceparent with a request, and its trace id is in the log"
CUDA: Final = (
    "failed to register CUDA shared memory region, GPUs not supported: it is not served; send the tensors in the "
    "body, or use system shared memory"
)

_PATHS: Final = {
    "/v2/logging": (("GET", "POST"), LOGGING),
    "/v2/trace/setting": (("GET", "POST"), TRACE),
    "/v2/models/{name}/trace/setting": (("GET", "POST"), TRACE),
    "/v2/cudasharedmemory/region/{region}/register": (("POST",), CUDA),
}


def routes() -> list[Route]:
    return [Route(method, path, _Refusal(reason)) for path, (methods, reason) in _PATHS.items() for method in methods]


class _Refusal:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def __call__(self, call: Call) -> Response:
        raise Unsupported(self._reason)
