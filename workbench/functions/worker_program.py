"""The program of a function's process: makes the function from its bundle, and runs it for one request at a time.

It runs in the interpreter that the function was written in, which may lack Workbench: the standard library and numpy
are all that it imports. A message, either way, is the sizes of its two parts, JSON, and the arrays' bytes unless they
are in the shared file. Values that the function needs are read as `convert.python_values` wrote them.
"""

from __future__ import annotations

import ast
import builtins
import collections
import contextlib
import importlib
import io
import json
import linecache
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import sys
import threading
import types
import zipfile
from typing import Any

import numpy as np

SIZES = struct.Struct("<II")
INLINE_BYTES = 65_536
BUFFER_BYTES = 2 * INLINE_BYTES
MAX_MESSAGE_BYTES = 1 << 20
ALIGNED = 16
LOG_CHARACTERS = 2_000

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_,
    **{f"{kind.upper()}{bits}": np.dtype(f"{kind}{bits}") for kind in ("uint", "int") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.dtype(object),
}

PID = os.getpid()


def main(control: int, taken: int, given: int) -> None:
    life = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    channel = Channel(socket.socket(fileno=control), taken, given)
    threading.Thread(target=end_with, args=(life,), daemon=True).start()
    printed = Printed()
    sys.stdout = sys.stderr = printed
    started, _ = channel.received()
    try:
        limit(started["memory_bytes"])
        function = Function(started["bundle"], printed)
    except BaseException as error:
        channel.send(told(error, printed), [])
        raise SystemExit(1) from None
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    channel.send({"log": printed.taken()}, [])
    while True:
        asked, parts = channel.received()
        answer: dict[str, Any]
        try:
            specs, arrays = function.call(parts, asked["shapes"], asked.get("outputs"))
            packed = [packed_array(spec, array) for spec, array in zip(specs, arrays, strict=True)]
            if (size := sum(map(len, packed))) > started["output_bytes"]:
                raise TooMuch(f"its answer has {size} bytes; worker_output_mib allows {started['output_bytes']}")
            answer = {"outputs": [[*spec, list(array.shape)] for spec, array in zip(specs, arrays, strict=True)]}
        except BaseException as error:  # what it raises is one request's, SystemExit too
            answer, packed = told(error, printed), []
        if os.getpid() != PID:
            os._exit(0)  # a fork of the function's: the answer is for its parent to give
        if log := printed.taken():
            answer["log"] = log
        channel.send(answer, packed)
        del parts, packed


class TooMuch(Exception):
    """An answer over the limit."""


class BadAnswer(Exception):
    """An answer that is no array, or not the declared one."""


def end_with(life: int) -> None:
    """End, with all that the function started, when whoever started this process ends."""
    while os.read(life, 1):
        pass
    if os.getpid() == PID:
        os.killpg(0, signal.SIGKILL)


