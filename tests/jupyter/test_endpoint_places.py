"""Places of callers through the Jupyter server: who may have how many at once, and who makes room for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from unittest.mock import AsyncMock

import pytest
import pytest_asyncio
from yarl import URL

from tests.jupyter.conftest import BODY, INFER, Shared, eventually
from workbench.client.shared_service import SharedService
from workbench.jupyter import endpoint as endpoint_module
from workbench.jupyter import endpoint_handler
from workbench.jupyter.endpoint import STRANGERS, EndpointLimits, SharedEndpoint


@pytest.fixture
def workplace(running_workplace: SharedService) -> SharedService:
    return running_workplace


async def test_strangers_cannot_take_the_places_of_shares(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = shared.extension.shared_endpoint
    monkeypatch.setattr(endpoint, "_clock", lambda: 0.0)
    assert (await shared.call("POST", INFER, body=BODY))[0] == 200
    async with AsyncExitStack() as held:
        for _ in range(STRANGERS):
            await held.enter_async_context(endpoint.turn(""))
        status, headers, _ = await shared.call("POST", INFER, "wbk_" + "x" * 43, BODY)
        assert (status, headers["Retry-After"]) == (503, "1")
        assert (await shared.call("POST", INFER, body=BODY))[0] == 200
    assert (await shared.call("POST", INFER, body=BODY))[0] == 200


async def test_one_share_leaves_half_of_the_places_to_others(shared: Shared) -> None:
    endpoint = shared.extension.shared_endpoint
    other = (await shared.share(label="other"))["token"]
    for token in (shared.token, other):
        assert (await shared.call("POST", INFER, token, BODY))[0] == 200
    async with AsyncExitStack() as held:
        for _ in range(endpoint.limits.requests // 2):
            await held.enter_async_context(endpoint.turn(shared.token))
        status, headers, said = await shared.call("POST", INFER, body=BODY)
        assert (status, headers["Retry-After"]) == (503, "1") and "with this token are under way" in said["error"]
        assert (await shared.call("POST", INFER, other, BODY))[0] == 200
    assert (await shared.call("POST", INFER, body=BODY))[0] == 200


async def test_a_share_over_its_rate_keeps_the_service_and_this_server_little_busy_and_gets_its_rate(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    endpoint = shared.extension.shared_endpoint
    monkeypatch.setattr(endpoint, "_clock", lambda: now[0])
    monkeypatch.setattr(endpoint_module, "REFUSALS_PER_S", 1e9)
    made = await shared.share(label="flood", rate="1/min")

    async def asked(path: str = INFER) -> tuple[int, str, object]:
        status, headers, said = await shared.call("POST", path, made["token"], BODY)
        return status, headers.get("RateLimit", ""), said

    async def refused() -> int:
        (share,) = [each for each in await shared.owner.shares() if each.id == made["id"]]
        return share.refused

    assert (await asked())[0] == 200
    first = await asked()
    assert first[0] == 429 and await refused() == 1
    assert [await asked() for _ in range(5)] == [first] * 5
    assert await refused() == 1, "it was answered without the service"
    assert (await shared.call("GET", "/v2/models/plus", made["token"]))[0] == 200, "its reads are not over"
    now[0] += endpoint_module.OVER_RATE_S
    assert (await asked())[0] == 429 and await refused() == 2


async def test_refusals_of_one_token_are_spread_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_module, "REFUSALS_PER_S", 4.0)
    slept: list[float] = []
    monkeypatch.setattr("workbench.jupyter.endpoint.asyncio.sleep", AsyncMock(side_effect=slept.append))
    now = [100.0]
    endpoint = SharedEndpoint(None, EndpointLimits(1, 1), True, lambda: now[0])  # type: ignore[arg-type]
    for _ in range(7):
        await endpoint.refusals_turn("a")
    await endpoint.refusals_turn("b")
    assert slept == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    now[0] = 103.0
    await endpoint.refusals_turn("a")
    assert len(slept) == 6


HalfSent = Callable[[str, str], Awaitable[asyncio.StreamReader]]


@pytest_asyncio.fixture
async def half_sent(shared: Shared) -> AsyncIterator[HalfSent]:
    """Sends a request to a path, with a token, whose body does not come whole; returns when it is under way."""
    writers = []

    async def send(path: str, token: str) -> asyncio.StreamReader:
        before = len(shared.extension.shared_endpoint._tasks)
        url = URL(shared.url)
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writers.append(writer)
        lines = [f"POST {url.path}{path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
        lines += ["Content-Type: application/json", "Content-Length: 100", "", "{"]
        writer.write("\r\n".join(lines).encode())

        async def begun() -> bool:
            return len(shared.extension.shared_endpoint._tasks) > before

        await eventually(begun)
        return reader

    yield send
    for writer in writers:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("path", ["/share/claim", INFER])
async def test_half_sent_requests_without_a_good_token_keep_no_claim_out(
    shared: Shared, half_sent: HalfSent, path: str
) -> None:
    share = await shared.share(label="by-link", show_token=False)
    held = [await half_sent(path, "wbk_" + "x" * 43) for _ in range(STRANGERS)]
    code = {"code": share["link"].partition("#")[2]}
    assert (await shared.call("POST", "/share/claim", None, code))[0] == 200
    assert not any(reader.at_eof() for reader in held)


async def test_half_sent_first_requests_of_a_share_make_room_for_claims(
    shared: Shared, half_sent: HalfSent, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(shared.extension.shared_endpoint, "_clock", lambda: now)
    held = [await half_sent(INFER, shared.token) for _ in range(STRANGERS)]
    share = await shared.share(label="by-link", show_token=False)
    code = {"code": share["link"].partition("#")[2]}
    assert (await shared.call("POST", "/share/claim", None, code))[0] == 503
    now = 1.1
    assert (await shared.call("POST", "/share/claim", None, code))[0] == 200
    async with asyncio.timeout(60):
        said = await held[0].read()
    assert said.startswith(b"HTTP/1.1 503") and b"Retry-After: 1" in said and b"wait for its place" in said
    assert not any(reader.at_eof() for reader in held[1:])


async def test_a_body_without_a_token_is_small_and_has_a_time(
    shared: Shared, half_sent: HalfSent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await shared.call("POST", "/share/claim", None, {"code": "x" * 2000}))[0] == 413
    monkeypatch.setattr(endpoint_handler, "CLAIM_S", 0.05)
    async with asyncio.timeout(60):
        said = await (await half_sent("/share/claim", "x")).read()
    assert said.startswith(b"HTTP/1.1 504") and b"did not come whole" in said


async def test_a_half_sent_request_of_a_revoked_share_ends_with_it(shared: Shared, half_sent: HalfSent) -> None:
    made = await shared.share(label="leaving")
    assert (await shared.call("POST", INFER, made["token"], BODY))[0] == 200
    reader = await half_sent(INFER, made["token"])

    async def reached() -> bool:  # else its first byte would be refused
        (share,) = [each for each in await shared.owner.shares() if each.id == made["id"]]
        return share.in_flight == 1

    await eventually(reached)
    await shared.owner.revoke(made["id"])
    assert (await asyncio.wait_for(reader.readline(), 60)).startswith(b"HTTP/1.1 401 ")
