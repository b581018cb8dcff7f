"""One real service for all tests that can share it: models get names of their own, and are unloaded.

`make test` runs the tests in two parts: those marked `serial` alone, as they measure time or memory, and all others by
several processes, the longest files first. Those marked `gpu` or `long` are deselected by default, and are named at the
end.
"""

from __future__ import annotations

import gc
import signal
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.helpers.durations import KEPT, longest_first, seconds_of_files, unit_of
from tests.helpers.leaked_tokens import LeakedTokens
from tests.helpers.leftovers import left_behind
from tests.helpers.service_process import Serve
from workbench.api import Workbench, connect
from workbench.client.client import AsyncClient
from workbench.client.shared_service import Address, SharedService, shared_service

# How long an example takes says something of the machine, not of the code.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")

# A shell starts what runs in the background with SIGINT ignored, and every child would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Nearly all that is made while tests are collected stays: no search for garbage would find any.
gc.disable()

_leaked = LeakedTokens()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lone surrogates in what a test logged or printed: a process of pytest-xdist cannot send them, and would end."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode("utf-8")) for name, text in report.sections
    ]
    for name, text in report.sections:
        _leaked.note(text, f"{name} of {report.nodeid}")
    return report


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
    leaked = _leaked.found(tmp_path_factory.getbasetemp())
    assert not leaked, "tests left tokens in:\n" + "\n".join(leaked)
    left = left_behind(tmp_path_factory.getbasetemp())
    assert not left, "processes that tests left behind:\n" + "\n".join(left)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedService]:
    """The shared service of folders of a test's own, which does not run before and after."""
    monkeypatch.setenv("INFER_WORKBENCH_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("INFER_WORKBENCH_DATA_DIR", str(tmp_path / "shared data"))
    monkeypatch.setattr("workbench.api.connecting._latest", None)  # what a test before this one connected to
    shared = shared_service()
    yield shared
    shared.stop()
    shared.release()


@pytest.fixture(scope="module")
def _module_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedService]:
    folder = tmp_path_factory.mktemp("of-a-module")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFER_WORKBENCH_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("INFER_WORKBENCH_DATA_DIR", str(folder / "shared data"))
        shared = shared_service()
        shared.ensure()
        shared.release()
    yield shared
    shared.stop()


@pytest.fixture
def running_workplace(
    _module_service: SharedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SharedService]:
    """A shared service that one module's tests have in common: it runs, and serves nothing before and after.

    The test has a data folder of its own for all else. A module whose tests neither end the service nor start it with
    settings of their own returns this from a fixture `workplace`, which spares them a start each.
    """
    monkeypatch.setenv("INFER_WORKBENCH_RUNTIME_DIR", str(_module_service.rendezvous.path.parent))
    monkeypatch.setenv("INFER_WORKBENCH_DATA_DIR", str(tmp_path / "shared data"))
    monkeypatch.setattr("workbench.api.connecting._latest", None)  # what a test before this one connected to
    shared = shared_service()
    yield shared
    address = shared.ensure()
    with connect(address.url, address.token) as workbench:
        for name in list(workbench):
            workbench.unload(name)
    shared.release()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The address of a service in a process of its own."""
    with Serve(tmp_path_factory.mktemp("service")) as serve:
        published = serve.ready().published
        yield Address(published["url"], serve.token, published["token_file"])
        assert serve.stop() == 0


@pytest.fixture
async def client(service: Address) -> AsyncIterator[AsyncClient]:
    """A client of the shared service, with no models after."""
    async with AsyncClient(service.url, service.token) as client:
        yield client
        for name in {status.name for status in await client.statuses()}:
            await client.unload(name)


@pytest.fixture
def wb(service: Address) -> Iterator[Workbench]:
    """A workbench on the shared service, with no models before and after."""
    with connect(service.url, service.token) as workbench:
        yield workbench
        for name in list(workbench):
            workbench.unload(name)


_deselected: Counter[str] = Counter()
"""How many cases of each test for a GPU, and of each long one, were left out."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that are no text are named by their argument: the head of a gzip holds the time, and two processes must
    give a case the same name."""
    return argname if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for path in {item.path for item in items if item.get_closest_marker("serial")}:
        if "mark.serial" not in path.read_text(encoding="utf-8"):
            raise pytest.UsageError(f"{path}: `make test` finds the file of a serial test by the words mark.serial")
    seconds = seconds_of_files(KEPT.read_text(encoding="utf-8"))
    order = {path: place for place, path in enumerate(longest_first((item.nodeid for item in items), seconds))}
    items.sort(key=lambda item: order[item.nodeid.partition("::")[0]])


class ByUnits(LoadScopeScheduling):
    """Hands whole units to the processes of pytest-xdist, in the order of their tests."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return ByUnits(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_finish() -> None:
    """A million objects of tests and libraries stay to the end. Set aside, they are not looked through again by each
    collection of garbage, as at the end of each shell of IPython, where it took half a second."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_deselected(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in ("gpu", "long"):
            if item.get_closest_marker(mark):
                _deselected[f"{mark}: {item.nodeid.partition('[')[0]}"] += 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a process of pytest-xdist has left out; each collects all tests."""
    _deselected.update(Counter(getattr(node, "workeroutput", {}).get("deselected", {})) - _deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _deselected:
        terminalreporter.section("left out: tests for a GPU (-m gpu), and long ones (make test-long)")
        for name, cases in sorted(_deselected.items()):
            terminalreporter.write_line(name if cases == 1 else f"{name} ({cases} cases)")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test has shown nothing, so it fails the run; tests for a GPU are deselected instead, and counted."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["deselected"] = dict(_deselected)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
