from __future__ import annotations

import atexit
from collections.abc import Iterator

import pytest

from tests.notebook.cells import Cells
from workbench.api import Workbench


@pytest.fixture
def cells(wb: Workbench) -> Iterator[Cells]:
    cells = Cells(wb)
    yield cells
    cells.shell.atexit_operations()
    atexit.unregister(cells.shell.atexit_operations)
