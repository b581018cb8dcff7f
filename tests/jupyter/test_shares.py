"""Shares by the panel's routes, of a real service: made, called, told of, revoked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from jupyter_events import EventLogger
from tornado.httpclient import HTTPClientError

from tests.jupyter.conftest import Ask, Fetch
from tests.models import add_constant
from workbench.client.client import AsyncClient
from workbench.client.shared_service import SharedService
from workbench.core.messages import InferRequest
from workbench.errors import Unauthenticated
from workbench.jupyter.events import SHARE
from workbench.jupyter.extension import InferWorkbench

LONG_S = 30.0
TERMS = {
    "models": ["plus"],
    "label": "team-a",
    "rate": "20/s",
    "expires": "7d",
    "row_rate": "2000/s",
    "quota": "10000/day",
    "row_quota": None,
    "max_in_flight": None,
    "version": 1,
    "max_body": "64KiB",
    "metrics": True,
}


async def refused(ask: Ask, body: object) -> tuple[int, str]:
    with pytest.raises(HTTPClientError) as caught:
        await ask("shares", body=body)
    assert caught.value.response is not None
    return caught.value.code, json.loads(caught.value.response.body)["message"]


async def test_a_share_is_made_called_told_of_once_and_revoked(
    ask: Ask, extension: InferWorkbench, workplace: SharedService, jp_root_dir: Path, jp_fetch: Fetch
) -> None:
    assert extension.serverapp is not None
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        told.put_nowait(data)

    extension.serverapp.event_logger.add_listener(schema_id=SHARE, listener=hear)
    (jp_root_dir / "plus.onnx").write_bytes(add_constant(1.0).SerializeToString())
    await ask("models", "plus", "load", body={"path": "plus.onnx"})

    for wrong, status, words in (
        ({**TERMS, "models": ["nothing"]}, 404, "nothing"),
        ({**TERMS, "rate": 0}, 400, "rate must be"),
        ({**TERMS, "row_rate": "many"}, 400, "row_rate must be"),
        ({**TERMS, "row_quota": 0}, 400, "row_quota must be"),
        ({**TERMS, "version": 7}, 404, "7"),
        ({**TERMS, "max_body": "much"}, 400, "max_body must be"),
        ({**TERMS, "max_in_flight": 0}, 400, "max_in_flight must be"),
        ({**TERMS, "expires": "-1d"}, 400, "expires"),
        ({**TERMS, "show_token": True}, 400, "show_token"),
        ([], 400, "does not fit"),
    ):
        code, message = await refused(ask, wrong)
        assert code == status and words in message
    assert await ask("shares") == []

    made = await ask("shares", body=TERMS)
    assert "token" not in made
    assert (await refused(ask, TERMS))[0] == 409
    page, _, code_of_link = made["link"].partition("#")
    async with aiohttp.ClientSession() as session, session.post(page, json={"code": code_of_link}) as answer:
        token = (await answer.json())["token"]
    (share,) = await ask("shares")
    assert (share["label"], share["state"], share["first_call_at"]) == ("team-a", "holds", None)
    assert (share["rate"], share["row_rate"], share["quota"], share["row_quota"]) == (20, 2000, 10000, None)
    assert (share["max_in_flight"], share["max_body"]) == (16, 65536)
    assert (share["version"], share["metrics"]) == ("1", True)
    assert token not in json.dumps(share)

    async with AsyncClient(made["url"], token) as teammate:
        call = InferRequest("plus", {"x": np.zeros((1, 4), np.float32)})
        await teammate.infer(call)
        async with asyncio.timeout(LONG_S):
            assert await told.get() == {
                "event": "first_call",
                "id": made["id"],
                "label": "team-a",
                "models": ["plus"],
            }
        await teammate.infer(call)
        (share,) = await ask("shares")
        assert share["requests"] >= 2 and share["first_call_at"] is not None
        await jp_fetch("infer-workbench", "api", "shares", made["id"], method="DELETE")
        with pytest.raises(Unauthenticated):
            await teammate.infer(call)
    assert [each["state"] for each in await ask("shares")] == ["revoked"]
    assert told.empty()
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch("infer-workbench", "api", "shares", "nobody", method="DELETE")
    assert caught.value.code == 404
