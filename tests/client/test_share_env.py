from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.full_disk import full_disk
from workbench.client.share_env import into_env_file
from workbench.client.share_results import Share
from workbench.errors import Conflict, InvalidInput, StorageError

SHARE = Share("s1", "team-a", ("digits",), "http://127.0.0.1:1", "", 2e9, token="wbk_t")


def nothing(share: str) -> None:
    raise AssertionError(f"{share} was revoked")


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / "team-a.env"
    assert into_env_file(path, lambda: SHARE, nothing) == replace(SHARE, env_file=str(path))
    assert path.read_text() == "INFER_URL=http://127.0.0.1:1\nINFER_TOKEN=wbk_t\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_left_alone_and_nothing_is_shared(tmp_path: Path) -> None:
    path, link = tmp_path / "team-a.env", tmp_path / "link.env"
    path.write_text("mine")
    link.symlink_to(tmp_path / "elsewhere")
    for each in (path, link):
        with pytest.raises(InvalidInput, match="already"):
            into_env_file(each, lambda: pytest.fail("shared"), nothing)
    with pytest.raises(StorageError, match="nothing was shared"):
        into_env_file(tmp_path / "no" / "folder.env", lambda: pytest.fail("shared"), nothing)
    assert path.read_text() == "mine" and not (tmp_path / "elsewhere").exists()


def test_what_cannot_be_shared_leaves_no_file(tmp_path: Path) -> None:
    def refused() -> Share:
        raise Conflict("there is a share already")

    with pytest.raises(Conflict):
        into_env_file(tmp_path / "x.env", refused, nothing)
    assert not list(tmp_path.iterdir())


def test_on_a_full_disk_the_share_is_revoked_and_no_file_is_left(tmp_path: Path) -> None:
    revoked: list[str] = []
    with full_disk(), pytest.raises(StorageError, match="revoked again"):
        into_env_file(tmp_path / "x.env", lambda: replace(SHARE), revoked.append)
    assert revoked == ["s1"] and not list(tmp_path.iterdir())
