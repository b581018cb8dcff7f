"""What ONNX Runtime's exceptions mean, in words a caller can act on.

Its messages carry numeric codes, C++ signatures and absolute paths; none of that may reach a caller.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from onnxruntime.capi.onnxruntime_pybind11_state import DeviceReset, EngineError, EPFail, InvalidArgument
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as KernelMissing

from workbench.core.table_columns import CATEGORY_OF
from workbench.errors import ExecutionError, InvalidInput, ModelError, WorkbenchError
from workbench.runtimes.ort import VERSION

_LONGEST = 400

_LOOKED_AT = 8192
"""Characters of an error that are looked at: a model's names and texts are in it, and some of the patterns take time by
the square of their text."""


_NOT_REGISTERED = re.compile(r"([\w.]*):(\w+)\(-?\d+\) is not a registered function/op")
_NOT_IN_OPSET = re.compile(r"No Op registered for (\w+) with domain_version of (\d+)")
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\((\d+)\)")
_OPSET_TOO_NEW = re.compile(r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)", re.DOTALL)
_IR_TOO_NEW = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_NO_TYPE = re.compile(r"MLDataType for: (\S+) is not currently registered")
_OUT_OF_MEMORY = re.compile(r"[Ff]ailed to allocate|out of memory|bad_alloc|BFCArena")

_COMPLAINT = re.compile(
    r"Non-zero status code returned while running (?P<operator>\w+) node\. Name:'(?P<node>.*?)'\s*"
    r"Status Message:(?P<words>.*)",
    re.DOTALL,
)
"""An operator that did not like its inputs. ONNX Runtime's status code does not tell that from a fault: of one kind of
complaint (a shape, an index, an unknown category) some operators say INVALID_ARGUMENT, others FAIL, and those that
throw RUNTIME_EXCEPTION."""

_CONDITION = re.compile(r"^.*? was false\. (?=\S)", re.DOTALL)
"""The C++ that an operator checks, with what is left of its function's name, before the operator's own words."""

_NEGATIVE_INDEX = re.compile(r"idx=-2147483648 must be within the inclusive range \[-?\d+,(-?\d+)\]")
"""An index below 0, where an exported graph lets this number stand for each: torch does not count from the end."""

_DEVICE_FAULT = re.compile(
    r"\b(?:CUDA|CUDNN|CUBLAS|CUFFT|CURAND|NCCL|TENSORRT)\w*[ _](?:failure|error)|\bcuda[A-Z]", re.I
)
"""A device that failed, which the operator on it passes on."""

_TERMINATED = "terminate flag"

_THROWN = {
    "stod": "a text is no number, or a number out of range",
    "stof": "a text is no number, or a number out of range",
    "stoll": "a text is no whole number, or one out of range",
    "stoull": "a text is no whole number, or one out of range",
    "": "it does not say why; 0 rows, or 0 of something else, may be too few for it",
}
"""What some operators say when a function of C++'s library threw, in words."""

_NOISE = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from .*? failed:\s*", re.DOTALL),
    # A C++ source position, and the signature of the function there up to its closing bracket.
    re.compile(r"/onnxruntime_src/\S+:\d+ (?:[^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?)?"),
    re.compile(r"\b\w+\.(?:cc|cu|h|hpp|cpp):\d+ \w*"),
    re.compile(r"\"?(?<![\w:])(?:/|[A-Za-z]:\\)[^\s\"']+\"?"),
    re.compile(r"Please fix either the inputs/outputs or the model\.?"),
    re.compile(r"Non-zero status code returned while running "),
    re.compile(r"Name:'' ?"),
)


def load_error(error: Exception) -> ModelError:
    """Why the model did not load."""
    return ModelError(f"the model failed to load: {_load_reason(str(error)[:_LOOKED_AT])}")


