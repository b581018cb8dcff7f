"""A torch module as an ONNX file, with the answers of the module itself to compare the file's with.

On Linux the work is done in a forked process, so that the exporter's imports, some 150 MB and seconds of them, and its
copies of the weights leave the caller's memory as it was, and the caller's module is never changed.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.convert.conversion import current_conversion
from workbench.convert.converters import Check
from workbench.convert.export_folder import export_folder
from workbench.convert.forked import CAN_FORK, Say, run_forked
from workbench.convert.pytorch import torch_errors
from workbench.convert.pytorch.example_cures import cure
from workbench.convert.pytorch.last_calls import stop_watching
from workbench.convert.pytorch.torch_axes import BATCH, SEQUENCE, Axis, Run, free_axes, fresh, resized
from workbench.convert.pytorch.torch_graph import save
from workbench.convert.pytorch.torch_values import Call, Flat, call_of, outputs_of
from workbench.core.tensor import Array
from workbench.errors import InvalidInput, ModelError

LIMIT_S = 900.0
"""How long an export may take."""

TOLERANCES: Mapping[torch.dtype, float] = {torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""For modules of half precision: their own answers are no better than this."""

BATCHES = (1, 2, 7)
LENGTHS = (1, 3, 7)
"""The sizes at which the export is compared with the module, as far as the module takes them itself."""


@dataclass(frozen=True, slots=True)
class ModuleExport:
    """An exported module."""

    model: Path
    """The ONNX file, in an `export_folder`, which the caller discards; weights over 1.8 GB lie beside it."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    checks: tuple[Check, ...]
    """Inputs by name, and the module's own answers to them; the model's agree with these already, as far as they go."""
    labels: frozenset[str]
    """The outputs of whole numbers and truth values, which must be equal."""
    notes: tuple[str, ...]
    """As "batch and sequence axes free"."""
    tolerance: float


def export_module(
    module: torch.nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None, *, kind: str = ""
) -> ModuleExport:
    """Export `module` as it answers `module(*args, **kwargs)` in eval mode.

    `args` and `kwargs` hold tensors or numpy arrays, also nested in dicts, tuples and lists; anything else among them
    becomes part of the graph. The inputs are named after the parameters of `forward`, the outputs after the keys of
    what it returns (`output` for one tensor, `output_0` and so on for a tuple). Axes of the batch and of a sequence's
    length are free where the module takes other sizes than the example's. `kind` is what errors call the module.

    The module's training flags, device and weights are as before afterwards. Raises InvalidInput for an example that
    the module itself refuses, Unsupported for what has no ONNX form. Blocks for seconds; see `conversion` for progress.
    """
    kind = kind or type(module).__name__
    if importlib.util.find_spec("onnxscript") is None:
        raise torch_errors.lacks_onnxscript(kind)
    module = unwrapped(module)
    conversion = current_conversion()
    with export_folder() as folder:
        forked = CAN_FORK and not torch.cuda.is_initialized()
        if forked:

            def work(say: Say) -> None:
                torch.set_num_threads(1)  # the threads of OpenMP are not there after a fork
                _export_into(folder, module, tuple(args), kwargs or {}, kind, say)

            run_forked(work, conversion, f"the export of {kind}", LIMIT_S)
        else:
            with _quiet():
                _export_into(folder, module, tuple(args), kwargs or {}, kind, conversion.progress.begin)
        return _read(folder)


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside of torch.compile and DataParallel."""
    while True:
        if isinstance(inner := getattr(module, "_orig_mod", None), torch.nn.Module):
            module = inner
        elif isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module


