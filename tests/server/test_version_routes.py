"""Versions beside the one that serves, over the control plane and by their names in requests."""

from __future__ import annotations

from pathlib import Path

from tests import models
from tests.server.conftest import House

DIGITS = "/v2/models/digits"


def saved(folder: Path) -> Path:
    other = models.identity(shape=("batch", 2))
    other.doc_string = "another version"
    return models.save(other, folder / "other.onnx")


def body() -> dict[str, object]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 1.0]}]}


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
