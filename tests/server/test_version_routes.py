"""Versions beside the one that serves, over the control plane and by their names in requests."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import numpy as np

from tests import models
from tests.engine.fakes import STEADY, FakeSession
from tests.helpers.waiting import until_async
from tests.server.conftest import House, open_house
from tests.server.driver import Driver
from workbench.config import Limits
from workbench.server.http.infer_codec import RoutedHttpCodec

DIGITS = "/v2/models/digits"

SEEN = 1234.56787109375
"""As a float32 it is bytes that are nowhere else."""


def saved(folder: Path) -> Path:
    other = models.identity(shape=("batch", 2))
    other.doc_string = "another version"
    return models.save(other, folder / "other.onnx")


def body(first: float = 1.0, /, **parameters: object) -> dict[str, object]:
    inputs = [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [first, 1.0]}]
    return {"inputs": inputs, **({"parameters": parameters} if parameters else {})}


async def test_a_version_is_loaded_beside_called_by_its_number_and_unloaded_alone(house: House, tmp_path: Path) -> None:
    asked = {"path": str(saved(tmp_path)), "route": False}
    reply = await house.call("POST", "/control/models/digits/load", asked)
    assert (reply.status, reply.json["model"]["version"], reply.json["model"]["routed"]) == (200, "2", False)
    for path, version in ((DIGITS, "1"), (f"{DIGITS}/versions/1", "1"), (f"{DIGITS}/versions/2", "2")):
        for _ in range(2):  # the second time by a head that came before
            answer = await house.call("POST", f"{path}/infer", body())
            assert (answer.status, answer.json["model_version"]) == (200, version)
    assert (await house.call("GET", DIGITS)).json["versions"] == ["1", "2"]
    refused = await house.call("POST", "/control/models/digits/versions/1/unload", {})
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert (await house.call("POST", "/control/models/digits/versions/2/unload", {})).status == 200
    assert (await house.call("POST", f"{DIGITS}/versions/2/infer", body())).status == 404
    assert (await house.call("POST", "/control/models/digits/versions/2/unload", {})).status == 404
    entries = (await house.call("GET", "/control/models/digits/versions")).json["history"]
    assert [(each["action"], each["detail"]) for each in entries] == [
        ("load", "version 2, beside 1"),
        ("unload", "version 2"),
    ]


async def test_a_staged_version_is_committed_without_a_route(house: House, tmp_path: Path) -> None:
    upload = saved(tmp_path).read_bytes()
    kind = "application/octet-stream"
    reply = await house.call("POST", "/control/models/digits/stage?beside=true", upload, content_type=kind)
    assert reply.status == 200, reply.body
    reply = await house.call("POST", "/control/models/digits/versions/2/commit", {"route": False})
    assert (reply.status, reply.json["model"]["routed"], reply.json["previous"]) == (200, False, "1")
    again = await house.call("POST", "/control/models/digits/stage?beside=true", upload, content_type=kind)
    assert (again.json["unchanged"], again.json["model"]["version"]) == (True, "2")
    assert (await house.call("POST", f"{DIGITS}/infer", body())).json["model_version"] == "1"


async def test_a_rollback_is_told_and_written_down_with_what_served_when(house: House, tmp_path: Path) -> None:
    none = await house.call("POST", "/control/models/digits/rollback", {})
    assert (none.status, none.json["code"]) == (409, "conflict")
    assert "version 1 of model 'digits' is the first that serves since it was loaded" in none.error
    await house.call("POST", "/control/models/digits/set", {"versions": "latest:2"})
    await house.call(
        "POST", "/control/models/digits/load", {"path": str(saved(tmp_path)), "config": {"versions": "all"}}
    )
    back = await house.call("POST", "/control/models/digits/rollback", {})
    assert (back.status, back.json["model"]["version"], back.json["previous"]) == (200, "1", "2")
    assert (back.json["live"], back.json["model"]["config"]["versions"]) == (True, "all")
    found = (await house.call("GET", "/control/models/digits/versions")).json
    assert (found["model"], found["policy"]) == ("digits", "all")
    assert [(each["version"], each["state"], each["routed"]) for each in found["versions"]] == [
        ("1", "Ready", True),
        ("2", "Ready", False),
    ]
    assert [(each["action"], each["detail"], each["who"]) for each in found["history"]] == [
        ("load", "version 2, in place of 1", "owner"),
        ("rollback", "version 1, in place of 2; it was still loaded", "owner"),
    ]
    assert (await house.call("GET", "/control/models/nobody/versions")).status == 404


async def labelled(house: House, folder: Path) -> None:
    """Version 2 of digits, beside the one that serves, and a label that points to it."""
    await house.call("POST", "/control/models/digits/load", {"path": str(saved(folder)), "route": False})
    reply = await house.call("POST", "/control/models/digits/labels", {"canary": "2", "stable": "1"})
    assert (reply.status, reply.json) == (200, {"labels": {"canary": "2", "stable": "1"}})


async def test_a_path_names_a_label_as_it_names_a_version(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    canary = f"{DIGITS}/versions/canary"
    for _ in range(2):  # the second time by a head that came before
        answer = await house.call("POST", f"{canary}/infer", body())
        assert (answer.status, answer.json["model_version"]) == (200, "2")
    assert (await house.call("GET", f"{canary}/ready")).status == 200
    assert (await house.call("GET", f"{canary}/config")).json["name"] == "digits"
    (stats,) = (await house.call("GET", f"{canary}/stats")).json["model_stats"]
    assert (stats["version"], stats["inference_count"]) == ("2", 2)
    assert (await house.call("POST", "/control/models/digits/labels", {"canary": "1"})).status == 200
    assert (await house.call("POST", f"{canary}/infer", body())).json["model_version"] == "1", "a head that came before"
    assert (await house.call("POST", "/control/models/digits/labels", {"canary": None})).status == 200
    assert (await house.call("POST", f"{canary}/infer", body())).status == 404


async def test_a_label_like_a_version_of_none_or_of_a_version_that_is_not_ready_is_refused(house: House) -> None:
    for asked, said in (
        ({"v2": "1"}, "looks like a version"),
        ({"canary": "7"}, "cannot point to version '7', which is not Ready (Ready: 1)"),
        ({}, "names no label"),
        ({"canary": 2}, "does not fit"),
    ):
        reply = await house.call("POST", "/control/models/digits/labels", asked)
        assert (reply.status, reply.json["code"]) == (400, "invalid_argument")
        assert said in reply.error


async def test_the_share_of_a_version_is_not_led_past_it_by_a_label(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    terms = {"models": ["digits"], "label": "team", "version": 1, "show_token": True}
    token = (await house.call("POST", "/control/shares", terms)).json["token"]
    call = Driver(house.app, token)
    for path in (f"{DIGITS}/versions/canary", f"{DIGITS}/versions/stable", f"{DIGITS}/versions/2"):
        for method, rest, sent in (("POST", "/infer", body()), ("GET", "", None), ("GET", "/stats", None)):
            reply = await call(method, f"{path}{rest}", sent)
            assert (reply.status, reply.json["code"]) == (403, "forbidden")
    answer = await call("POST", f"{DIGITS}/infer", body())
    assert (answer.status, answer.json["model_version"]) == (200, "1")
    await house.call("POST", "/control/models/digits/versions/2/commit", {})
    assert (await call("POST", f"{DIGITS}/infer", body())).json["model_version"] == "1", "its version stays its version"


async def test_calls_are_split_and_a_key_or_a_side_of_their_own_decides(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    asked = {"weights": {"canary": 0.25}, "by": "user"}
    reply = await house.call("POST", "/control/models/digits/route", asked)
    assert (reply.status, reply.json["weights"]) == (200, {"1": 0.75, "2": 0.25})
    text = (await house.call("GET", "/metrics")).body.decode()
    for version, part in (("1", 0.75), ("2", 0.25)):
        assert f'infer_model_weight{{model="digits",version="{version}"}} {part}' in text

    async def ran(sent: dict[str, object] | bytes, **headers: str) -> str:
        answer = await house.call("POST", f"{DIGITS}/infer", sent, **headers)
        assert answer.status == 200, answer.body
        return str(answer.json["model_version"])

    plain = [await ran(body()) for _ in range(100)]
    assert 22 <= plain.count("2") <= 28
    assert {await ran(body(), x_route="canary") for _ in range(10)} == {"2"}
    assert {await ran(body(route="1"), x_route="canary") for _ in range(10)} == {"1"}, "the body wins"
    for user in ("ann", "bob", "cy", "dee"):
        side = await ran(body(user=user))
        assert {await ran(body(user=user)) for _ in range(5)} == {side}
        assert {await ran(body(), x_route_key=user) for _ in range(5)} == {side}
    assert (await house.call("POST", f"{DIGITS}/versions/canary/infer", body())).status == 200
    text = (await house.call("GET", "/metrics")).body.decode()
    for version, by, count in (("1", "forced", 10), ("2", "forced", 10), ("2", "label", 1)):
        assert f'infer_routed_requests_total{{model="digits",version="{version}",by="{by}"}} {count}' in text
    refused = await house.call("POST", f"{DIGITS}/infer", body(), x_route="nowhere")
    assert (refused.status, refused.json["code"]) == (400, "invalid_argument")
    assert "the parameter route asks for 'nowhere', and the calls of model 'digits' go to 1, 2" in refused.error
    found = (await house.call("GET", "/control/models/digits/versions")).json
    assert [(each["version"], each["weight"]) for each in found["versions"]] == [("1", 0.75), ("2", 0.25)]
    assert found["history"][-1]["detail"] == "canary=25% by user"


async def test_weights_that_cannot_be_are_refused_and_nothing_changes(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    for weights, status, said in (
        ({"1": 0.6, "2": 0.5}, 400, "110 % together, and at most 100 %"),
        ({"2": -1}, 400, "must be from 0 to 1"),
        ({"7": 0.1}, 404, "version 7 is not found; loaded: 1, 2"),
        ({"2": "10%"}, 400, "does not fit"),
    ):
        reply = await house.call("POST", "/control/models/digits/route", {"weights": weights})
        assert (reply.status, said in reply.error) == (status, True), reply.error
    assert (await house.call("GET", "/control/models/digits")).json[0]["weight"] == 1.0
    ended = await house.call("POST", "/control/models/digits/route", {"weights": {}})
    assert (ended.status, ended.json["unchanged"], ended.json["weights"]) == (200, True, {"1": 1.0})


async def test_the_share_of_a_version_is_not_split(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    await house.call("POST", "/control/models/digits/route", {"weights": {"2": 0.5}})
    terms = {"models": ["digits"], "label": "team", "version": 1, "show_token": True}
    call = Driver(house.app, (await house.call("POST", "/control/shares", terms)).json["token"])
    for sent in (body(), body(route="2")):
        assert {(await call("POST", f"{DIGITS}/infer", sent)).json["model_version"] for _ in range(10)} == {"1"}


async def test_headers_route_a_large_body_that_is_counted_first_too(house: House) -> None:
    codec = RoutedHttpCodec(house.service.engine, Limits(), "digits", None, routing={"route": "2", "route_key": "ann"})
    counted = codec.count(msgspec.json.encode(body(route_key="bob", a=1)), 0.0, None)
    assert counted.decode()[0].parameters == {"route": "2", "route_key": "bob", "a": 1}


async def test_a_head_with_a_key_is_of_one_caller_and_takes_no_place_of_others(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    heads = house.app.infer.heads
    await house.call("POST", f"{DIGITS}/infer", body(), x_route="canary")
    before = len(heads)
    for each in range(3):
        await house.call("POST", f"{DIGITS}/infer", body(), x_route_key=f"user-{each}")
    assert len(heads) == before == 1


async def test_a_shadow_is_set_told_with_its_examples_and_ended(tmp_path: Path) -> None:
    more = FakeSession(lambda x: x + 1.5, STEADY)
    async with open_house(tmp_path, FakeSession(signature=STEADY), beside=more) as house:
        await labelled(house, tmp_path)
        await shadowed(house)
    row = np.array([[SEEN, 1.0]], np.float32).tobytes()
    written = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert any(each.name == "state.sqlite" for each in written)
    assert not [each for each in written if row in each.read_bytes()], "examples are in memory alone"


async def shadowed(house: House) -> None:
    path = "/control/models/digits/route"
    reply = await house.call("POST", path, {"shadow": {"canary": 1.0}, "keep_rows": 5})
    assert reply.status == 200, reply.body
    assert (reply.json["weights"], reply.json["shadow"]["version"]) == ({"1": 1.0}, "2")
    assert "examples" not in reply.json
    used_at = house.service.used_at
    for _ in range(6):
        assert (await house.call("POST", f"{DIGITS}/infer", body(SEEN))).json["model_version"] == "1"
    assert house.service.used_at > used_at
    used_at = house.service.used_at
    shadow = {}
    while shadow.get("compared", 0) < 6:
        found = (await house.call("GET", f"{path}?examples=true")).json
        shadow = found["shadow"]
        if shadow["compared"] < 6 and not shadow["waiting"]:  # on a busy machine copies are dropped
            await house.call("POST", f"{DIGITS}/infer", body(SEEN))
            used_at = house.service.used_at
    assert (shadow["beside"], shadow["failed"], shadow["rows"], shadow["waiting"]) == ("1", 0, 6, 0)
    assert house.service.used_at == used_at, "a copy is nobody's use"
    (output,) = shadow["outputs"]
    assert (output["rows"], output["largest"]) == (6, 0.5)
    (example,) = found["examples"]  # one row that came six times
    sent = base64.b64decode(example["inputs"]["x"]["base64"])
    assert np.frombuffer(sent, np.float32).tolist() == [SEEN, 1.0]
    _, entry = (await house.call("GET", "/control/models/digits/versions")).json["versions"]
    assert (entry["version"], entry["copies"]) == ("2", 1.0)
    (stats,) = (await house.call("GET", f"{DIGITS}/versions/2/stats")).json["model_stats"]
    assert stats["inference_count"] == 0
    text = (await house.call("GET", "/metrics")).body.decode()
    assert 'infer_shadow_copies_total{model="digits",version="2",result="compared"} 6' in text
    assert 'infer_shadow_rows_total{model="digits",version="2"} 6' in text
    history = (await house.call("GET", "/control/models/digits/versions")).json["history"]
    assert history[-1]["detail"] == "shadow canary=100%"
    ended = await house.call("POST", path, {"shadow": {}})
    assert (ended.status, ended.json["shadow"]) == (200, None)
    assert (await house.call("GET", path)).json == {"weights": {"1": 1.0}, "by": "", "shares": {}, "shadow": None}


async def test_a_shadow_that_cannot_be_is_refused(house: House, tmp_path: Path) -> None:
    await labelled(house, tmp_path)
    for asked, status, said in (
        ({}, 400, "says nothing of a route"),
        ({"shadow": {"1": 0.5}}, 400, "cannot be its own shadow"),
        ({"shadow": {"7": 0.5}}, 404, "version 7 is not found; loaded: 1, 2"),
        ({"shadow": {"2": 1.5}}, 400, "must be from 0 to 1"),
        ({"shadow": {"2": 0.5}, "keep_rows": 1001}, 400, "keep_rows must be from 0 to 1000"),
        ({"weights": {}, "keep_rows": 5}, 400, "goes with a shadow"),
    ):
        reply = await house.call("POST", "/control/models/digits/route", asked)
        assert (reply.status, said in reply.error) == (status, True), reply.error
    assert (await house.call("GET", "/control/models/digits/route")).json["shadow"] is None
    assert (await house.call("GET", "/control/models/nobody/route")).status == 404


async def shared(house: House, label: str = "team-a", **terms: object) -> Driver:
    asked = {"models": ["digits"], "label": label, "show_token": True, **terms}
    return Driver(house.app, (await house.call("POST", "/control/shares", asked)).json["token"])


async def versions_of(house: House) -> dict[str, dict[str, float]]:
    """By version, which part of which share's calls it gets."""
    found = (await house.call("GET", "/control/models/digits/versions")).json["versions"]
    return {each["version"]: each["shares"] for each in found}


