from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from workbench.errors import InvalidInput, StorageError
from workbench.rendezvous import parent_folders
from workbench.rendezvous.atomic_files import write_private
from workbench.rendezvous.token_file import read_token
from workbench.server.process.token_files import load_or_create_token, private_folder, write_ready_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_folder_is_closed_to_others(tmp_path: Path) -> None:
    assert mode(private_folder(tmp_path / "a" / "b")) == 0o700
    (tmp_path / "open").mkdir(mode=0o755)
    assert mode(private_folder(tmp_path / "open")) == 0o700


def test_a_data_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(StorageError, match=rf"belongs to another user \(uid {uid}\).*--data-dir"):
        private_folder(tmp_path / "data")
    assert mode(tmp_path / "data") == 0o755


def test_a_data_folder_into_which_a_stranger_has_put_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "state.sqlite").touch()
    lstat, uid = Path.lstat, os.geteuid()

    def strangers(path: Path) -> os.stat_result:
        found = lstat(path)
        if path.name != "state.sqlite":
            return found
        return os.stat_result((*found[: stat.ST_UID], uid + 1, *found[stat.ST_UID + 1 :]))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", strangers)
        with pytest.raises(StorageError, match=r"one of them has put 'state.sqlite' there: remove that"):
            private_folder(folder)
    assert mode(private_folder(folder)) == 0o700  # all in it is the user's


@pytest.mark.parametrize("above", [0o777, 0o772])
def test_a_data_folder_that_strangers_could_put_another_in_place_of_is_refused(tmp_path: Path, above: int) -> None:
    (tmp_path / "above" / "more").mkdir(parents=True)
    (tmp_path / "above").chmod(above)
    with pytest.raises(StorageError, match=f"others can write {tmp_path / 'above'} .*chmod o-w"):
        private_folder(tmp_path / "above" / "more" / "data")
    (tmp_path / "above").chmod(above | stat.S_ISVTX)  # as /tmp is
    private_folder(tmp_path / "above" / "more" / "data")


def test_a_group_may_write_above_a_data_folder_only_if_it_is_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "above").mkdir()
    (tmp_path / "above").chmod(0o770)
    private_folder(tmp_path / "above" / "data")
    monkeypatch.setattr(parent_folders, "own_groups", lambda: (4711,))
    with pytest.raises(StorageError, match=f"a group can write {tmp_path / 'above'}"):
        private_folder(tmp_path / "above" / "data")


def test_folders_above_the_users_home_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    tmp_path.chmod(0o777)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    private_folder(tmp_path / "home" / "data")


def test_a_user_without_a_home_can_have_a_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a uid that has no entry in /etc/passwd
    with pytest.raises(RuntimeError):
        Path.home()
    assert private_folder(tmp_path / "data") == tmp_path / "data"


def test_a_token_file_that_others_can_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "my token"
    path.write_text("my-own-token-0123456789\n")
    for bits, who in ((0o604, "others"), (0o644, "others"), (0o620, "its group")):
        path.chmod(bits)
        with pytest.raises(InvalidInput, match=rf"{who} can read or write .* chmod 600 '{path}'"):
            read_token(path)
    path.chmod(0o400)
    assert read_token(path) == "my-own-token-0123456789"


def test_a_token_file_of_another_user_is_refused_but_roots_may_be_read_by_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts a secret for a container that is not root: `defaultMode: 0440` with an `fsGroup`."""
    path = tmp_path / "..data"
    path.write_text("my-own-token-0123456789\n")
    (tmp_path / "token").symlink_to(path)
    for owner, bits, refusal in (
        (0, 0o440, ""),
        (0, 0o444, "others can read or write"),
        (0, 0o460, "its group can read or write"),
        (4711, 0o400, r"belongs to another user \(uid 4711\)"),
    ):
        path.chmod(bits)
        found = path.stat()
        as_owned = os.stat_result((*found[: stat.ST_UID], owner, *found[stat.ST_UID + 1 :]))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", lambda descriptor, as_owned=as_owned: as_owned)
            patch.setattr(os, "geteuid", lambda: 1000)
            if refusal:
                with pytest.raises(InvalidInput, match=refusal):
                    read_token(tmp_path / "token")
            else:
                assert read_token(tmp_path / "token") == "my-own-token-0123456789"


def test_a_pipe_in_the_place_of_a_token_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    with pytest.raises(InvalidInput, match="no regular file"):
        read_token(tmp_path / "token")


def test_the_token_that_a_stranger_left_in_the_data_folder_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, path = load_or_create_token(tmp_path)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert load_or_create_token(tmp_path, known=token)[0] != token
    assert path.read_text().strip() != token


def test_a_running_services_token_is_written_back_only_where_its_file_is_gone(tmp_path: Path) -> None:
    token, path = load_or_create_token(tmp_path)
    path.unlink()
    assert load_or_create_token(tmp_path, known=token) == (token, path)
    path.chmod(0o644)
    replaced, _ = load_or_create_token(tmp_path, known=token)
    assert replaced != token


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