class TooNew(NamedTuple):
    """A version that a file says and this ONNX Runtime does not read."""

    domain: str
    """Of the opset; empty: it is the IR version."""
    found: int
    newest: int
    """The newest that it reads."""

    @property
    def versions(self) -> tuple[str, str]:
        """What it says, and the newest that is read, in words."""
        if not self.domain:
            return f"IR version {self.found}", f"IR version {self.newest}"
        of = "" if self.domain == "ai.onnx" else f" of {self.domain}"
        return f"opset {self.found}{of}", f"opset {self.newest}{of}"

    def __str__(self) -> str:
        found, newest = self.versions
        return f"its file says {found}, and ONNX Runtime {VERSION} reads up to {newest}"

    @property
    def remedy(self) -> str:
        """What to do about it, as an order."""
        if not self.domain:
            return f"save it with IR version {self.newest} (onnx.helper.make_model(..., ir_version={self.newest}))"
        if self.domain == "ai.onnx":
            return f"export it with opset_version={self.newest}"
        return f"export it with opset {self.newest} of {self.domain}"


def too_new(error: Exception) -> TooNew | None:
    """The version that made a model fail to load; None where it failed for another reason."""
    text = str(error)[:_LOOKED_AT]
    if found := _OPSET_TOO_NEW.search(text):
        return TooNew(found[2], int(found[1]), int(found[3]))
    if found := _IR_TOO_NEW.search(text):
        return TooNew("", int(found[1]), int(found[2]))
    return None


def run_error(error: Exception) -> WorkbenchError:
    """The error for a failed run: InvalidInput where the request's data caused it, with the words of the operator that
    refused them; ExecutionError for a fault of the runtime, the device or this service."""
    if isinstance(error, WorkbenchError):
        return error
    text = str(error)[:_LOOKED_AT]
    if _OUT_OF_MEMORY.search(text) or isinstance(error, MemoryError):
        return ExecutionError("there was not enough memory for this run; send fewer rows, or lower max_batch_size")
    fault = isinstance(error, KernelMissing | EPFail | EngineError | DeviceReset)
    if not fault and not _DEVICE_FAULT.search(text) and _TERMINATED not in text:
        if found := _COMPLAINT.search(text):
            if found["node"].startswith(CATEGORY_OF) and found["operator"] == "Gather":
                column = re.sub(r" \(\d+\)$", "", found["node"].removeprefix(CATEGORY_OF))[:80]
                return InvalidInput(f"column {column} holds a category that was not there when the model was trained")
            node = f" {found['node'][:80]!r}" if found["node"] else ""
            words = _NEGATIVE_INDEX.sub(r"an index is below 0, where 0 to \1 are taken", found["words"])
            words = _CONDITION.sub("", plain(words))
            return InvalidInput(f"the model refused this input: {found['operator']}{node}: {_THROWN.get(words, words)}")
        # ValueError is what its Python layer raises for a missing input.
        if isinstance(error, InvalidArgument | ValueError):
            return InvalidInput(f"the model refused this input: {plain(text)}")
    return ExecutionError(f"the model failed while running: {plain(text)}")


def plain(text: str) -> str:
    """`text` on one line, without codes, source positions and paths."""
    text = text[:_LOOKED_AT]
    for noise in _NOISE:
        text = noise.sub("", text)
    text = " ".join(text.split()).strip(" .")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."


def _load_reason(text: str) -> str:
    if found := _NOT_REGISTERED.search(text):
        domain, operator = found.groups()
        return f"operator {operator} of domain {domain or 'ai.onnx'} is not implemented by ONNX Runtime {VERSION}"
    if found := _NOT_IN_OPSET.search(text):
        return f"there is no operator {found[1]} in ONNX opset {found[2]}"
    if found := _NO_KERNEL.search(text):
        return (
            f"ONNX Runtime {VERSION} does not implement operator {found[1]} (opset {found[2]}) for the datatypes "
            "that the model uses it with; cast them inside the model, FP32 is the safest"
        )
    if found := _NO_TYPE.search(text):
        return f"ONNX Runtime {VERSION} has no {found[1]}; cast it inside the model"
    if "Protobuf parsing failed" in text:
        return "the file is corrupt or no ONNX model"
    if _OUT_OF_MEMORY.search(text):
        return "there is not enough memory for it"
    return plain(text)