async def test_the_calls_of_one_share_go_to_a_version_until_it_is_revoked(house: House, tmp_path: Path) -> None:
    await house.call("POST", "/control/models/digits/load", {"path": str(saved(tmp_path)), "route": False})
    first, second = await shared(house), await shared(house, "team-b")
    route = "/control/models/digits/route"
    reply = await house.call("POST", route, {"weights": {"2": 1.0}, "share": "team-a"})
    assert (reply.status, reply.json["shares"]) == (200, {"team-a": {"2": 1.0}})
    for _ in range(2):  # the second time by a head that came before
        for call, version in ((first, "2"), (second, "1"), (house.call, "1")):
            assert (await call("POST", f"{DIGITS}/infer", body())).json["model_version"] == version
    assert await versions_of(house) == {"1": {}, "2": {"team-a": 1.0}}
    await house.call("POST", route, {"weights": {"2": 0.5}, "share": "team-b"})
    assert await versions_of(house) == {"1": {}, "2": {"team-a": 1.0, "team-b": 0.5}}
    await house.call("POST", route, {"weights": {}, "share": "team-b"})
    history = (await house.call("GET", "/control/models/digits/versions")).json["history"]
    assert [each["detail"] for each in history][1:] == [
        "2=100% for share team-a",
        "2=50% for share team-b",
        "no split for share team-b",
    ]
    assert (await house.call("DELETE", "/control/shares/team-a")).status == 200
    await until_async(lambda: house.service.engine.routing.for_shares() == {})
    assert await versions_of(house) == {"1": {}, "2": {}}


