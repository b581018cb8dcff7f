from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.client import shared_service
from workbench.client.shared_service import SharedService
from workbench.errors import Unavailable
from workbench.rendezvous.folder import Rendezvous


def test_a_stop_that_comes_as_a_start_begins_is_not_overlooked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedService(Rendezvous(tmp_path / "runtime").open(), tmp_path / "data")
    monkeypatch.setattr(shared, "_take_lease", shared.stop)
    with pytest.raises(Unavailable, match="told to stop"):
        shared.ensure()
    assert shared.record() is None


@pytest.mark.parametrize("kernel", [None, object()])
def test_what_is_no_error_is_quiet_output_in_a_notebook_and_stderr_elsewhere(
    kernel: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = SimpleNamespace(kernel=kernel)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[misc]
    shared_service._say("another one serves the same models now")
    out, err = capsys.readouterr()
    assert out == ("\x1b[90manother one serves the same models now\x1b[0m\n" if kernel else "")
    assert err == ("" if kernel else "another one serves the same models now\n")
