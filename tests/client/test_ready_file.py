from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.thief import AS_ANOTHER_USER, NOBODY, Thief
from workbench.cli import main
from workbench.client import own_connector
from workbench.client.ready_file import MAX_BYTES, ReadyService, read_ready_file
from workbench.errors import InvalidInput

TOKEN = "a-token-of-the-tests-0123456789"
URL = "http://127.0.0.1:1"


def written(path: Path, content: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def ready_file(folder: Path, token_file: Path | None, url: str = URL) -> Path:
    content = {"url": url, "token_file": None if token_file is None else str(token_file)}
    return written(folder / "ready.json", json.dumps(content))


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return written(tmp_path / "data" / "token", f"{TOKEN}\n")


def test_a_forged_file_sends_nothing_of_the_user_to_its_maker(
    tmp_path: Path, token_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that came with a download: a regular file of the user, with the address where its maker listens."""
    if not AS_ANOTHER_USER:
        monkeypatch.setattr(own_connector, "owner_of_peer", lambda *_: NOBODY)
    secret = written(tmp_path / ".config" / "gh-token", "ghp_0123456789abcdefghij")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with Thief([port]) as thief:
        thief.wait_until_it_listens()
        forged = ready_file(tmp_path, secret, f"http://127.0.0.1:{port}")
        assert main(["status", "--ready-file", str(forged)]) == 2
        assert "which is not used" in capsys.readouterr().err
        forged = ready_file(tmp_path, token_file, f"http://127.0.0.1:{port}")
        assert main(["status", "--ready-file", str(forged)]) == 2
        assert "another user listens there" in capsys.readouterr().err
        thief.wait_until_clients_left()
        assert not thief.got


def test_a_file_of_a_service_is_believed(tmp_path: Path, token_file: Path) -> None:
    assert read_ready_file(ready_file(tmp_path, token_file)) == ReadyService(URL, token_file)
    assert read_ready_file(ready_file(tmp_path, None)) == ReadyService(URL, None)
    assert read_ready_file(ready_file(tmp_path, None), token_file) == ReadyService(URL, None)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def long(path: Path) -> None:
    path.write_text(" " * MAX_BYTES + path.read_text())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (link, "it is a symbolic link"),
        (pipe, "it is not a regular file"),
        (folder, "it is not a regular file"),
        (lambda path: path.chmod(0o646), "others may change or read it"),
        (lambda path: path.chmod(0o620), "others may change or read it"),
        (long, "names no service"),
    ],
    ids=["link", "pipe", "folder", "world", "group", "long"],
)
def test_a_file_that_others_may_have_written_is_not_believed(
    tmp_path: Path, token_file: Path, changed: Callable[[Path], object], why: str
) -> None:
    path = ready_file(tmp_path, token_file)
    changed(path)
    with pytest.raises(InvalidInput, match=why):
        read_ready_file(path)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (lambda path: path.rename(path.with_name("id_ed25519")), "not the file 'token' of a data folder"),
        (lambda path: path.unlink(), "cannot be found"),
        (link, "not a regular file"),
        (lambda path: path.chmod(0o640), r"others may change or read it \(mode 0640\)"),
        (lambda path: path.parent.chmod(0o755), r"of its folder, others may change or read it \(mode 0755\)"),
    ],
    ids=["name", "gone", "link", "mode", "folder"],
)
def test_only_the_token_of_a_data_folder_is_sent_unless_the_user_chose_another(
    tmp_path: Path, token_file: Path, changed: Callable[[Path], object], why: str
) -> None:
    result = changed(token_file)
    named = result if isinstance(result, Path) else token_file
    path = ready_file(tmp_path, named)
    with pytest.raises(InvalidInput, match=f"{why}.*--token-file"):
        read_ready_file(path)
    assert read_ready_file(path, named) == ReadyService(URL, named)


def test_what_belongs_to_another_user_is_not_believed(
    tmp_path: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ready_file(tmp_path, token_file)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(InvalidInput, match=rf"it belongs to another user \(uid {uid}\).*--url"):
        read_ready_file(path)
