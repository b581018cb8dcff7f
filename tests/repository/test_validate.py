from __future__ import annotations

import os
import random
from pathlib import Path

import onnx
import pytest

from tests import models
from workbench.errors import ModelError, UntrustedModel
from workbench.repository import onnx_file
from workbench.repository.validate import inspect_model, validate_model


def model_at(folder: Path, proto: onnx.ModelProto) -> Path:
    return models.save(proto, folder / "model.onnx")


def weights_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(models.EXTERNAL_WEIGHTS.tobytes())
    return path


def test_what_a_model_is_can_be_told_from_its_file(tmp_path: Path) -> None:
    path = model_at(tmp_path, models.mlp())
    found = validate_model(path, tmp_path)
    assert found.path == path
    assert found.size_bytes == path.stat().st_size
    assert found.external_files == ()
    assert found.opset == models.OPSET
    assert found.operators == {"Gemm", "Relu"}


def test_operators_of_other_domains_and_of_subgraphs_are_named(tmp_path: Path) -> None:
    assert inspect_model(model_at(tmp_path, models.unsupported_operator())).operators == {"example.unknown:Frobnicate"}
    assert {"If", "Add", "Constant"} <= inspect_model(model_at(tmp_path, models.branch())).operators
    assert {"local:Increment", "Add"} <= inspect_model(model_at(tmp_path, models.function_call())).operators


def test_external_data_counts_into_size_and_digest(tmp_path: Path) -> None:
    path = models.save_external(tmp_path / "model.onnx", "sub/weights.bin")
    found = validate_model(path, tmp_path)
    assert found.external_files == (Path("sub/weights.bin"),)
    assert found.size_bytes == path.stat().st_size + 16
    (tmp_path / "sub/weights.bin").write_bytes(b"\1" * 16)
    assert validate_model(path, tmp_path).digest != found.digest


def test_the_identity_leaves_metadata_out_and_nothing_else(tmp_path: Path) -> None:
    proto = models.branch()
    plain = inspect_model(model_at(tmp_path, proto)).identity
    places = [proto, proto.graph, proto.graph.node[0], proto.graph.initializer[0], proto.graph.input[0]]
    places.append(proto.graph.node[2].attribute[0].g.node[0])
    for place in places:
        place.metadata_props.add(key="exported", value="yesterday")
        assert inspect_model(model_at(tmp_path, proto)).identity == plain
    proto.graph.node[0].name = "renamed"
    assert inspect_model(model_at(tmp_path, proto)).identity != plain


