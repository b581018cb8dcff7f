"""`AsyncClient`: an asyncio client of one service.

It implements `core.ports.Inference` and the control plane of docs/http.md. Tensors travel as binary.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from workbench.client import limited_view
from workbench.client.control_calls import ControlCalls, model_path
from workbench.client.grpc_client import GrpcClient
from workbench.client.input_adapter import did_you_mean
from workbench.client.request_body import Body
from workbench.client.service_transport import ASKED_AGAIN_S, CONTROL_S, WAIT_S, HttpRequest, ServiceTransport
from workbench.client.signs_of_life import SILENT_S
from workbench.client.token_source import TokenSource
from workbench.core.description import Description
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelStatus, check_model_name, check_model_version
from workbench.errors import Forbidden, InvalidInput, ModelNotFound, Unavailable
from workbench.protocols import control, dictionary, oip_json
from workbench.rendezvous.process_identity import ProcessKey

if TYPE_CHECKING:
    import aiohttp

    from workbench.client.shared_service import Address, SharedService

_ANY_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

DEADLINE_GRACE_S = 1.0
"""Seconds after a request's deadline in which the service's own answer is still awaited."""


class AsyncClient(ControlCalls):
    """A client of the service at `url`. Holds connections from the first call until `close()`.

    With `token_file` a token that was replaced is read from there again when the service refuses the one before.
    `ca_file` is PEM with the authorities that may have signed the certificate of an https:// or grpcs:// service, or
    with that certificate; without it the machine's own authorities are trusted.

    For a grpc:// or grpcs:// address it uses gRPC, for inferences only, with any server of the protocol.

    It belongs to the event loop that calls it first; in a forked child it opens new connections.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        ca_file: str | Path | None = None,
        connections: int = 256,
        own: bool = False,
        shared: SharedService | None = None,
        keeper: ProcessKey | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        """`own`: it is a service of this user on this machine, and nothing is sent to a process of another user."""
        self._grpc: GrpcClient | None = None
        """Set for a gRPC address: it carries inferences and what they need, nothing else."""
        if urlsplit(url).scheme in ("grpc", "grpcs"):
            self._grpc = GrpcClient(url, token, token_file=token_file, ca_file=ca_file)
        transport = ServiceTransport(
            url,
            TokenSource(token, token_file),
            ca_file=str(ca_file or ""),
            connections=connections,
            own=own,
            shared=shared,
            keeper=keeper,
            wait_s=wait_s,
        )
        super().__init__(transport)
        self._dictionaries: bool | None = None
        """Whether the server reads texts sent by a dictionary; None: it was not asked yet."""
        self.of_share = False
        """Whether the token proved to be a share's: it calls its models, reads what they take, and nothing else."""

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._grpc is not None:
            await self._grpc.close()
        await self.transport.close()

    def clone(self) -> AsyncClient:
        """Return another client of this address, which neither finds nor starts another service."""
        return AsyncClient(self.url, self.token, token_file=self.token_file, ca_file=self.ca_file, own=self.own)

    @property
    def url(self) -> str:
        """The service's address, without a slash at its end."""
        return self.transport.url

    @property
    def ca_file(self) -> str:
        """PEM with whom to trust; empty for the machine's own authorities."""
        return self.transport.ca_file

    @property
    def own(self) -> bool:
        """Whether it is a service of this user on this machine."""
        return self.transport.own

    @property
    def token(self) -> str | None:
        """The token, for other clients of the same service."""
        return self.transport.source.token

    @property
    def token_file(self) -> str:
        """The file with the token, from which it is read again; empty where none is known."""
        return str(self.transport.source.path or "")

    def use_token(self, token: str | None) -> None:
        """Send this token from now on; calls under way go on."""
        self.transport.source.token = token
        self.of_share = False

    async def rotate_token(self) -> str:
        """Replace the service's token, so that no other one is valid any more; the file that holds the new one.

        This client reads it from its own `token_file`; without one it has no token any more. Raises StorageError where
        the service cannot replace it.
        """
        before = self.token
        path = str((await self.transport.json("POST", "/control/token/rotate", {}))["token_file"])
        source = self.transport.source
        if self.transport.shared is not None:  # another service may name any file of this machine
            source.path = Path(path)
        if not await source.renewed(before):
            self.use_token(None)
        return path

    async def rebind(self, address: Address) -> None:
        """Use the service at `address` from now on."""
        await self.transport.rebind(address)

    # Inference

    async def infer(self, request: InferRequest) -> InferResponse:
        """Run one request. Its `deadline` is on time.monotonic."""
        if self._grpc is not None:
            return await self._grpc.infer(request)
        parts, header_length = oip_json.encode_request(request, dictionaries=await self._reads_dictionaries(request))
        timeout_s = None
        if request.deadline is not None:
            timeout_s = max(request.deadline - time.monotonic(), 0.0) + DEADLINE_GRACE_S
        body, headers = await self._exchange(request, parts, header_length, timeout_s)
        response = oip_json.decode_response(body, _json_length(headers))
        response.epoch = headers.get("x-model-epoch", "")
        return response

    async def _reads_dictionaries(self, request: InferRequest) -> bool:
        """Return whether the server reads texts sent by a dictionary. It is asked once, before the first large text."""
        if all(array.dtype != object or array.size < dictionary.MANY for array in request.inputs.values()):
            return False
        if self._dictionaries is None:
            self._dictionaries = dictionary.EXTENSION in (await self.server_metadata()).get("extensions", ())
        return self._dictionaries

    async def exchange(
        self, request: InferRequest, body: Body, header_length: int | None, timeout_s: float | None = None
    ) -> tuple[bytes, int | None]:
        """Send an inference with an encoded body, and return the body of the answer, undecoded.

        Each body has the length of its JSON, None if all of it is. Of `request`, only the model and version are used.
        """
        found, headers = await self._exchange(request, body, header_length, timeout_s)
        return found, _json_length(headers)

    async def _exchange(
        self, request: InferRequest, body: Body, header_length: int | None, timeout_s: float | None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return the body of the answer and its headers."""
        headers = {"Content-Type": "application/json" if header_length is None else "application/octet-stream"}
        if header_length is not None:
            headers["Inference-Header-Content-Length"] = str(header_length)
        path = f"/v2/models/{_any_model(request.model, request.version)}/infer"
        own_deadline = timeout_s is not None
        return await self.transport.call(
            HttpRequest("POST", path, body, headers, timeout_s, own_deadline=own_deadline, repeat=True)
        )

    async def ready(self) -> bool:
        """Return whether the service takes requests: False while it starts or drains.

        Raises Unavailable without one.
        """
        if self._grpc is not None:
            return await self._grpc.ready()
        try:
            await self.transport.call(HttpRequest("GET", "/v2/health/ready", timeout_s=CONTROL_S, repeat=True))
        except Unavailable as error:
            if isinstance(error.__cause__, OSError | asyncio.TimeoutError):
                raise
            return False
        return True

    async def server_metadata(self) -> dict[str, Any]:
        """Return the server's metadata: name, version, extensions. Any server of the protocol has it."""
        if self._grpc is not None:
            return await self._grpc.server_metadata()
        return dict(await self.transport.json("GET", "/v2"))

    async def metadata(self, model: str, version: str | None = None) -> dict[str, Any]:
        """Return a model's metadata: name, versions, platform, inputs, outputs. Any server has it. Raises NotFound."""
        return dict(await self.transport.json("GET", f"/v2/models/{_any_model(model, version)}"))

    async def configuration(self, model: str, version: str | None = None) -> dict[str, Any]:
        """Return a model's configuration in Triton's form. Raises NotFound."""
        return dict(await self.transport.json("GET", f"/v2/models/{_any_model(model, version)}/config"))

    async def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """List the models in the service's repositories and memory: name, version, state, reason."""
        return list(await self.transport.json("POST", "/v2/repository/index", {"ready": ready}))

    async def load_stored(self, name: str, config: Mapping[str, object] | None = None) -> ModelStatus:
        """Load a model of the service's own repositories, and route to it."""
        parameters = {"config": json.dumps(dict(config))} if config else {}
        path = f"/v2/repository/models/{model_path(name)}/load"
        await self.transport.json("POST", path, {"parameters": parameters}, lasting=f"loading {name!r}")
        return await self.status(name)

    @asynccontextmanager
    async def lend(self, name: str, settings: Mapping[str, object]) -> AsyncIterator[ModelStatus]:
        """Apply live `settings` while the context lasts; other changes of the model raise Conflict meanwhile.

        The service restores the earlier settings by itself, even if this process dies.
        """
        import aiohttp

        token = self.token
        response = await self._lend(name, settings)
        keeping: asyncio.Task[None] | None = None
        try:
            try:
                line = await response.content.readline()
            except (aiohttp.ClientError, OSError) as error:
                raise self.transport.unreachable(error) from error
            keeping = asyncio.create_task(self._keep_lent(response, token, name, settings))
            yield control.decode_status(self.transport.decoded(line)["model"])
        finally:
            if keeping is None:
                response.close()
            else:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _lend(self, name: str, settings: Mapping[str, object]) -> aiohttp.ClientResponse:
        import aiohttp

        body, headers = json.dumps(dict(settings)).encode(), {"Content-Type": "application/json"}
        path = f"/control/models/{model_path(name)}/lend"
        try:
            return await self.transport.open(HttpRequest("POST", path, body, headers, silent_s=CONTROL_S))
        except (aiohttp.ClientError, OSError) as error:
            raise self.transport.unreachable(error) from error

    async def _keep_lent(
        self, response: aiohttp.ClientResponse, token: str | None, name: str, settings: Mapping[str, object]
    ) -> None:
        """Until cancelled; the service ends what was lent with a token that was replaced, so it is lent again then."""
        while True:
            async with response:
                async for _ in response.content.iter_any():
                    pass
            if not await self.transport.source.renewed(token):
                return
            token = self.token
            response = await self._lend(name, settings)

    async def statuses(self, name: str | None = None) -> list[ModelStatus]:
        """Return the status of every version, Failed ones included, of one model or of all."""
        return await self._statuses(name, None)

    async def _statuses(self, name: str | None, version: str | None) -> list[ModelStatus]:
        """With a share's token of the version that is asked for alone, by default of the one that serves."""
        path = "/control/models" if name is None else f"/control/models/{model_path(name)}"
        if not self.of_share:
            try:
                return [control.decode_status(item) for item in await self.transport.json("GET", path)]
            except Forbidden:
                await self._know_share()
        return await limited_view.statuses(self) if name is None else [await limited_view.status(self, name, version)]

    async def _know_share(self) -> None:
        """After a Forbidden: raises it again where the token may not even read the server's metadata."""
        await self.server_metadata()
        self.of_share = True

    async def reach(self) -> None:
        """Raises Unavailable where no service answers, Unauthenticated where it does not take the token."""
        try:
            await self.service()
        except Forbidden:
            await self._know_share()

    async def status(self, name: str, version: str | None = None, *, serving: bool = True) -> ModelStatus:
        """Return the status of one version, or of the one that serves. If none serves, raise Unavailable, or with
        `serving` False return the newest one. While a new worker gets its models back, this one is waited for.

        Raises ModelNotFound, which suggests the nearest name. Over gRPC it has only the signature and the batch size.
        """
        if self._grpc is not None:
            return await self._grpc.status(name, version)
        until = time.monotonic() + self.transport.wait_s
        while True:
            try:
                return await self._status_now(name, version, serving)
            except Unavailable as error:
                if not self.transport.may_come_back(error) or time.monotonic() > until:
                    raise
            await asyncio.sleep(ASKED_AGAIN_S)

    async def _status_now(self, name: str, version: str | None, serving: bool) -> ModelStatus:
        try:
            statuses = await self._statuses(name, version)
        except ModelNotFound as error:
            names = sorted({status.name for status in await self.statuses()})
            raise ModelNotFound(error.message + did_you_mean(name, names)) from None
        for status in reversed(statuses):
            if version in (status.version, *status.version_labels) if version is not None else status.routed:
                return status
        if version is None and statuses and not serving:
            return statuses[-1]
        if version is None:
            raise Unavailable(f"no version of {name!r} serves: {_states(statuses)}")
        there = [name for s in statuses for name in (s.version, *s.version_labels)]
        raise ModelNotFound(f"{name!r} has no version {version}; it has {', '.join(there)}")

    async def describe(self, name: str, version: str | None = None) -> Description:
        """Describe one version, or the one that serves, else the newest. Raises ModelNotFound."""
        status = await self.status(name, version, serving=False)
        if self.of_share:
            return Description(status)
        version = status.version
        found = await self.transport.json("GET", f"/control/models/{model_path(name)}/describe?version={version}")
        return control.decode_description(found)

    async def fetch(
        self, name: str, version: str, path: str, target: Path, got: Callable[[int], object] = lambda size: None
    ) -> int:
        """Write one of the files of a version to `target`, and return its size; `got` is called with the size of each
        piece. Raises OSError where it cannot be written."""
        import aiohttp

        query = f"version={check_model_version(version)}&path={quote(path, safe='')}"
        request = HttpRequest("GET", f"/control/models/{model_path(name)}/file?{query}", silent_s=SILENT_S)
        size = 0
        try:
            response = await self.transport.open(request)
            async with response:
                with target.open("wb") as file:
                    async for part in response.content.iter_chunked(1 << 20):
                        await asyncio.to_thread(file.write, part)
                        size += len(part)
                        got(len(part))
        except aiohttp.ClientError as error:
            raise self.transport.unreachable(error) from error
        return size

    async def service(self) -> dict[str, Any]:
        """Return the service's status: version, url, pid, device, memory and so on; over gRPC its metadata."""
        if self._grpc is not None:
            return await self._grpc.server_metadata()
        return dict(await self.transport.json("GET", "/control/status"))

    async def snapshots(
        self, interval_s: float = 0.5, *, changes: bool = False, past_s: float = 0.0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield one snapshot per interval, until the generator is closed or the service ends.

        With `changes`, an item with only "epoch" and "changed" comes in between, at once, when a model changes. With
        `past_s`, at most 900, those come first that tell of the seconds before; they have "past".
        """
        import aiohttp

        path = f"/control/stream?interval={interval_s:g}" + ("&changes=true" if changes else "")
        path += f"&past={past_s:g}" if past_s else ""
        silent_s = max(CONTROL_S, 3 * interval_s)
        try:
            response = await self.transport.open(HttpRequest("GET", path, silent_s=silent_s))
            async with response:
                rest = b""
                async for part in response.content.iter_any():  # reading by line, it would refuse one of 128 kB
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield self.transport.decoded(line)
        except aiohttp.SocketTimeoutError as error:
            raise Unavailable(f"the service at {self.url} sent no figures for {silent_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self.transport.unreachable(error) from error


def _json_length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Inference-Header-Content-Length")
    return int(length) if length is not None else None


def _any_model(name: str, version: str | None = None) -> str:
    """As `_model`, for any server of the protocol: other servers' versions may be words such as v1.2."""
    if version is not None and not _ANY_VERSION.fullmatch(version):
        raise InvalidInput(f"version must consist of letters, digits, dots, _ and -, got {version[:40]!r}")
    return check_model_name(name) if version is None else f"{check_model_name(name)}/versions/{version}"


def _states(statuses: Sequence[ModelStatus]) -> str:
    said = (f"version {s.version} is {s.state}" + (f" ({s.reason})" if s.reason else "") for s in statuses)
    return "; ".join(said) or "none is loaded"
