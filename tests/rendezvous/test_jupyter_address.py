"""The address of a Jupyter server holds while that server runs."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.rendezvous.jupyter_address import jupyter_address, publish_jupyter_address


def test_it_holds_while_its_server_runs(tmp_path: Path) -> None:
    assert jupyter_address(tmp_path) == ""
    publish_jupyter_address(tmp_path, "https://hub.example.org/user/alice/x")
    assert jupyter_address(tmp_path) == "https://hub.example.org/user/alice/x"
    file = tmp_path / "jupyter.json"
    assert file.stat().st_mode & 0o777 == 0o600
    known = json.loads(file.read_text())
    file.write_text(json.dumps(known | {"began": known["began"] - 1}))  # another process had this pid before
    assert jupyter_address(tmp_path) == ""


def test_what_cannot_be_read_names_nothing(tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"url": "x", "pid": "?", "began": 1}'):
        (tmp_path / "jupyter.json").write_text(text)
        assert jupyter_address(tmp_path) == ""
