"""Which stored files stay, and which go: the whole service but for the socket, on a runtime of the tests."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tritonclient.grpc import service_pb2

from tests import models
from tests.helpers.waiting import until_async
from tests.server.conftest import House, open_house
from tests.server.driver import OCTETS, Reply
from tests.server.grpc.open_port import open_port
from workbench.core.model import ModelState
from workbench.protocols import pb
from workbench.repository.desired_state import KEPT_VERSIONS


def onnx(amount: float) -> bytes:
    return models.add_constant(amount, shape=("batch", 2)).SerializeToString()


async def serve(house: House, name: str, amount: float) -> str:
    """The digest of a model that is staged and committed."""
    staged = await house.call("POST", f"/control/models/{name}/stage", onnx(amount), content_type=OCTETS)
    assert staged.status == 200, staged.body
    version, digest = staged.json["model"]["version"], str(staged.json["model"]["digest"])
    assert (await house.call("POST", f"/control/models/{name}/versions/{version}/commit", {})).status == 200
    return digest


async def unload(house: House, name: str) -> Reply:
    return await house.call("POST", f"/control/models/{name}/unload", {})


async def test_the_last_five_versions_keep_their_files(house: House) -> None:
    digests = [await serve(house, "m", amount) for amount in range(KEPT_VERSIONS + 2)]
    assert house.stored == sorted(digests[2:])
    assert (await unload(house, "m")).status == 200
    assert house.stored == []
    assert house.service.persistence.state.forgotten() == []


async def test_a_file_that_another_model_is_made_of_stays(house: House) -> None:
    digest = await serve(house, "a", 1)
    await serve(house, "b", 1)
    await unload(house, "a")
    assert house.stored == [digest]
    await unload(house, "b")
    assert house.stored == []


async def test_a_file_that_something_else_serves_stays_until_that_goes(house: House) -> None:
    again = await house.call("POST", "/control/models/digits/stage", house.onnx, content_type=OCTETS)
    assert again.json["unchanged"]
    assert house.service.store.digests() == [again.json["model"]["digest"]]
    await unload(house, "digits")
    assert house.service.store.digests() == []


async def test_nothing_goes_while_an_upload_may_be_about_to_use_it(house: House) -> None:
    digest = await serve(house, "a", 1)
    with house.service.persistence.receiving():
        await unload(house, "a")
        assert house.stored == [digest]
    other = await serve(house, "b", 2)
    assert house.stored == [other]


async def test_nothing_goes_while_another_model_changes(house: House) -> None:
    digest = await serve(house, "a", 1)
    house.session.hold()
    staging = asyncio.ensure_future(house.call("POST", "/control/models/b/stage", onnx(2), content_type=OCTETS))
    await until_async(lambda: [each.state for each in house.service.engine.statuses("b")] == [ModelState.WARMING])
    await unload(house, "a")
    assert digest in house.stored
    house.session.gate.set()
    await staging
    assert digest not in house.stored


async def test_the_file_of_an_upload_that_failed_goes(house: House) -> None:
    failed = await house.call(
        "POST", '/control/models/m/stage?config={"device":"cuda:88"}', b"this is no model", content_type=OCTETS
    )
    assert failed.status == 400
    assert house.stored == []


async def test_the_copy_of_a_repositorys_model_goes_with_it_and_is_made_again(house: House) -> None:
    folder = house.service.config.data_dir.parent / "repository" / "other" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx(7))
    for _ in range(2):
        assert (await house.call("POST", "/v2/repository/models/other/load", {})).status == 200
        assert len(house.stored) == 1
        await unload(house, "other")
        assert house.stored == []


async def test_a_start_deletes_copies_of_what_is_no_longer_served(house: House) -> None:
    (kept,) = house.service.store.digests()
    named = await serve(house, "m", 1)
    left = house.service.store.add_bytes(onnx(2)).digest  # as of a flag that is not given any more
    persistence = house.service.persistence
    persistence.state.notes.append("the list of models to serve was damaged")
    await persistence.tidy_start(house.service.engine)
    assert left in house.service.store.digests()
    persistence.state.notes.clear()
    await persistence.tidy_start(house.service.engine)
    assert house.service.store.digests() == sorted([kept, named])


async def test_an_upload_without_room_is_refused_before_it_is_received_and_told_what_uses_the_store(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path) as house:
        for amount in (1, 2):  # the old version counts too
            await serve(house, "m", amount)
        space = house.service.store.space
        space.max_bytes = space.measure().used + 10_000
        parts = [b"x" * 100] * 3
        refused = await house.call(
            "POST", "/control/models/n/stage", parts[:1], content_length="10001", content_type=OCTETS
        )
        assert (refused.status, refused.json["code"]) == (507, "storage")
        assert "10000 bytes" not in refused.error
        assert re.search(r"are used \(m [\d.]+ kB, models of repositories and flags [\d.]+ kB\)", refused.error)
        assert "Unload a model" in refused.error
        status = (await house.call("GET", "/control/status")).json
        assert status["store"] == {"used_bytes": space.max_bytes - 10_000, "left_bytes": 10_000}
        metrics = (await house.call("GET", "/metrics")).body.decode()
        assert "infer_store_left_bytes 10000\n" in metrics
        await unload(house, "m")
        assert space.measure().left > 10_000


async def test_a_model_sent_over_grpc_without_room_exhausts_a_resource(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house, open_port(house) as port:
        house.service.store.space.max_bytes = 1
        asked = service_pb2.RepositoryModelLoadRequest(model_name="n")
        asked.parameters["file:1/model.onnx"].bytes_param = onnx(3)
        method = f"/{pb.SERVICE}/RepositoryModelLoad"
        status, code, said = await port.fails(method, asked.SerializeToString())
        assert (status, code) == ("RESOURCE_EXHAUSTED", "storage")
        assert "max_store_bytes" in said
