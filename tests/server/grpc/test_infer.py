"""Inferences over a connection without a socket: each is counted once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import numpy as np

from tests.helpers.waiting import until_async
from tests.server.conftest import LIMITS, TOKEN, House
from tests.server.grpc.frame_client import FrameClient
from workbench.core.messages import InferRequest
from workbench.core.ports import Outcome
from workbench.protocols import pb
from workbench.protocols.oip_grpc import encode_request
from workbench.server.grpc.call import GrpcCalls
from workbench.server.grpc.framing import framed
from workbench.server.grpc.listener import GrpcServer

INFER = f"/{pb.SERVICE}/ModelInfer"
STREAM = f"/{pb.SERVICE}/ModelStreamInfer"


def port_of(house: House) -> FrameClient:
    return FrameClient(
        GrpcCalls(GrpcServer(house.app.inference, house.app.gate).methods, house.service.bodies), token=TOKEN
    )


def request(rows: int = 1, name: str = "x", model: str = "digits") -> bytes:
    return framed(encode_request(InferRequest(model, {name: np.ones((rows, 2), np.float32)})))


async def test_every_call_is_counted_once_however_it_ends(house: House) -> None:
    port = port_of(house)
    caller = house.app.gate.admit_token(None, f"Bearer {TOKEN}".encode())
    rng = random.Random(7)
    expected: Counter[Outcome] = Counter()
    statuses: Counter[str] = Counter()
    number = -1
    for _ in range(40):
        house.session.hold()
        for _ in range(rng.randint(1, 8)):
            number += 2
            kind = rng.choice(["ok", "ok", "cancelled", "cancelled", "invalid", "cut", "unknown"])
            full = caller.in_flight == LIMITS.max_in_flight
            port.begin(number, INFER)
            if kind == "unknown":
                port.data(number, request(model="nothing"), ended=True)
            elif kind == "cut":  # in the middle of its message, which is so far of no model
                port.data(number, request()[:-1])
                port.cancel(number)
            else:
                port.data(number, request(name="y" if kind == "invalid" else "x"), ended=True)
                if kind == "cancelled":
                    port.cancel(number)
                if full:
                    expected[Outcome.REJECTED] += 1
                else:
                    expected[Outcome(kind)] += 1
        house.session.gate.set()
        await until_async(lambda: not caller.in_flight)
        for told in port.told().values():
            for event, head in told:
                if event == "head" and isinstance(head, dict) and "grpc-status" in head:
                    statuses[head["grpc-status"]] += 1
    await until_async(lambda: house.service.metrics.state().figures["digits", "1"].requests >= expected.total())
    figures = house.service.metrics.state().figures["digits", "1"]
    assert set(expected) == {Outcome.OK, Outcome.CANCELLED, Outcome.INVALID, Outcome.REJECTED}
    assert +figures.outcomes == expected
    assert figures.answered == statuses["0"] == expected[Outcome.OK]
    port.nothing_is_left()
    assert (house.service.bodies.held, caller.in_flight) == (0, 0)


async def test_a_stream_that_ends_on_the_turn_of_its_answers_harms_nobody_in_its_batch(house: House) -> None:
    port = port_of(house)
    caller = house.app.gate.admit_token(None, f"Bearer {TOKEN}".encode())
    house.session.hold()
    port.begin(1, STREAM)
    port.data(1, request() + request())
    while caller.in_flight < 2:
        await asyncio.sleep(0)
    port.begin(3, INFER)
    port.data(3, request(), ended=True)
    assert caller.in_flight == 3
    for _ in range(5):
        await asyncio.sleep(0)
    house.session.gate.set()
    time.sleep(0.2)  # the loop does not turn, so all answers wait for its next turn
    port.cancel(1)
    async with asyncio.timeout(5):
        while caller.in_flight:
            await asyncio.sleep(0)
    (trailers,) = [head for _, head in port.told()[3] if isinstance(head, dict) and "grpc-status" in head]
    assert trailers["grpc-status"] == "0"
    port.nothing_is_left()
