"""The way of a share's token through the Jupyter server: what passes, what is refused, and what it may use."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import itertools
import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import aiohttp
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput
from yarl import URL

from tests.helpers.jupyter_routes import routes_of
from tests.jupyter.conftest import BODY, INFER, Ask, Shared, eventually
from workbench.api import connect
from workbench.client.share_results import Share
from workbench.client.shared_service import SharedService
from workbench.errors import InvalidInput, NotFound
from workbench.jupyter.endpoint import EndpointLimits, SharedEndpoint
from workbench.jupyter.endpoint_routes import ENDPOINT, ROUTES
from workbench.live.watch import Watch

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


def paths() -> list[tuple[str, str, bool]]:
    """(method, path, public) of each route."""
    name = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}"
    found = []
    for route in ROUTES:
        pattern = route.pattern.pattern.replace(rf"(/versions/{name})?", "").replace(name, "plus").replace("\\", "")
        for path in {
            pattern.replace("(js|css)", each).replace("(live|ready)", "live").replace("(/ready|/config|/stats)?", end)
            for each in ("js", "css")
            for end in ("", "/ready", "/config", "/stats")
        }:
            found += [(method, path, route.public) for method in route.methods]
    return found


async def test_each_route_answers_a_shares_token_as_the_service_does(shared: Shared) -> None:
    assert len(paths()) > 20
    for method, path, public in paths():
        if path == "/share/claim" and method == "POST":
            continue  # it takes a code
        body = BODY if path.endswith("/infer") else {} if method == "POST" else None
        status, headers, said = await shared.call(method, path, None if public else "", body)
        assert status == 200, (method, path, said)
        assert headers["X-Content-Type-Options"] == "nosniff" and "Content-Security-Policy" in headers
        assert "Set-Cookie" not in headers and "Access-Control-Allow-Origin" not in headers
    status, _, said = await shared.call("POST", INFER, body=BODY)
    assert said["outputs"][0]["data"] == [2.0, 3.0, 4.0, 5.0]
    assert [each["name"] for each in (await shared.call("POST", "/v2/repository/index", body={}))[2]] == ["plus"]


async def test_from_the_first_call_on_what_the_server_holds_is_no_garbage_to_look_for(shared: Shared) -> None:
    frozen, held = gc.get_freeze_count(), [[] for _ in range(1000)]  # what was made since the tests were collected
    assert (await shared.call("GET", "/v2"))[0] == 200
    assert gc.get_freeze_count() > frozen + len(held)
    frozen = gc.get_freeze_count()
    assert (await shared.call("GET", "/v2"))[0] == 200
    assert gc.get_freeze_count() <= frozen, "once"


async def test_no_route_takes_anything_but_a_shares_token_that_holds(
    shared: Shared, jp_serverapp: Any, workplace: SharedService
) -> None:
    record = workplace.record()
    assert record is not None
    jupyters = jp_serverapp.identity_provider.token
    revoked = await shared.share(label="revoked")
    await shared.owner.revoke(revoked["id"])
    expired = await shared.share(label="expired", expires=1)

    async def over() -> bool:
        return (await shared.call("GET", "/v2", expired["token"]))[0] == 401

    await eventually(over)
    async with shared.session.get(f"{shared.url.partition(ENDPOINT)[0]}api/status?token={jupyters}") as answer:
        assert answer.status == 200  # and the cookie of the login goes with each request of this session from now on
        cookies = answer.cookies.output(header="", sep=";").strip()
    for path, method in itertools.product(sorted({path for _, path, public in paths() if not public}), METHODS):
        for wrong in (None, record.token, jupyters, "wbk_" + "x" * 43, revoked["token"], expired["token"]):
            body = BODY if method == "POST" else None
            status, headers, _ = await shared.call(method, path, wrong, body, Cookie=cookies)
            if (wrong or "").startswith("wbk_") and (method, path, False) not in paths():
                assert status == 405, (method, path, wrong)  # whose it is, the service would say
            else:
                assert (status, headers["WWW-Authenticate"]) == (401, "Bearer"), (method, path, wrong)
        async with shared.session.request(method, f"{shared.url}{path}?token={shared.token}") as answer:
            assert answer.status == 401, "a token in an address"
        for scheme in ("token", "Basic"):
            async with shared.session.request(
                method, shared.url + path, headers={"Authorization": f"{scheme} {shared.token}"}
            ) as answer:
                assert answer.status == 401


async def test_no_other_route_takes_a_shares_token_or_the_services(
    shared: Shared, jp_serverapp: Any, workplace: SharedService
) -> None:
    """Of ours, and of Jupyter's that would do most."""
    record = workplace.record()
    assert record is not None
    base = shared.url.removesuffix(ENDPOINT)
    theirs = ("api", "api/kernels", "api/contents", "api/terminals", "api/sessions", "lab", "files/plus.onnx", "tree")
    paths = [*(path for path, _ in routes_of(shared.extension)), *theirs]
    assert len(paths) > 30
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        for path, token in itertools.product(paths, (shared.token, record.token)):
            ways: list[tuple[str, dict[str, Any]]] = [
                (method, {"headers": {"Authorization": f"Bearer {token}"}}) for method in METHODS
            ]
            ways.append(("GET", {"params": {"token": token}}))  # of a POST, tornado logs the address, token and all
            for method in ("GET", "POST"):
                ways.append((method, {"headers": {"Authorization": f"token {token}"}}))
                ways.append((method, {"headers": {"Cookie": f"token={token}; _xsrf=x", "X-XSRFToken": "x"}}))
            for method, way in ways:
                async with session.request(method, base + path, allow_redirects=False, **way) as answer:
                    said = await answer.text()
                    assert token not in said
                    if method == "OPTIONS" and answer.status < 300:
                        assert not said  # Jupyter tells anybody which methods it knows
                    elif (path, method) != ("api", "GET"):  # Jupyter's version, for anybody
                        assert answer.status in (302, 403, 404, 405), (method, path, way)
                        assert answer.status != 302 or "/login?" in answer.headers["Location"]
    async with shared.session.get(base + "api/status", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403


async def test_what_is_no_route_of_a_share_is_not_reached(shared: Shared) -> None:
    outside = [
        "",
        "/",
        "/v2/",
        "/v3",
        "/metrics",
        "/control/shares",
        "/control/stream",
        "/v2/repository/models/plus/load",
    ]
    outside += [
        "/v2/models/../../control/shares",
        "/v2/models/%2e%2e/%2e%2e/control/shares",
        "/v2//models/plus",
        "/v2/",
    ]
    outside += ["/v2/models/plus/generate", "/share/claim/..%2f..%2fcontrol", "/v2/systemsharedmemory/status"]
    for path in outside:
        for method in ("GET", "POST", "DELETE"):
            address = URL(shared.url + path, encoded=True)
            headers = {"Authorization": f"Bearer {shared.token}"}
            async with shared.session.request(method, address, headers=headers) as answer:
                refused = (403,) if path.startswith("/control/") else (404, 405)
                assert answer.status in refused, (method, path, await answer.text())
    assert (await shared.call("POST", "/v2/models/other/infer", body=BODY))[0] == 403
    assert (await shared.call("GET", "/v2/models/missing"))[0] == 403


async def test_a_body_that_goes_nowhere_is_not_taken_from_the_next_callers_request(shared: Shared) -> None:
    """Nothing is answered out of step: what one caller announces never reaches into another one's request."""
    for method, path, token in (("GET", "/v2/health/live", None), ("HEAD", "/v2/models/plus", "")):
        assert (await shared.call(method, path, token, bytes(60)))[0] == 200
        for _ in range(2):
            status, _, said = await shared.call("GET", "/v2/models/plus")
            assert (status, said.get("name")) == (200, "plus"), said


async def test_other_methods_are_told_which_ones_go(shared: Shared) -> None:
    for method, path, allowed in (
        ("OPTIONS", INFER, "POST"),
        ("DELETE", INFER, "POST"),
        ("GET", INFER, "POST"),
        ("PUT", "/v2", "GET, HEAD"),
        ("PATCH", "/openapi.json", "GET, HEAD"),
    ):
        status, headers, _ = await shared.call(method, path)
        assert (status, headers["Allow"]) == (405, allowed)
    status, headers, said = await shared.call("HEAD", "/v2/models/plus")
    whole = (await shared.call("GET", "/v2/models/plus"))[1]["Content-Length"]
    assert (status, said, headers["Content-Length"]) == (200, b"", whole)


async def test_forged_hosts_and_foreign_origins_are_refused(shared: Shared, jp_http_port: int) -> None:
    for name in ("evil.example", f"evil.example:{jp_http_port}", "127.0.0.1.evil.example"):
        assert (await shared.call("POST", INFER, body=BODY, Host=name))[0] == 403
        assert (await shared.call("GET", "/share/claim", None, Host=name))[0] == 403
    for origin in ("http://evil.example", "null", "http://localhost"):
        assert (await shared.call("POST", INFER, body=BODY, Origin=origin))[0] == 403
        assert (await shared.call("POST", "/share/claim", None, {"code": "x"}, Origin=origin))[0] == 403
    own = f"http://localhost:{jp_http_port}"
    assert (await shared.call("POST", INFER, body=BODY, Origin=own))[0] == 200


async def test_a_link_is_redeemed_once_without_a_login(shared: Shared) -> None:
    share = await shared.share(label="by-link", show_token=False)
    code = {"code": share["link"].partition("#")[2]}
    status, _, page = await shared.call("GET", "/share/claim", None)
    assert status == 200 and b"claim.js" in page
    status, _, given = await shared.call("POST", "/share/claim", None, code)
    assert status == 200 and given["token"].startswith("wbk_")
    assert (await shared.call("POST", INFER, given["token"], BODY))[0] == 200
    assert (await shared.call("POST", "/share/claim", None, code))[0] == 404
    audit = await shared.owner.audit()
    assert any("(panel; pid " in each.agent for each in audit if each.action == "load")
    told = [each for each in audit if each.action == "claim" and each.outcome == "ok"]
    assert (told[-1].who, told[-1].way) == ("anyone", "jupyter")
    assert told[-1].address.endswith(" via 127.0.0.1") and told[-1].agent.startswith("Python/")


async def test_tritons_client_calls_it_by_its_address_alone(shared: Shared) -> None:
    x = np.ones((2, 4), np.float32)

    def by_tritons() -> Any:
        with InferenceServerClient(shared.url.removeprefix("http://")) as client:
            tensor = InferInput("x", [2, 4], "FP32")
            tensor.set_data_from_numpy(x)
            headers = {"Authorization": f"Bearer {shared.token}"}
            assert client.is_server_ready() and client.is_model_ready("plus", headers=headers)
            return client.infer("plus", [tensor], headers=headers).as_numpy("y")

    assert np.array_equal(await asyncio.to_thread(by_tritons), x + 1)


async def test_what_the_page_shows_names_the_address_that_it_was_reached_by(shared: Shared) -> None:
    share = await shared.share(label="by-proxy", show_token=False)
    code = {"code": share["link"].partition("#")[2]}
    (_, _, given) = await shared.call("POST", "/share/claim", None, code, X_Forwarded_Proto="https")
    assert given["url"] == shared.url.replace("http:", "https:")
    (_, _, document) = await shared.call("GET", "/openapi.json")
    assert document["servers"] == [{"url": shared.url}]
    (_, _, document) = await shared.call("GET", "/openapi.json", X_Forwarded_Proto="https, http")
    assert document["servers"] == [{"url": shared.url.replace("http:", "https:")}]
    for strange in ("javascript", 'https"', "https://evil.example/"):
        (_, _, document) = await shared.call("GET", "/openapi.json", X_Forwarded_Proto=strange)
        assert document["servers"][0]["url"].startswith("http://127.0.0.1:")


async def test_links_name_this_server_where_pages_reach_it_from_elsewhere(
    shared: Shared, workplace: SharedService, ask: Ask
) -> None:
    address = shared.extension.endpoint_address
    for mine in ("", "null", "http://localhost:8888", "http://127.0.0.1:8888", "https://[::1]:8888", "http://[bad"):
        address.page_opened(mine)
        assert workplace.jupyter_url() == ""
    address.page_opened("https://hub.example.org")
    url = f"https://hub.example.org/user/alice/{ENDPOINT}"
    assert workplace.jupyter_url() == url
    made = await ask("shares", body={"models": ["plus"], "label": "by-page"})
    assert made["url"] == url and made["link"].startswith(f"{url}/share/claim#")

    def from_a_kernel() -> Share:
        with connect() as wb:
            return wb.share("plus", label="by-kernel")

    made = await asyncio.to_thread(from_a_kernel)
    assert made.url == url and made.link.startswith(f"{url}/share/claim#")
    for wrong in ("hub.example.org", "https://user@hub.example.org", "https://hub.example.org/?x", "file:///etc"):
        with pytest.raises(InvalidInput, match="address"):
            await shared.share(label="wrong", url=wrong)


async def test_it_is_closed_while_nothing_is_shared(shared: Shared) -> None:
    for share in await shared.owner.shares():
        if share.state == "holds":
            await shared.owner.revoke(share.id)

    async def closed() -> bool:
        return (await shared.call("GET", "/share/claim", None))[0] == 404

    await eventually(closed)
    status, _, said = await shared.call("POST", INFER, body=BODY)
    assert status == 404 and "nothing is shared" in said["error"]
    again = await shared.share(label="again")  # whoever opens its link at once is let in
    assert (await shared.call("GET", "/share/claim", None))[0] == 200
    assert (await shared.call("POST", INFER, again["token"], BODY))[0] == 200


async def test_strangers_do_not_have_the_service_asked_for_each_of_their_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workbench.jupyter.endpoint.ASK_EVERY_S", 0.02)
    looks: list[str] = []

    class Service:
        async def shares(self) -> list[Any]:
            looks.append("begun")
            await asyncio.sleep(0)
            return []

    watch = SimpleNamespace(ready=object(), client=AsyncMock(return_value=Service()))
    endpoint = SharedEndpoint(watch, EndpointLimits(1, 1), True)  # type: ignore[arg-type]
    first = await asyncio.gather(*(endpoint.service() for _ in range(100)), return_exceptions=True)
    began = time.monotonic()
    more = await asyncio.gather(*(endpoint.service() for _ in range(100)), return_exceptions=True)
    assert {type(each) for each in (*first, *more)} == {NotFound}
    assert len(looks) == 2 and time.monotonic() - began >= 0.01


async def test_without_a_service_it_says_so_and_when_to_come_back(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "ready", None)
    status, headers, said = await shared.call("GET", "/v2")
    assert (status, headers["Retry-After"]) == (503, "1") and "not ready" in said["error"]


async def test_a_shares_rate_is_answered_with_429_and_when_to_come_back(shared: Shared) -> None:
    slow = (await shared.share(label="slow", rate="1/min"))["token"]
    statuses = [(await shared.call("POST", INFER, slow, BODY))[0] for _ in range(3)]
    assert statuses[-1] == 429
    _, headers, said = await shared.call("POST", INFER, slow, BODY)
    assert int(headers["Retry-After"]) >= 1 and "RateLimit" in headers and said["code"] == "limit_exceeded"


async def test_compressed_bodies_and_answers_pass_as_they_are(shared: Shared) -> None:
    packed = gzip.compress(json.dumps(BODY).encode())
    status, headers, said = await shared.call(
        "POST", INFER, body=packed, Content_Type="application/json", Content_Encoding="gzip", Accept_Encoding="gzip"
    )
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert said["outputs"][0]["data"] == [2.0, 3.0, 4.0, 5.0]


async def test_a_large_body_and_its_answer_pass_in_pieces(shared: Shared) -> None:
    size = 1_600_000
    tensor = {"name": "x", "shape": [1, size // 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield head
        for _ in range(size // 16_000):
            yield bytes(16_000)

    for body in (pieces(), io.BytesIO(head + bytes(size))):  # chunked, and with its length
        status, _, said = await shared.call("POST", INFER, body=body, Inference_Header_Content_Length=str(len(head)))
        assert status == 200, said
        assert said.endswith(b"\0\0\x80\x3f" * (size // 4))


async def test_a_body_over_the_cap_is_refused_at_its_head_or_where_it_goes_over(shared: Shared) -> None:
    limits = shared.extension.shared_endpoint.limits
    object.__setattr__(limits, "body_bytes", 300_000)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield bytes(100_000)

    status, _, said = await shared.call("POST", INFER, body=bytes(400_000))
    assert (status, said["code"]) == (413, "too_large")
    status, _, said = await shared.call("POST", INFER, body=endless())
    assert (status, said["code"]) == (413, "too_large")


async def test_a_client_that_leaves_ends_its_call_of_the_service(shared: Shared, jp_http_port: int) -> None:
    endpoint = shared.extension.shared_endpoint
    _, writer = await asyncio.open_connection("localhost", jp_http_port)
    path = shared.url.partition(f":{jp_http_port}")[2]
    head = f"POST {path}{INFER} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {shared.token}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())

    async def begun() -> bool:
        return any(each.in_flight for each in await shared.owner.shares())

    await eventually(begun)
    writer.close()

    async def ended() -> bool:
        return not any(each.in_flight for each in await shared.owner.shares()) and not endpoint._tasks

    await eventually(ended)
