from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workbench.convert.export_folder import discard, export_folder

_KERNEL = """
from workbench.convert.export_folder import export_folder
with export_folder() as folder:
    (folder / "model.onnx.data").write_bytes(b"weights")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make_old(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_a_folder_is_its_takers_and_is_deleted_where_the_export_fails(temporary: Path) -> None:
    with export_folder() as kept:
        (kept / "model.onnx").write_bytes(b"graph")
    assert (kept / "model.onnx").exists()
    with pytest.raises(ValueError, match="no such operator"), export_folder():
        raise ValueError("no such operator")
    assert list(temporary.iterdir()) == [kept]
    discard(kept)
    assert not list(temporary.iterdir())


def test_what_a_killed_kernel_left_is_deleted_by_the_next_export_and_nothing_that_is_in_use(temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [sys.executable, "-c", _KERNEL], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        theirs = Path(kernel.stdout.readline().strip())
        with export_folder() as ours, export_folder() as second:
            for each in (theirs, ours):
                make_old(each)
            with export_folder() as third:
                assert {theirs, ours, second, third} == set(temporary.iterdir())
            kernel.kill()
            kernel.wait()
            with export_folder() as fourth:
                assert {ours, second, third, fourth} == set(temporary.iterdir())
    for each in (ours, second, third, fourth):
        discard(each)


def test_links_and_folders_of_other_names_are_left_alone(temporary: Path) -> None:
    (temporary / "mine").mkdir()
    (temporary / "workbench-export-link").symlink_to(temporary / "mine")
    (temporary / "workbench-export-file").write_bytes(b"")
    for each in temporary.iterdir():
        os.utime(each, (0, 0), follow_symlinks=False)
    with export_folder() as folder:
        assert len(list(temporary.iterdir())) == 4
    discard(folder)
