from __future__ import annotations

import asyncio
import itertools
import json
import logging
import platform
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.helpers.large_bodies import large_from
from tests.helpers.waiting import until_async
from tests.server.conftest import House, open_house
from tests.server.driver import HOST, OCTETS, Wire, body, connect
from workbench.core.ports import Outcome
from workbench.protocols import oip_json
from workbench.protocols.oip_tensors import read_tensors
from workbench.server.gate.scopes import ALL_SCOPES, Scope
from workbench.server.http import routes_not_implemented
from workbench.server.http.h1_connection import H1Connection
from workbench.server.http.routing import Route
from workbench.telemetry.past_snapshots import PastSnapshots

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")
DOCS = Path(__file__).parents[3] / "docs" / "http.md"


def filled(path: str) -> str:
    return path.replace("{name}", "digits").replace("{version}", "1").replace("{region}", "r").replace("{share}", "s")


# The gate


async def test_every_route_and_method_needs_the_token_but_what_is_public(house: House) -> None:
    public = {route.path for route in house.app.routes if route.scope is Scope.PUBLIC}
    pages = {f"/share/claim{suffix}" for suffix in ("", ".js", ".css")}
    assert public == {"/v2/health/live", "/v2/health/ready", *pages}
    paths = {filled(route.path) for route in house.app.routes} | {"/", "/nowhere", "/v2/", "/v2/models/digits/infer/"}
    assert len(paths) > 20
    for path in paths:
        for method in METHODS:
            if (method, path) == ("POST", "/share/claim"):  # it is public too
                continue
            reply = await house.stranger(method, path)
            if path in public and method in ("GET", "HEAD"):
                assert reply.status == 200
            else:
                assert reply.status == 401, f"{method} {path}"
                assert reply.headers["www-authenticate"] == "Bearer"
                assert method == "HEAD" or "Bearer TOKEN" in reply.error


SCOPES = {
    Scope.PUBLIC: r"GET /v2/health/.*|(GET|POST) /share/claim|GET /share/claim\.(js|css)",
    Scope.METRICS: r"GET /metrics",
    Scope.INFER: r"POST /v2/models/.*/infer",
    Scope.METADATA: r"GET /v2|GET /v2/models/\{name\}(/versions/\{version\})?(/ready|/config|/stats)?"
    r"|GET /v2/models/stats|POST /v2/repository/index|GET /openapi.json",
    Scope.READ: r"GET /control/(status|models(?!.*/(files?|versions|rollout|route)$).*|figures|stream)",
}
"""Every other route needs ADMIN."""


async def test_every_route_states_its_scope_and_a_token_without_it_is_refused(house: House) -> None:
    owner = house.app.gate._owner
    for route in house.app.routes:
        name = f"{route.method} {route.path}"
        (scope,) = [scope for scope, names in SCOPES.items() if re.fullmatch(names, name)] or [Scope.ADMIN]
        assert route.scope is scope, name
        if scope is not Scope.PUBLIC:
            owner.scopes = ALL_SCOPES - {scope}
            reply = await house.call(route.method, filled(route.path))
            assert (reply.status, reply.json["code"]) == (403, "forbidden"), name
            assert f"the scope '{scope}'" in reply.error


async def test_a_token_in_the_url_is_no_token(house: House) -> None:
    token = house.call.token
    for query in (f"token={token}", f"access_token={token}"):
        assert (await house.stranger("GET", f"/v2?{query}")).status == 401


async def test_every_route_is_documented_and_every_documented_route_exists(house: House) -> None:
    documented: set[tuple[str, str]] = set()
    for method, path in re.findall(r"`(GET|POST|DELETE) (/[^`]*)`", DOCS.read_text(encoding="utf-8")):
        path = (
            path.partition("?")[0].replace("NAME", "{name}").replace("REGION", "{region}").replace("SHARE", "{share}")
        )
        for each in (path.replace("[/versions/V]", ""), path.replace("[/versions/V]", "/versions/V")):
            documented.add((method, each.replace("/versions/V", "/versions/{version}")))
    assert {(route.method, route.path) for route in house.app.routes} == documented


async def test_a_websocket_is_answered_as_plain_http(house: House) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
    assert (await house.stranger("GET", "/control/models", **upgrade)).status == 401
    assert (await house.call("GET", "/control/models", **upgrade)).status == 200


