"""From a plan to what is sent: the target is asked what it takes, requests are made ready, and some are tried.

What cannot be right is found here, before the run and in words: a model that is not there, inputs that do not fit, a
token that is not known, nobody who listens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import numpy as np

from workbench.client.adapt import adapt, describe
from workbench.client.client import AsyncClient
from workbench.client.grpc_client import GrpcClient
from workbench.client.random_inputs import random_inputs
from workbench.core.messages import InferRequest
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.tensor import Array
from workbench.errors import (
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Unavailable,
    WorkbenchError,
)
from workbench.loadtest.attack import Request
from workbench.loadtest.plan import Inputs, Plan, Target
from workbench.loadtest.wire import Spec
from workbench.protocols import oip_grpc, oip_json

VARIANTS = 64
"""Different requests that are made ready and sent in turn, so that no cache of the server's answers all."""

VARIANT_BYTES = 64 << 20
"""Of all of them together; large inputs have fewer."""

TRIES = 8
"""Requests of different shapes that are tried before the run."""

OURS = "infer-workbench"
BINARY = "binary_tensor_data"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with all that the generator needs."""

    spec: Spec
    requests: tuple[Request, ...] = field(repr=False)
    signature: Signature
    facts: Mapping[str, Any]
    """What was found: "server", "platform", "version", and of a service of ours "digest", "device", "config"."""
    controlled: bool
    """Its own figures can be asked for."""


async def prepare(plan: Plan) -> Prepared:
    """Raises ModelNotFound, InvalidInput, Unavailable, Unauthenticated: whatever the first request would have met."""
    target = plan.target
    parts = urlsplit(target.url)
    if target.grpc:
        found = await _ask_grpc(target)
    else:
        found = await _ask_http(target)
    inputs = list(_variants(plan, found.signature))
    await _try(plan, inputs)
    requests = tuple(_request(plan, each, found, parts) for each in inputs)
    port = parts.port or 80
    metadata = () if target.token is None else (("authorization", f"Bearer {target.token}"),)
    spec = Spec(plan, parts.hostname or "", port, metadata if target.grpc else ())
    return Prepared(spec, requests, found.signature, found.facts, found.controlled)


def control_client(target: Target) -> AsyncClient | None:
    """A client of the target's control plane, where it is known where that is."""
    url = target.control_url or ("" if target.grpc else target.url)
    return AsyncClient(url, target.token, connections=2) if url else None


@dataclass(frozen=True, slots=True)
class _Found:
    signature: Signature
    facts: Mapping[str, Any]
    binary: bool = True
    controlled: bool = False


async def _ask_http(target: Target) -> _Found:
    async with AsyncClient(target.url, target.token, connections=2) as client:
        server = await _server(client)
        try:
            found = await client.metadata(target.model, target.version)
            signature = Signature(_specs(found["inputs"]), _specs(found["outputs"]))
        except NotFound as error:
            if server.get("name") == OURS:
                await client.status(target.model, target.version)  # says what there is instead
            raise error
        except (KeyError, TypeError, ValueError):
            raise Unavailable(
                f"what answers at {target.url} does not describe its models as the protocol does"
            ) from None
        facts = {"server": server, "platform": found.get("platform", ""), "versions": found.get("versions", [])}
        controlled = server.get("name") == OURS and await _add_status(client, target, facts)
        return _Found(signature, facts, BINARY in server.get("extensions", ()), controlled)


async def _ask_grpc(target: Target) -> _Found:
    async with GrpcClient(target.url, target.token) as client:
        signature = await client.signature(target.model, target.version)
    facts: dict[str, Any] = {"server": {"name": "gRPC"}}
    controlled = False
    if target.controlled and (control := control_client(target)) is not None:
        async with control:
            facts["server"] = await _server(control)
            controlled = await _add_status(control, target, facts)
    return _Found(signature, facts, controlled=controlled)


async def _server(client: AsyncClient) -> Mapping[str, Any]:
    """Name, version and extensions; what has no such route may serve the protocol's models all the same."""
    with suppress(NotFound, InvalidInput):
        return await client.server_metadata()
    return {}


async def _add_status(client: AsyncClient, target: Target, facts: dict[str, Any]) -> bool:
    """What the control plane says of the model, into `facts`; False where the token does not open it."""
    with suppress(WorkbenchError):
        status = await client.status(target.model, target.version)
        from workbench.protocols.control import encode_status

        encoded = encode_status(status)
        facts.update(
            {name: encoded[name] for name in ("version", "platform", "digest", "device", "config", "batching")}
        )
        return True
    return False


