"""Zips, folders and repositories that are given to load, hostile ones among them."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.models import add_constant, external, save, save_external
from workbench.engine.sources import Sources
from workbench.errors import InvalidInput, ModelError, TooLarge, UntrustedModel, WorkbenchError
from workbench.repository import zipped_model
from workbench.repository.store import ModelStore


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "store")


@pytest.fixture
def sources(store: ModelStore) -> Sources:
    return Sources(store, [])


def packed(path: Path, folder: Path, prefix: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*")):
            archive.write(each, f"{prefix}{each.relative_to(folder).as_posix()}")
    return path


@pytest.mark.parametrize("prefix", ["", "resnet/", "outer/resnet/"])
def test_a_zip_of_a_model_and_its_data_is_the_model(
    store: ModelStore, sources: Sources, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "in").mkdir()
    path = save_external(tmp_path / "in" / "resnet.onnx", "weights/w.bin")
    plain = sources.find("m", path).source
    archive = packed(tmp_path / "m.zip", tmp_path / "in", prefix)
    assert sources.find("m", archive).source.digest == plain.digest
    with store.begin() as upload:
        upload.write(archive.read_bytes())
        assert upload.finish().digest == plain.digest
    assert [each.name for each in store.root.iterdir()] == [plain.digest]


def test_a_zip_of_a_folder_keeps_its_settings_and_its_version(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "in" / "7").mkdir(parents=True)
    save(add_constant(1.0), tmp_path / "in" / "7" / "model.onnx")
    (tmp_path / "in" / "config.pbtxt").write_text("max_batch_size: 5")
    for prefix in ("", "m/"):
        found = sources.find("m", packed(tmp_path / "m.zip", tmp_path / "in", prefix))
        assert found.version == "7"
        assert found.config is not None
        assert found.config.max_batch_size == 5


def test_a_folder_with_one_model_of_any_name_and_a_repository_are_models(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "my export").mkdir()
    save_external(tmp_path / "my export" / "resnet.onnx", "resnet.onnx.data")
    assert sources.find("m", tmp_path / "my export").source.operators == {"Add"}
    for name, amount in (("a", 1.0), ("b", 2.0)):
        (tmp_path / "repo" / name / "3").mkdir(parents=True)
        save(add_constant(amount), tmp_path / "repo" / name / "3" / "model.onnx")
        if name == "a":
            assert sources.find("other", tmp_path / "repo").version == "3"
    alone = sources.find("b", tmp_path / "repo" / "b").source
    assert sources.find("b", tmp_path / "repo").source.digest == alone.digest
    with pytest.raises(InvalidInput, match="'repo' is a repository of a, b, and none of these is called 'c'"):
        sources.find("c", tmp_path / "repo")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a.onnx", "b.onnx"], "holds several models, a.onnx, b.onnx; load one"),
        (["config.json", "model.safetensors"], "'model.safetensors' has the weights of a model, without the model"),
        (["saved_model.pb"], "'saved_model.pb' is a model of TensorFlow"),
        (["model.onnx.part"], "'model.onnx.part' is a download that has not ended"),
        (["readme.txt"], "holds no model.onnx"),
    ],
)
def test_a_folder_without_a_model_says_what_it_holds(
    sources: Sources, tmp_path: Path, files: list[str], message: str
) -> None:
    (tmp_path / "in").mkdir()
    for name in files:
        (tmp_path / "in" / name).write_bytes(b"x")
    with pytest.raises(WorkbenchError, match=message):
        sources.find("m", tmp_path / "in")


def test_a_folder_whose_data_are_still_missing_says_so(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save(external("big.data"), tmp_path / "in" / "big.onnx")
    with pytest.raises(ModelError, match=r"'big\.data' that is not beside the model"):
        sources.find("m", tmp_path / "in")


def member(name: str, kind: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o644) << 16
    return info


def written(*members: tuple[zipfile.ZipInfo, bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for info, data in members:
                archive.writestr(info, data, zipfile.ZIP_DEFLATED)

    return write


def _bzip2(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("model.onnx", b"x")


def _cut(path: Path) -> None:
    written((member("model.onnx"), bytes(range(256)) * 64))(path)
    path.write_bytes(path.read_bytes()[:-40])


def _lying(path: Path) -> None:
    """Of a member that says it has 1 byte, and has 100,000."""
    written((member("model.onnx"), bytes(100_000)))(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 100_000), struct.pack("<I", 1)))


HOSTILE: dict[str, tuple[Callable[[Path], None], type[WorkbenchError], str]] = {
    "up": (written((member("../up.onnx"), b"x")), UntrustedModel, "outside the folder"),
    "far up": (written((member("a/b/../../../up.onnx"), b"x")), UntrustedModel, "outside the folder"),
    "absolute": (written((member("/tmp/up.onnx"), b"x")), UntrustedModel, "outside the folder"),
    "a drive": (written((member("C:/up.onnx"), b"x")), UntrustedModel, "outside the folder"),
    "a backslash": (written((member("..\\up.onnx"), b"x")), UntrustedModel, "outside the folder"),
    "a link": (written((member("model.onnx", stat.S_IFLNK), b"/etc/passwd")), UntrustedModel, "is a link"),
    "a pipe": (written((member("model.onnx", stat.S_IFIFO), b"")), UntrustedModel, "is a link or a device"),
    "twice": (written((member("m.onnx"), b"x"), (member("m.onnx"), b"y")), UntrustedModel, "'m.onnx' twice"),
    "a file as folder": (written((member("m"), b"x"), (member("m/n"), b"y")), UntrustedModel, "a file and a folder"),
    "a long name": (written((member("x" * 5000), b"x")), ModelError, "name is too long"),
    "bzip2": (_bzip2, ModelError, "is packed in a way that is not read"),
    "cut": (_cut, ModelError, "cannot be unpacked"),
    "lying": (_lying, ModelError, "cannot be unpacked"),
    "deep": (written((member("a/" * 17 + "model.onnx"), b"x")), UntrustedModel, "more than 16 folders inside each"),
    "many folders": (
        written(*((member(f"{number}/a/b/c/d/e/f/g/h/i/j/k/"), b"") for number in range(90))),
        UntrustedModel,
        "more than 1000 folders",
    ),
    "no model": (written((member("readme.txt"), b"x")), WorkbenchError, "holds no"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_zip_writes_nothing_elsewhere_and_leaves_nothing(
    store: ModelStore, sources: Sources, tmp_path: Path, kind: str
) -> None:
    write, error, message = HOSTILE[kind]
    path = tmp_path / "m.zip"
    write(path)
    with pytest.raises(error, match=message):
        sources.find("m", path)
    with store.begin() as upload:
        upload.write(path.read_bytes())
        with pytest.raises(error, match=message):
            upload.finish()
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["m.zip", "store"]


def test_a_zip_bomb_ends_early(
    store: ModelStore, sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipped_model, "LARGE_BYTES", 1 << 20)
    path = tmp_path / "m.zip"
    written((member("model.onnx"), bytes(8 << 20)))(path)
    with pytest.raises(UntrustedModel, match="no model packs so well"):
        sources.find("m", path)
    with store.begin(max_bytes=1 << 19) as upload:
        upload.write(path.read_bytes())
        with pytest.raises(TooLarge, match="holds more than 524288 bytes"):
            upload.finish()
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(zipped_model.MAX_MEMBERS + 1):
            archive.writestr(str(number), b"")
    with pytest.raises(ModelError, match="10001 members"):
        sources.find("m", path)
    assert [each.name for each in store.root.iterdir()] == []