async def test_a_foreign_origin_or_host_is_forbidden(house: House) -> None:
    assert (await house.call("POST", "/v2/repository/index", {}, origin="http://evil.example")).status == 403
    assert (await house.call("GET", "/control/models", host="evil.example")).status == 403
    assert (await house.call("POST", "/v2/repository/index", {}, origin=f"http://{HOST}")).status == 200


FORMS = ("text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", OCTETS)


async def test_a_form_that_a_browser_sends_is_no_body(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ("/v2/models/digits/infer", "/control/models/spare/unload", "/v2/repository/index")
    for path, form in itertools.product(paths, (*FORMS, "multipart/form-data; boundary=b", "text/html")):
        reply = await house.call("POST", path, b"{}", content_type=form, origin=f"http://{HOST}")
        assert reply.status == 415
        assert "application/json" in reply.error
    monkeypatch.setattr(house.app.gate, "_header", None)  # serve --no-auth, which asks for no token
    for path, form in itertools.product(paths, FORMS):
        assert (await house.stranger("POST", path, b"{}", content_type=form)).status == 415


@pytest.mark.parametrize("form", FORMS)
async def test_public_clients_with_a_token_may_call_json_what_they_like(house: House, form: str) -> None:
    sent = json.dumps(body(1.0)).encode()
    assert (await house.call("POST", "/v2/models/digits/infer", sent, content_type=form)).status == 200
    assert (await house.call("POST", "/v2/repository/models/spare/load", b"", content_type=form)).status == 200
    assert (await house.call("POST", "/control/models/spare/unload", b"{}", content_type=form)).status == 200
    assert (await house.stranger("POST", "/v2/repository/index", b"{}", content_type=form)).status == 401
    if form != OCTETS:  # which a model's file has
        assert (await house.call("POST", "/control/models/m/stage", house.onnx, content_type=form)).status == 415


# Routing


async def test_an_unknown_path_is_404_and_a_wrong_method_405(house: House) -> None:
    assert "nothing at '/nowhere'" in (await house.call("GET", "/nowhere")).error
    reply = await house.call("GET", "/v2/models/digits/infer")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.json["code"] == "method_not_allowed"
    reply = await house.call("DELETE", "/v2/models/digits")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_head_answers_as_get_does(house: House) -> None:
    assert (await house.call("HEAD", "/control/models")).status == 200


# Inference


async def test_an_inference_is_one_response_in_one_part(house: House) -> None:
    reply = await house.call("POST", "/v2/models/digits/infer", body(1, 2, id="seven"))
    assert reply.status == 200
    always = {"date", "content-type", "content-length", "x-request-id", "cache-control", "x-content-type-options"}
    assert set(reply.headers) == always | {"x-model-epoch"}
    assert (reply.headers["content-type"], reply.headers["content-length"]) == (
        "application/json",
        str(len(reply.body)),
    )
    assert reply.writes == 1
    assert (reply.json["model_name"], reply.json["model_version"], reply.json["id"]) == ("digits", "1", "seven")
    assert reply.json["outputs"][0]["data"] == [2, 2, 3, 3]


async def test_a_version_is_named_in_the_path(house: House) -> None:
    assert (await house.call("POST", "/v2/models/digits/versions/1/infer", body(1))).status == 200
    for path in ("digits/versions/2", "digits/versions/", "digits/versions/1/x", "", "a/b", "no"):
        assert (await house.call("POST", f"/v2/models/{path}/infer", body(1))).status == 404


async def test_nan_is_a_bare_word_or_in_strict_json_a_string(house: House, tmp_path: Path) -> None:
    target, sent = "/v2/models/digits/infer", json.dumps(body(float("nan"))).encode()
    headers = {"content_type": "application/json"}
    assert b'"data":[NaN,NaN]' in (await house.call("POST", target, sent, **headers)).body
    (tmp_path / "strict").mkdir()
    async with open_house(tmp_path / "strict", strict_json=True) as strict:
        refused = await strict.call("POST", target, sent, **headers)
        assert refused.status == 400 and "strict_json" in refused.error
        reply = await strict.call("POST", target, sent.replace(b"NaN", b"null"), **headers)
        assert b'"data":["NaN","NaN"]' in reply.body


async def test_an_inference_of_no_model_says_so(house: House) -> None:
    for path in ("/v2/models/infer", "/v2/models//infer", "/v2/models//versions/1/infer"):
        reply = await house.call("POST", path, b"{")
        assert (reply.status, reply.error) == (404, "the path names no model; it is /v2/models/NAME/infer")


async def test_a_body_over_the_cap_is_413(house: House) -> None:
    assert (await house.call("POST", "/v2/models/digits/infer", b" " * 10_001)).status == 413
    assert (await house.call("POST", "/v2/models/digits/infer", [b" " * 6_000] * 2)).status == 413


async def test_a_wrong_header_length_is_400(house: House) -> None:
    sent = json.dumps(body(1)).encode()
    for length in ("-1", "x", "99999", "9" * 40, "5"):
        reply = await house.call("POST", "/v2/models/digits/infer", sent, inference_header_content_length=length)
        assert reply.status == 400, length


async def test_an_inference_that_cannot_be_decoded_counts_as_invalid(house: House) -> None:
    assert (await house.call("POST", "/v2/models/digits/infer", b"{")).status == 400
    assert (await house.call("POST", "/v2/models/unknown/infer", b"{")).status == 400
    figures = house.service.metrics.state().figures
    assert figures["digits", "1"].outcomes[Outcome.INVALID] == 1
    assert list(figures) == [("digits", "1")]


async def test_each_route_gives_back_the_bytes_of_a_body(house: House) -> None:
    for path in ("/v2/models/digits/infer", "/v2/repository/models/digits/load", "/control/models/digits/set"):
        await house.call("POST", path, b"{")
        assert house.service.bodies.held == 0, path


async def test_a_large_body_is_decoded_on_a_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def read(*sent: Any) -> Any:
        threads.append(threading.get_ident())
        return read_tensors(*sent)

    monkeypatch.setattr(oip_json, "read_tensors", read)
    for size, elsewhere in ((1 << 20, False), (100, True)):
        large_from(size, monkeypatch)
        reply = await house.call("POST", "/v2/models/digits/infer", body(*range(20)))
        assert reply.json["outputs"][0]["shape"] == [20, 2]
        assert (threads.pop() != threading.get_ident()) is elsewhere
    assert (await house.call("POST", "/v2/models/digits/infer", b" " * 200)).status == 400
    assert house.service.metrics.state().figures["digits", "1"].outcomes[Outcome.INVALID] == 1


async def test_while_draining_the_service_lives_and_is_not_ready(house: House) -> None:
    house.service.draining.set()
    assert (await house.stranger("GET", "/v2/health/ready")).status == 503
    assert (await house.stranger("GET", "/v2/health/live")).status == 200


async def test_readiness_waits_for_what_is_loaded_at_the_start(house: House) -> None:
    house.service.starting = True
    reply = await house.stranger("GET", "/v2/health/ready")
    assert (reply.status, reply.json) == (503, {"ready": False, "live": True})
    assert (await house.call("POST", "/v2/models/digits/infer", body(1))).status == 200


# Metadata, repository, metrics


async def test_metadata_says_what_there_is(house: House) -> None:
    assert {"name", "version", "extensions"} == set((await house.call("GET", "/v2")).json)
    metadata = (await house.call("GET", "/v2/models/digits")).json
    assert (metadata["name"], metadata["versions"]) == ("digits", ["1"])
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert (await house.call("GET", "/v2/models/digits/versions/1")).json == metadata
    assert (await house.call("GET", "/v2/models/digits/versions/2")).status == 404
    assert (await house.call("GET", "/v2/models/other")).status == 404


async def test_the_service_calls_itself_as_it_is_told(house: House, tmp_path: Path) -> None:
    assert (await house.call("GET", "/v2")).json["name"] == "infer-workbench"
    (tmp_path / "other").mkdir()
    async with open_house(tmp_path / "other", server_id="triton") as other:
        found = (await other.call("GET", "/v2")).json
    assert found["name"] == "triton" and "infer_workbench" in found["extensions"]


async def test_a_models_readiness_is_a_status_and_a_body(house: House) -> None:
    reply = await house.call("GET", "/v2/models/digits/ready")
    assert (reply.status, reply.json) == (200, {"ready": True, "name": "digits"})
    assert (await house.call("GET", "/v2/models/digits/versions/1/ready")).status == 200
    assert (await house.call("GET", "/v2/models/spare/ready")).status == 404
    await house.call("POST", "/control/models/bad/stage", b"no model", content_type=OCTETS)
    assert (await house.call("GET", "/v2/models/bad/ready")).status in (404, 503)


async def test_models_of_the_repository_are_listed_loaded_and_unloaded(house: House) -> None:
    async def listed(sent: dict[str, Any] | None = None) -> list[tuple[str, str, str]]:
        index = (await house.call("POST", "/v2/repository/index", sent)).json
        return [(each["name"], each["version"], each["state"]) for each in index]

    assert await listed() == [("digits", "1", "READY"), ("spare", "1", "UNAVAILABLE")]
    assert await listed({"ready": True}) == [("digits", "1", "READY")]
    assert (await house.call("POST", "/v2/repository/models/spare/load")).status == 200
    assert await listed({"ready": True}) == [("digits", "1", "READY"), ("spare", "1", "READY")]
    assert (await house.call("POST", "/v2/repository/models/digits/unload", {})).status == 200
    assert await listed({"ready": True}) == [("spare", "1", "READY")]
    assert (await house.call("POST", "/v2/repository/models/digits/unload", {})).status == 404
    assert (await house.call("POST", "/v2/repository/models/none/load", {})).status == 404


async def test_while_a_model_loads_the_service_answers(house: House) -> None:
    house.session.hold()  # the warm-up of the next model waits inside the runtime
    loading = asyncio.ensure_future(house.call("POST", "/v2/repository/models/spare/load"))
    await asyncio.to_thread(house.session.entered.acquire)
    assert (await house.stranger("GET", "/v2/health/ready")).status == 200
    assert (await house.call("GET", "/v2/models/spare/ready")).status == 503
    assert (await house.call("POST", "/v2/models/spare/infer", body(1))).status == 503
    index = (await house.call("POST", "/v2/repository/index")).json
    assert [each["state"] for each in index] == ["READY", "LOADING"]
    house.session.gate.set()
    assert (await loading).status == 200
    assert (await house.call("GET", "/v2/models/spare/ready")).status == 200


async def test_metrics_are_prometheus_text(house: House) -> None:
    await house.call("POST", "/v2/models/digits/infer", body(1))
    reply = await house.call("GET", "/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert 'infer_requests_total{model="digits",version="1",outcome="ok"} 1\n' in reply.body.decode()


# Control


async def test_the_status_is_the_documented_one(house: House) -> None:
    status = (await house.call("GET", "/control/status")).json
    assert (status["state"], status["url"]) == ("ready", f"http://{HOST}")
    assert status["runs_under"]["python"] == platform.python_version()
    assert status["runs_under"]["cores"] >= 1
    assert status["models"] == (await house.call("GET", "/control/models")).json
    assert status["models"] == (await house.call("GET", "/control/models/digits")).json
    assert (await house.call("GET", "/control/models/other")).status == 404


async def test_a_staged_version_is_tried_then_committed(house: House) -> None:
    other = models.add_constant(shape=("batch", 2)).SerializeToString()
    staged = await house.call(
        "POST",
        '/control/models/digits/stage?config={"max_batch_size":8}',
        [other[:10], other[10:]],
        content_type=OCTETS,
    )
    assert staged.status == 200
    assert (staged.json["unchanged"], staged.json["previous"]) == (False, "1")
    assert staged.json["model"]["version"] == "2"
    assert staged.json["model"]["routed"] is False
    assert staged.json["model"]["config"]["max_batch_size"] == 8
    assert (await house.call("POST", "/v2/models/digits/versions/2/infer", body(1))).json["model_version"] == "2"
    assert (await house.call("POST", "/v2/models/digits/infer", body(1))).json["model_version"] == "1"
    committed = await house.call("POST", "/control/models/digits/versions/2/commit", {"force": False})
    assert committed.json["model"]["routed"] is True
    assert (await house.call("POST", "/v2/models/digits/infer", body(1))).json["model_version"] == "2"


async def test_a_staged_version_is_discarded_with_its_file(house: House) -> None:
    other = models.add_constant(shape=("batch", 2)).SerializeToString()
    await house.call("POST", "/control/models/digits/stage", other, content_type=OCTETS)
    assert len(house.service.store.digests()) == 2
    assert (await house.call("POST", "/control/models/digits/versions/2/discard")).status == 200
    assert len(house.service.store.digests()) == 1
    assert (await house.call("POST", "/control/models/digits/versions/2/discard")).status == 404


async def test_the_same_model_again_is_unchanged(house: House) -> None:
    staged = await house.call("POST", "/control/models/digits/stage", house.onnx, content_type=OCTETS)
    assert (staged.status, staged.json["unchanged"]) == (200, True)
    assert house.service.store.digests() == [staged.json["model"]["digest"]]


@pytest.mark.parametrize(
    ("sent", "config", "status"),
    [
        (b"", "{}", 400),
        (b"not a model", "{}", 400),
        (b"x" * 20_001, "{}", 413),
        (None, "[]", 400),
        (None, '{"a":1}', 400),
    ],
)
async def test_an_upload_that_is_refused_leaves_nothing(
    house: House, sent: bytes | None, config: str, status: int
) -> None:
    other = models.add_constant(shape=("batch", 2)).SerializeToString()
    upload = other if sent is None else sent
    for parts in ([upload], [upload[:5], upload[5:]]):
        reply = await house.call("POST", f"/control/models/new/stage?config={config}", parts, content_type=OCTETS)
        assert reply.status == status
        assert reply.error
    assert house.stored == []
    assert (await house.call("POST", "/v2/models/digits/infer", body(1))).status == 200


@pytest.mark.parametrize(
    "target", ["-new/stage", "new/stage?config={%22nonsense%22:1}", "new/stage?config={%22instances%22:0}"]
)
async def test_a_bad_name_or_setting_is_refused_before_the_model_is_received(house: House, target: str) -> None:
    parts = [b"x" * 100] * 3
    reply = await house.call("POST", f"/control/models/{target}", parts, leave=True, content_type=OCTETS)
    assert reply.status == 400  # and not 499, which a client gets that leaves while it is waited for


async def test_a_client_that_leaves_while_uploading_leaves_nothing(house: House) -> None:
    reply = await house.call("POST", "/control/models/new/stage", [b"x" * 100] * 3, leave=True, content_type=OCTETS)
    assert reply.status == 499
    assert house.stored == []


async def test_a_model_is_loaded_from_a_path_on_the_services_machine(house: House, tmp_path: Path) -> None:
    path = models.save(models.add_constant(shape=("batch", 2)), tmp_path / "mine.onnx")
    loaded = await house.call("POST", "/control/models/mine/load", {"path": str(path), "config": {"max_batch_size": 4}})
    assert loaded.status == 200
    assert loaded.json["model"]["config"]["max_batch_size"] == 4
    again = await house.call("POST", "/control/models/mine/load", {"path": str(path), "config": {"max_batch_size": 4}})
    assert again.json["unchanged"] is True
    relative = await house.call("POST", "/control/models/mine/load", {"path": "mine.onnx"})
    assert (relative.status, "absolute" in relative.error) == (400, True)


async def test_settings_are_changed_live(house: House) -> None:
    changed = await house.call("POST", "/control/models/digits/set", {"max_batch_size": 16})
    assert changed.json["model"]["max_batch_size"] == 16
    for wrong in ({"max_batch_size": 0}, {"no_such": 1}, {"max_batch_size": "many"}):
        assert (await house.call("POST", "/control/models/digits/set", wrong)).status == 400


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 60_000, b'{"path": 3}'])
async def test_a_control_body_that_is_none_is_400(house: House, sent: bytes) -> None:
    reply = await house.call("POST", "/control/models/digits/load", sent, content_type="application/json")
    assert reply.status == 400


