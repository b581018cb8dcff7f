"""Recognises files of models that are not served here, by their content and then by their names, and says what to do.

Nothing of them is opened: a pickle runs what its writer put into it, whoever opens it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from workbench.core.runtime import runtime_of_file

HEAD_BYTES: Final = 512
"""Of a file's beginning, what is looked at."""

_PICKLE = (
    "is a pickle, which is never opened here, since whoever opens one runs what its writer put into it; open it "
    "yourself where you trust it ({how}), and load the object: %infer load NAME obj"
)
_JOBLIB = _PICKLE.format(how="obj = joblib.load(FILE)")
_PLAIN = _PICKLE.format(how="obj = pickle.load(open(FILE, 'rb'))")
_TORCH = (
    "is a checkpoint of PyTorch, a pickle, which is never opened here; make your module, "
    "module.load_state_dict(torch.load(FILE, weights_only=True)), and load the module: %infer load NAME module"
)
_TORCH_MODULE = (
    "is a whole module of PyTorch in a pickle, which is never opened here, since whoever opens one runs what its "
    "writer put into it; open it yourself where you trust it, module = torch.load(FILE, weights_only=False), and load "
    "that: %infer load NAME module --example x"
)
_TORCHSCRIPT = (
    "is a module of TorchScript; module = torch.jit.load(FILE), and load that: %infer load NAME module --example x"
)
_EXPORTED = (
    "is a program of torch.export, which may hold pickles, and torch.export.load opens those without a look; where you "
    "trust it, program = torch.export.load(FILE), and load it: %infer load NAME program"
)
_WEIGHTS = (
    "has the weights of a model, without the model; make the model in its library (transformers: "
    "from_pretrained(FOLDER), torch: module.load_state_dict(load_file(FILE))), and load it: %infer load NAME model"
)
_KERAS = (
    "is a model of Keras; model = keras.saving.load_model(FILE), and load it: %infer load NAME model. Where it holds "
    "weights alone (.weights.h5), make the model first, and model.load_weights(FILE)"
)
_GGUF = "is a language model for llama.cpp, and ONNX models are served here; export the model that it was made from"
_TFLITE = (
    "is a TensorFlow Lite model; convert it (python -m tf2onnx.convert --tflite FILE --output model.onnx --opset 18), "
    "and load the result"
)
_TENSORFLOW = (
    "is a model of TensorFlow; load the SavedModel's folder that it lies in, in a notebook or by jupyter-infer where "
    "tensorflow and tf2onnx are installed: %infer load NAME FOLDER"
)
_ENGINE = "is an engine of TensorRT, for one kind of GPU; load the ONNX file that it was built from"
_BOOSTER = "is a model of {library}; open it ({how}), and load that: %infer load NAME model"
_CATBOOST = _BOOSTER.format(
    library="CatBoost",
    how="model = CatBoost().load_model(FILE), or as it was trained: CatBoostClassifier, CatBoostRegressor",
)
_CATBOOST_JSON = _CATBOOST.replace("(FILE)", "(FILE, format='json')")
_LIGHTGBM = _BOOSTER.format(library="LightGBM", how="model = lightgbm.Booster(model_file=FILE)")
_XGBOOST = _BOOSTER.format(
    library="XGBoost",
    how="model = xgboost.XGBClassifier(); model.load_model(FILE), or as it was trained: XGBRegressor, Booster",
)
_JSON = "is JSON, not a model"
_TABLE = (
    "is a table, not a model; it is what a model is asked with: %infer predict NAME pandas.read_csv(FILE). To serve a "
    "model, train it on the table, and load that: %infer load NAME model"
)
_PARQUET = _TABLE.replace("read_csv", "read_parquet")
_TEXT = "is text, not a model"
_ARRAYS = "holds arrays of NumPy, not a model"
_PACKED = "is packed with {tool}; unpack it, and load the model inside"
_PAGE = "is a web page, not a model: a download from a page's address, where its raw or resolve link was meant"
_OTHER = "is a model of {library}, and ONNX models are served here; export it to ONNX"

_POINTER = "is a Git LFS pointer, not the model: fetch the model with `git lfs pull`"

_MARKS: Final = (
    (b"\x89HDF\r\n\x1a\n", 0, _KERAS),
    (b"GGUF", 0, _GGUF),
    (b"TFL3", 4, _TFLITE),
    (b"ftrt", 0, _ENGINE),
    (b"ptrt", 0, _ENGINE),
    (b"CBM1", 0, _CATBOOST),
    (b"PAR1", 0, _PARQUET),
    (b"tree\nversion=v", 0, _LIGHTGBM),
    (b"\x93NUMPY", 0, _ARRAYS),
    (b"\x1f\x8b", 0, _PACKED.format(tool="gzip")),
    (b"BZh", 0, _PACKED.format(tool="bzip2")),
    (b"\xfd7zXZ\x00", 0, _PACKED.format(tool="xz")),
    (b"\x28\xb5\x2f\xfd", 0, _PACKED.format(tool="zstd")),
    (b"7z\xbc\xaf\x27\x1c", 0, _PACKED.format(tool="7-Zip")),
    (b"ustar", 257, _PACKED.format(tool="tar")),
    (b"version https://git-lfs.github.com/spec/", 0, _POINTER),
)
"""(bytes, where, what the file is)."""

