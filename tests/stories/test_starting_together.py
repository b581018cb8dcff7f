"""Kernels and Jupyter servers that want the service at the same moment, where none runs."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.stories.actors import python, running, said
from workbench.client.shared_service import SharedService

KERNEL = """
    import workbench
    wb = workbench.connect()
    found = f"{wb._shared.record().keeper.pid} {wb.url}"
"""

SERVER = """
    import asyncio, sys
    from workbench.client.shared_service import ensure_service, shared_service

    async def main():
        turns = 0

        async def turn():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        turning = asyncio.create_task(turn())
        address = await asyncio.to_thread(ensure_service)
        turning.cancel()
        assert turns > 1, "the server stood still meanwhile"
        print(shared_service().record().keeper.pid, address.url)

    print("there", flush=True)
    input()
    asyncio.run(main())
"""


@pytest.fixture
def kernels(workplace: SharedService, tmp_path: Path) -> Iterator[list[BlockingKernelClient]]:
    """Three that wait for a cell to run."""
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONWARNINGS": "error"}
    managers: list[KernelManager] = []
    clients: list[BlockingKernelClient] = []
    try:
        for number in range(3):
            managers.append(KernelManager(connection_file=str(tmp_path / f"kernel-{number}.json")))
            managers[-1].start_kernel(env=environment)
        for manager in managers:
            clients.append(manager.blocking_client())
            clients[-1].start_channels()
            clients[-1].wait_for_ready(timeout=60)
        yield clients
    finally:
        for client in clients:
            client.stop_channels()
        for manager in managers:
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()


@pytest.fixture
def servers(workplace: SharedService) -> Iterator[list[subprocess.Popen[str]]]:
    """Two that wait for a line."""
    servers = [python(SERVER) for _ in range(2)]
    try:
        for server in servers:
            assert server.stdout is not None
            assert server.stdout.readline() == "there\n"
        yield servers
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_three_kernels_and_two_servers_that_start_at_once_get_one_service(
    workplace: SharedService, kernels: list[BlockingKernelClient], servers: list[subprocess.Popen[str]]
) -> None:
    cell = textwrap.dedent(KERNEL)
    asked = [kernel.execute(cell, silent=True, user_expressions={"found": "found"}) for kernel in kernels]
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("\n")
        server.stdin.flush()
    answers = [" ".join(said(server)) for server in servers]
    for kernel, message in zip(kernels, asked, strict=True):
        content = reply_to(message, kernel)
        assert content["status"] == "ok", content
        answers.append(content["user_expressions"]["found"]["data"]["text/plain"].strip("'"))
    record = running(workplace)
    assert answers == [f"{record.keeper.pid} {record.url}"] * 5
    assert [process.pid for process in keepers_of(workplace)] == [record.keeper.pid]
    assert sum("workbench.serve: ready" in line for line in workplace.logs(100)) == 1
    assert workplace.holders() == 3  # the servers have ended


def reply_to(message: str, kernel: BlockingKernelClient) -> dict[str, Any]:
    while True:
        reply = kernel.get_shell_msg(timeout=60)
        if reply["parent_header"]["msg_id"] == message:  # else to one of those that asked whether it is ready
            content: dict[str, Any] = reply["content"]
            return content


def keepers_of(workplace: SharedService) -> list[psutil.Process]:
    """Whatever holds this workplace's log open for writing, as only a keeper does."""
    log = str(workplace.rendezvous.path / "service.log")
    found = []
    for process in psutil.process_iter():
        try:
            if log in {file.path for file in process.open_files()}:
                found.append(process)
        except psutil.Error:
            pass  # another user's, or it has just ended
    return found
