"""One real service for all tests that can share it: models get names of their own, and are unloaded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workbench.api import Workbench, connect
from workbench.client.launch import Address, OwnService


@pytest.fixture(scope="session")
def service() -> Iterator[Address]:
    """The address of a service in a process of its own."""
    own = OwnService()
    try:
        yield own.start()
    finally:
        own.stop()


@pytest.fixture
def wb(service: Address) -> Iterator[Workbench]:
    """A workbench on the shared service, with no models before and after."""
    with connect(service.url, service.token) as workbench:
        yield workbench
        for name in list(workbench):
            workbench.unload(name)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test has shown nothing, so it fails the run; tests for a GPU are deselected instead, and counted."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
