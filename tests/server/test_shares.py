"""Shares over HTTP, on a service in this process."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.full_disk import full_disk
from tests.helpers.waiting import until_async
from tests.server.conftest import TOKEN, House, open_house
from tests.server.driver import HOST, Driver, answered, body, connect, parsed
from workbench.config import Limits
from workbench.core.messages import GUEST_PRIORITY
from workbench.core.ports import Outcome
from workbench.errors import NotFound
from workbench.server import shares
from workbench.server.gate.connection_caps import ConnectionCaps
from workbench.server.gate.in_flight import InFlightBytes
from workbench.server.gate.scopes import SHARE_SCOPES
from workbench.server.gate.share_caller import READS_AT_ONCE, ShareCaller, since_boot
from workbench.server.gate.unread_answers import UnreadAnswers
from workbench.server.http.app import create_app
from workbench.server.http.h1_server import H1Server
from workbench.server.shares import CODE_LIFE_S, Shares
from workbench.share.daily_quota import DAY_S, DailyQuota
from workbench.share.share_store import ShareStore

INFER = "/v2/models/digits/infer"


async def shared(house: House, **terms: Any) -> dict[str, Any]:
    terms = {"models": ["digits"], "label": "team-a", "show_token": True, **terms}
    reply = await house.call("POST", "/control/shares", terms)
    assert reply.status == 200, reply.body
    answer: dict[str, Any] = reply.json
    return answer


async def teammate(house: House, **terms: Any) -> Driver:
    return Driver(house.app, (await shared(house, **terms))["token"])


def caller_of(house: House, token: str) -> ShareCaller:
    caller = house.app.gate.admit_token(None, f"Bearer {token}".encode())
    assert isinstance(caller, ShareCaller)
    return caller


def filled(path: str) -> str:
    return path.replace("{name}", "digits").replace("{version}", "1").replace("{region}", "r").replace("{share}", "s")


# What a share's token opens


async def test_a_share_s_token_opens_its_models_and_nothing_else(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    call = await teammate(house)
    for route in house.app.routes:
        mine = await call(route.method, filled(route.path), body(1.0) if route.path.endswith("/infer") else None)
        if route.scope in SHARE_SCOPES:
            assert mine.status not in (401, 403), route.path
            if "{name}" in route.path:
                for other in ("spare", "nothing"):  # whether there is such a model or not
                    path = filled(route.path.replace("{name}", other))
                    reply = await call(route.method, path, body(1.0))
                    assert (reply.status, reply.json["code"]) == (403, "forbidden"), path
                    assert reply.error == f"this token is not for model '{other}'; it is for digits"
        else:
            assert (mine.status, mine.json["code"]) == (403, "forbidden"), route.path
    for method, path in (("GET", "/nowhere"), ("DELETE", "/v2/models/digits"), ("OPTIONS", INFER)):
        assert (await call(method, path)).status in (404, 405)
    assert (await call("HEAD", "/v2/models/spare")).status == 403
    assert (await call("HEAD", "/v2/models/digits")).status == 200


async def test_the_index_and_the_statistics_tell_of_the_share_s_models_alone(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    call = await teammate(house)
    assert [each["name"] for each in (await call("POST", "/v2/repository/index", {})).json] == ["digits"]
    stats = (await call("GET", "/v2/models/stats")).json["model_stats"]
    assert [each["name"] for each in stats] == ["digits"]
    assert "spare" in (await house.call("GET", "/v2/models/stats")).body.decode()


async def test_a_share_s_model_that_is_not_served_names_no_other(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    call = await teammate(house)
    await house.call("POST", "/control/models/digits/unload", {})
    for method, path in (("POST", INFER), ("GET", "/v2/models/digits"), ("GET", "/v2/models/digits/stats")):
        reply = await call(method, path, body(1.0) if method == "POST" else None)
        assert reply.status == 404
        assert "is not served now" in reply.error and "spare" not in reply.error


async def test_a_foreign_host_or_origin_is_forbidden_with_a_share_s_token_too(house: House) -> None:
    call = await teammate(house)
    assert (await call("GET", "/v2/models/digits", host="evil.example")).status == 403
    assert (await call("POST", INFER, body(1.0), origin="http://evil.example")).status == 403


async def test_a_share_s_refused_calls_are_in_no_model_s_figures(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    call = await teammate(house, rate=2)
    for _ in range(5):
        assert (await call("POST", "/v2/models/spare/infer", body(1.0))).status in (403, 429)
    assert not house.service.metrics.state().figures["spare", "1"].outcomes
    await house.call("POST", "/v2/models/spare/infer", b"{")
    assert house.service.metrics.state().figures["spare", "1"].outcomes[Outcome.INVALID] == 1
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert (listed["requests"], listed["refused"]) == (2, 3)


async def test_the_first_inference_of_a_share_is_noted_once_and_over_a_restart(house: House) -> None:
    call = await teammate(house)
    await call("GET", "/v2/models/digits")
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert listed["first_call_at"] is None, "it has only looked"
    changes = house.service.metrics.changes
    before = changes.count
    assert [(await call("POST", INFER, body(1.0))).status for _ in range(3)] == [200] * 3
    assert changes.count == before + 1
    (listed,) = (await house.call("GET", "/control/shares")).json
    store = house.service.persistence.shares
    await until_async(lambda: store.shares()[0].record.first_call_at)
    app = create_app(house.service, TOKEN)
    (again,) = (await Driver(app, TOKEN)("GET", "/control/shares")).json
    assert again["first_call_at"] == listed["first_call_at"] >= again["created_at"]


async def test_a_first_call_is_answered_though_the_disk_is_full(house: House, caplog: pytest.LogCaptureFixture) -> None:
    call = await teammate(house)
    with full_disk():
        assert (await call("POST", INFER, body(1.0))).status == 200
        await until_async(lambda: "the first call of a share could not be stored" in caplog.text)


async def test_what_a_share_is_used_for_is_listed_and_in_the_metrics(house: House) -> None:
    await house.call("POST", "/v2/repository/models/spare/load")
    call = await teammate(house, models=["digits", "spare"], label="team-a")
    other = await teammate(house, label="team-b", rate="1/h")
    sent = json.dumps(body(1.0, 2.0)).encode()
    for _ in range(2):
        assert (await call("POST", INFER, sent, content_type="application/json")).status == 200
    assert (await call("POST", "/v2/models/spare/infer", body(1.0))).status == 200
    assert (await call("POST", INFER, b"{", content_type="application/json")).status == 400
    assert (await call("POST", "/v2/models/another/infer", body(1.0))).status == 403
    assert (await call("GET", "/v2/models/digits")).status == 200
    assert (await other("POST", INFER, body(1.0))).status == 200
    assert (await other("POST", INFER, body(1.0))).status == 429
    await house.call("POST", INFER, body(1.0))
    first, second = (await house.call("GET", "/control/shares")).json
    assert (first["requests"], first["refused"], first["answered"], first["errors"]) == (6, 0, 3, 2)
    assert (second["requests"], second["refused"]) == (1, 1)
    assert (first["rows"], second["rows"], second["answered"], second["errors"]) == (5, 1, 1, 0)
    assert 0 < first["p50_s"] <= first["p99_s"] < 60
    assert first["request_bytes"] > 2 * len(sent) and first["response_bytes"] > 0
    digits, spare = first["by_model"]["digits"], first["by_model"]["spare"]
    assert (digits["answered"], digits["errors"], digits["rows"], digits["request_bytes"]) == (2, 1, 4, 2 * len(sent))
    assert (spare["answered"], spare["errors"], spare["rows"]) == (1, 0, 1)
    assert spare["last_at"] <= digits["last_at"] <= first["last_seen"] + 60
    metrics = (await house.call("GET", "/metrics")).body.decode()
    assert 'infer_share_requests_total{share="team-a",model="digits",outcome="ok"} 2\n' in metrics
    assert 'infer_share_refused_total{share="team-b"} 1\n' in metrics
    assert 'infer_share_request_duration_seconds_count{share="team-b"} 1\n' in metrics


async def test_an_inference_that_its_caller_left_is_no_error_of_the_share(house: House) -> None:
    call = await teammate(house)
    await call("POST", INFER, [b'{"inputs', b'": []}'], leave=True, content_type="application/json")
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert (listed["requests"], listed["answered"], listed["errors"]) == (1, 0, 0)


async def test_a_share_s_statistics_are_its_own(house: House) -> None:
    call, other = await teammate(house), await teammate(house, label="team-b")
    for _ in range(3):
        await house.call("POST", INFER, body(1.0))
        await other("POST", INFER, body(1.0))
    (none,) = (await call("GET", "/v2/models/digits/stats")).json["model_stats"]
    assert (none["inference_count"], none["execution_count"], none["last_inference"]) == (0, 0, 0)
    assert {each["count"] for each in none["inference_stats"].values()} == {0}
    await call("POST", INFER, body(1.0, 2.0))
    await call("POST", INFER, {})
    for path in ("/v2/models/digits/stats", "/v2/models/digits/versions/1/stats", "/v2/models/stats"):
        (mine,) = (await call("GET", path)).json["model_stats"]
        assert (mine["name"], mine["version"], mine["inference_count"], mine["execution_count"]) == (
            "digits",
            "1",
            2,
            1,
        )
        spent = mine["inference_stats"]
        assert (spent["success"]["count"], spent["fail"]["count"], spent["compute_infer"]["count"]) == (1, 1, 1)
        assert spent["success"]["ns"] > spent["compute_infer"]["ns"] > 0
        assert mine["batch_stats"] == []
    (all_of_it,) = (await house.call("GET", "/v2/models/digits/stats")).json["model_stats"]
    assert all_of_it["inference_count"] == 8 and all_of_it["batch_stats"]


async def test_a_share_may_not_use_shared_memory(tmp_path: Path) -> None:
    async with open_house(tmp_path, allow_shared_memory=True) as house:
        call = await teammate(house)
        sent = body(1.0)
        sent["inputs"][0] = {
            "name": "x",
            "datatype": "FP32",
            "shape": [1, 2],
            "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8},
        }
        reply = await call("POST", INFER, sent)
        assert (reply.status, reply.json["code"]) == (501, "unsupported")
        assert "none of this name is registered" in (await house.call("POST", INFER, sent)).error


async def test_a_request_of_a_share_names_it_with_sequences_of_its_own_and_the_lowest_priority(house: House) -> None:
    seen: list[tuple[object, int, str]] = []
    submit = house.service.engine.submit

    def watched(request: Any, call: Any) -> None:
        seen.append((request.sequence and request.sequence.key, request.priority, request.caller))
        submit(request, call)

    house.service.engine.submit = watched  # type: ignore[method-assign]
    token = (await shared(house))["token"]
    sent = body(1.0) | {"parameters": {"sequence_id": 7, "sequence_start": True, "priority": 1}}
    await house.call("POST", INFER, sent)
    await Driver(house.app, token)("POST", INFER, sent)
    share = caller_of(house, token).record.id
    assert seen == [(7, 1, ""), ((share, 7), GUEST_PRIORITY, share)]


# Its limits


async def test_over_its_rate_a_share_is_told_when_to_come_again(house: House) -> None:
    call = await teammate(house, rate="2/s")
    assert [(await call("POST", INFER, body(1.0))).status for _ in range(2)] == [200, 200]
    index = "/v2/repository/index"
    for _ in range(READS_AT_ONCE):
        assert (await call("POST", index, {})).status == 200, "what its models take is read beside the rate"
    for path, sent, policy in ((INFER, body(1.0), '"requests";q=2;w=1'), (index, {}, '"reads";q=32;w=16')):
        reply = await call("POST", path, sent)
        assert (reply.status, reply.json["code"]) == (429, "limit_exceeded")
        assert reply.headers["retry-after"] == "1"
        assert reply.headers["ratelimit"] == f"{policy.partition(';')[0]};r=0;t=1"
        assert reply.headers["ratelimit-policy"] == policy
    assert (await house.call("POST", INFER, body(1.0))).status == 200, "the owner has no such limit"
    other = await teammate(house, label="team-b", rate=2)
    assert (await other("POST", INFER, body(1.0))).status == 200, "nor is another share short of its own"


async def test_over_its_rows_a_share_is_told_when_to_come_again(house: House) -> None:
    call = await teammate(house, row_rate=8)
    assert [(await call("POST", INFER, body(*range(4)))).status for _ in range(2)] == [200, 200]
    reply = await call("POST", INFER, body(*range(4)))
    assert (reply.status, reply.json["code"]) == (429, "limit_exceeded")
    assert reply.error == "this token has 8 rows a second, and they are used up; try again later"
    assert reply.headers["retry-after"] == "1"
    assert reply.headers["ratelimit-policy"] == '"rows";q=8;w=1'
    assert reply.headers["ratelimit"] == '"rows";r=0;t=1'
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert (listed["row_rate"], listed["requests"], listed["refused"], listed["in_flight"]) == (8.0, 2, 1, 0)
    assert sum(house.service.metrics.state().figures["digits", "1"].outcomes.values()) == 2, "it did not run"
    assert (await house.call("POST", INFER, body(*range(4)))).status == 200, "the owner has no such limit"
    wide = await teammate(house, label="team-b", row_rate="30/min")
    assert (await wide("POST", INFER, body(*range(4)))).status == 200, "a full bucket lends to a request that is larger"
    reply = await wide("POST", INFER, body(1.0))
    assert (reply.status, reply.headers["retry-after"]) == (429, "8")


async def test_over_its_quota_a_share_waits_for_the_next_day(house: House) -> None:
    token = (await shared(house, quota="3/day", row_quota=10))["token"]
    call, caller = Driver(house.app, token), caller_of(house, token)
    now, wall = float(round(caller._since_boot())), 20_000.5 * DAY_S
    caller._quota = DailyQuota(3, 10, now, wall, None)
    caller._since_boot = lambda: now
    replies = [await call("POST", INFER, body(*range(rows))) for rows in (8, 4, 1, 1, 1)]
    assert [each.status for each in replies] == [200, 429, 200, 200, 429]
    said = "this token has 10 rows a day, and this is more than is left; the next day begins at 00:00 UTC"
    assert replies[1].error == said and replies[4].error == said.replace("10 rows", "3 requests")
    for reply, policy in ((replies[1], '"rows-per-day";q=10;w=86400'), (replies[4], '"requests-per-day";q=3;w=86400')):
        assert reply.headers["ratelimit-policy"] == policy
        assert reply.headers["retry-after"] == "43200"
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert (listed["quota"], listed["row_quota"], listed["day_requests"], listed["day_rows"]) == (3, 10, 3, 10)
    assert listed["day_ends_at"] == 20_001 * DAY_S and (listed["requests"], listed["refused"]) == (3, 2)
    assert (await call("GET", "/v2/models/digits")).status == 200, "what is no inference is not counted"
    now += DAY_S / 2
    assert (await call("POST", INFER, body(1.0))).status == 200


async def test_what_was_used_of_a_quota_is_known_after_a_restart(house: House, caplog: Any) -> None:
    token = (await shared(house, quota=5))["token"]
    await shared(house, label="other")
    call = Driver(house.app, token)
    for _ in range(2):
        await call("POST", INFER, body(1.0))
    shares = house.app.shares
    assert shares._keeping is not None, "the use is written down in a while, not at each request"
    with full_disk():
        await shares.keep_use()
    assert "could not be stored" in caplog.text
    await call("POST", INFER, body(1.0))
    await shares.keep_use()
    assert shares._keeping is None
    again = create_app(house.service, TOKEN)
    house.service.persistence.shares.close()
    store = ShareStore(house.service.persistence.shares.path)
    store.open()
    assert [each.use.requests for each in store.shares()] == [3, 0]
    store.close()
    assert [caller.use() and caller.use().requests for caller, _ in again.shares.shares()] == [3, None]


async def test_a_share_has_so_many_requests_under_way(house: House) -> None:
    call = await teammate(house, max_in_flight=1)
    house.session.hold()
    first = asyncio.ensure_future(call("POST", INFER, body(1.0)))
    await asyncio.to_thread(house.session.entered.acquire)
    reply = await call("POST", INFER, body(1.0))
    assert (reply.status, reply.headers["ratelimit-policy"]) == (429, '"in-flight";q=1;w=1')
    await house.call("DELETE", "/control/shares/team-a")
    assert (await call("POST", INFER, body(1.0))).status == 401, "of a share that has ended its limits say nothing"
    house.session.gate.set()
    assert (await first).status == 200, "what had come whole before is answered"
    again = await teammate(house, max_in_flight=1)
    assert [(await again("POST", INFER, body(1.0))).status for _ in range(2)] == [200, 200]


async def test_connections_of_a_share_make_room_for_the_owner(house: House) -> None:
    server = H1Server(house.app, ConnectionCaps(4, 4), UnreadAnswers(InFlightBytes(1 << 30)))
    token = (await shared(house))["token"]
    sent = json.dumps(body(1.0)).encode()
    head = Driver(house.app, token).head("POST", INFER, content_length=str(len(sent)))
    wires = []
    for _ in range(4):
        connection, wire = connect(house.app, server)
        wires.append((connection, wire))
        for _ in range(2):  # the second time the head is known
            wire.written.clear()
            connection.data_received(head + sent)
            await answered(wire)
            assert parsed(bytes(wire.written)).status == 200
    assert server.caps.guests == 2
    owner, wire = connect(house.app, server)
    owner.data_received(Driver(house.app, TOKEN).head("GET", "/v2"))
    await answered(wire)
    assert parsed(bytes(wire.written)).status == 200
    assert [wire.closed for _, wire in wires] == [False, False, True, False]
    for connection, _ in (*wires, (owner, None)):
        connection.connection_lost(None)
    assert server.caps.guests == 0


# Its end


async def test_revoking_and_expiry_act_on_the_next_request_of_a_remembered_head(house: House) -> None:
    a, b = await shared(house, label="a"), await shared(house, label="b")
    sent = json.dumps(body(1.0)).encode()

    async def ask(token: str) -> int:
        connection.data_received(Driver(house.app, token).head("POST", INFER, content_length=str(len(sent))) + sent)
        await answered(wire)
        reply = parsed(bytes(wire.written))
        wire.written.clear()
        return reply.status

    connection, wire = connect(house.app)
    for _ in range(2):
        assert [await ask(each["token"]) for each in (a, b)] == [200, 200]
    assert len(house.app.infer.heads) == 2
    assert (await house.call("DELETE", f"/control/shares/{a['id']}")).status == 200
    assert [await ask(each["token"]) for each in (a, b)] == [401, 200]
    expiring = caller_of(house, b["token"])
    expiring._wall = lambda: b["expires_at"]
    assert await ask(b["token"]) == 401
    expiring._wall = lambda: 0.0  # the machine's clock is set back
    expiring._ends_at = expiring._clock()
    assert await ask(b["token"]) == 401
    for each in (a, b):  # and at the gate
        reply = await Driver(house.app, each["token"])("GET", "/v2")
        assert reply.status == 401 and "revoked, has expired, or is wrong" in reply.error
    assert [each["state"] for each in (await house.call("GET", "/control/shares")).json] == ["revoked", "expired"]
    connection.connection_lost(None)


async def test_a_half_sent_request_of_a_revoked_share_ends_and_that_of_another_goes_on(house: House) -> None:
    server = H1Server(house.app, ConnectionCaps(10, 10), UnreadAnswers(InFlightBytes(1 << 30)))
    house.app.gate.on_revoked.append(server.share_revoked)
    tokens = [(await shared(house, label=label))["token"] for label in ("a", "b")]
    sent = json.dumps(body(1.0)).encode()
    half = []
    for path, token in ((INFER, tokens[0]), ("/v2/repository/index", tokens[0]), (INFER, tokens[1]), (INFER, TOKEN)):
        connection, wire = connect(house.app, server)
        content = sent if path == INFER else b"{}"
        head = Driver(house.app, token).head(
            "POST", path, content_type="application/json", content_length=str(len(content))
        )
        connection.data_received(head + content[:1])
        half.append((connection, wire, content[1:]))
    await asyncio.sleep(0)  # the index waits for its body
    await house.call("DELETE", "/control/shares/a")
    for connection, wire, rest in half:
        connection.data_received(rest)
        await answered(wire)
    assert [parsed(bytes(wire.written)).status for _, wire, _ in half] == [401, 401, 200, 200]
    assert b"revoked" in bytes(half[0][1].written)
    assert house.service.bodies.held == 0
    for connection, _, _ in half:
        connection.connection_lost(None)


async def test_bodies_of_shares_that_do_not_come_whole_leave_half_of_the_room_to_the_owner(tmp_path: Path) -> None:
    limits = Limits(max_body_bytes=10_000, max_body_bytes_in_flight=20_000)
    async with open_house(tmp_path, limits=limits) as house:
        held, token = house.service.bodies, (await shared(house))["token"]
        half = []
        for size, fits in ((6000, True), (3900, True), (200, False)):
            connection, wire = connect(house.app)
            head = Driver(house.app, token).head(
                "POST", INFER, content_type="application/json", content_length=str(size + 1)
            )
            connection.data_received(head + b" " * size)
            assert (not wire.written) == fits
            half.append((connection, wire))
        refused = parsed(bytes(half[-1][1].written))
        assert refused.status == 429 and "shares may have 10000" in refused.error
        assert held.held == house.service.guest_bodies.held == 9900
        assert (await house.call("POST", INFER, body(1.0))).status == 200
        assert (
            await Driver(house.app, token)("POST", INFER, json.dumps(body(1.0)).encode() + b" " * 100)
        ).status == 429
        for connection, _ in half:
            connection.connection_lost(None)
        assert held.held == house.service.guest_bodies.held == 0


# How it is made, and its link


@pytest.mark.parametrize(
    ("terms", "status", "said"),
    [
        ({"models": ["nothing"]}, 404, "nothing"),
        ({"models": []}, 400, "models"),
        ({"rate": 0}, 400, "rate"),
        ({"row_rate": 0}, 400, "row_rate must be rows a second above 0"),
        ({"quota": 0}, 400, "quota must be a whole number of requests"),
        ({"row_quota": "-3"}, 400, "row_quota must be a whole number of rows"),
        ({"expires": "-1d"}, 400, "ahead"),
        ({"label": "a b"}, 400, "label"),
        ({"max_in_flight": 0}, 400, "max_in_flight"),
        ({"scopes": ["admin"]}, 400, "scopes"),
    ],
)
async def test_a_share_that_cannot_be_is_one_clear_line(
    house: House, terms: dict[str, Any], status: int, said: str
) -> None:
    reply = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "a", **terms})
    assert reply.status == status and said in reply.error
    assert (await house.call("GET", "/control/shares")).json == []
    assert not house.service.persistence.shares.path.exists()


async def test_one_share_that_holds_has_a_label(house: House) -> None:
    first = await shared(house)
    reply = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "team-a"})
    assert reply.status == 409 and first["id"] in reply.error
    assert (await house.call("DELETE", "/control/shares/team-a")).json["id"] == first["id"]
    await shared(house)
    assert (await house.call("DELETE", "/control/shares/nobody")).status == 404


async def test_a_link_gives_the_token_once_and_within_an_hour(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await shared(house, show_token=False)
    assert "token" not in answer
    url, _, code = answer["link"].partition("#")
    assert url == f"http://{HOST}/share/claim"
    for wrong in ("", "x", code[:-1], code + "x", "\u00e9"):
        assert (await house.stranger("POST", "/share/claim", {"code": wrong})).status == 404
    claims = [house.stranger("POST", "/share/claim", {"code": code}) for _ in range(3)]
    replies = await asyncio.gather(*claims)
    assert sorted(reply.status for reply in replies) == [200, 404, 404]
    (given,) = [reply.json for reply in replies if reply.status == 200]
    assert (given["label"], given["models"], given["expires_at"]) == ("team-a", ["digits"], answer["expires_at"])
    assert (await Driver(house.app, given["token"])("POST", INFER, body(1.0))).status == 200
    late = await shared(house, label="late", show_token=False)
    now = house.app.shares._wall()
    monkeypatch.setattr(house.app.shares, "_wall", lambda: now + CODE_LIFE_S)
    reply = await house.stranger("POST", "/share/claim", {"code": late["link"].partition("#")[2]})
    assert reply.status == 404 and "older than an hour" in reply.error


async def test_a_clock_that_is_set_back_prolongs_neither_a_link_nor_a_share(house: House) -> None:
    answer = await shared(house, show_token=False, expires="2h")
    code = {"code": answer["link"].partition("#")[2]}
    store = house.service.persistence.shares

    def at(them: Shares, wall: float, passed_s: float) -> None:
        them._wall, them._since_boot = lambda: wall, lambda: since_boot() + passed_s

    at(house.app.shares, answer["created_at"] - DAY_S, CODE_LIFE_S)
    assert (await house.stranger("POST", "/share/claim", code)).status == 404
    again = Shares(house.app.gate, store, wall=lambda: answer["created_at"] - DAY_S)  # a restart, the clock still back
    (caller, _), *_ = again.shares()
    assert caller._ends_at - caller._clock() <= 7200
    at(again, answer["created_at"] - DAY_S, CODE_LIFE_S + 1)
    with pytest.raises(NotFound, match="older than an hour"):
        await again.claim(code["code"])
    at(again, answer["created_at"] - DAY_S, CODE_LIFE_S - 60)
    assert (await again.claim(code["code"]))[0].id == answer["id"]


async def test_a_revoked_share_s_link_gives_nothing(house: House) -> None:
    answer = await shared(house, show_token=False)
    await house.call("DELETE", f"/control/shares/{answer['id']}")
    code = answer["link"].partition("#")[2]
    assert (await house.stranger("POST", "/share/claim", {"code": code})).status == 404


async def test_a_page_of_another_site_cannot_redeem_a_link(house: House) -> None:
    code = (await shared(house, show_token=False))["link"].partition("#")[2]
    for headers in ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"content_type": "text/plain"}):
        reply = await house.stranger("POST", "/share/claim", json.dumps({"code": code}).encode(), **headers)
        assert reply.status in (403, 415), headers
    assert (await house.stranger("POST", "/share/claim", {"code": "x" * 2000})).status == 413
    assert (await house.stranger("POST", "/share/claim", {"code": code}, origin=f"http://{HOST}")).status == 200
    assert house.service.bodies.held == 0


async def test_on_a_full_disk_no_token_is_given_out_and_the_link_stays_good(house: House) -> None:
    code = (await shared(house, show_token=False))["link"].partition("#")[2]
    with full_disk():
        assert (await house.stranger("POST", "/share/claim", {"code": code})).status == 507
        refused = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "b", "show_token": True})
        assert refused.status == 507
    assert [each["label"] for each in (await house.call("GET", "/control/shares")).json] == ["team-a"]
    assert (await house.stranger("POST", "/share/claim", {"code": code})).status == 200


async def test_what_cannot_be_written_is_revoked_all_the_same_and_written_once_it_can_be(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "KEEP_USE_S", 0.01)
    call, store = await teammate(house), house.service.persistence.shares
    with full_disk():
        reply = await house.call("DELETE", "/control/shares/team-a")
        assert reply.status == 507 and "'team-a' is revoked, but a restart of the service would bring it" in reply.error
        assert (await call("POST", INFER, body(1.0))).status == 401
        again = await house.call("DELETE", f"/control/shares/{store.shares()[0].record.id}")
        assert again.status == 507 and store.shares()[0].record.revoked_at is None
    await until_async(lambda: store.shares()[0].record.revoked_at)
    (listed,) = (await house.call("GET", "/control/shares")).json
    assert store.shares()[0].record.revoked_at == listed["revoked_at"]
    assert (await house.call("DELETE", f"/control/shares/{listed['id']}")).status == 200


async def test_shares_and_unused_links_come_back_with_the_service(house: House) -> None:
    token = (await shared(house))["token"]
    code = (await shared(house, label="link", show_token=False))["link"].partition("#")[2]
    gone = (await shared(house, label="gone"))["token"]
    await house.call("DELETE", "/control/shares/gone")
    store = house.service.persistence.shares
    store.close()
    again = ShareStore(store.path)
    again.open()
    house.service.persistence.shares = again
    app = create_app(house.service, TOKEN)
    assert (await Driver(app, token)("POST", INFER, body(1.0))).status == 200
    assert (await Driver(app, gone)("POST", INFER, body(1.0))).status == 401
    given = await Driver(app)("POST", "/share/claim", {"code": code})
    assert (await Driver(app, given.json["token"])("POST", INFER, body(1.0))).status == 200
    assert [each["state"] for each in (await Driver(app, TOKEN)("GET", "/control/shares")).json] == [
        "holds",
        "holds",
        "revoked",
    ]


async def test_a_service_without_a_token_has_no_shares(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.app.gate, "_header", None)
    reply = await house.call("POST", "/control/shares", {"models": ["digits"], "label": "a"})
    assert reply.status == 501 and "--no-auth" in reply.error


async def test_the_owner_s_calls_count_as_before(house: House) -> None:
    await teammate(house)
    assert (await house.call("POST", INFER, body(1.0))).status == 200
    assert (await house.call("POST", INFER, b"{")).status == 400
    assert house.service.metrics.state().figures["digits", "1"].outcomes[Outcome.INVALID] == 1
