"""Every route and gRPC method, by every method of HTTP and over HTTP/2: what refuses callers that may not.

The tables in the code are walked, so that a new route is in the walk once it is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.server.conftest import TOKEN, House
from tests.server.driver import HOST
from tests.server.grpc.frame_client import FrameClient
from tests.server.grpc.open_port import Port, open_port
from workbench.http2 import frames
from workbench.http2.headers import block_of
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.scopes import SHARE_SCOPES, Scope
from workbench.server.grpc.call import GrpcCalls

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UPGRADE = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13", "sec_websocket_key": "eA=="}
UNAUTHENTICATED = "16"
PERMISSION_DENIED = "7"


@dataclass
class Callers:
    refused: dict[str, str | None]
    """Why nothing but what is public is for them -> what they send as Authorization."""
    shared: str
    """That of a share of `digits` that holds."""


@pytest.fixture
async def callers(house: House) -> Callers:
    async def share(label: str, **terms: object) -> dict[str, str]:
        asked = {"models": ["digits"], "label": label, "show_token": True, **terms}
        answer: dict[str, str] = (await house.call("POST", "/control/shares", asked)).json
        return answer

    holds, revoked, expired = [await share(label) for label in ("holds", "revoked", "expired")]
    unclaimed = await share("unclaimed", show_token=False)
    await house.call("DELETE", "/control/shares/revoked")
    ending = house.app.shares._callers[expired["id"]]
    ending._wall = lambda: ending.record.expires_at
    return Callers(
        {
            "no token": None,
            "a wrong token": "Bearer wrong",
            "one that looks like a share's": f"Bearer wbk_{'x' * 43}",
            "of a share that was revoked": f"Bearer {revoked['token']}",
            "of a share that has expired": f"Bearer {expired['token']}",
            "a link's code": f"Bearer {unclaimed['link'].partition('#')[2]}",
            "another scheme": f"Basic {TOKEN}",
            "two tokens": f"Bearer {TOKEN}, Bearer {holds['token']}",
        },
        f"Bearer {holds['token']}",
    )


def paths(house: House) -> dict[str, set[str]]:
    """Each path of the table, and some that are none -> the methods under which it is public."""
    found: dict[str, set[str]] = {
        path: set() for path in ("/", "/nowhere", "/v2/", "/v2/models/digits/infer/", "/v2//")
    }
    values = {"name": "digits", "version": "1", "region": "r", "share": "s"}
    for route in house.app.routes:
        public = found.setdefault(route.path.format_map(values), set())
        if route.scope is Scope.PUBLIC:
            public |= {"GET", "HEAD"} if route.method == "GET" else {route.method}
    assert len(found) > 40
    return found


async def test_who_has_no_token_that_holds_gets_nothing_of_any_path_by_any_method(
    house: House, callers: Callers
) -> None:
    for path, public in paths(house).items():
        for method in (each for each in METHODS if each not in public):
            for why, sent in callers.refused.items():
                reply = await house.stranger(method, path, authorization=sent)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), (method, path, why)
        token = f"{path}?token={TOKEN}&access_token={TOKEN}"
        for method in ("GET", "POST"):
            if method not in public:
                assert (await house.stranger(method, token, cookie=f"token={TOKEN}")).status == 401
        if "GET" not in public:
            assert (await house.stranger("GET", path, **UPGRADE)).status == 401


async def test_a_share_gets_nothing_outside_its_scope_by_any_method(house: House, callers: Callers) -> None:
    """Of models that are not its own, tests/server/test_shares.py."""
    inside: dict[str, set[str]] = {path: set() for path in paths(house)}
    values = {"name": "digits", "version": "1", "region": "r", "share": "s"}
    for route in house.app.routes:
        if route.scope in SHARE_SCOPES:
            inside[route.path.format_map(values)] |= {"GET", "HEAD"} if route.method == "GET" else {route.method}
    for path, its in inside.items():
        for method in METHODS:
            status = (await house.stranger(method, path, authorization=callers.shared)).status
            assert status not in (401, 403) if method in its else status in (403, 404, 405), (method, path, status)
        if "GET" not in its:
            status = (await house.stranger("GET", path, authorization=callers.shared, **UPGRADE)).status
            assert status in (403, 404, 405)


async def test_no_page_of_another_site_reaches_any_path_with_the_owner_s_token(house: House) -> None:
    for path, public in paths(house).items():
        for method in METHODS:
            for host in ("evil.example", f"{HOST}.evil.example", "evil.example:8080", ""):
                if method not in public or method == "POST":
                    reply = await house.call(method, path, host=host)
                    assert reply.status == 403, (method, path, host)
            if method not in ("GET", "HEAD", "OPTIONS"):
                for origin in ("http://evil.example", "null", "http://127.0.0.1", f"http://{HOST}.evil.example"):
                    assert (await house.call(method, path, origin=origin)).status == 403, (method, path, origin)
            # A page may ask for it, and must not be let see the answer.
            else:
                reply = await house.stranger(method, path, origin="http://evil.example")
                assert not any(name.startswith("access-control-") for name in reply.headers), (method, path)


# HTTP/2


@pytest.fixture
async def port(house: House) -> AsyncIterator[Port]:
    async with open_port(house) as port:
        yield port


class Heads:
    """Sends heads over HTTP/2, each on a connection of its own, and reads the head of the answer."""

    def __init__(self, port: Port) -> None:
        self._calls = GrpcCalls(port.server.methods, InFlightBytes(1 << 20))

    def __call__(self, method: str, path: str, **fields: str | None) -> dict[str, str]:
        client = FrameClient(self._calls)
        sent = {":method": method, ":scheme": "http", ":path": path, ":authority": HOST}
        sent |= {name.replace("_", "-"): value for name, value in fields.items() if value is not None}
        block = block_of(*((name.encode(), value.encode()) for name, value in sent.items()))
        client.send(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, block))
        events = client.told().get(1, [])
        head: dict[str, str] = {}
        for kind, value in events:
            assert kind != "data", (method, path)
            if kind == "head":
                assert isinstance(value, dict)
                head |= value
        return head


async def test_no_path_of_http_1_is_there_over_http_2(port: Port) -> None:
    ask, owner = Heads(port), f"Bearer {TOKEN}"
    for path in paths(port.house):
        for method in METHODS:
            for kind in (None, "application/json"):
                assert ask(method, path, authorization=owner, content_type=kind)[":status"] == "415", (method, path)
            head = ask(method, path, authorization=owner, content_type="application/grpc")
            assert head[":status"] == "405" if method != "POST" else head["grpc-status"] == "12", (method, path)


async def test_no_method_of_grpc_is_for_who_has_no_token_that_holds(port: Port, callers: Callers) -> None:
    ask = Heads(port)
    table = {name: method.scope for name, method in port.server.methods.table.items()}
    assert len(table) > 20
    for name, scope in {**table, "/a.b/C": None}.items():
        if scope is not Scope.PUBLIC:
            for why, sent in callers.refused.items():
                head = ask("POST", name, authorization=sent, content_type="application/grpc")
                assert head["grpc-status"] == UNAUTHENTICATED, (name, why)
        for method in (each for each in METHODS if each != "POST"):
            for sent in (f"Bearer {TOKEN}", callers.shared, None):
                head = ask(method, name, authorization=sent, content_type="application/grpc")
                assert head[":status"] == "405", (method, name)
        if scope is not None and scope not in SHARE_SCOPES:
            head = ask("POST", name, authorization=callers.shared, content_type="application/grpc")
            assert head["grpc-status"] == PERMISSION_DENIED, name


async def test_a_page_in_a_browser_cannot_call_grpc(port: Port) -> None:
    """It can send none of gRPC's content type without being let by CORS, which no method answers."""
    ask = Heads(port)
    for name in port.server.methods.table:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/grpc-web"):
            head = ask("POST", name, authorization=f"Bearer {TOKEN}", content_type=kind, origin="http://evil.example")
            assert head[":status"] == "415", (name, kind)
        preflight = ask("OPTIONS", name, origin="http://evil.example", access_control_request_method="POST")
        assert preflight[":status"] in ("405", "415")
        assert not any(each.startswith("access-control-") for each in preflight)