async def test_unloading_forgets_every_version(house: House) -> None:
    assert (await house.call("POST", "/control/models/digits/unload", {})).status == 200
    assert (await house.call("GET", "/control/models")).json == []


async def test_logs_are_the_last_lines(house: House) -> None:
    assert (await house.call("GET", "/control/logs?lines=5")).json == {"lines": []}
    for wrong in ("0", "x", "nan", "1000000"):
        assert (await house.call("GET", f"/control/logs?lines={wrong}")).status == 400


async def streamed(house: House, path: str) -> tuple[H1Connection, Wire, asyncio.Queue[Any]]:
    """A stream, and its lines as they come."""
    connection, wire = connect(house.app)
    connection.data_received(house.call.head("GET", path))
    lines: asyncio.Queue[Any] = asyncio.Queue()
    await until_async(lambda: b"\n{" in wire.written)
    assert b"content-type: application/x-ndjson" in wire.written
    write = connection._write

    def keep(chunk: Any) -> None:
        write(chunk)
        for line in bytes(chunk).split(b"\r\n"):
            if line.startswith(b"{"):
                lines.put_nowait(json.loads(line))

    connection._write = keep
    lines.put_nowait(json.loads(bytes(wire.written).split(b"\r\n")[-2]))
    return connection, wire, lines


