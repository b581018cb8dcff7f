"""`AsyncClient`: an asyncio client of one service over HTTP.

It implements `core.ports.Inference` and the control plane of docs/http.md. An error of the service is raised as the
class of `workbench.errors` that the engine raised; a service that cannot be reached raises `Unavailable`. Tensors
travel as binary.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from workbench.client import limited_view
from workbench.client.audit_results import MOST, AuditTable, audit_of
from workbench.client.fork_safety import keep_from_children
from workbench.client.grpc_client import GrpcClient
from workbench.client.input_adapter import did_you_mean
from workbench.client.request_body import Body, CountedBody, payload
from workbench.client.share_results import Share, ShareTable, share_of, table_of
from workbench.client.signs_of_life import SILENT_S, while_alive
from workbench.client.token_source import TokenSource
from workbench.client.trusted_certificates import client_context, trust
from workbench.client.user_agent import user_agent
from workbench.core.description import Description
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelStatus, check_model_name, check_model_version
from workbench.core.provenance import Provenance, encode
from workbench.core.rollout_view import RolloutView
from workbench.core.shadow_figures import ShadowExample, ShadowFigures
from workbench.core.version_overview import VersionOverview
from workbench.errors import (
    DeadlineExceeded,
    Draining,
    Forbidden,
    InvalidInput,
    ModelNotFound,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.protocols import control, dictionary, oip_json, status_codes
from workbench.protocols.shadow_json import decode_shadow
from workbench.rendezvous.process_identity import ProcessHandle, ProcessKey, boot_ticks
from workbench.share.share_token import PREFIX

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from workbench.client.shared_service import Address, SharedService


T = TypeVar("T")

CONNECT_TIMEOUT_S = 5.0

ASKED_AGAIN_S = 0.1
"""Pause before a call is sent again to a service whose worker is being replaced."""

WAIT_S = 60.0
"""How long a call waits for the shared service by default."""

CONTROL_S = 30.0
"""What a control call may take that the service answers from memory; more than connections wait for the next worker.
Calls that load or drain a model last as long as the service lives (signs_of_life)."""

KEEP_ALIVE_S = 60.0
"""Less than the service's 75 s, so that no request is sent on a connection that is being closed."""

_HOW_TO_GIVE_IT = (
    "connect(url, token) in Python, --url URL --token-file FILE on the command line; "
    "`%infer status`, where the service was started, names the file that holds it"
)

_ANY_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

DEADLINE_GRACE_S = 1.0
"""Seconds after a request's deadline in which the service's own answer is still awaited."""


