"""What else a share may be held to: a version, the size of bodies; and the metrics that it may read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from tritonclient.grpc import service_pb2

from tests import models
from tests.server.conftest import House
from tests.server.driver import Driver, Reply, body
from tests.server.grpc.open_port import INFER, STREAM, open_port, request
from workbench.protocols import pb
from workbench.server.grpc.health import HEALTH

DIGITS = "/v2/models/digits"


async def shared(house: House, **terms: Any) -> str:
    """The token of a new share."""
    terms = {"models": ["digits"], "label": "team-a", "show_token": True, **terms}
    reply = await house.call("POST", "/control/shares", terms)
    assert reply.status == 200, reply.body
    return str(reply.json["token"])


async def staged(house: House) -> str:
    """A second version of digits, loaded, to which no request is routed that names none."""
    other = models.identity(shape=("batch", 2))
    other.doc_string = "another version"
    reply = await house.call(
        "POST",
        "/control/models/digits/stage",
        other.SerializeToString(),
        content_type="application/octet-stream",
    )
    assert reply.status == 200, reply.body
    return str(reply.json["model"]["version"])


# A version


async def test_a_share_of_a_version_calls_and_sees_this_one_alone(house: House) -> None:
    version = await staged(house)
    call = Driver(house.app, await shared(house, version=int(version)))
    for path in (DIGITS, f"{DIGITS}/versions/{version}"):
        for _ in range(2):
            reply = await call("POST", f"{path}/infer", body(1.0))
            assert (reply.status, reply.json["model_version"]) == (200, version)
        assert (await call("GET", path)).json["versions"] == [version]
        assert (await call("GET", f"{path}/ready")).status == 200
        assert (await call("GET", f"{path}/config")).json["version_policy"] == {
            "specific": {"versions": [int(version)]}
        }
        assert [each["version"] for each in (await call("GET", f"{path}/stats")).json["model_stats"]] == [version]
    assert [each["version"] for each in (await call("GET", "/v2/models/stats")).json["model_stats"]] == [version]
    assert [each["version"] for each in (await call("POST", "/v2/repository/index", {})).json] == [version]
    for other in ("1", "77"):
        for method, rest, sent in (("POST", "/infer", body(1.0)), ("GET", "", None), ("GET", "/stats", None)):
            reply = await call(method, f"{DIGITS}/versions/{other}{rest}", sent)
            assert (reply.status, reply.json["code"]) == (403, "forbidden")
            assert reply.error == f"this token is for version {version} of model 'digits', not for '{other}'"
    assert (await house.call("POST", f"{DIGITS}/infer", body(1.0))).json["model_version"] == "1"
    document = (await call("GET", "/openapi.json")).json
    assert f"{DIGITS}/versions/{version}/infer" in document["paths"] and f"{DIGITS}/infer" not in document["paths"]
    assert f"It calls version {version} of digits, whichever version others call." in document["x-share"]["terms"]


async def test_neither_a_split_nor_a_label_nor_a_word_leads_out_of_a_version(house: House) -> None:
    version = await staged(house)
    call = Driver(house.app, await shared(house, version="1"))
    for path, sent in (("route", {"weights": {version: 0.5}}), ("labels", {"next": version})):
        reply = await house.call("POST", f"/control/models/digits/{path}", sent)
        assert reply.status == 200, reply.body
    for headers in ({}, {"x_route": version}, {"x_route": "next"}, {"x_route_key": "user-7"}):
        for parameters in ({}, {"route": version}, {"route": "next"}, {"model_version": version}):
            for _ in range(2):
                sent = body(1.0) | {"parameters": parameters}
                reply = await call("POST", f"{DIGITS}/infer", sent, **headers)
                assert (reply.status, reply.json["model_version"]) == (200, "1"), (headers, parameters)
    for other in ("next", f"0{version}", f"1/versions/{version}", f"+{version}"):
        assert (await call("POST", f"{DIGITS}/versions/{other}/infer", body(1.0))).status == 403


async def test_a_share_of_a_version_that_is_gone_is_told_so_and_calls_no_other(house: House) -> None:
    version = await staged(house)
    call = Driver(house.app, await shared(house, version=version))
    assert (await call("POST", f"{DIGITS}/infer", body(1.0))).status == 200
    assert (await house.call("POST", f"/control/models/digits/versions/{version}/discard", {})).status == 200
    for path in (DIGITS, f"{DIGITS}/versions/{version}"):
        reply = await call("POST", f"{path}/infer", body(1.0))
        assert reply.status == 404 and "is not served now" in reply.error
        assert (await call("GET", path)).status == 404
    assert (await house.call("POST", f"{DIGITS}/infer", body(1.0))).status == 200


async def test_a_share_of_a_version_over_grpc(house: House) -> None:
    version = await staged(house)
    token = await shared(house, version=version)
    mine: Sequence[tuple[str, str]] = (("authorization", f"Bearer {token}"),)
    async with open_port(house) as port:
        for asked in ({}, {"model_version": version}):
            answer = await port.call(INFER, request(**asked), metadata=mine)
            assert service_pb2.ModelInferResponse.FromString(answer).model_version == version
        stream = port.channel.stream_stream(STREAM)(metadata=mine)
        told = []
        for asked in ({}, {"model_version": "1"}):
            await stream.write(request(**asked))
            told.append(service_pb2.ModelStreamInferResponse.FromString(await stream.read()))
        stream.cancel()
        assert told[0].infer_response.model_version == version
        refused = f"this token is for version {version} of model 'digits', not for '1'"
        assert told[1].error_message == refused
        denied = ("PERMISSION_DENIED", "forbidden", refused)
        assert await port.fails(INFER, request(model_version="1"), metadata=mine) == denied
        for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
            kind, answers = (getattr(service_pb2, f"{method}{of}") for of in ("Request", "Response"))
            path = f"/{pb.SERVICE}/{method}"
            other = kind(name="digits", version="1").SerializeToString()
            assert await port.fails(path, other, metadata=mine) == denied
            answer = answers.FromString(await port.call(path, kind(name="digits").SerializeToString(), metadata=mine))
            if method == "ModelMetadata":
                assert list(answer.versions) == [version]
            if method == "ModelStatistics":
                assert [each.version for each in answer.model_stats] == [version]
        index = await port.call(f"/{pb.SERVICE}/RepositoryIndex", metadata=mine)
        assert [each.version for each in service_pb2.RepositoryIndexResponse.FromString(index).models] == [version]
        health = health_pb2.HealthCheckRequest(service="digits").SerializeToString()
        await port.call(f"/{HEALTH}/Check", health, metadata=mine)
        await house.call("POST", f"/control/models/digits/versions/{version}/discard", {})
        assert (await port.fails(f"/{HEALTH}/Check", health, metadata=mine))[0] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("terms", "status", "said"),
    [
        ({"version": "9"}, 404, "version 9 is not found; loaded: 1"),
        ({"version": "0"}, 400, "version"),
        ({"version": -1}, 400, "version"),
        ({"version": "1", "models": ["digits", "spare"]}, 400, "a version is one of one model"),
        ({"max_body": 0}, 400, "max_body must be bytes above 0"),
        ({"max_body": "-1MB"}, 400, "max_body must be bytes above 0"),
        ({"metrics": "yes"}, 400, "metrics"),
    ],
)
async def test_terms_that_cannot_be_are_one_clear_line(
    house: House, terms: dict[str, Any], status: int, said: str
) -> None:
    reply = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "a", **terms})
    assert reply.status == status and said in reply.error and "\n" not in reply.error
    assert (await house.call("GET", "/control/shares")).json == []


# The size of bodies


async def test_a_body_over_a_share_s_cap_is_refused_however_it_comes(house: House) -> None:
    sent = json.dumps(body(1.0)).encode()
    over = json.dumps(body(*[1.0] * 40)).encode()
    cap = len(sent) + 60
    call = Driver(house.app, await shared(house, max_body=cap))

    async def reply_to(content: bytes | Sequence[bytes], **headers: str) -> Reply:
        return await call("POST", f"{DIGITS}/infer", content, content_type="application/json", **headers)

    for _ in range(2):
        assert (await reply_to(sent)).status == 200
    announced = await reply_to(over)
    assert announced.status == 413
    assert announced.error == f"the body has {len(over)} bytes; this token's share takes {cap}: send less at once"
    in_pieces = await reply_to([over[:100], over[100:]])
    assert (in_pieces.status, in_pieces.json["code"]) == (413, "too_large")
    packed = gzip.compress(over)
    assert len(packed) <= cap
    grown = await reply_to(packed, content_encoding="gzip")
    assert grown.status == 413 and f"this token's share takes {cap}" in grown.error
    assert (await house.call("POST", f"{DIGITS}/infer", over)).status == 200, "the owner has no such cap"
    assert house.service.bodies.held == 0


async def test_a_message_over_a_share_s_cap_is_refused_over_grpc(house: House) -> None:
    token = await shared(house, max_body=len(request(1)) + 4)
    mine = (("authorization", f"Bearer {token}"),)
    async with open_port(house) as port:
        await port.call(INFER, request(1), metadata=mine)
        status, code, said = await port.fails(INFER, request(20), metadata=mine)
        assert (status, code) == ("RESOURCE_EXHAUSTED", "too_large") and "the max_body of a share" in said
        await port.call(INFER, request(20))


# The metrics


async def test_a_share_reads_the_metrics_of_what_it_may_call_and_where_it_may_read_any(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    version = await staged(house)
    for name in ("digits", "spare", f"digits/versions/{version}"):
        await house.call("POST", f"/v2/models/{name}/infer", body(1.0))
    without = Driver(house.app, await shared(house))
    assert (await without("GET", "/metrics")).status == 403
    assert "/metrics" not in (await without("GET", "/openapi.json")).json["paths"]
    call = Driver(house.app, await shared(house, label="b", metrics=True))
    samples = _samples(await call("GET", "/metrics"))
    assert samples and all('model="digits"' in each for each in samples)
    assert {f'version="{each}"' in line for line in samples for each in ("1", version)} == {True, False}
    whole = set(_samples(await house.call("GET", "/metrics")))
    assert {each.rpartition(" ")[0] for each in samples} < {each.rpartition(" ")[0] for each in whole}
    assert any("spare" in each for each in whole) and any("infer_process" in each for each in whole)
    document = (await call("GET", "/openapi.json")).json
    assert "/metrics" in document["paths"]
    assert "It may read the metrics of what it may call, at /metrics." in document["x-share"]["terms"]
    pinned = Driver(house.app, await shared(house, label="c", metrics=True, version=version))
    assert all(f'version="{version}"' in each for each in _samples(await pinned("GET", "/metrics")))


def _samples(reply: Reply) -> list[str]:
    assert reply.status == 200, reply.body
    return [line for line in reply.body.decode().splitlines() if line and not line.startswith("#")]
