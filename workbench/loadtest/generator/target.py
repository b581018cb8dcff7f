"""`prepare`: asks the target for its signature, prepares the requests of a plan, and tries some of them.

Mistakes are found here, before the run: an unknown model, inputs that do not fit, a wrong token, an address where
nothing listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from workbench.client.client import AsyncClient
from workbench.client.grpc_client import GrpcClient
from workbench.core.messages import InferRequest
from workbench.core.model import Signature
from workbench.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unsupported,
    WorkbenchError,
)
from workbench.loadtest.generator.inputs import PreparedInputs, body_of, prepared_inputs
from workbench.loadtest.generator.ipc import Spec
from workbench.loadtest.generator.load_runner import Request, authorization
from workbench.loadtest.plan import Plan, Target
from workbench.protocols import oip_grpc
from workbench.protocols.metadata import OURS, decode_signature

TRIES = 8
"""The most requests of different shapes that are tried before the run."""

LOOK_S = 2.0
"""Seconds for another look at the target after a run."""

BINARY = "binary_tensor_data"


@dataclass(frozen=True, slots=True)
class PreparedTarget:
    """A plan with all that the generator needs."""

    spec: Spec
    requests: tuple[Request, ...] = field(repr=False)
    signature: Signature
    facts: Mapping[str, Any]
    """The target as found: "server", "platform", "version"; of a service of ours also "digest", "device", "config"."""
    controlled: bool
    """Whether the service's own figures can be read."""


async def prepare(plan: Plan) -> PreparedTarget:
    """Prepare a plan. Raises what its first request would: ModelNotFound, InvalidInput, Unavailable and so on."""
    target = plan.target
    parts = urlsplit(target.url)
    if target.grpc:
        found = await _describe_grpc(target)
    else:
        found = await _describe_http(target)
    variants = list(prepared_inputs(plan, found.signature))
    await _check_requests(plan, variants, found)
    requests = tuple(_request(plan, each, found, parts) for each in variants)
    port = parts.port or (443 if target.tls else 80)
    spec = Spec(plan, parts.hostname or "", port, target.token, target.token_file, target.own, target.ca_file)
    return PreparedTarget(spec, requests, found.signature, found.facts, found.controlled)


async def replaced_since(prepared: PreparedTarget) -> str:
    """Return what has taken the model's place since it was prepared, in one sentence; empty if nothing has, or if the
    target cannot tell."""
    target = prepared.spec.plan.target
    try:
        async with asyncio.timeout(LOOK_S):
            now = await (_describe_grpc if target.grpc else _describe_http)(target)
    except (WorkbenchError, TimeoutError):  # how the run ended says more
        return ""
    was, found = prepared.facts, now.facts
    what = ""
    if difference := prepared.signature.difference(now.signature):
        what = f"{difference.replace('would be', 'is')}"
    elif was.get("version") != found.get("version"):
        what = f"it was version {was.get('version')} and is version {found.get('version')}"
    elif was.get("digest") != found.get("digest"):
        what = "its file is another"
    elif not prepared.controlled and was.get("versions") != found.get("versions"):
        what = f"its versions were {was.get('versions')} and are {found.get('versions')}"
    return f"the model was replaced during the test: {what}; the figures are of both" if what else ""


def control_client(target: Target) -> AsyncClient | None:
    """A client of the target's control plane; None where its address is not known."""
    url = target.control_url or ("" if target.grpc else target.url)
    return _http_client(target, url) if url else None


def _http_client(target: Target, url: str) -> AsyncClient:
    return AsyncClient(
        url, target.token, token_file=target.token_file, ca_file=target.ca_file, own=target.own, connections=2
    )


@dataclass(frozen=True, slots=True)
class _TargetInfo:
    signature: Signature
    """Without inputs where the server does not describe the model."""
    facts: Mapping[str, Any]
    binary: bool = True
    controlled: bool = False


async def _describe_http(target: Target) -> _TargetInfo:
    async with _http_client(target, target.url) as client:
        server = await _server(client)
        try:
            found = await client.metadata(target.model, target.version)
            if found["name"] != target.model:
                raise ValueError
            signature = decode_signature(found)
        except NotFound as error:
            if OURS in server.get("extensions", ()):
                await client.status(target.model, target.version)  # its error names the versions that there are
            raise error
        except (KeyError, TypeError, ValueError):
            raise Unavailable(
                f"what answers at {target.url} does not describe its models as the protocol does"
            ) from None
        facts = {"server": server, "platform": found.get("platform", ""), "versions": found.get("versions", [])}
        controlled = OURS in server.get("extensions", ()) and await _add_status(client, target, facts)
        return _TargetInfo(signature, facts, BINARY in server.get("extensions", ()), controlled)