class AsyncClient:
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
        parts = urlsplit(url)
        self._source = TokenSource(token, token_file)
        self._dictionaries: bool | None = None
        """Whether the server reads texts sent by a dictionary; None: it was not asked yet."""
        self.ca_file = str(ca_file or "")
        self._grpc: GrpcClient | None = None
        """Set for a gRPC address: it carries inferences and what they need, nothing else."""
        if parts.scheme in ("grpc", "grpcs"):
            self._grpc = GrpcClient(url, token, token_file=token_file, ca_file=ca_file)
        if ca_file and parts.scheme in ("http", "grpc"):
            raise InvalidInput("a ca_file is for TLS: use an address https://HOST:PORT, or grpcs:// for gRPC")
        if self._grpc is None and (
            parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None
        ):
            raise InvalidInput("the URL must look like http://127.0.0.1:8080, without a user name or token in it")
        if own and self._grpc is not None:
            raise InvalidInput("gRPC connects by itself, so who listens there cannot be looked at: use the http:// URL")
        self.url = url.rstrip("/")
        self._connections = connections
        self.own = own
        """Whether it is a service of this user on this machine."""
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wait_s = wait_s
        """How long a call waits for the shared service while it is started, or its worker is replaced."""
        self._shared = shared
        """Where `url` came from, and where a new one is found when nothing listens there any more."""
        self._keeper = None if keeper is None else ProcessHandle(keeper)
        """The service's supervisor. Once it has ended, a worker that still answers is about to end too."""
        self.of_share = False
        """Whether the token proved to be a share's: it calls its models, reads what they take, and nothing else."""
        self.gone: Callable[[], str] = lambda: ""
        """Returns why the service cannot be reached, in one sentence; empty if not known."""

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        if self._grpc is not None:
            await self._grpc.close()
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    def clone(self) -> AsyncClient:
        """Return another client of this address, which neither finds nor starts another service."""
        return AsyncClient(self.url, self.token, token_file=self.token_file, ca_file=self.ca_file, own=self.own)

    @property
    def token(self) -> str | None:
        """The token, for other clients of the same service."""
        return self._source.token

    @property
    def token_file(self) -> str:
        """The file with the token, from which it is read again; empty where none is known."""
        return str(self._source.path or "")

    def use_token(self, token: str | None) -> None:
        """Send this token from now on; calls under way go on."""
        self._source.token = token
        self.of_share = False

    async def rotate_token(self) -> str:
        """Replace the service's token, so that no other one is valid any more; the file that holds the new one.

        This client reads it from its own `token_file`; without one it has no token any more. Raises StorageError where
        the service cannot replace it.
        """
        before = self.token
        path = str((await self._json("POST", "/control/token/rotate", {}))["token_file"])
        if self._shared is not None:  # the path is another service's word, and may name any file of this machine
            self._source.path = Path(path)
        if not await self._source.renewed(before):
            self.use_token(None)
        return path

    # Shares

    async def share(self, terms: Mapping[str, object]) -> Share:
        """Make a share; `terms` as `POST /control/shares` takes them."""
        return share_of(await self._json("POST", "/control/shares", terms))

    async def shares(self) -> ShareTable:
        """All shares, also those that ended in the last 30 days."""
        return table_of(await self._json("GET", "/control/shares"))

    async def revoke(self, share: str) -> None:
        """End the share with this id or label."""
        await self._json("DELETE", f"/control/shares/{quote(share, safe='')}")

    async def share_port(self) -> dict[str, Any] | None:
        """The port on a network that shares are called on, as `GET /control/share-port` tells it; None: none is."""
        found: dict[str, Any] | None = await self._json("GET", "/control/share-port")
        return found

    async def open_share_port(self, terms: Mapping[str, object]) -> dict[str, Any]:
        """Open it; `terms` as `POST /control/share-port` takes them."""
        return dict(await self._json("POST", "/control/share-port", terms))

    async def close_share_port(self) -> None:
        await self._json("DELETE", "/control/share-port")

    async def audit(self, since: float = 0.0, limit: int = MOST) -> AuditTable:
        """What was done to the service at `since` (Unix time) or later, the latest `limit` of it."""
        return audit_of(await self._json("GET", f"/control/audit?since={max(since, 0.0):.3f}&limit={limit}"))

    async def rebind(self, address: Address) -> None:
        """Use the service at `address` from now on."""
        moved = (address.url, address.ca_file) != (self.url, self.ca_file)
        self._source.token, self._source.path = address.token, Path(address.token_file) if address.token_file else None
        if address.keeper != (self._keeper and self._keeper.process):
            self._keeper = None if address.keeper is None else ProcessHandle(address.keeper)
            moved = True  # open connections lead to a worker that is about to end
        if moved:
            self.url, self.ca_file = address.url, address.ca_file
            await self.close()

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
        return await self._call("POST", path, body, headers=headers, timeout_s=timeout_s, repeat=True)

    async def ready(self) -> bool:
        """Return whether the service takes requests: False while it starts or drains.

        Raises Unavailable without one.
        """
        if self._grpc is not None:
            return await self._grpc.ready()
        try:
            await self._call("GET", "/v2/health/ready", control_s=CONTROL_S, repeat=True)
        except Unavailable as error:
            if isinstance(error.__cause__, OSError | asyncio.TimeoutError):
                raise
            return False
        return True

    async def server_metadata(self) -> dict[str, Any]:
        """Return the server's metadata: name, version, extensions. Any server of the protocol has it."""
        if self._grpc is not None:
            return await self._grpc.server_metadata()
        return dict(await self._json("GET", "/v2"))

    async def metadata(self, model: str, version: str | None = None) -> dict[str, Any]:
        """Return a model's metadata: name, versions, platform, inputs, outputs. Any server has it. Raises NotFound."""
        return dict(await self._json("GET", f"/v2/models/{_any_model(model, version)}"))

    async def configuration(self, model: str, version: str | None = None) -> dict[str, Any]:
        """Return a model's configuration in Triton's form. Raises NotFound."""
        return dict(await self._json("GET", f"/v2/models/{_any_model(model, version)}/config"))

    async def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """List the models in the service's repositories and memory: name, version, state, reason."""
        return list(await self._json("POST", "/v2/repository/index", {"ready": ready}))

    async def load_stored(self, name: str, config: Mapping[str, object] | None = None) -> ModelStatus:
        """Load a model of the service's own repositories, and route to it."""
        parameters = {"config": json.dumps(dict(config))} if config else {}
        path = f"/v2/repository/models/{_model(name)}/load"
        await self._json("POST", path, {"parameters": parameters}, lasting=f"loading {name!r}")
        return await self.status(name)

    # The control plane

    async def load(
        self,
        name: str,
        path: Path | str,
        config: Mapping[str, object] | None = None,
        *,
        force: bool = False,
        allow_code: bool = False,
        route: bool = True,
    ) -> control.LoadAnswer:
        """Load a file or folder of the service's machine, and route to it; without `route` beside what serves.
        `allow_code`: it may be a Python function, which runs as the service's user."""
        body = {"path": str(path), "config": dict(config or {}), "force": force, **_code(allow_code), **_beside(route)}
        path = f"/control/models/{_model(name)}/load"
        return control.decode_load(await self._json("POST", path, body, lasting=f"loading {name!r}"))

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
    ) -> control.LoadAnswer:
        """Upload an ONNX file. It is loaded and warmed up; only requests that name its version reach it.

        After `keep_s` seconds the service discards it where it was not committed: then this process was killed.
        Without `route` it is to stay beside what serves, so a file that is loaded already is unchanged.
        `sent` is called with the size of each piece once it is sent. See `stage_path` for a file with others beside it.
        """
        if isinstance(model, Path) and not _can_be_read(model):
            raise InvalidInput(f"{str(model)!r} is not a readable file, so it cannot be uploaded")
        path = f"/control/models/{_model(name)}/stage?config={quote(json.dumps(dict(config or {})))}"
        path += ("&allow_code=true" if allow_code else "") + ("" if route else "&beside=true")
        path += f"&keep_s={keep_s:g}" if keep_s else ""
        headers = {"Content-Type": "application/octet-stream"}
        upload = model if sent is None else CountedBody(model, sent)
        body, _ = await self._lasting(f"loading {name!r}", self._call("POST", path, upload, headers=headers))
        return control.decode_load(self._decoded(body))

    async def stage_path(
        self,
        name: str,
        path: Path,
        config: Mapping[str, object] | None = None,
        *,
        keep_s: float | None = None,
        route: bool = True,
    ) -> control.LoadAnswer:
        """The same with a file or folder of the service's machine, and with what lies beside it."""
        body: dict[str, object] = {"path": str(path), "config": dict(config or {}), "stage": True, **_beside(route)}
        body |= {"keep_s": keep_s} if keep_s else {}
        where = f"/control/models/{_model(name)}/load"
        return control.decode_load(await self._json("POST", where, body, lasting=f"loading {name!r}"))

    async def commit(
        self,
        name: str,
        version: str,
        *,
        force: bool = False,
        provenance: Provenance | None = None,
        route: bool = True,
    ) -> control.LoadAnswer:
        """Route to a staged version and drain the one before; without `route`, keep it loaded beside what serves.
        `provenance` is kept with it."""
        path = f"/control/models/{_model(name, version)}/commit"
        body: dict[str, object] = {"force": force, **_beside(route)}
        if provenance is not None:
            body["provenance"] = json.loads(encode(provenance))
        return control.decode_load(
            await self._json("POST", path, body, lasting=f"routing to {name!r}, version {version}")
        )

    async def discard(self, name: str, version: str) -> None:
        """Drop a staged version."""
        path = f"/control/models/{_model(name, version)}/discard"
        await self._json("POST", path, {}, lasting=f"dropping {name!r}, version {version}")

    async def unload(self, name: str, version: str | None = None) -> None:
        """Drain and unload every version, or one that does not serve."""
        path = f"/control/models/{_model(name, version)}/unload"
        await self._json("POST", path, {}, lasting=f"unloading {name!r}, after its requests")

    async def rollback(self, name: str) -> control.LoadAnswer:
        """Route to the version that served before again. Raises Conflict where there is none."""
        path = f"/control/models/{_model(name)}/rollback"
        return control.decode_load(await self._json("POST", path, {}, lasting=f"rolling back {name!r}"))

    async def label(self, name: str, labels: Mapping[str, str | None]) -> dict[str, str]:
        """Have each label point to its version; None takes one away. Return the labels from then on."""
        path = f"/control/models/{_model(name)}/labels"
        answer = await self._json("POST", path, dict(labels), lasting=f"labelling versions of {name!r}")
        return dict(answer["labels"])

    async def route(
        self,
        name: str,
        weights: Mapping[str, float] | None = None,
        *,
        by: str = "",
        shadow: Mapping[str, float] | None = None,
        keep_rows: int = 0,
        share: str = "",
        wait: bool = False,
        force: bool = False,
    ) -> tuple[control.LoadAnswer, dict[str, float]]:
        """Split the calls without a version by weight, or route all of them to one; have a shadow get copies of a part
        of them. What is None stays as it is. With `share`, a label or an id, the weights are those of its calls alone.
        Return the weights from then on, of all calls that no share's own weights are for."""
        path = f"/control/models/{_model(name)}/route"
        body: dict[str, object] = {"by": by, "wait": wait, "force": force}
        if share:
            body["share"] = share
        if weights is not None:
            body["weights"] = dict(weights)
        if shadow is not None or keep_rows:
            body |= {"shadow": dict(shadow or {}), "keep_rows": keep_rows}
        answer = await self._json("POST", path, body, lasting=f"routing calls of {name!r}")
        return control.decode_load(answer), dict(answer["weights"])

    async def start_rollout(
        self,
        name: str,
        version: str,
        *,
        steps: Sequence[float],
        every_s: float,
        guard: str,
        on_breach: str,
        least_calls: int,
        by: str = "",
    ) -> RolloutView:
        """Begin to give a version more and more of the calls, as long as its guard holds."""
        body = {"version": version, "steps": list(steps), "every_s": every_s, "guard": guard, "on_breach": on_breach}
        body |= {"least_calls": least_calls, "by": by}
        path = f"/control/models/{_model(name)}/rollout"
        return control.decode_rollout(await self._json("POST", path, body, lasting=f"beginning a rollout of {name!r}"))

    async def rollout(self, name: str) -> RolloutView:
        """The last rollout of a model. Raises NotFound."""
        return control.decode_rollout(await self._json("GET", f"/control/models/{_model(name)}/rollout"))

    async def rollouts(self) -> list[RolloutView]:
        """The last rollout of each model that had one."""
        return control.decode_rollouts(await self._json("GET", "/control/rollouts"))

    async def stop_rollout(self, name: str) -> RolloutView:
        """End it: its version gets no calls but those that name it."""
        path = f"/control/models/{_model(name)}/rollout/stop"
        return control.decode_rollout(await self._json("POST", path, {}, lasting=f"stopping the rollout of {name!r}"))

    async def resume_rollout(self, name: str) -> RolloutView:
        """Begin the step again in which it was halted."""
        path = f"/control/models/{_model(name)}/rollout/resume"
        return control.decode_rollout(await self._json("POST", path, {}, lasting=f"resuming the rollout of {name!r}"))

    async def shadow(self, name: str) -> tuple[ShadowFigures, list[ShadowExample]]:
        """What the shadow of a model has shown, and the rows that differ most, if they are kept. Raises NotFound."""
        path = f"/control/models/{_model(name)}/route?examples=true"
        figures, examples = decode_shadow(await self._json("GET", path))
        if figures is None:
            raise NotFound(
                f"no calls of model {name!r} are copied: have a version get copies of a part of them, as by "
                f"%infer route {name} --shadow v2=25%"
            )
        return figures, examples

    async def versions(self, name: str) -> VersionOverview:
        """All versions of a model that are loaded or kept, and which served when. Raises ModelNotFound."""
        return control.decode_versions(await self._json("GET", f"/control/models/{_model(name)}/versions"))

    async def configure(self, name: str, settings: Mapping[str, object]) -> control.LoadAnswer:
        """Change settings: live where possible, else by a reload in the background."""
        path = f"/control/models/{_model(name)}/set"
        return control.decode_load(
            await self._json("POST", path, dict(settings), lasting=f"changing settings of {name!r}")
        )

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
                raise self._unreachable(error) from error
            keeping = asyncio.create_task(self._keep_lent(response, token, name, settings))
            yield control.decode_status(self._decoded(line)["model"])
        finally:
            if keeping is None:
                response.close()
            else:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _lend(self, name: str, settings: Mapping[str, object]) -> aiohttp.ClientResponse:
        import aiohttp

        body, headers = json.dumps(dict(settings)).encode(), {"Content-Type": "application/json"}
        path = f"/control/models/{_model(name)}/lend"
        try:
            return await self._open("POST", path, body, headers, None, CONTROL_S)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _keep_lent(
        self, response: aiohttp.ClientResponse, token: str | None, name: str, settings: Mapping[str, object]
    ) -> None:
        """Until cancelled; the service ends what was lent with a token that was replaced, so it is lent again then."""
        while True:
            async with response:
                async for _ in response.content.iter_any():
                    pass
            if not await self._source.renewed(token):
                return
            token = self.token
            response = await self._lend(name, settings)

    async def statuses(self, name: str | None = None) -> list[ModelStatus]:
        """Return the status of every version, Failed ones included, of one model or of all."""
        return await self._statuses(name, None)

    async def _statuses(self, name: str | None, version: str | None) -> list[ModelStatus]:
        """With a share's token of the version that is asked for alone, by default of the one that serves."""
        path = "/control/models" if name is None else f"/control/models/{_model(name)}"
        if not self.of_share:
            try:
                return [control.decode_status(item) for item in await self._json("GET", path)]
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
        until = time.monotonic() + self.wait_s
        while True:
            try:
                return await self._status_now(name, version, serving)
            except Unavailable as error:
                if not self._may_come_back(error) or time.monotonic() > until:
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
        found = await self._json("GET", f"/control/models/{_model(name)}/describe?version={version}")
        return control.decode_description(found)

    async def files(self, name: str, version: str) -> dict[str, int]:
        """Return the files of one version: path -> bytes, the model's own first. Needs the scope `admin`."""
        found = await self._json("GET", f"/control/models/{_model(name)}/files?version={check_model_version(version)}")
        return {str(each["path"]): int(each["size_bytes"]) for each in found["files"]}

    async def fetch(
        self, name: str, version: str, path: str, target: Path, got: Callable[[int], object] = lambda size: None
    ) -> int:
        """Write one of the files of a version to `target`, and return its size; `got` is called with the size of each
        piece. Raises OSError where it cannot be written."""
        import aiohttp

        query = f"version={check_model_version(version)}&path={quote(path, safe='')}"
        size = 0
        try:
            response = await self._open("GET", f"/control/models/{_model(name)}/file?{query}", None, {}, None, SILENT_S)
            async with response:
                with target.open("wb") as file:
                    async for part in response.content.iter_chunked(1 << 20):
                        await asyncio.to_thread(file.write, part)
                        size += len(part)
                        got(len(part))
        except aiohttp.ClientError as error:
            raise self._unreachable(error) from error
        return size

    async def slowest(
        self, name: str, since: float | None = None, until: float | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the slowest requests of the last 15 minutes, the slowest first; docs/metrics.md lists their fields.

        `since` and `until`, Unix times, select those that ended in between.
        """
        asked = {"since": since, "until": until, "limit": limit}
        query = "&".join(f"{name}={value}" for name, value in asked.items() if value is not None)
        return list(await self._json("GET", f"/control/models/{_model(name)}/slowest" + (f"?{query}" if query else "")))

    async def figures(self, window_s: float = 60.0) -> dict[str, Any]:
        """Return the models' figures of the last `window_s` seconds, 1 to 900; docs/http.md lists the fields."""
        return dict(await self._json("GET", f"/control/figures?window={window_s:g}"))

    async def service(self) -> dict[str, Any]:
        """Return the service's status: version, url, pid, device, memory and so on; over gRPC its metadata."""
        if self._grpc is not None:
            return await self._grpc.server_metadata()
        return dict(await self._json("GET", "/control/status"))

    async def logs(self, lines: int = 100) -> list[str]:
        """Return the last log lines."""
        return list((await self._json("GET", f"/control/logs?lines={int(lines)}"))["lines"])

    async def snapshots(
        self, interval_s: float = 0.5, *, changes: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield one snapshot per interval, until the generator is closed or the service ends.

        With `changes`, an item with only "epoch" and "changed" comes in between, at once, when a model changes.
        """
        import aiohttp

        path = f"/control/stream?interval={interval_s:g}" + ("&changes=true" if changes else "")
        silent_s = max(CONTROL_S, 3 * interval_s)
        try:
            response = await self._open("GET", path, None, {}, None, silent_s)
            async with response:
                rest = b""
                async for part in response.content.iter_any():  # reading by line, it would refuse one of 128 kB
                    *lines, rest = (rest + part).split(b"\n")
                    for line in lines:
                        yield self._decoded(line)
        except aiohttp.SocketTimeoutError as error:
            raise Unavailable(f"the service at {self.url} sent no figures for {silent_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    # Transport

    async def _json(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, lasting: str = ""
    ) -> Any:
        """The decoded answer of a control call. `lasting` says what takes as long as it must; other calls are answered
        from memory."""
        parts = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        limit_s = None if lasting else CONTROL_S
        call = self._call(method, path, parts, headers=headers, control_s=limit_s, repeat=method == "GET")
        answer, _ = await (self._lasting(lasting, call) if lasting else call)
        return self._decoded(answer or b"null")

    async def _lasting(self, what: str, call: Coroutine[Any, Any, T]) -> T:
        """Await a call for as long as the service answers others. Raises Unavailable, saying what was waited for."""
        try:
            return await while_alive(call, self._alive)
        except TimeoutError as error:
            raise Unavailable(
                f"the service at {self.url} gave no sign of life for {SILENT_S:g} s while it was {what}; it may still "
                "do so: look at its models once it answers"
            ) from error

    async def _alive(self) -> bool:
        import aiohttp

        try:
            async with await self._sent("GET", "/v2/health/live", None, {}, CONTROL_S):
                return True
        except (WorkbenchError, aiohttp.ClientError, OSError):
            return False

    def _decoded(self, text: bytes) -> Any:
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise Unavailable(f"{self.url} is not an inference service: its answer is not JSON") from None

    async def _call(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        control_s: float | None = None,
        repeat: bool = False,
    ) -> tuple[bytes, Mapping[str, str]]:
        """Send a request and return the answer's body and headers.

        `timeout_s` is the caller's own deadline, `control_s` what a control call may take.

        With `repeat` it is sent again, once, if a kept connection was closed. A request that may have been running when
        the service died is never repeated, since it may have been the cause, unless it is a GET.
        """
        import aiohttp

        began = boot_ticks()
        timeout_s, own_deadline = control_s if timeout_s is None else timeout_s, timeout_s is not None
        try:
            try:
                response = await self._open(method, path, body, headers or {}, timeout_s)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                if isinstance(error, aiohttp.ClientConnectorError):
                    raise
                if (happened := await self._happened(began)) and method != "GET":
                    raise Unavailable(happened) from error
                if not repeat:
                    raise
                response = await self._open(method, path, body, headers or {}, timeout_s)
            async with response:
                try:
                    return await response.read(), response.headers
                except aiohttp.ClientPayloadError as error:
                    if happened := await self._happened(began):
                        raise Unavailable(happened) from error
                    raise
        except TimeoutError as error:
            if timeout_s is None or isinstance(error, aiohttp.ConnectionTimeoutError):
                raise self._unreachable(error) from error
            if not own_deadline:
                asked = f"{method} {path.partition('?')[0]}"
                raise Unavailable(f"the service at {self.url} did not answer {asked} within {timeout_s:g} s") from error
            raise DeadlineExceeded("the request's deadline passed before the service answered") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _open(
        self,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        timeout_s: float | None,
        silent_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Return a response with a good status, its body unread; raise the service's error otherwise.

        If nothing listens any more, so nothing was sent, or if the service refused the request because it is ending or
        has no worker, the shared service is found again or started, and the request is sent once it is there; so it is
        if the model was refused because it is not back yet.
        """
        import aiohttp

        if self._grpc is not None:
            raise Unsupported(
                f"{self.url} is a gRPC address, which answers inferences; to load, set or watch models, connect to the "
                "service's http:// URL"
            )
        if self._shared is None or self._keeper is None or self._keeper.alive:
            try:
                return await self._admitted(method, path, body, headers, timeout_s, silent_s)
            except (aiohttp.ClientConnectorError, Draining):
                if self._shared is None:
                    raise
            except (ModelNotFound, Unavailable) as error:
                if self._shared is None or not self._may_come_back(error):
                    raise
        return await self._admitted_later(method, path, body, headers, timeout_s, silent_s)

    async def _admitted_later(
        self,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        timeout_s: float | None,
        silent_s: float | None,
    ) -> aiohttp.ClientResponse:
        """Send again until a worker of the shared service takes the request, for `wait_s` at most."""
        import aiohttp

        assert self._shared is not None
        until = time.monotonic() + (self.wait_s if timeout_s is None else min(self.wait_s, timeout_s))
        while True:
            left_s = until - time.monotonic()
            await self.rebind(await asyncio.to_thread(self._shared.ensure, max(left_s, 0.0), restarting=True))
            try:
                return await self._admitted(method, path, body, headers, timeout_s, silent_s)
            except (aiohttp.ClientConnectorError, ModelNotFound, Unavailable) as error:
                refused = isinstance(error, aiohttp.ClientConnectorError | Draining)
                if not refused and not self._may_come_back(error):
                    raise
                if time.monotonic() > until:
                    said = error.message if isinstance(error, WorkbenchError) else "nothing listens there"
                    raise Unavailable(f"after {self.wait_s:g} s: {said}") from None
            await asyncio.sleep(ASKED_AGAIN_S)

    def _may_come_back(self, error: Exception) -> bool:
        """Whether the model is refused because a new worker has not got it back yet; nothing was run then."""
        return type(error) in (ModelNotFound, Unavailable) and self._shared is not None and self._shared.restores()

    async def _admitted(
        self,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        timeout_s: float | None,
        silent_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        """Send, and once more where the token was refused and its file holds another one by now, or the certificate."""
        import aiohttp

        token = self.token
        try:
            return await self._sent(method, path, body, headers, timeout_s, silent_s)
        except Unauthenticated:
            if not await self._source.renewed(token):
                raise
        except aiohttp.ClientConnectorCertificateError:  # it may have been renewed, and its file with it
            if not self.ca_file or self._tls is None:
                raise
            trust(self._tls, self.ca_file)
        return await self._sent(method, path, body, headers, timeout_s, silent_s)

    async def _sent(
        self,
        method: str,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        timeout_s: float | None,
        silent_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        import aiohttp
        from yarl import URL

        sized = dict(headers)
        if (token := self.token) is not None:
            sized["Authorization"] = f"Bearer {token}"
        data = payload(body, sized)
        response = await self._connected().request(
            method,
            URL(self.url + path, encoded=True),
            data=data,
            headers=sized,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=silent_s),
        )
        if response.status == 200:
            return response
        async with response:
            error = status_codes.error_from_http(response.status, await response.read())
        if isinstance(error, Unauthenticated) and not (token or "").startswith(PREFIX):  # of a share all is said
            wrong = "does not know this token" if token else "needs its token"
            raise Unauthenticated(f"the service at {self.url} {wrong}: {_HOW_TO_GIVE_IT}")
        raise error

    def _connected(self) -> aiohttp.ClientSession:
        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            options: dict[str, Any] = {"limit": self._connections, "keepalive_timeout": KEEP_ALIVE_S}
            if self.url.startswith("https:"):
                options["ssl"] = self._tls = client_context(self.ca_file, self.own)
            if self.own:
                from workbench.client.own_connector import OwnConnector

                connector: aiohttp.TCPConnector = OwnConnector(self._keeper, **options)
            else:
                connector = aiohttp.TCPConnector(**options)
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, headers={"User-Agent": user_agent()}
            )
            self._loop = loop
            keep_from_children(self._session)
        return self._session

    async def _happened(self, since: int) -> str:
        return await asyncio.to_thread(self._shared.happened, since) if self._shared is not None else ""

    def _unreachable(self, error: BaseException) -> Unavailable:
        import aiohttp

        from workbench.client.own_connector import ForeignListenerError

        why = self.gone() or "nothing listens there, or it ended while answering"
        if isinstance(error, ForeignListenerError):
            why = "it has ended, and a process of another user listens there now; nothing was sent to it"
        if isinstance(error, aiohttp.ClientResponseError):  # the answer could not be parsed
            why = "what listens there does not speak HTTP/1.1; a gRPC port is called as grpc://HOST:PORT"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            doubt = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return Unavailable(
                f"the service at {self.url} was not called, since its certificate is not trusted ({doubt}): give the "
                "file that says whom to trust, ca_file=FILE or --ca-file FILE"
            )
        if isinstance(error, aiohttp.ClientConnectorSSLError):
            why = "no TLS is spoken there, or none that both sides know; call it as http:// if it serves without"
        return Unavailable(f"the service at {self.url} does not answer: {why}")


def _code(allow: bool) -> dict[str, bool]:
    """What a load says of code; nothing where it is not allowed, since older services do not know the word."""
    return {"allow_code": True} if allow else {}


def _beside(route: bool) -> dict[str, bool]:
    """The same of a load that nothing is routed to."""
    return {} if route else {"route": False}


def _json_length(headers: Mapping[str, str]) -> int | None:
    length = headers.get("Inference-Header-Content-Length")
    return int(length) if length is not None else None


def _model(name: str, version: str | None = None) -> str:
    """Return the part of a path that names a model.

    Checked, because a slash, even quoted, would lead to another route.
    """
    path = check_model_name(name)
    return path if version is None else f"{path}/versions/{check_model_version(version)}"


def _any_model(name: str, version: str | None = None) -> str:
    """As `_model`, for any server of the protocol: other servers' versions may be words such as v1.2."""
    if version is not None and not _ANY_VERSION.fullmatch(version):
        raise InvalidInput(f"version must consist of letters, digits, dots, _ and -, got {version[:40]!r}")
    return check_model_name(name) if version is None else f"{check_model_name(name)}/versions/{version}"


def _can_be_read(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _states(statuses: Sequence[ModelStatus]) -> str:
    said = (f"version {s.version} is {s.state}" + (f" ({s.reason})" if s.reason else "") for s in statuses)
    return "; ".join(said) or "none is loaded"