_NAMES: Final = {
    ".pkl": _PLAIN,
    ".pickle": _PLAIN,
    ".joblib": _JOBLIB,
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".ckpt": _TORCH,
    ".pt2": _EXPORTED,
    ".safetensors": _WEIGHTS,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".gguf": _GGUF,
    ".ggml": _GGUF,
    ".tflite": _TFLITE,
    ".pb": _TENSORFLOW,
    ".engine": _ENGINE,
    ".plan": _ENGINE,
    ".cbm": _CATBOOST,
    ".ubj": _XGBOOST,
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".parquet": _PARQUET,
    ".json": _JSON,
    ".txt": _TEXT,
    ".npy": _ARRAYS,
    ".npz": _ARRAYS,
    ".mlmodel": _OTHER.format(library="Core ML"),
    ".mlpackage": _OTHER.format(library="Core ML"),
    ".pmml": _OTHER.format(library="PMML"),
    ".pdmodel": _OTHER.format(library="PaddlePaddle"),
    ".pdiparams": _OTHER.format(library="PaddlePaddle"),
}
"""Ending -> what the file is."""

UNFINISHED: Final = (".part", ".partial", ".crdownload", ".incomplete", ".download", ".tmp", ".aria2")
"""Endings of downloads that have not ended."""

_JSON_KEYS: Final = ((b'"learner"', _XGBOOST), (b'"features_info"', _CATBOOST_JSON))
"""The first key of a JSON file -> what the file is."""

_ZIP = b"PK\x03\x04"
_PICKLE_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_IR_VERSION = b"\x08"
"""The first byte of an ONNX file, as everybody writes it."""


def foreign(head: bytes, name: str = "") -> str:
    """What a file of another kind is and what to do with it, as the rest of a sentence; empty: it is not known to be
    of another kind. `head` is its beginning, `name` its name where it has one of its own."""
    ending = Path(name).suffix.lower()
    if ending in _NAMES and runtime_of_file(Path(name)) is not None:  # one was registered for this kind
        return ""
    known = _of_content(head)
    if known == _PLAIN and _NAMES.get(ending) in (_TORCH, _JOBLIB):  # both write pickles
        return _NAMES[ending]
    if known or head.startswith(_IR_VERSION):
        return known
    if ending in UNFINISHED:
        return "is a download that has not ended; wait for it, or begin it again"
    return _NAMES.get(ending, "")


def is_zip(head: bytes) -> bool:
    return head.startswith(_ZIP)


def _of_content(head: bytes) -> str:
    for mark, at, what in _MARKS:
        if head.startswith(mark, at):
            return what
    if head[:2] in _PICKLE_PROTOCOLS:
        if b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" not in head[:16]:
            return _PLAIN
        return _TORCH_MODULE if b"\x06\x00\x00\x00moduleq\x00c" in head else _TORCH
    if is_zip(head):
        return _of_member(head)
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length < 1 << 27:
        return _WEIGHTS
    if head.startswith((b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")):  # zlib
        return _JOBLIB
    if head.startswith(b"{L") and head[10:17] == b"learner":  # UBJSON
        return _XGBOOST
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if start[:15].lower().startswith((b"<!doctype html", b"<html")):
        return _PAGE
    if start.startswith(b"{"):
        first = start[1:].lstrip()
        return next((what for key, what in _JSON_KEYS if first.startswith(key)), "")
    return _TABLE if _is_table(start) else ""


def foreign_model(name: str) -> str:
    """As `foreign` says it of a name; empty for what lies beside models too: JSON, text, tables and arrays."""
    said = foreign(b"", name)
    return "" if said in (_JSON, _TEXT, _TABLE, _PARQUET, _ARRAYS) else said


def _is_table(head: bytes) -> bool:
    """Whether text begins with two whole lines of as many fields, of which the first line's are no numbers."""
    lines = head.split(b"\n")[:2]
    if len(lines) < 2 or b"\n" not in head[len(lines[0]) + 1 :] or any(byte < 9 for byte in lines[0] + lines[1]):
        return False
    counts = [[line.count(separator) for line in lines] for separator in (b",", b";", b"\t")]
    return any(first == second > 0 for first, second in counts) and not lines[0].lstrip(b'"')[:1].isdigit()


def _of_member(head: bytes) -> str:
    """By the name of a zip's first member."""
    member = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode("utf-8", "replace")
    _, _, inside = member.partition("/")
    if inside.startswith("data/weights/") or inside in ("archive_format", "archive_version"):
        return _EXPORTED
    if inside.startswith(("data/", "constants/", "code/")):
        return _TORCHSCRIPT
    if inside == "data.pkl" or inside.startswith(".data/"):
        begun = head.partition(b"\x80\x02c")[2]  # the class of what the pickle holds, where it is no dict
        return _TORCH_MODULE if begun and not begun.startswith(b"collections\n") else _TORCH
    if member in ("metadata.json", "model.weights.h5"):
        return _KERAS
    return _ARRAYS if member.endswith(".npy") else ""
