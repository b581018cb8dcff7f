from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.models import add_constant, ort_format, save, save_external
from workbench.client.client import AsyncClient
from workbench.client.export import export
from workbench.convert.load import load
from workbench.errors import Conflict, InvalidInput, ModelNotFound, NotFound, StorageError


async def test_the_file_comes_back_as_it_was_loaded(client: AsyncClient, tmp_path: Path) -> None:
    path = save(add_constant(1.0), tmp_path / "mine.onnx")
    await load(client, "m", path, {})
    card = await export(client, "m", tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()
    assert card["file"] == str(tmp_path / "out.onnx")
    (tmp_path / "folder").mkdir()
    await export(client, "m", tmp_path / "folder")
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["m.onnx"]


async def test_data_beside_the_model_come_too_and_replace_nothing_unasked(client: AsyncClient, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path = save_external(tmp_path / "in" / "big.onnx", "weights/w.bin")
    await load(client, "m", path, {})
    await export(client, "m", tmp_path / "out" / "big.onnx")
    onnx.checker.check_model(tmp_path / "out" / "big.onnx")
    names = ("big.onnx", "weights/w.bin")
    assert all((tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes() for name in names)
    (tmp_path / "out" / "weights" / "w.bin").write_bytes(b"mine")
    with pytest.raises(Conflict, match=r"'w\.bin'.*--force"):
        await export(client, "m", tmp_path / "out" / "big.onnx")
    assert (tmp_path / "out" / "weights" / "w.bin").read_bytes() == b"mine"
    await export(client, "m", tmp_path / "out" / "big.onnx", force=True)
    assert (tmp_path / "out" / "weights" / "w.bin").read_bytes() != b"mine"
    assert not [each for each in (tmp_path / "out").iterdir() if each.name.startswith(".")]


async def test_where_it_cannot_be_written_is_told(client: AsyncClient, tmp_path: Path) -> None:
    await load(client, "ort", ort_format(add_constant(1.0), tmp_path / "mine.ort"), {})
    with pytest.raises(InvalidInput, match=r"stored as \*\.ort"):
        await export(client, "ort", tmp_path / "out.onnx")
    with pytest.raises(InvalidInput, match="no folder"):
        await export(client, "ort", tmp_path / "nowhere" / "out.ort")
    with pytest.raises(ModelNotFound):
        await export(client, "orts", tmp_path / "out.ort")
    with pytest.raises(NotFound, match=r"has no file '\.\./secret'; it has model\.ort"):
        await client.fetch("ort", "1", "../secret", tmp_path / "stolen")
    with pytest.raises(StorageError, match="cannot be written"):
        await export(client, "ort", tmp_path / f"{'x' * 252}.ort")
    assert [each.name for each in tmp_path.iterdir()] == ["mine.ort"]


@pytest.mark.parametrize("name", ["../up.bin", "/etc/up.bin", "a/../../up.bin", "a\\up.bin", "linked/up.bin"])
async def test_a_service_cannot_have_files_written_elsewhere(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await load(client, "m", add_constant(1.0), {})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "linked").symlink_to(tmp_path)

    async def hostile(model: str, version: str) -> dict[str, int]:
        return {"model.onnx": 1, name: 1}

    monkeypatch.setattr(client, "files", hostile)
    with pytest.raises(InvalidInput, match=r"outside its folder|elsewhere"):
        await export(client, "m", tmp_path / "out" / "m.onnx")
    assert not (tmp_path / "up.bin").exists()