def _specs(found: Any) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(each["name"], each["datatype"], tuple(map(int, each["shape"]))) for each in found)


# Inputs


def _variants(plan: Plan, signature: Signature) -> Iterator[dict[str, Array]]:
    inputs, model = plan.inputs, plan.target.model
    rng = np.random.default_rng(plan.seed)
    if inputs.kind == "requests":
        for number, value in enumerate(inputs.values):
            try:
                yield dict(adapt(value, signature, model).inputs)
            except InvalidInput as error:
                raise InvalidInput(f"request {number} of {len(inputs.values)}: {error.message}") from None
        return
    sample = _sampler(inputs, signature, model, rng)
    first = sample()
    yield first
    size = sum(array.nbytes for array in first.values())
    for _ in range(min(VARIANTS, VARIANT_BYTES // max(size, 1)) - 1):
        yield sample()


def _sampler(inputs: Inputs, signature: Signature, model: str, rng: np.random.Generator) -> Any:
    if inputs.kind == "random":
        return lambda: random_inputs(signature.inputs, inputs.rows, rng, free_size=inputs.free_size)
    adapted = adapt(inputs.values, signature, model)
    rows = adapted.rows
    if rows is None:  # nothing to sample from: the value is one request
        return lambda: dict(adapted.inputs)
    if not rows:
        raise InvalidInput("the inputs of a load test have no rows; give one at least")

    def sample() -> dict[str, Array]:
        chosen = rng.integers(0, rows, inputs.rows)
        return {name: array[chosen] for name, array in adapted.inputs.items()}

    return sample


def _rows(inputs: Mapping[str, Array], signature: Signature) -> int:
    """How many rows a request brings; 1 where the inputs have no free first axis."""
    spec = signature.inputs[0] if signature.inputs else None
    return int(inputs[spec.name].shape[0]) if spec is not None and spec.shape[:1] == (FREE,) else 1


# Trying, and making ready


async def _try(plan: Plan, variants: list[dict[str, Array]]) -> None:
    """One request of each shape, as a check: what the server refuses now it would refuse a thousand times."""
    target = plan.target
    client = GrpcClient(target.url, target.token) if target.grpc else AsyncClient(target.url, target.token)
    shapes: set[tuple[tuple[int, ...], ...]] = set()
    async with client:
        for inputs in variants:
            shape = tuple(array.shape for array in inputs.values())
            if shape in shapes or len(shapes) == TRIES:
                continue
            shapes.add(shape)
            request = InferRequest(target.model, inputs, target.version, deadline=time.monotonic() + plan.timeout_s)
            try:
                await client.infer(request)
            except InvalidInput as error:
                raise InvalidInput(
                    f"{target.model!r} refuses these inputs, so nothing was run: {error.message}"
                ) from None
            except DeadlineExceeded:
                raise DeadlineExceeded(
                    f"{target.model!r} did not answer a single request within {plan.timeout_s:g} s, so nothing was "
                    "run; raise the timeout, or send fewer rows at once"
                ) from None


def _request(plan: Plan, inputs: Mapping[str, Array], found: _Found, parts: SplitResult) -> Request:
    target = plan.target
    request = InferRequest(target.model, inputs, target.version)
    rows = _rows(inputs, found.signature)
    if target.grpc:
        return Request(oip_grpc.encode_request(request), rows)
    body_parts, header_length = oip_json.encode_request(request, binary=found.binary)
    body = b"".join(bytes(part) for part in body_parts)
    version = "" if target.version is None else f"/versions/{target.version}"
    headers = {
        "Host": parts.netloc,
        "Content-Type": "application/json" if header_length is None else "application/octet-stream",
        "Content-Length": str(len(body)),
    }
    if header_length is not None:
        headers["Inference-Header-Content-Length"] = str(header_length)
    if target.token is not None:
        headers["Authorization"] = f"Bearer {target.token}"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    path = f"{parts.path.rstrip('/')}/v2/models/{target.model}{version}/infer"
    return Request(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body, rows)


def expected(signature: Signature) -> str:
    """What a model takes, for a message."""
    return ", ".join(map(describe, signature.inputs)) or "nothing"
