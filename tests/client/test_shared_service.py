from __future__ import annotations

from pathlib import Path

import pytest

from workbench.client.shared_service import SharedService
from workbench.errors import Unavailable
from workbench.rendezvous.folder import Rendezvous


def test_a_stop_that_comes_as_a_start_begins_is_not_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedService(Rendezvous(tmp_path / "runtime").open(), tmp_path / "data")
    monkeypatch.setattr(shared, "_take_lease", shared.stop)
    with pytest.raises(Unavailable, match="told to stop"):
        shared.ensure()
    assert shared.record() is None