@contextlib.contextmanager
def in_eval_mode(module: torch.nn.Module) -> Iterator[None]:
    """Each submodule's own flag is put back at the end."""
    flags = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in flags:
            try:
                part.eval()
            except NotImplementedError:  # an exported program's, whose graph has one mode only
                part.training = False
        yield
    finally:
        for part, training in flags:
            part.training = training


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    """The fast path of nn.TransformerEncoder answers zeros at padded positions, and has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own work."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


# The work


def _export_into(
    folder: Path, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], kind: str, say: Say
) -> None:
    stop_watching()  # a hook would be exported too
    was_training = any(part.training for part in module.modules())
    with in_eval_mode(module), torch.no_grad(), _without_fast_path():
        module = _with_parts_unwrapped(module)
        call = call_of(module, args, kwargs)
        flat = Flat(module, call)
        run = _runner(flat)
        names, small, axes = _tried(module, call, run, kind)
        half = _half(module, call)
        exported, inputs = flat, small
        if half is torch.bfloat16 or any(each.device.type != "cpu" for each in (*module.parameters(), *call.tensors)):
            exported = Flat(_copied(module, kind), call)
            inputs = [_plain(tensor) for tensor in small]
        single = any(each.dtype in (torch.float64, torch.float16) for each in (*module.parameters(), *call.tensors))
        say(f"exporting the {kind} to ONNX")
        try:
            try:
                saved = save(folder / "model.onnx", exported, call.names, names, inputs, axes, say)
            except Exception as error:
                if not (single and torch_errors.lacks_datatype(error)):
                    raise
                exported = Flat(_copied(module, kind, single), call)
                inputs = [_plain(tensor, single) for tensor in small]
                saved = save(folder / "model.onnx", exported, call.names, names, inputs, axes, say)
        except Exception as error:  # torch raises whatever its decompositions do
            raise torch_errors.told(error, kind) from error
        for axis in saved.fixed:
            small = resized(small, axis, axis.size)
        say("asking the original for its own answers")
        checks = _checks(run, call, small, saved.axes)
        notes = [_free(saved.axes), *_fixed(saved.fixed, small, saved.axes, module)]
        notes += [f"{each} is part of it" for each in call.fixed]
        if was_training:
            notes.append("in eval mode (no dropout, fixed batch statistics)")
        if [each.dtype for each in inputs] != [each.dtype for each in small]:
            notes.append("computed in float32")
        if half is not None:
            notes.append(f"compared with the {str(half).removeprefix('torch.')} original")
        _write(folder, call, names, saved.opset, checks, [note for note in notes if note], TOLERANCES.get(half))


def _runner(flat: Flat) -> Run:
    def run(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        return list(flat(*tensors))

    return run


def _tried(
    module: torch.nn.Module, call: Call, run: Run, kind: str
) -> tuple[list[str], list[torch.Tensor], list[Axis]]:
    """The outputs' names, the tensors to export with (few rows, but two at least), and the free axes."""
    try:
        args, kwargs = call.rebuild(list(call.tensors))
        named = outputs_of(module(*args, **kwargs))
        again = run(call.tensors)
    except Exception as error:  # the user's own module
        shapes = ", ".join(f"{name} {_shape(each)}" for name, each in zip(call.names, call.tensors, strict=True))
        weights = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
        hint = cure(run, call.names, call.tensors, weights)
        raise torch_errors.own_error(error, kind, shapes, hint) from error
    if not named:
        raise InvalidInput(f"{kind} gives no tensor for the example, so there is nothing to serve")
    for name, one, other in zip(named, named.values(), again, strict=True):
        if not torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)) and not torch.allclose(
            one.double(), other.double(), rtol=1e-3, atol=1e-4, equal_nan=True
        ):
            raise ModelError(
                f"{kind} answers the same input differently each time, in {name!r}, also in eval mode, so no export "
                "can be compared with it; look for random numbers, or for dropout without training=self.training"
            )
    first = next((tensor for tensor in call.tensors if tensor.ndim), call.tensors[0])
    if not first.shape[:1].numel():
        raise InvalidInput(f"the example of {kind} holds no rows ({_shape(first)}); give one or more")
    taken = set(call.names)
    names = [name if name not in taken else f"{name}_out" for name in named]
    small = list(call.tensors)
    if first.ndim and first.shape[0] > 4:  # axes are looked for on few rows, where these are enough
        places = tuple((which, 0) for which, each in enumerate(small) if each.shape[:1] == first.shape[:1])
        with contextlib.suppress(Exception):
            fewer = resized(small, Axis("", places, first.shape[0]), 3)
            run(fewer)
            small = fewer
    axes = free_axes(run, small)
    if not any(axis.places[0][1] == 0 for axis in axes):
        small = list(call.tensors)
        axes = [axis for axis in axes if all(small[which].shape[place] == axis.size for which, place in axis.places)]
    found = []
    for axis in axes:
        size = min(max(axis.size, 2), 3) if axis.name == BATCH else max(axis.size, 2)
        try:
            run(resized(small, axis, size))
        except Exception:  # it takes one row only, whatever it took before
            size = axis.size
        small = resized(small, axis, size)
        which, place = axis.places[0]
        found.append(Axis(axis.name, axis.places, size, given=call.tensors[which].shape[place]))
    return names, small, found


def _with_parts_unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """`module`; where a part of it is compiled, a copy that shares the weights and has that part as it was."""
    if not any(hasattr(part, "_orig_mod") or part._compiled_call_impl is not None for part in module.modules()):
        return module
    shared = {id(each): each for each in (*module.parameters(), *module.buffers())}
    found = copy.deepcopy(module, {**shared, **{id(part._compiled_call_impl): None for part in module.modules()}})
    for part in list(found.modules()):
        part._compiled_call_impl = None
        for name, child in list(part.named_children()):
            setattr(part, name, unwrapped(child))
    return found


def _half(module: torch.nn.Module, call: Call) -> torch.dtype | None:
    dtypes = {each.dtype for each in (*module.parameters(), *module.buffers(), *call.tensors)}
    return next((dtype for dtype in TOLERANCES if dtype in dtypes), None)


def _plain(tensor: torch.Tensor, single: bool = False) -> torch.Tensor:
    """On the CPU, in a precision that ONNX Runtime computes in there; with `single`, in float32 in any case."""
    tensor = tensor.detach().cpu()
    return tensor.float() if tensor.dtype == torch.bfloat16 or (single and tensor.is_floating_point()) else tensor


