from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.token_file import read_token
from workbench.server.process.token_files import load_or_create_token, private_folder, write_ready_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    assert mode(private_folder(tmp_path / "a" / "b")) == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(private_folder(tmp_path / "open")) == 0o700


def test_a_data_folder_that_is_a_file_is_refused_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="data folder cannot be used") as caught:
        private_folder(tmp_path / "file")
    assert str(tmp_path) not in caught.value.message


def test_a_token_is_written_for_its_owner_only_and_kept(tmp_path: Path) -> None:
    token, path = load_or_create_token(tmp_path)
    assert mode(path) == 0o600
    assert len(token) >= 32
    assert load_or_create_token(tmp_path) == (token, path)
    assert os.listdir(tmp_path) == ["token"]


def test_a_token_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    token, path = load_or_create_token(tmp_path)
    path.chmod(0o644)
    replaced, _ = load_or_create_token(tmp_path)
    assert replaced != token
    assert mode(path) == 0o600


def test_a_link_in_the_tokens_place_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("a-token-that-someone-else-knows\n")
    (tmp_path / "elsewhere").chmod(0o600)
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    token, path = load_or_create_token(tmp_path)
    assert token != "a-token-that-someone-else-knows"
    assert not path.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "a-token-that-someone-else-knows\n"


@pytest.mark.parametrize("text", ["", "short", "two words that are long enough", "x" * 600, "naïve-token-naïve-token"])
def test_a_token_file_that_holds_no_token_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(InvalidInput, match="token file must hold one token"):
        read_token(tmp_path / "token")


def test_a_token_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        read_token(tmp_path / "token")


def test_the_ready_file_appears_whole_and_private(tmp_path: Path) -> None:
    write_ready_file(tmp_path / "ready.json", {"url": "http://127.0.0.1:1"})
    assert json.loads((tmp_path / "ready.json").read_text()) == {"url": "http://127.0.0.1:1"}
    assert mode(tmp_path / "ready.json") == 0o600
    assert os.listdir(tmp_path) == ["ready.json"]


def test_a_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"'ready\.json' cannot be written: No such file or directory"):
        write_private(tmp_path / "missing" / "ready.json", "{}")