def limit(memory_bytes: int) -> None:
    """Of memory that belongs to this process alone: what it maps of files, or reserves, does not count."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("800")  # goes before the service where the machine's memory is used up


class Printed(io.TextIOBase):
    """The last of what the function printed."""

    def __init__(self) -> None:
        self._parts: collections.deque[str] = collections.deque()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._parts.append(text[-LOG_CHARACTERS:])
        self._size += len(self._parts[-1])
        while self._size - len(self._parts[0]) >= LOG_CHARACTERS:
            self._size -= len(self._parts.popleft())
        return len(text)

    def taken(self) -> str:
        if not self._parts:
            return ""
        text = "".join(self._parts)[-LOG_CHARACTERS:]
        self._parts.clear()
        self._size = 0
        return text


class Channel:
    """Messages to and from the process that started this one."""

    def __init__(self, control: socket.socket, taken: int, given: int) -> None:
        self._control, self._taken, self._given = control, taken, given
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        os.register_at_fork(after_in_child=control.close)

    def received(self) -> tuple[dict[str, Any], list[Any]]:
        """What is asked, and the bytes of its arrays."""
        body, head = message(self._control, self._buffer)
        if body is None:
            os.killpg(0, signal.SIGKILL)
        assert body is not None
        asked = json.loads(bytes(body[:head]))
        return asked, arrays_of(bytearray(body[head:]), self._taken, asked.get("sizes", []))

    def send(self, answer: dict[str, Any], parts: list[Any]) -> None:
        answer["sizes"] = [len(part) for part in parts]
        inline = sum(map(padded, answer["sizes"]))
        if inline > INLINE_BYTES:
            inline = offset = 0
            for part in parts:
                write_at(self._given, part, offset)
                offset += padded(len(part))
        head = json.dumps(answer).encode()
        pieces = [SIZES.pack(len(head), inline), head]
        for part in parts if inline else ():
            pieces += [part, bytes(padded(len(part)) - len(part))]
        self._control.sendall(b"".join(pieces))


def message(control: socket.socket, buffer: memoryview) -> tuple[memoryview | None, int]:
    """The next message without its sizes, and the size of its head; None where the other side has ended.

    It mostly comes whole with one call to the system, into `buffer`, and is to be used before the next one.
    """
    filled, whole = 0, SIZES.size
    while filled < whole:
        count = control.recv_into(buffer[filled:])
        if not count:
            return None, 0
        filled += count
        if whole == SIZES.size <= filled:
            head, inline = SIZES.unpack_from(buffer)
            whole += head + inline
            if whole > len(buffer):
                if whole > MAX_MESSAGE_BYTES:
                    return None, 0
                larger = memoryview(bytearray(whole))
                larger[:filled] = buffer[:filled]
                buffer = larger
    return buffer[SIZES.size : whole], head


def arrays_of(inline: bytearray, shared: int, sizes: list[int]) -> list[Any]:
    """The bytes of each array: in the message, or in the shared file where there is nothing in it."""
    data, offset, parts = memoryview(inline), 0, []
    for size in sizes:
        if inline:
            parts.append(data[offset : offset + size])
        else:
            parts.append(memoryview(bytearray(size)))
            read_at(shared, parts[-1], offset)
        offset += padded(size)
    return parts


def padded(size: int) -> int:
    """Each array begins where its elements are aligned."""
    return -(-size // ALIGNED) * ALIGNED


def read_at(file: int, part: memoryview, offset: int) -> None:
    done = 0
    while done < len(part):
        done += os.preadv(file, [part[done:]], offset + done)


def write_at(file: int, part: Any, offset: int) -> None:
    part = memoryview(part)
    done = 0
    while done < len(part):
        done += os.pwrite(file, part[done:], offset + done)


class Function:
    """The function, made from its bundle."""

    def __init__(self, path: str, printed: Printed) -> None:
        with zipfile.ZipFile(path) as archive:
            spec = json.loads(archive.read("workbench-function"))
            home = spec["interpreter"]
            sys.path[:] = [*home["path"], *(each for each in sys.path if each not in home["path"])]
            with contextlib.suppress(OSError):
                os.chdir(home["folder"])
            self._module = types.ModuleType("workbench_function")
            sys.modules[self._module.__name__] = self._module
            space = self._module.__dict__
            reader = Values(archive, space)
            for step in spec["steps"]:
                if "import" in step:
                    importlib.import_module(step["import"])
                    space[step["as"]] = sys.modules[step["import"]]
                elif "from" in step:
                    space[step["as"]] = attribute(step["from"], step["take"])
                elif "block" in step:
                    block = spec["blocks"][step["block"]]
                    run_block(archive.read(f"blocks/{step['block']}.py").decode(), block, space, step["block"])
                else:
                    space[step["as"]] = reader.value(step["value"])
        self._function = space[spec["entry"]]
        self._inputs = spec["inputs"]
        self._outputs = {each["name"]: each for each in spec["outputs"]}

    def call(
        self, parts: list[Any], shapes: list[list[int]], wanted: list[str] | None
    ) -> tuple[list[list[Any]], list[Any]]:
        """(name, datatype, whether it is text) of each output, and the outputs themselves."""
        given = {
            spec["name"]: unpacked(spec, part, shape)
            for spec, part, shape in zip(self._inputs, parts, shapes, strict=True)
        }
        answer = self._function(**given)
        found = by_name(answer, list(self._outputs))
        if wanted is None:
            answers = {name: as_array(name, value) for name, value in found.items()}
            return [[name, *kind_of(name, array)] for name, array in answers.items()], list(answers.values())
        specs: list[list[Any]] = []
        arrays: list[Any] = []
        for name in wanted:
            if name not in found:
                raise BadAnswer(f"its answer lacks {name!r}; it has {', '.join(map(repr, found))}")
            arrays.append(declared(self._outputs[name], as_array(name, found[name])))
            specs.append([name, self._outputs[name]["datatype"], self._outputs[name]["text"]])
        return specs, arrays


def unpacked(spec: dict[str, Any], part: Any, shape: list[int]) -> Any:
    """An input, as the function is to get it: an array of its own, which it may write to."""
    if spec["datatype"] != "BYTES":
        return np.frombuffer(part, dtype(spec["datatype"])).reshape(shape)
    elements, data = [], bytes(part)
    offset = 0
    while offset < len(data):
        size = int.from_bytes(data[offset : offset + 4], "little")
        elements.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    if spec["text"]:
        return np.array([each.decode() for each in elements], dtype=np.str_).reshape(shape)
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def by_name(answer: Any, names: list[str]) -> dict[str, Any]:
    """The outputs: a dict's by key, a tuple's by place, one array's by the one name."""
    if isinstance(answer, dict):
        return {str(name): value for name, value in answer.items()}
    if isinstance(answer, tuple):
        named = names if len(names) == len(answer) else [f"output_{index}" for index in range(len(answer))]
        return dict(zip(getattr(answer, "_fields", named), answer, strict=True))
    return {names[0] if len(names) == 1 else "output": answer}


