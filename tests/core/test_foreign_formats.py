from __future__ import annotations

import gzip
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import torch
import xgboost
from safetensors.torch import save_file

from tests.models import add_constant, ort_format, save
from workbench.core.foreign_formats import HEAD_BYTES, foreign
from workbench.core.pipeline_document import MARK

LINEAR = torch.nn.Linear(4, 2)


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return out.getvalue()


def boosted() -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(np.eye(8), [0, 1] * 4)


def ordered() -> catboost.CatBoostClassifier:
    made = catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False, thread_count=1)
    return made.fit(np.eye(8), [0, 1] * 4)


def leaves() -> lightgbm.Booster:
    return lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(np.eye(8), [0, 1] * 4).booster_


WRITERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a.pkl": (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a pickle.*pickle.load"),
    "b.pkl": (lambda path: path.write_bytes(pickle.dumps([1.5], protocol=0)), "is a pickle"),
    "c.joblib": (lambda path: joblib.dump({"a": np.zeros(9)}, path), "is a pickle.*joblib.load"),
    "d.joblib": (lambda path: joblib.dump({"a": np.zeros(9)}, path, compress=3), "is a pickle.*joblib.load"),
    "e.pt": (lambda path: torch.save(LINEAR.state_dict(), path), "a checkpoint of PyTorch.*weights_only=True"),
    "f.pth": (lambda path: torch.save(LINEAR.state_dict(), path, _use_new_zipfile_serialization=False), "of PyTorch"),
    "g.pt2": (
        lambda path: torch.export.save(torch.export.export(LINEAR, (torch.zeros(2, 4),)), path),
        "torch.export.load",
    ),
    "h.safetensors": (lambda path: save_file(LINEAR.state_dict(), path), "weights of a model, without the model"),
    "i.keras": (lambda path: path.write_bytes(zipped("metadata.json", "config.json")), "is a model of Keras"),
    "j.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), r"alone \(.weights.h5\), make the model"),
    "k.gguf": (lambda path: path.write_bytes(b"GGUF\x03\0\0\0" + bytes(64)), "llama.cpp"),
    "l.tflite": (lambda path: path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64)), "TensorFlow Lite.*tf2onnx"),
    "m.npz": (lambda path: np.savez(path, a=np.zeros(3)), "arrays of NumPy"),
    "n.gz": (lambda path: path.write_bytes(gzip.compress(b"model")), "packed with gzip; unpack it"),
    "o.html": (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "web page"),
    "q.pt": (lambda path: torch.save(LINEAR, path), "a whole module.*weights_only=False.*%infer load NAME module"),
    "r.pt": (lambda path: torch.save(LINEAR, path, _use_new_zipfile_serialization=False), "a whole module"),
    "s.pt": (lambda path: torch.save({"model": LINEAR.state_dict()}, path), "a checkpoint of PyTorch"),
    "t.pt": (lambda path: path.write_bytes(zipped("t/data/0", "t/data.pkl")), "TorchScript.*torch.jit.load"),
    "u.json": (lambda path: boosted().save_model(path), "of XGBoost.*load_model.*%infer load NAME model"),
    "v.ubj": (lambda path: boosted().save_model(path), "of XGBoost"),
    "w.cbm": (lambda path: ordered().save_model(str(path)), "of CatBoost.*load_model"),
    "x.json": (lambda path: ordered().save_model(str(path), format="json"), "of CatBoost.*format='json'"),
    "y.txt": (lambda path: leaves().save_model(str(path)), "of LightGBM.*lightgbm.Booster"),
    "z.csv": (lambda path: path.write_text("age;city\n31;Bern\n40;Rom\n"), "a table.*%infer predict NAME"),
    "p.lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_another_kind_is_known_by_what_is_in_it(tmp_path: Path, name: str) -> None:
    write, said = WRITERS[name]
    path = tmp_path / name
    write(path)
    head = path.read_bytes()[:HEAD_BYTES]
    assert re.search(said, foreign(head, name))
    if name != "b.pkl":  # a pickle of protocol 0 is plain text
        assert foreign(head, "model.onnx")
    assert foreign(b"", name) or path.suffix in (".gz", ".html", ".lfs")


def test_what_is_served_is_of_no_other_kind_whatever_it_is_called(tmp_path: Path) -> None:
    onnx = save(add_constant(1.0), tmp_path / "m.onnx").read_bytes()
    for name in ("m.onnx", "m.pt", "m", "m.bin"):
        assert foreign(onnx[:HEAD_BYTES], name) == ""
    assert foreign(ort_format(add_constant(1.0), tmp_path / "m.ort").read_bytes()[:HEAD_BYTES], "m.ort") == ""
    assert foreign(zipped("model.onnx", "weights.bin"), "m.zip") == ""
    assert foreign(b"", "m.onnx.part") == "is a download that has not ended; wait for it, or begin it again"
    assert foreign(b"") == ""
    for text in (MARK, b'{"a": [1, 2]}\n{"a": 3}\n', b"one line, of text", b"1,2\n3,4\n5,6\n", b"\x00a,b\n1,2\n3,4\n"):
        assert foreign(text) == ""


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was opened')",)


def test_nothing_in_a_pickle_is_run() -> None:
    assert "never opened" in foreign(pickle.dumps(_Bomb()), "m.onnx")