async def _describe_grpc(target: Target) -> _TargetInfo:
    async with GrpcClient(target.url, target.token, token_file=target.token_file) as client:
        signature = await client.signature(target.model, target.version)
        facts: dict[str, Any] = {"server": await _server(client) or {"name": "gRPC"}}
    controlled = False
    if target.controlled and (control := control_client(target)) is not None:
        async with control:
            facts["server"] = await _server(control)
            controlled = await _add_status(control, target, facts)
    return _TargetInfo(signature, facts, controlled=controlled)


async def _server(client: AsyncClient | GrpcClient) -> Mapping[str, Any]:
    """Name, version and extensions; empty where the server has no such route."""
    with suppress(NotFound, InvalidInput, Unsupported):
        return await client.server_metadata()
    return {}


async def _add_status(client: AsyncClient, target: Target, facts: dict[str, Any]) -> bool:
    """Add the model's status to `facts`; False where the token gives no access to the control plane."""
    with suppress(WorkbenchError):
        status = await client.status(target.model, target.version)
        if client.of_share:
            return False
        from workbench.protocols.control import encode_status

        encoded = encode_status(status)
        facts.update(
            {name: encoded[name] for name in ("version", "platform", "digest", "device", "config", "batching")}
        )
        return True
    return False


# Requests


async def _check_requests(plan: Plan, variants: Sequence[PreparedInputs], found: _TargetInfo) -> None:
    """Send one request of each shape, since what the server refuses now it would refuse a thousand times."""
    target = plan.target
    tried: set[tuple[tuple[int, ...], ...]] = set()
    client: GrpcClient | AsyncClient
    if target.grpc:
        client = GrpcClient(target.url, target.token, token_file=target.token_file)
    else:
        client = _http_client(target, target.url)
    async with client:
        for prepared in variants:
            shapes = tuple(array.shape for array in prepared.inputs.values())
            if shapes in tried or len(tried) == TRIES:
                continue
            tried.add(shapes)
            try:
                if isinstance(client, GrpcClient):
                    await client.exchange(_message(target, prepared), plan.timeout_s)
                else:
                    request = InferRequest(target.model, prepared.inputs, target.version)
                    body, header_length = body_of(prepared, request, binary=found.binary)
                    await client.exchange(request, body, header_length, plan.timeout_s)
            except DeadlineExceeded:
                raise DeadlineExceeded(
                    f"{target.model!r} did not answer a single request within {plan.timeout_s:g} s, so nothing was "
                    "run; raise the timeout, or send fewer rows at once"
                ) from None
            except (Unavailable, Unauthenticated, Forbidden, NotFound):
                raise
            except InvalidInput as error:
                raise InvalidInput(
                    f"{target.model!r} refuses these inputs, so nothing was run: {error.message}"
                ) from None
            except WorkbenchError as error:
                raise type(error)(
                    f"{target.model!r} fails with these inputs, so nothing was run: {error.message}"
                ) from None


def _request(plan: Plan, prepared: PreparedInputs, found: _TargetInfo, parts: SplitResult) -> Request:
    target = plan.target
    if target.grpc:
        return Request(_message(target, prepared), prepared.rows)
    body, header_length = body_of(
        prepared, InferRequest(target.model, prepared.inputs, target.version), binary=found.binary
    )
    version = "" if target.version is None else f"/versions/{target.version}"
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json" if header_length is None else "application/octet-stream",
        "Content-Length": str(len(body)),
    }
    if header_length is not None:
        headers["Inference-Header-Content-Length"] = str(header_length)
    if target.token is not None:
        headers["Authorization"] = authorization(target.token)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    path = f"{parts.path.rstrip('/')}/v2/models/{target.model}{version}/infer"
    return Request(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body, prepared.rows)


def _message(target: Target, prepared: PreparedInputs) -> bytes:
    """A ModelInferRequest."""
    given = prepared.body
    request = InferRequest(target.model, prepared.inputs, target.version, id=str(given.get("id", "")))
    request.parameters = given.get("parameters") or {}
    asked = given.get("outputs") or ()
    request.outputs = tuple(each["name"] for each in asked)
    of_inputs = [each.get("parameters") or {} for each in given.get("inputs", ())]
    return oip_grpc.encode_request(request, of_inputs=of_inputs)
