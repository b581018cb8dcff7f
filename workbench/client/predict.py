"""Predicts a user's value: adapts it, splits what is larger than a batch into requests, and joins the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from workbench.client.client import AsyncClient
from workbench.client.input_adapter import adapt, split
from workbench.client.load_progress import LoadProgress
from workbench.client.results import CallTimings, Prediction
from workbench.core.messages import InferRequest, InferResponse
from workbench.core.model import ModelStatus, check_model_name
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, Unavailable

AT_ONCE = 8
"""Requests of one call that are sent at the same time."""

_SWAPS = 3
"""How often a call is repeated because the version changed during it."""


class Predictor:
    """Predicts with one service's models. Caches their signatures, and fetches them again when they changed."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str | None], ModelStatus] = {}

    async def predict(
        self,
        name: str,
        value: object,
        *,
        version: str | None = None,
        outputs: Sequence[str] = (),
        progress: LoadProgress | None = None,
    ) -> Prediction:
        """Predict `value`: rows in order, all from one version.

        `value` is an array, a list, a DataFrame, or a dict of them by input name; see `client.adapt`.
        """
        progress = progress or LoadProgress()
        check_model_name(name)
        status = self._known.get((name, version))
        if status is not None:
            with suppress(InvalidInput):
                return await self._predict(status, value, version, outputs, progress)
            # The cached signature or batch size may be outdated: fetch it again before refusing.
        status = self._known[name, version] = await self._client.status(name, version)
        return await self._predict(status, value, version, outputs, progress)

    async def _predict(
        self, status: ModelStatus, value: object, version: str | None, outputs: Sequence[str], progress: LoadProgress
    ) -> Prediction:
        if status.signature is None:
            raise Unavailable(
                f"{status.name!r} version {status.version} is {status.state}: {status.reason or 'not Ready'}"
            )
        adapted = adapt(value, status.signature, status.name)
        requests = [
            InferRequest(status.name, part, version=version, outputs=tuple(outputs), parameters={"timings": True})
            for part in split(adapted.inputs, adapted.rows, status.max_batch_size)
        ]
        began = time.perf_counter()
        answers = await _all_from_one_version(self._client, requests, progress)
        timings = CallTimings(time.perf_counter() - began, tuple(answer.timings for answer in answers))
        return Prediction(status.name, answers[0].version, _joined(answers), timings, adapted.index)


async def _all_from_one_version(
    client: AsyncClient, requests: Sequence[InferRequest], progress: LoadProgress
) -> list[InferResponse]:
    """Return all answers in order. If a swap came in between, repeat the call, so that versions are not mixed."""
    for _ in range(_SWAPS):
        answers = await _all(client, requests, progress)
        if len({answer.version for answer in answers}) == 1:
            return answers
    raise Unavailable(f"the version of {requests[0].model!r} changed {_SWAPS} times during one call; try again")


async def _all(client: AsyncClient, requests: Sequence[InferRequest], progress: LoadProgress) -> list[InferResponse]:
    if len(requests) == 1:
        progress.begin("waiting for the answer")
        return [await client.infer(requests[0])]
    progress.begin("answered", sum(map(_rows, requests)), "row")
    room = asyncio.Semaphore(AT_ONCE)

    async def one(request: InferRequest) -> InferResponse:
        async with room:
            answer = await client.infer(request)
        progress.advance(_rows(request))
        return answer

    tasks = [asyncio.ensure_future(one(request)) for request in requests]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _rows(request: InferRequest) -> int:
    return len(next(iter(request.inputs.values())))


def _joined(answers: Sequence[InferResponse]) -> dict[str, Array]:
    first = answers[0].outputs
    if len(answers) == 1:
        return dict(first)
    return {name: np.concatenate([answer.outputs[name] for answer in answers]) for name in first}