async def test_the_stream_sends_a_snapshot_a_line_until_the_service_drains(house: House) -> None:
    connection, wire, lines = await streamed(house, "/control/stream?interval=0.1")
    first = await lines.get()
    await house.call("POST", "/v2/models/digits/infer", body(1))
    second = await lines.get()
    assert (first["sequence"], second["sequence"]) == (0, 1)
    assert second["models"][0]["requests"] == {"ok": 1}
    house.service.draining.set()
    await until_async(lambda: wire.written.endswith(b"\r\n0\r\n\r\n"))
    connection.connection_lost(None)


async def test_the_stream_begins_with_what_happened_before_where_it_is_asked_to(house: House) -> None:
    metrics = house.service.metrics
    metrics.past = PastSnapshots(time.time() - 2.0)
    await house.call("POST", "/v2/models/digits/infer", body(1))
    metrics._ticked(0.0)
    connection, wire, _ = await streamed(house, "/control/stream?interval=10&past=900")
    await until_async(lambda: b'"sequence":0' in wire.written)
    first, second = (json.loads(line) for line in bytes(wire.written).splitlines() if line.startswith(b"{"))
    assert (first["past"], first["epoch"]) == (True, second["epoch"])
    assert [each["requests"] for each in first["models"]] == [{"ok": 1}]
    assert ("past" in second, second["sequence"]) == (False, 0)
    house.service.draining.set()
    await until_async(lambda: wire.written.endswith(b"\r\n0\r\n\r\n"))
    connection.connection_lost(None)
    refused = await house.call("GET", "/control/stream?past=901")
    assert (refused.status, "past must be a number from 0 to 900" in refused.error) == (400, True)


