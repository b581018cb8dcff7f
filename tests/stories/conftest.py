from __future__ import annotations

from collections.abc import Iterator

import pytest

import workbench
from tests.models import add_constant
from workbench.api import Workbench
from workbench.client.shared_service import SharedService


@pytest.fixture
def wb(workplace: SharedService) -> Iterator[Workbench]:
    """On a service of the test's own that serves "plus", which adds 1."""
    with workbench.connect() as wb:
        wb.load("plus", add_constant(1.0))
        yield wb
