"""Which stored files stay, and which go: the whole service but for the socket, on a runtime of the tests."""

from __future__ import annotations

import asyncio

from tests import models
from tests.helpers.waiting import until_async
from tests.server.conftest import House
from tests.server.driver import OCTETS, Reply
from workbench.core.model import ModelState
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


def stored(house: House) -> list[str]:
    """The digests in the store, but for the copy of the repository's model that every house serves."""
    served = {each.digest for each in house.service.engine.statuses("digits")}
    return [digest for digest in house.service.store.digests() if digest not in served]


async def unload(house: House, name: str) -> Reply:
    return await house.call("POST", f"/control/models/{name}/unload", {})


async def test_the_last_five_versions_keep_their_files(house: House) -> None:
    digests = [await serve(house, "m", amount) for amount in range(KEPT_VERSIONS + 2)]
    assert stored(house) == sorted(digests[2:])
    assert (await unload(house, "m")).status == 200
    assert stored(house) == []
    assert house.service.persistence.state.forgotten() == []


async def test_a_file_that_another_model_is_made_of_stays(house: House) -> None:
    digest = await serve(house, "a", 1)
    await serve(house, "b", 1)
    await unload(house, "a")
    assert stored(house) == [digest]
    await unload(house, "b")
    assert stored(house) == []


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
        assert stored(house) == [digest]
    other = await serve(house, "b", 2)
    assert stored(house) == [other]


async def test_nothing_goes_while_another_model_changes(house: House) -> None:
    digest = await serve(house, "a", 1)
    house.session.hold()
    staging = asyncio.ensure_future(house.call("POST", "/control/models/b/stage", onnx(2), content_type=OCTETS))
    await until_async(lambda: [each.state for each in house.service.engine.statuses("b")] == [ModelState.WARMING])
    await unload(house, "a")
    assert digest in stored(house)
    house.session.gate.set()
    await staging
    assert digest not in stored(house)


async def test_the_file_of_an_upload_that_failed_goes(house: House) -> None:
    failed = await house.call(
        "POST", '/control/models/m/stage?config={"device":"cuda:88"}', b"this is no model", content_type=OCTETS
    )
    assert failed.status == 400
    assert len(list(house.service.store.root.iterdir())) == 1  # that of the repository's model


async def test_the_copy_of_a_repositorys_model_goes_with_it_and_is_made_again(house: House) -> None:
    folder = house.service.config.data_dir.parent / "repository" / "other" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(onnx(7))
    for _ in range(2):
        assert (await house.call("POST", "/v2/repository/models/other/load", {})).status == 200
        assert len(stored(house)) == 1
        await unload(house, "other")
        assert stored(house) == []


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
