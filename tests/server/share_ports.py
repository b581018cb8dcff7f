"""A house whose port for shares can be opened, over HTTP and gRPC, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.server.conftest import House, open_house
from workbench.server.grpc.port import grpc_for_shares
from workbench.server.http.share_port import SharePort


@asynccontextmanager
async def open_house_with_share_port(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as house:
        house.service.share_port = port = share_port(house)
        yield house
        await port.stop()


def share_port(house: House) -> SharePort:
    """Another one of the house, as after a restart."""
    return SharePort(house.service, house.app, grpc_for_shares(house.app.inference, house.app.gate))
