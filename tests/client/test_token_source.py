from __future__ import annotations

from pathlib import Path

from workbench.client.token_source import TokenSource

OLD, NEW = "the-old-token-0123456789", "the-new-token-0123456789"


def written(path: Path, token: str) -> Path:
    path.write_text(token)
    path.chmod(0o600)
    return path


async def test_a_refused_token_is_read_again_and_only_a_different_one_counts(tmp_path: Path) -> None:
    file = written(tmp_path / "token", OLD)
    source = TokenSource(OLD, file)
    assert not await source.renewed(OLD)
    written(file, NEW)
    assert await source.renewed(OLD)
    assert source.token == NEW
    file.unlink()
    assert await source.renewed(OLD)  # another call has read it meanwhile
    assert not await source.renewed(NEW)
    assert source.token == NEW


async def test_without_a_file_or_with_one_that_others_can_read_there_is_no_other_token(tmp_path: Path) -> None:
    assert not await TokenSource(OLD).renewed(OLD)
    file = written(tmp_path / "token", NEW)
    file.chmod(0o644)
    assert not await TokenSource(OLD, file).renewed(OLD)
