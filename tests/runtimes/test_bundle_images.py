"""Bundles of images around a graph that answers the mean of each channel."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from workbench.config import ModelConfig
from workbench.core.bundle import BundleSpec, ImageSpec, write_bundle
from workbench.core.ports import Exampled
from workbench.core.tensor import Array
from workbench.engine.warmup import warm_up
from workbench.errors import InvalidInput
from workbench.repository.validate import inspect_model
from workbench.runtimes.bundle_session import BundleSession, open_bundle
from workbench.runtimes.first_run import first_size_that_runs


def path_of(folder: Path, image: ImageSpec) -> Path:
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, None, None])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixel_values"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [pixels], [logits]), ir_version=10, opset_imports=[helper.make_opsetid("", 20)]
    )
    (folder / "inner.onnx").write_bytes(model.SerializeToString())
    spec = BundleSpec(
        task="image-classification",
        inputs=("pixel_values",),
        outputs=("logits",),
        labels=("red", "green", "blue"),
        activation="none",
        image=image,
    )
    write_bundle(folder / "m.bundle", spec, folder / "inner.onnx")
    return folder / "m.bundle"


def opened(folder: Path, image: ImageSpec) -> BundleSession:
    return open_bundle(path_of(folder, image), ModelConfig(device="cpu"))


def asked(session: BundleSession, *files: bytes) -> tuple[list[str], Array]:
    rows = np.empty(len(files), object)
    rows[:] = files
    labels, scores = session.run({"image": rows}, ["label", "scores"])
    return [each.decode() for each in labels], scores


def png(image: Image.Image, **more: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **more)
    return file.getvalue()


def test_the_trial_runs_the_graph_on_pictures_and_its_rows_are_proved_independent(tmp_path: Path) -> None:
    session = opened(tmp_path, ImageSpec(size=(4, 4)))
    assert isinstance(session, Exampled)
    assert first_size_that_runs(session) == (8, "")
    found = warm_up(session, "auto", 4, inspect_model(tmp_path / "m.bundle").graph.batch)
    assert (found.batched, found.evidence, sorted(found.run_s)) == (True, "proved", [1, 2, 4])


def test_each_step_of_the_recipe_is_done_in_its_order(tmp_path: Path) -> None:
    recipe = ImageSpec(size=8, crop=(6, 6), rescale=1 / 255, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 1.0))
    labels, scores = asked(opened(tmp_path, recipe), png(Image.new("RGB", (30, 9), (255, 128, 0))))
    np.testing.assert_allclose(scores, [[1.0, (128 / 255 - 0.5) / 0.25, -0.5]], atol=1e-6)
    assert labels == ["red"]


def test_a_picture_is_turned_as_its_camera_says_and_read_in_colour(tmp_path: Path) -> None:
    session = opened(tmp_path, ImageSpec(crop=(2, 2)))
    pixels = np.zeros((2, 6, 3), np.uint8)
    pixels[0, :3, 2] = 200
    turned = Image.Exif()
    turned[0x0112] = 3
    image = Image.fromarray(pixels)
    plain, around = asked(session, png(image), png(image.rotate(180), exif=turned))[1]
    assert plain.tolist() == around.tolist() == [0, 0, 50]
    assert asked(session, png(Image.new("L", (2, 2), 9)))[1].tolist() == [[9, 9, 9]]
    assert asked(session)[1].shape == (0, 3)


def test_what_is_smaller_than_its_crop_gets_a_black_edge(tmp_path: Path) -> None:
    assert asked(opened(tmp_path, ImageSpec(crop=(4, 4))), png(Image.new("RGB", (2, 2), (16, 0, 0))))[1][0, 0] == 4


def test_pictures_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="different shapes after resizing"):
        asked(opened(tmp_path, ImageSpec()), png(Image.new("L", (2, 2))), png(Image.new("L", (3, 2))))


def test_a_small_file_of_a_huge_picture_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(InvalidInput, match="row 0 is an image of 9000 x 9000; 64000000 pixels are taken at most"):
        asked(opened(tmp_path, ImageSpec(size=(4, 4))), data)


def test_pictures_that_are_small_alone_and_large_together_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = png(Image.new("L", (20, 10)))
    resized, as_they_are = opened(tmp_path, ImageSpec(size=(4, 4))), opened(tmp_path, ImageSpec())
    monkeypatch.setattr("workbench.runtimes.bundle_images.MAX_PIXELS_AT_ONCE", 500)
    monkeypatch.setattr("workbench.runtimes.bundle_images.MAX_PIXELS", 300)
    assert len(asked(resized, file, file)[0]) == 2
    with pytest.raises(InvalidInput, match="the images up to row 2 have 600 pixels; 500 are taken at once"):
        asked(resized, file, file, file[:60])
    with pytest.raises(InvalidInput, match="the images up to row 1 have 400 pixels; 300 are taken at once"):
        asked(as_they_are, file, file)


def test_a_jpeg_file_of_a_thousand_scans_is_not_decoded(tmp_path: Path) -> None:
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(held, "JPEG", progressive=True, exif=b"Exif\0\0" + b"\xff\xda" * 200)
    file = held.getvalue()
    session = opened(tmp_path, ImageSpec(size=(4, 4)))
    assert len(asked(session, file)[0]) == 1
    scan = file.rindex(b"\xff\xda")
    with pytest.raises(InvalidInput, match="row 1 is a JPEG file of 101 scans or more; 100 are taken at most"):
        asked(session, file, file[:scan] + file[scan:-2] * 1000 + file[-2:])


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "ICO"])
def test_other_kinds_of_pictures_are_refused_by_their_row(tmp_path: Path, kind: str) -> None:
    held = io.BytesIO()
    Image.new("RGB", (16, 16)).save(held, kind)
    session = opened(tmp_path, ImageSpec(size=(4, 4)))
    with pytest.raises(InvalidInput, match=r"row 1 is no image that can be read; give the bytes of a JPEG, PNG"):
        asked(session, png(Image.new("L", (2, 2))), held.getvalue())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_no_cut_or_flipped_file_does_more_than_fail(tmp_path: Path, kind: str) -> None:
    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(noise).save(held, kind)
    file = held.getvalue()
    session = opened(tmp_path, ImageSpec(size=(4, 4)))
    rng = np.random.default_rng(1)
    for cut in rng.integers(0, len(file) - 4, 40).tolist():
        with pytest.raises(InvalidInput, match="row 0 is no image that can be read"):
            asked(session, file[:cut])
        broken = bytearray(file)
        broken[cut] ^= 1 << int(rng.integers(8))
        try:
            asked(session, bytes(broken))
        except InvalidInput as error:
            assert error.message.startswith("row 0 is ")
    assert len(asked(session, file)[0]) == 1