def as_array(name: str, value: Any) -> Any:
    for step in ("detach", "cpu", "toarray", "to_numpy"):
        if callable(convert := getattr(value, step, None)):
            value = convert()
    try:
        return np.asarray(value)
    except (ValueError, TypeError):
        raise BadAnswer(f"output {name!r} is a {type(value).__name__}, which is no array") from None


def kind_of(name: str, array: Any) -> tuple[str, bool]:
    """The datatype of an output that was not declared, and whether it is text."""
    if array.dtype.kind in "UST" or (array.dtype == object and array.size):
        return "BYTES", not all(isinstance(each, bytes) for each in array.reshape(-1).tolist())
    if array.dtype.name == "bfloat16":
        return "BF16", False
    for datatype, known in DTYPES.items():
        if array.dtype == known and datatype != "BYTES":
            return datatype, False
    raise BadAnswer(f"output {name!r} is an array of {array.dtype}, which cannot be served; convert it, as to float32")


def declared(spec: dict[str, Any], array: Any) -> Any:
    """An output, as it was declared. Raises BadAnswer."""
    name, datatype = spec["name"], spec["datatype"]
    if datatype != "BYTES" and array.dtype != (target := dtype(datatype)):
        if not np.can_cast(array.dtype, target, "same_kind"):
            raise BadAnswer(f"output {name!r} is declared as {datatype}; the answer is an array of {array.dtype}")
        array = array.astype(target)
    shape = spec["shape"]
    if spec["ranked"] and (
        len(shape) != array.ndim or any(size not in (-1, real) for size, real in zip(shape, array.shape, strict=True))
    ):
        raise BadAnswer(f"output {name!r} is declared with shape {shape}; the answer has {list(array.shape)}")
    return array


def packed_array(spec: list[Any], array: Any) -> Any:
    """The bytes of an output."""
    if spec[1] != "BYTES":
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b""
    parts = []
    for each in array.reshape(-1).tolist():
        if not isinstance(each, str | bytes):
            raise BadAnswer(f"output {spec[0]!r} holds a {type(each).__name__}; its elements must be text or bytes")
        data = each.encode() if isinstance(each, str) else each
        parts += [len(data).to_bytes(4, "little"), data]
    return b"".join(parts)


def dtype(datatype: str) -> Any:
    if datatype == "BF16":
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    return np.dtype(DTYPES[datatype])


def run_block(text: str, block: dict[str, Any], space: dict[str, Any], index: int) -> None:
    """Define what the block defines. Tracebacks show its lines as they were where it was written."""
    file = f"<{index}:{block['file']}>"
    tree = ast.parse(text, file)
    ast.increment_lineno(tree, block["line"] - 1)
    if block["assigned"]:
        value = tree.body[0].value  # type: ignore[attr-defined]
        target = ast.copy_location(ast.Name(block["assigned"], ast.Store()), value)
        tree.body = [ast.copy_location(ast.Assign([target], value), value)]
    lines = ["\n"] * (block["line"] - 1) + text.splitlines(keepends=True)
    linecache.cache[file] = (len(text), None, lines, file)
    # Names in annotations are mostly for checkers of types, and need not be there.
    flags = annotations.compiler_flag
    exec(compile(tree, file, "exec", flags, dont_inherit=True), space)  # noqa: S102