async def test_the_route_of_a_share_that_expires_is_forgotten(house: House, tmp_path: Path) -> None:
    await house.call("POST", "/control/models/digits/load", {"path": str(saved(tmp_path)), "route": False})
    await shared(house, expires="1h")
    await house.call("POST", "/control/models/digits/route", {"weights": {"2": 1.0}, "share": "team-a"})
    ((caller, _),) = house.app.shares.shares()
    await house.app.share_routing.tidy()
    assert house.service.engine.routing.for_shares() == {"digits": {caller.record.id}}
    caller._wall = lambda: caller.record.expires_at
    await house.app.share_routing.tidy()
    assert house.service.engine.routing.for_shares() == {}


async def test_a_share_that_cannot_be_routed_is_told_in_one_line(house: House, tmp_path: Path) -> None:
    await house.call("POST", "/control/models/digits/load", {"path": str(saved(tmp_path)), "route": False})
    await house.call("POST", "/v2/repository/models/spare/load")
    pinned = await shared(house, "pinned", version="1")
    await shared(house, "other", models=["spare"])
    ended = (await house.call("POST", "/control/shares", {"models": ["digits"], "label": "ended"})).json["id"]
    await house.call("DELETE", "/control/shares/ended")
    for share, status, said in (
        ("nobody", 404, "no share that holds has the id or the label 'nobody'; %infer shares lists them"),
        ("ended", 404, "no share that holds has the id or the label 'ended'"),
        (ended, 404, "share 'ended' ("),
        ("other", 400, "share 'other' is for spare, and not for 'digits'"),
        ("pinned", 409, "share 'pinned' is for version 1 of 'digits' alone, and keeps it"),
    ):
        asked = {"weights": {"2": 1.0}, "share": share}
        reply = await house.call("POST", "/control/models/digits/route", asked)
        assert (reply.status, said in reply.error, "\n" in reply.error) == (status, True, False), reply.error
    reply = await house.call(
        "POST", "/control/models/digits/route", {"weights": {"2": 1.0}, "share": "x", "by": "user"}
    )
    assert reply.status == 400 and "the calls of a share go by weights alone" in reply.error
    assert (await pinned("POST", f"{DIGITS}/infer", body())).json["model_version"] == "1"
    assert await versions_of(house) == {"1": {}, "2": {}}
