"""Predicts a user's value: adapts it, splits what is larger than a batch into requests, and joins the answers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

import numpy as np

from workbench.client.client import AsyncClient
from workbench.client.input_adapter import adapt, split
from workbench.client.load_progress import LoadProgress
from workbench.client.results import CallTimings, Prediction
from workbench.core.messages import InferRequest, InferResponse, Parameter
from workbench.core.model import ModelStatus, Signature, check_model_name
from workbench.core.tensor import Array
from workbench.errors import ExecutionError, InvalidInput, NotFound, Unavailable

AT_ONCE = 8
"""Requests of one call that are sent at the same time."""

_ATTEMPTS = 4
"""How often a call is sent whole, because the model was replaced before all of it was answered."""

_FORM_ERRORS = (InvalidInput, ExecutionError)
"""What a model may answer to rows that were cast and split for another one."""


class Predictor:
    """Predicts with one service's models, whose statuses it keeps between calls.

    Each answer names the load that it came from (`ModelStatus.epoch`). If that is not the one whose status was used,
    the rows were cast and split for another model: the status is fetched again, and the call is sent again, whole. A
    server that tells no epochs is asked for the status with each call, and so is one whose answers lack them.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._known: dict[tuple[str, str | None], ModelStatus] = {}

    def forget(self, name: str) -> None:
        """Forget the model's status, because this process changes the model: the next call is then not sent twice."""
        for key in [key for key in self._known if key[0] == name]:
            del self._known[key]

    async def predict(
        self,
        name: str,
        value: object,
        *,
        version: str | None = None,
        outputs: Sequence[str] = (),
        progress: LoadProgress | None = None,
    ) -> Prediction:
        """Predict `value`: rows in order, all from one load of one version.

        `value` is an array, a list, a DataFrame, or a dict of them by input name; see `client.adapt`.
        """
        progress = progress or LoadProgress()
        check_model_name(name)
        key = name, version
        for _ in range(_ATTEMPTS):
            status = self._known.get(key)
            kept = status is not None
            status = status or await self._fetched(key)
            try:
                adapted = adapt(value, _signature(status), name, batched=status.max_batch_size > 0)
            except InvalidInput:
                if not kept or not await self._changed(key, status):
                    raise
                continue
            parts = list(split(adapted.inputs, adapted.rows, status.max_batch_size))
            parameters: dict[str, Parameter] = {"timings": True}
            if len(parts) > 1 and version is None and 0 < status.weight < 1:
                parameters["route_key"] = secrets.token_hex(8)  # calls are split, and all of these go to one side
            requests = [
                InferRequest(name, part, version=version, outputs=tuple(outputs), parameters=parameters)
                for part in parts
            ]
            began = time.perf_counter()
            try:
                answers = await _all(self._client, requests, progress)
            except _FORM_ERRORS:
                if not await self._changed(key, status):
                    raise
                continue
            if await self._all_from(key, status, answers):
                spent = time.perf_counter() - began
                timings = CallTimings(spent, tuple(answer.timings for answer in answers), status.max_batch_size > 0)
                return Prediction(name, answers[0].version, _joined(answers), timings, adapted.index, status.labels)
            if self._known.get(key) is status:
                del self._known[key]
            if version is None and (other := await self._stand_in(name, status, answers)) is not None:
                spent = time.perf_counter() - began
                timings = CallTimings(spent, tuple(answer.timings for answer in answers), other.max_batch_size > 0)
                return Prediction(name, other.version, _joined(answers), timings, adapted.index, other.labels)
        raise Unavailable(f"model {name!r} was replaced {_ATTEMPTS} times during one call; try again")

    async def _fetched(self, key: tuple[str, str | None]) -> ModelStatus:
        status = await self._client.status(*key)
        if status.epoch:
            self._known[key] = status
        return status

    async def _changed(self, key: tuple[str, str | None], used: ModelStatus) -> bool:
        """Fetch the status again, and return whether a call needs another form than with the one that was used."""
        return _form(await self._fetched(key)) != _form(used)

    async def _stand_in(self, name: str, used: ModelStatus, answers: Sequence[InferResponse]) -> ModelStatus | None:
        """Return the status of another version that gave all answers, as one does that is fallen back to, if rows are
        cast and split for it as they were."""
        gave = {(answer.version, answer.epoch) for answer in answers}
        version, epoch = gave.pop()
        if gave or not epoch or version == used.version:
            return None
        try:
            other = await self._client.status(name, version)
        except NotFound:
            return None
        same = (other.signature, other.max_batch_size) == (used.signature, used.max_batch_size)
        return other if same and other.epoch == epoch else None

    async def _all_from(self, key: tuple[str, str | None], used: ModelStatus, answers: Sequence[InferResponse]) -> bool:
        """Return whether all answers came from the load whose status was used, as far as the server tells."""
        epochs = {answer.epoch for answer in answers}
        if used.epoch and "" not in epochs:  # a proxy may have taken the header from an answer
            return epochs == {used.epoch}
        if not used.epoch and len(answers) == 1:  # nothing was split
            return True
        return len({answer.version for answer in answers}) == 1 and not await self._changed(key, used)


def _signature(status: ModelStatus) -> Signature:
    if status.signature is None:
        raise Unavailable(f"{status.name!r} version {status.version} is {status.state}: {status.reason or 'not Ready'}")
    return status.signature


def _form(status: ModelStatus) -> tuple[object, ...]:
    """What decides how a call is cast and split."""
    return status.version, status.epoch, status.signature, status.max_batch_size


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