def _copied(module: torch.nn.Module, kind: str, single: bool = False) -> torch.nn.Module:
    """A copy of `module` with all its weights as `_plain` makes them; no second copy is made on the device."""
    done: dict[int, Any] = {}
    for each in module.parameters():
        done[id(each)] = torch.nn.Parameter(_plain(each, single), requires_grad=False)
    for each in module.buffers():
        done[id(each)] = _plain(each, single)
    try:
        return copy.deepcopy(module, done)
    except Exception as error:  # a lock or a file among its attributes
        raise ModelError(
            f"{kind} cannot be copied to the CPU in float32 ({torch_errors.short(error)}); do it yourself, as "
            "net.cpu().float(), and load that"
        ) from error


def _checks(run: Run, call: Call, small: Sequence[torch.Tensor], axes: Sequence[Axis]) -> list[_Answered]:
    """Calls and the module's own answers: the example as it is, and others at other sizes of the free axes."""
    by_name = {axis.name: axis for axis in axes}
    batch, sequence = by_name.get(BATCH), by_name.get(SEQUENCE)
    found = []
    calls: list[tuple[str, Sequence[torch.Tensor]]] = [("", call.tensors)]
    if batch is not None:
        calls += [(f"in batches of {size}", resized(small, batch, size)) for size in BATCHES]
    else:
        calls += [("with other values", small)]
    if sequence is not None:
        lengths = [size for size in (*LENGTHS, sequence.size + 5) if size != sequence.size]
        calls += [(f"of length {size}", resized(small, sequence, size)) for size in lengths]
    for seed, (what, tensors) in enumerate(calls):
        for values in (fresh(tensors, seed), tensors) if what else (tensors,):
            try:
                found.append(_Answered(what, values, run(values)))
                break
            except Exception:  # it takes no such values, or not this size
                continue
    return found


@dataclass(frozen=True, slots=True)
class _Answered:
    what: str
    inputs: Sequence[torch.Tensor]
    outputs: Sequence[torch.Tensor]


# What is said of it


def _free(axes: Sequence[Axis]) -> str:
    names = [{BATCH: "batch", SEQUENCE: "sequence"}[axis.name] for axis in axes]
    return f"{' and '.join(names)} {'axis' if len(names) == 1 else 'axes'} free" if names else ""


def _fixed(
    fixed: Sequence[Axis], tensors: Sequence[torch.Tensor], free: Sequence[Axis], module: torch.nn.Module
) -> Iterator[str]:
    """What is said of sizes that the export takes as in the example only."""
    line = torch_errors.deciding_line(module)
    because = f" because of {line}" if line else ", since its graph holds that size"
    has_batch = any(axis.name == BATCH for axis in (*free, *fixed))
    for axis in fixed:
        # Of a module that decides on the size of its batch, no row is independent of the others, so it has no BATCH.
        is_batch = axis.name == BATCH or (not has_batch and axis.places[0][1] == 0)
        what = f"batches of exactly {axis.size}" if is_batch else f"sequences of length {axis.size} only"
        yield what + because
    if not fixed and not any(place == 0 for axis in free for _, place in axis.places):
        sizes = ", ".join(str(list(each.shape)) for each in tensors)
        yield f"takes {sizes} only" + (because if line else ", as the module does")


def _shape(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


# From one process to the other: files that hold no code


def _write(
    folder: Path,
    call: Call,
    names: Sequence[str],
    opset: int,
    checks: Sequence[_Answered],
    notes: list[str],
    tolerance: float | None,
) -> None:
    arrays: dict[str, Array] = {}
    for place, check in enumerate(checks):
        arrays |= {f"{place} in {which}": _array(each) for which, each in enumerate(check.inputs)}
        arrays |= {f"{place} out {which}": _array(each) for which, each in enumerate(check.outputs)}
    np.savez(folder / "answers.npz", **arrays)  # type: ignore[arg-type]
    said = {
        "inputs": call.names,
        "outputs": names,
        "opset": opset,
        "notes": notes,
        "tolerance": tolerance,
        "checks": [check.what for check in checks],
    }
    (folder / "export.json").write_text(json.dumps(said))


def _read(folder: Path) -> ModuleExport:
    said = json.loads((folder / "export.json").read_text())
    checks, labels = [], set()
    with np.load(folder / "answers.npz", allow_pickle=False) as arrays:
        for place, what in enumerate(said["checks"]):
            rows = {name: arrays[f"{place} in {which}"] for which, name in enumerate(said["inputs"])}
            answers = {name: arrays[f"{place} out {which}"] for which, name in enumerate(said["outputs"])}
            labels |= {name for name, array in answers.items() if array.dtype.kind in "biu"}
            first = next(iter(rows.values()))
            checks.append(Check(rows, len(first) if first.ndim else 1, answers, what))
    from workbench.convert.agreement import TOLERANCE

    for done in ("export.json", "answers.npz"):
        (folder / done).unlink()
    return ModuleExport(
        folder / "model.onnx",
        tuple(said["inputs"]),
        tuple(said["outputs"]),
        said["opset"],
        tuple(checks),
        frozenset(labels),
        tuple(said["notes"]),
        said["tolerance"] or TOLERANCE,
    )


def _array(tensor: torch.Tensor) -> Array:
    return np.asarray(_plain(tensor).contiguous().numpy())
