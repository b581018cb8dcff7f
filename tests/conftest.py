"""One real service for all tests that can share it: models get names of their own, and are unloaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.helpers.service_process import Serve
from workbench.api import Workbench, connect
from workbench.client.shared_service import Address, SharedService, shared_service

# How long an example takes says something of the machine, not of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture(scope="session", autouse=True)
def _nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test touches the folders of whoever runs it, nor finds or leaves a service of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNTIME_DIR", "DATA_DIR"):
            patch.setenv(f"INFER_WORKBENCH_{name}", str(tmp_path_factory.mktemp(name.lower())))
        for name in ("URL", "READY_FILE", "TOKEN_FILE"):
            patch.delenv(f"INFER_WORKBENCH_{name}", raising=False)
        yield
        shared_service().stop()


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedService]:
    """The shared service of folders of a test's own, which does not run before and after."""
    monkeypatch.setenv("INFER_WORKBENCH_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("INFER_WORKBENCH_DATA_DIR", str(tmp_path / "shared data"))
    monkeypatch.setattr("workbench.api._latest", None)  # what a test before this one connected to
    shared = shared_service()
    yield shared
    shared.stop()
    shared.release()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of a service in a process of its own."""
    with Serve(tmp_path_factory.mktemp("service")) as serve:
        published = serve.ready().published
        yield Address(published["url"], serve.token, published["token_file"])
        assert serve.stop() == 0


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
