"""Bundles as strangers may make them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest

from tests import models
from workbench.core.bundle import MODEL_MEMBER, SPEC_MEMBER, TOKENIZER_MEMBER, BundleSpec, TextSpec, write_bundle
from workbench.errors import ModelError, UntrustedModel
from workbench.repository.store import ModelStore
from workbench.repository.validate import inspect_model

SPEC = BundleSpec(
    task="text-classification",
    inputs=("input_ids",),
    outputs=("logits",),
    labels=("a", "b"),
    text=TextSpec(max_length=8, pad_id=None),
)


def bundle(folder: Path, model: onnx.ModelProto | None = None, spec: BundleSpec = SPEC, tokenizer: str = "{}") -> Path:
    (folder / "inner.onnx").write_bytes((model or models.mlp()).SerializeToString())
    write_bundle(folder / "m.bundle", spec, folder / "inner.onnx", tokenizer)
    return folder / "m.bundle"


def test_it_is_known_by_its_first_bytes_and_has_one_digest(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    store = ModelStore(tmp_path / "store")
    stored = store.add_bytes(path.read_bytes())
    assert stored.path.name == "model.bundle"
    assert store.add_bytes(bundle(tmp_path).read_bytes()).digest == stored.digest
    found = inspect_model(path)
    assert found.operators == inspect_model(models.save(models.mlp(), tmp_path / "m.onnx")).operators
    assert found.graph.labels == {"scores": ("a", "b")}


def test_a_graph_that_names_data_in_another_file_is_refused(tmp_path: Path) -> None:
    model = models.mlp()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="shadow")
    with pytest.raises(UntrustedModel, match="names data in another file"):
        inspect_model(bundle(tmp_path, model))
    tensor.external_data[0].value = "/etc/shadow"
    with pytest.raises(UntrustedModel, match="outside the model's folder"):
        inspect_model(bundle(tmp_path, model))


def _members(write: Callable[[zipfile.ZipFile], object]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(SPEC_MEMBER, msgspec.json.encode(SPEC))
            write(file)

    return make


def _compressed(file: zipfile.ZipFile) -> None:
    file.writestr(MODEL_MEMBER, bytes(10_000), zipfile.ZIP_DEFLATED)


def _more(file: zipfile.ZipFile) -> None:
    file.writestr(MODEL_MEMBER, b"x")
    file.writestr("../evil", b"x")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_members(_compressed), "stored as they are, not compressed"),
        (_members(_more), "a bundle holds"),
        (_members(lambda file: None), "a bundle holds"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(26) + SPEC_MEMBER.encode()), "no bundle, or a corrupt"),
    ],
)
def test_another_zip_is_refused(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    make(tmp_path / "m.bundle")
    with pytest.raises(ModelError, match=said):
        inspect_model(tmp_path / "m.bundle")


def test_one_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="corrupt or truncated"):
        inspect_model(path)


def test_a_member_that_lies_about_its_place_reads_no_more_than_the_file(tmp_path: Path) -> None:
    path = bundle(tmp_path)
    data = bytearray(path.read_bytes())
    entry = data.rindex(TOKENIZER_MEMBER.encode()) - 46
    data[entry + 20 : entry + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match="larger than the file"):
        inspect_model(path)


@pytest.mark.parametrize(
    "spec",
    [
        msgspec.structs.replace(SPEC, labels=()),
        msgspec.structs.replace(SPEC, inputs=("pixel_values",)),
        msgspec.structs.replace(SPEC, outputs=("a", "b")),
        msgspec.structs.replace(SPEC, text=None),
        msgspec.structs.replace(SPEC, text=TextSpec(max_length=-1, pad_id=0)),
        msgspec.structs.replace(SPEC, text=TextSpec(max_length=1, pad_id=2**40)),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(tmp_path: Path, spec: BundleSpec) -> None:
    with pytest.raises(ModelError, match="contradicts itself"):
        inspect_model(bundle(tmp_path, spec=spec))