async def test_the_stream_tells_of_a_change_at_once_where_it_is_asked_to(house: House) -> None:
    connection, wire, lines = await streamed(house, "/control/stream?interval=10&changes=true")
    first = await lines.get()
    await house.call("POST", "/control/models/digits/set", {"max_queue_size": 7})
    changed = await asyncio.wait_for(lines.get(), 5)
    assert changed == {"epoch": first["epoch"], "changed": first["changed"] + 1}
    await house.call("POST", "/control/models/digits/unload")
    while changed["changed"] < house.service.metrics.changes.count:
        changed = await asyncio.wait_for(lines.get(), 5)
    house.service.draining.set()
    await until_async(lambda: wire.written.endswith(b"\r\n0\r\n\r\n"))
    connection.connection_lost(None)


async def test_head_of_the_stream_is_answered_at_once(house: House) -> None:
    reply = await asyncio.wait_for(house.call("HEAD", "/control/stream"), 20)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, "application/x-ndjson", b"")
    assert (await house.call("HEAD", "/control/stream?interval=99")).status == 400


async def test_the_stream_ends_when_the_client_leaves(house: House) -> None:
    connection, _, _ = await streamed(house, "/control/stream?interval=10")
    assert len(house.app._tasks) == 1
    connection.connection_lost(None)
    await until_async(lambda: not house.app._tasks)