def test_metadata_stays_in_the_file(tmp_path: Path) -> None:
    proto = models.identity()
    proto.metadata_props.add(key="author", value="somebody")
    path = model_at(tmp_path, proto)
    inspect_model(path)
    assert onnx.load(path).metadata_props[0].value == "somebody"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello world, this is no model", "no ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no ONNX model"),
        (b"\x0a\x03abc", "no ONNX model"),
        (models.mlp().SerializeToString()[:-50], "truncated"),
        (models.nested(60), "nested too deep"),
        (models.nested(10_000), "nested too deep"),
    ],
    ids=["empty", "text", "png", "another protobuf", "truncated", "60 graphs deep", "10000 graphs deep"],
)
def test_a_file_that_is_no_model_is_refused_with_the_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        validate_model(path, tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_a_model_without_an_opset_is_refused(tmp_path: Path) -> None:
    proto = models.identity()
    del proto.opset_import[:]
    with pytest.raises(ModelError, match="opset"):
        inspect_model(model_at(tmp_path, proto))


def test_a_file_too_large_for_protobuf_says_to_use_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(onnx_file.PROTOBUF_MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(ModelError, match="save_as_external_data=True"):
        validate_model(path, tmp_path)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        inspect_model(tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="no regular file"):
        inspect_model(tmp_path)


@pytest.mark.parametrize("place", models.external_everywhere("x"))
def test_data_outside_the_folder_is_found_wherever_it_hides(tmp_path: Path, place: str) -> None:
    weights_at(tmp_path / "secret.bin")
    folder = tmp_path / "model"
    weights_at(folder / "weights.bin")
    path = model_at(folder, models.external_everywhere("../secret.bin")[place])
    with pytest.raises(UntrustedModel, match="outside the model's folder"):
        validate_model(path, tmp_path)


@pytest.mark.parametrize("place", models.external_everywhere("x"))
def test_data_inside_the_folder_is_counted_wherever_it_hides(tmp_path: Path, place: str) -> None:
    weights_at(tmp_path / "weights.bin")
    weights_at(tmp_path / "more.bin")
    path = model_at(tmp_path, models.external_everywhere("more.bin")[place])
    assert Path("more.bin") in validate_model(path, tmp_path).external_files


@pytest.mark.parametrize(
    "location",
    [
        "../weights.bin",
        "sub/../../weights.bin",
        "/etc/hostname",
        "C:\\Windows\\win.ini",
        "C:weights.bin",
        "\\\\server\\share",
        "..\\weights.bin",
        "",
        ".",
        "weights.bin\0",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_a_location_that_is_not_plainly_inside_is_refused(tmp_path: Path, location: str) -> None:
    weights_at(tmp_path / "weights.bin")
    folder = tmp_path / "model"
    weights_at(folder / "sub" / "weights.bin")
    with pytest.raises(UntrustedModel):
        validate_model(model_at(folder, models.external(location)), tmp_path)


def test_data_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    secret = weights_at(tmp_path / "secret.bin")
    folder = tmp_path / "model"
    path = model_at(folder, models.external())
    (folder / "weights.bin").symlink_to(secret)
    with pytest.raises(UntrustedModel, match="symbolic link"):
        validate_model(path, tmp_path)


def test_data_behind_a_linked_folder_is_refused(tmp_path: Path) -> None:
    weights_at(tmp_path / "secrets" / "weights.bin")
    folder = tmp_path / "model"
    path = model_at(folder, models.external("sub/weights.bin"))
    (folder / "sub").symlink_to(tmp_path / "secrets")
    with pytest.raises(UntrustedModel, match="symbolic link"):
        validate_model(path, tmp_path)


def test_even_a_symbolic_link_that_stays_inside_is_refused_for_data(tmp_path: Path) -> None:
    path = model_at(tmp_path, models.external())
    weights_at(tmp_path / "real.bin")
    (tmp_path / "weights.bin").symlink_to(tmp_path / "real.bin")
    with pytest.raises(UntrustedModel, match="symbolic link"):
        validate_model(path, tmp_path)


def test_links_in_a_circle_and_links_to_nothing_are_refused(tmp_path: Path) -> None:
    path = model_at(tmp_path, models.external())
    (tmp_path / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(UntrustedModel):
        validate_model(path, tmp_path)
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "weights.bin").symlink_to(tmp_path / "nothing")
    with pytest.raises(UntrustedModel):
        validate_model(path, tmp_path)


def test_data_that_is_a_hard_link_is_refused(tmp_path: Path) -> None:
    secret = weights_at(tmp_path / "secret.bin")
    folder = tmp_path / "model"
    path = model_at(folder, models.external())
    os.link(secret, folder / "weights.bin")
    with pytest.raises(UntrustedModel, match="hard link"):
        validate_model(path, tmp_path)


def test_data_that_is_a_pipe_or_a_folder_is_refused(tmp_path: Path) -> None:
    path = model_at(tmp_path, models.external())
    (tmp_path / "weights.bin").mkdir()
    with pytest.raises(UntrustedModel, match="no regular file"):
        validate_model(path, tmp_path)
    (tmp_path / "weights.bin").rmdir()
    os.mkfifo(tmp_path / "weights.bin")
    with pytest.raises(UntrustedModel, match="no regular file"):
        validate_model(path, tmp_path)


def test_missing_data_says_which_file_belongs_beside_the_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"weights\.bin.*not beside the model"):
        validate_model(model_at(tmp_path, models.external()), tmp_path)


@pytest.mark.parametrize(("offset", "length"), [(0, 17), (16, 1), (1, 16), (10**18, 10**18)])
def test_data_that_ends_beyond_its_file_is_truncated(tmp_path: Path, offset: int, length: int) -> None:
    weights_at(tmp_path / "weights.bin")
    path = model_at(tmp_path, models.external(offset=offset, length=length))
    with pytest.raises(ModelError, match="truncated"):
        validate_model(path, tmp_path)


@pytest.mark.parametrize("text", ["-1", "1e3", "", " 4", "0x10", "9" * 30, "१"])
@pytest.mark.parametrize("key", ["offset", "length"])
def test_an_offset_that_is_no_whole_number_is_refused(tmp_path: Path, key: str, text: str) -> None:
    weights_at(tmp_path / "weights.bin")
    proto = models.external()
    proto.graph.initializer[0].external_data.add(key=key, value=text)
    with pytest.raises(ModelError, match="whole number"):
        validate_model(model_at(tmp_path, proto), tmp_path)


@pytest.mark.parametrize("location", ["a" * 300, "a/" * 5000 + "b", "weights.bin/x"])
def test_a_location_that_no_system_could_name_is_just_not_there(tmp_path: Path, location: str) -> None:
    weights_at(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="not beside the model"):
        validate_model(model_at(tmp_path, models.external(location)), tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for proto, name in ((models.external("weights"), b"weights"), (models.unsupported_operator(), b"Frobnicate")):
        path.write_bytes(proto.SerializeToString().replace(name, b"\xff" * len(name)))
        with pytest.raises(ModelError, match="not UTF-8"):
            validate_model(path, tmp_path)


def test_no_damage_to_a_file_brings_anything_but_a_model_error(tmp_path: Path) -> None:
    weights_at(tmp_path / "weights.bin")
    generator = random.Random(0)
    seeds = [proto.SerializeToString() for proto in (models.branch(), *models.external_everywhere("x").values())]
    refused = 0
    for _ in range(1500):
        content = bytearray(generator.choice(seeds))
        for _ in range(generator.choice((1, 2, 5))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        try:
            inspect_model(path)
        except ModelError:
            refused += 1
    assert refused > 500


def test_a_location_given_twice_is_refused_since_readers_differ_on_which_one_counts(tmp_path: Path) -> None:
    weights_at(tmp_path / "weights.bin")
    proto = models.external()
    proto.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    with pytest.raises(UntrustedModel, match="twice"):
        validate_model(model_at(tmp_path, proto), tmp_path)


def test_a_model_file_linked_from_outside_its_root_is_refused(tmp_path: Path) -> None:
    outside = model_at(tmp_path / "outside", models.mlp())
    root = tmp_path / "root"
    root.mkdir()
    (root / "soft.onnx").symlink_to(outside)
    os.link(outside, root / "hard.onnx")
    with pytest.raises(UntrustedModel, match="leads out"):
        validate_model(root / "soft.onnx", root)
    with pytest.raises(UntrustedModel, match="hard link"):
        validate_model(root / "hard.onnx", root)


def test_a_model_file_linked_within_its_root_is_served(tmp_path: Path) -> None:
    real = model_at(tmp_path / "v1", models.mlp())
    (tmp_path / "current.onnx").symlink_to(real)
    assert validate_model(tmp_path / "current.onnx", tmp_path).path == real


def test_what_a_model_is_made_of_is_counted(tmp_path: Path) -> None:
    graph = inspect_model(model_at(tmp_path, models.mlp((16, 32, 16)))).graph
    assert graph.operators == {"Gemm": 2, "Relu": 1}
    assert graph.parameters == 16 * 32 + 32 + 32 * 16 + 16
    assert graph.opsets == {"ai.onnx": models.OPSET}
    assert graph.ir_version > 0
    assert inspect_model(model_at(tmp_path, models.branch())).graph.operators["Add"] == 2


@pytest.mark.parametrize("dims", [[-5], [2**62, 2], [2**49], [2] * 65], ids=["negative", "overflow", "huge", "65 axes"])
def test_a_shape_that_no_tensor_has_is_refused(tmp_path: Path, dims: list[int]) -> None:
    proto = models.mlp()
    weights = proto.graph.initializer[0]
    del weights.dims[:]
    weights.dims.extend(dims)
    with pytest.raises(ModelError, match="has a shape that no tensor has"):
        inspect_model(model_at(tmp_path, proto))


def test_a_git_lfs_pointer_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(ModelError, match=r"Git LFS pointer, not the model: fetch the model with `git lfs pull`"):
        inspect_model(path)


def test_who_wrote_a_model_is_told_in_its_own_words(tmp_path: Path) -> None:
    proto = models.identity()
    proto.producer_name, proto.producer_version = "a  tool\n", "1.2"
    assert inspect_model(model_at(tmp_path, proto)).graph.producer == "a tool 1.2"


def test_a_zipmap_is_told_as_it_is_run_with_its_keys_as_labels(tmp_path: Path) -> None:
    path = model_at(tmp_path, models.zipmap(("cat", "dog")))
    before = path.read_bytes()
    found = inspect_model(path)
    assert found.graph.labels == {"chances": ("cat", "dog")}
    assert found.graph.operators == {"ArgMax": 1, "Identity": 1}
    assert found.digest != inspect_model(model_at(tmp_path, models.zipmap(("cat", "cow")))).digest
    assert inspect_model(model_at(tmp_path / "again", models.zipmap(("cat", "dog")))).digest == found.digest
    assert before == (tmp_path / "again" / "model.onnx").read_bytes()
