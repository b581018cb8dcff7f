from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.security.watched_service import Watched, watched_service


@pytest.fixture(scope="package")
def shared_attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched_service(tmp_path_factory.mktemp("attacked"), nofile=1024) as watched:
        yield watched


@pytest.fixture
def attacked(shared_attacked: Watched) -> Iterator[Watched]:
    """A service with the settings of a first start and a usual `ulimit -n`; one for all attacks that need no other."""
    yield shared_attacked
    shared_attacked.settled()


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open as many as it needs for the attack."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