async def test_a_streams_interval_is_bounded(house: House) -> None:
    for wrong in ("0", "0.01", "11", "x", "nan"):
        assert (await house.call("GET", f"/control/stream?interval={wrong}")).status == 400


@pytest.mark.parametrize(
    "path", ["/v2", "/control/models", "/metrics", "/nothing", "/control/stream", "/v2/health/live"]
)
async def test_no_answer_is_kept_or_guessed_to_be_a_page(house: House, path: str) -> None:
    for caller in (house.call, house.stranger):
        for method in ("HEAD", "POST"):
            reply = await caller(method, path, b"")
            assert reply.headers["cache-control"] == "no-store"
            assert reply.headers["x-content-type-options"] == "nosniff"


async def test_no_answer_holds_the_token(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = house.call.token
    assert token is not None
    for route in house.app.routes:
        if route.method == "GET" and not route.path.endswith("/stream"):
            assert token.encode() not in (await house.call("GET", filled(route.path))).body
    assert token not in caplog.text


@pytest.mark.parametrize("route", routes_not_implemented.routes(), ids=lambda route: f"{route.method} {route.path}")
async def test_what_is_not_served_says_so(route: Route, house: House) -> None:
    reply = await house.call(route.method, filled(route.path), {} if route.method == "POST" else None)
    assert reply.status == 501
    assert "not served" in reply.error
