"""When a call is sent again, with a client that answers from a script."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from workbench.client.client import AsyncClient
from workbench.client.predict import Predictor
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import FREE, ModelState, ModelStatus, Signature, TensorSpec
from workbench.errors import ExecutionError, InvalidInput, QueueFull, Unavailable, WorkbenchError

SIGNATURE = Signature((TensorSpec("x", "FP32", (FREE, 2)),), (TensorSpec("y", "FP32", (FREE, 2)),))
SPLIT = ModelStatus("m", "1", ModelState.READY, signature=SIGNATURE, max_batch_size=4, epoch="a")
WHOLE = dataclasses.replace(SPLIT, max_batch_size=0, epoch="b")
ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)


class Scripted:
    """A client of a service whose model is `serving`. `step` is called before each answer, and may replace it."""

    def __init__(self, serving: ModelStatus, step: Callable[[int], object] = lambda number: None) -> None:
        self.serving = serving
        self.step = step
        self.sent: list[int] = []
        """The rows of each request."""
        self.asked = 0
        """How often the status was asked for."""
        self.fails: WorkbenchError | None = None
        self.stripped: set[int] = set()
        """The requests, by number, whose answers lose their epoch on the way."""

    async def status(self, name: str, version: str | None = None) -> ModelStatus:
        self.asked += 1
        return self.serving

    async def infer(self, request: InferRequest) -> InferResponse:
        self.step(len(self.sent))
        rows = request.inputs["x"]
        self.sent.append(len(rows))
        if self.fails is not None:
            raise self.fails
        # What has no batch is the mean of what came, so that a wrong split shows.
        answer = rows if self.serving.max_batch_size else rows - rows.mean(axis=0)
        epoch = "" if len(self.sent) - 1 in self.stripped else self.serving.epoch
        return InferResponse("m", self.serving.version, {"y": answer}, epoch=epoch)


def predictor(client: Scripted) -> Predictor:
    return Predictor(cast(AsyncClient, cast(Any, client)))


async def test_a_known_model_is_not_asked_about_again() -> None:
    client = Scripted(SPLIT)
    predicts = predictor(client)
    for _ in range(3):
        np.testing.assert_array_equal((await predicts.predict("m", ROWS))["y"], ROWS)
    assert (client.asked, client.sent) == (1, [4, 4, 2] * 3)


async def test_rows_that_were_split_for_another_model_are_sent_again_whole() -> None:
    client = Scripted(SPLIT)
    predicts = predictor(client)
    await predicts.predict("m", ROWS)
    client.serving, client.sent = WHOLE, []
    whole = await predicts.predict("m", ROWS)
    np.testing.assert_allclose(whole["y"], ROWS - ROWS.mean(axis=0))
    assert (client.asked, client.sent) == (2, [4, 4, 2, 10])
    assert not whole.timings.batched


@pytest.mark.parametrize("at", range(3))
async def test_all_parts_come_from_one_load(at: int) -> None:
    """It is replaced before the first, the second or the third part is answered; the version stays the same."""

    def replace(number: int) -> None:
        if number == at:
            client.serving = WHOLE

    client = Scripted(SPLIT, replace)
    np.testing.assert_allclose((await predictor(client).predict("m", ROWS))["y"], ROWS - ROWS.mean(axis=0))
    assert client.sent == [4, 4, 2, 10]


@pytest.mark.parametrize(("rows_a_batch", "sent"), [(4, [4, 4, 2]), (0, [4, 4, 2] * 4)])
async def test_answers_of_the_version_that_is_fallen_back_to_are_taken_if_its_rows_are_split_alike(
    rows_a_batch: int, sent: list[int]
) -> None:
    class FallingBack(Scripted):
        async def status(self, name: str, version: str | None = None) -> ModelStatus:
            return self.serving if version == self.serving.version else dataclasses.replace(SPLIT, version="2")

    earlier = dataclasses.replace(SPLIT, version="1", epoch="earlier", max_batch_size=rows_a_batch)
    client = FallingBack(earlier)
    if rows_a_batch == 4:
        assert (await predictor(client).predict("m", ROWS)).version == "1"
    else:
        with pytest.raises(Unavailable, match="was replaced"):
            await predictor(client).predict("m", ROWS)
    assert client.sent == sent


async def test_a_model_that_is_forgotten_is_not_tried_with_its_old_form() -> None:
    client = Scripted(SPLIT)
    predicts = predictor(client)
    await predicts.predict("m", ROWS)
    client.serving, client.sent = WHOLE, []
    predicts.forget("m")
    await predicts.predict("m", ROWS)
    assert client.sent == [10]


async def test_a_model_that_is_replaced_again_and_again_ends_the_call() -> None:
    epochs: Iterator[int] = iter(range(100))

    def replace(number: int) -> None:
        client.serving = dataclasses.replace(SPLIT, epoch=str(next(epochs)))

    client = Scripted(SPLIT, replace)
    with pytest.raises(Unavailable, match="was replaced 4 times during one call; try again"):
        await predictor(client).predict("m", ROWS)


@pytest.mark.parametrize("error", [InvalidInput("rank 3"), ExecutionError("Reshape")])
async def test_an_error_of_what_was_sent_in_an_old_form_is_not_the_callers(error: WorkbenchError) -> None:
    client = Scripted(SPLIT)
    predicts = predictor(client)
    await predicts.predict("m", ROWS)
    client.serving, client.sent, client.fails = WHOLE, [], error

    def heal(number: int) -> None:
        client.fails = error if number < 3 else None

    client.step = heal
    np.testing.assert_allclose((await predicts.predict("m", ROWS))["y"], ROWS - ROWS.mean(axis=0))


@pytest.mark.parametrize("error", [InvalidInput("it is wrong"), ExecutionError("it failed")])
async def test_an_error_of_the_same_model_is_raised_and_nothing_is_sent_again(error: WorkbenchError) -> None:
    client = Scripted(SPLIT)
    predicts = predictor(client)
    await predicts.predict("m", ROWS[:1])
    client.fails = error
    with pytest.raises(type(error), match="it"):
        await predicts.predict("m", ROWS[:1])
    assert (client.asked, client.sent) == (2, [1, 1])


async def test_a_full_queue_is_not_asked_for_more() -> None:
    client = Scripted(SPLIT)
    client.fails = QueueFull("full")
    with pytest.raises(QueueFull):
        await predictor(client).predict("m", ROWS[:1])
    assert (client.asked, client.sent) == (1, [1])


async def test_a_server_that_tells_no_epochs_is_asked_before_each_call_and_after_a_split_one() -> None:
    client = Scripted(dataclasses.replace(SPLIT, epoch=""))
    predicts = predictor(client)
    await predicts.predict("m", ROWS[:2])
    await predicts.predict("m", ROWS[:2])
    assert client.asked == 2
    await predicts.predict("m", ROWS)
    assert client.asked == 4


async def test_a_server_that_tells_no_epochs_is_believed_when_its_status_changes() -> None:
    def replace(number: int) -> None:
        if number == 2:
            client.serving = dataclasses.replace(WHOLE, epoch="")

    client = Scripted(dataclasses.replace(SPLIT, epoch=""), replace)
    np.testing.assert_allclose((await predictor(client).predict("m", ROWS))["y"], ROWS - ROWS.mean(axis=0))
    assert client.sent == [4, 4, 2, 10]


@pytest.mark.parametrize("stripped", [range(100), [1]])
async def test_answers_that_lost_their_epoch_on_the_way_are_taken(stripped: Iterable[int]) -> None:
    client = Scripted(SPLIT)
    client.stripped = set(stripped)
    predicts = predictor(client)
    for _ in range(2):
        np.testing.assert_array_equal((await predicts.predict("m", ROWS))["y"], ROWS)
    np.testing.assert_array_equal((await predicts.predict("m", ROWS[:1]))["y"], ROWS[:1])
    assert client.sent == [4, 4, 2, 4, 4, 2, 1]


@pytest.mark.parametrize("rows", [10, 4])
async def test_without_the_epochs_of_answers_the_status_tells_of_another_model(rows: int) -> None:
    client = Scripted(SPLIT)
    client.stripped = set(range(100))
    predicts = predictor(client)
    await predicts.predict("m", ROWS[:rows])
    client.serving, client.sent = WHOLE, []
    sent = ROWS[:rows]
    np.testing.assert_allclose((await predicts.predict("m", sent))["y"], sent - sent.mean(axis=0))
    assert client.sent[-1] == rows