def told(error: BaseException, printed: Printed) -> dict[str, Any]:
    """What the caller is told of an exception, with the last line of the user's own that it came through."""
    line, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if re.match(r"<\d+:", code.co_filename):
            text = linecache.getline(code.co_filename, trace.tb_lineno).strip()
            place = code.co_filename.partition(":")[2][:-1]
            line = f"line {trace.tb_lineno} of {place}, in {code.co_name}: {text}"
        trace = trace.tb_next
    try:
        words = str(error)
    except Exception:
        words = ""
    ours = isinstance(error, BadAnswer | TooMuch)
    return {
        "error": "" if ours else type(error).__name__,
        "message": words[:2000],
        "line": line[:500],
        "invalid": isinstance(error, ValueError),
        "spoilt": isinstance(error, MemoryError),
        "log": printed.taken(),
    }


def attribute(module: str, name: str) -> Any:
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class Values:
    """Reads values as convert.python_values wrote them: plain ones as JSON has them, others as {KIND: what}."""

    def __init__(self, archive: zipfile.ZipFile, space: dict[str, Any]) -> None:
        self._archive, self._space = archive, space
        self._objects: dict[int, Any] = {}

    def value(self, written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        [(kind, what)] = written.items()
        return getattr(self, f"_{kind}")(what)

    def _float(self, what: str) -> float:
        return float(what)

    def _int(self, what: str) -> int:
        return int(what)

    def _complex(self, what: list[Any]) -> complex:
        return complex(*map(self.value, what))

    def _bytes(self, what: str) -> bytes:
        return bytes.fromhex(what)

    def _list(self, what: list[Any]) -> Any:
        return [self.value(each) for each in what]

    def _tuple(self, what: list[Any]) -> Any:
        return tuple(self.value(each) for each in what)

    def _set(self, what: list[Any]) -> Any:
        return {self.value(each) for each in what}

    def _frozenset(self, what: list[Any]) -> Any:
        return frozenset(self.value(each) for each in what)

    def _dict(self, what: list[Any]) -> Any:
        return {self.value(key): self.value(each) for key, each in what}

    def _ordered(self, what: list[Any]) -> Any:
        return collections.OrderedDict((self.value(key), self.value(each)) for key, each in what)

    def _slice(self, what: list[Any]) -> slice:
        return slice(*map(self.value, what))

    def _range(self, what: list[int]) -> range:
        return range(*what)

    def _path(self, what: str) -> pathlib.Path:
        return pathlib.Path(what)

    def _pattern(self, what: list[Any]) -> re.Pattern[Any]:
        return re.compile(self.value(what[0]), what[1])

    def _dtype(self, what: str) -> Any:
        return np.dtype(what)

    def _array(self, what: int) -> Any:
        with self._archive.open(f"values/{what}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def _scalar(self, what: int) -> Any:
        return self._array(what)[()]

    def _elements(self, what: list[Any]) -> Any:
        shape, elements = what
        array = np.empty(len(elements), object)
        array[:] = [self.value(each) for each in elements]
        return array.reshape(shape)

    def _name(self, what: str) -> Any:
        return self._space[what] if what in self._space else getattr(builtins, what)

    def _module(self, what: str) -> Any:
        return importlib.import_module(what)

    def _from(self, what: list[str]) -> Any:
        return attribute(*what)

    def _seen(self, what: int) -> Any:
        return self._objects[what]

    def _object(self, what: dict[str, Any]) -> Any:
        cls = self.value(what["class"])
        made = self._objects[what["id"]] = cls.__new__(cls)
        for name, value in what["state"]:
            object.__setattr__(made, name, self.value(value))
        return made

    def _called(self, what: dict[str, Any]) -> Any:
        """An instance that its own class makes from these arguments, and from a state where there is one."""
        made = self.value(what["class"])(*map(self.value, what["arguments"]))
        if "id" in what:
            self._objects[what["id"]] = made
        if "state" in what:
            made.__setstate__(self.value(what["state"]))
        return made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
