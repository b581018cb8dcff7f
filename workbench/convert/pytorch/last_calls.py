"""Remembers what torch modules were last called with in this notebook, so that an export needs no example.

A hook that sees each call of any module costs about 2 us a call. So it is there for the first calls of each cell only,
and takes itself away again: some milliseconds a cell at most. It keeps small copies, and only of modules that are not a
part of another one that was called; they go when the module goes. torch itself is never imported here.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

CALLS_A_CELL = 2000
MOST_BYTES = 1_000_000
"""Of one call; of more than that two rows are kept."""
_PLAIN = (bool, int, float, str, type(None))

_calls: WeakKeyDictionary[Any, tuple[Any, tuple[Any, ...], dict[str, Any]]] = WeakKeyDictionary()
"""Module -> (what tells one kind of call from another, the arguments, those by name)."""
_parts: WeakSet[Any] = WeakSet()
"""The modules inside of those."""
_handle: Any = None
_left = 0


class _NotKept(Exception):
    """An argument that is too large, or of a kind that may hold anything."""


def watch_cell(cell: object = None) -> None:
    """Watch the first calls from now on, where torch is imported. To be called at the beginning of each cell."""
    global _handle, _left
    modules: Any = sys.modules.get("torch.nn.modules.module")
    if modules is None or _something_is_compiled():
        return
    _left = CALLS_A_CELL
    if _handle is None:
        # A compiled module that is called in this very cell would warn of the hook, which is gone before it compiles.
        warnings.filterwarnings("ignore", message=r"Using `torch.compile\(module\)` when there are global hooks")
        _handle = modules.register_module_forward_pre_hook(_called)


def stop_watching() -> None:
    global _handle
    if _handle is not None:
        _handle.remove()
        _handle = None


def last_call(module: object) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments of the module's last call, with tensors on the CPU, of two rows perhaps; None: none is known."""
    try:
        _, args, kwargs = _calls[module]
    except (KeyError, TypeError):
        return None
    return args, kwargs


def _something_is_compiled() -> bool:
    """Whether torch.compile was used. What it compiled holds only while no hook comes or goes."""
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    # What is only kept from being compiled, as parts of Keras are, stands there with no backend.
    return any(each is not None for each in getattr(frames, "cached_backends", {}).values())


def _called(module: Any, args: tuple[Any, ...]) -> None:
    """A forward pre-hook. It must not raise, nor be seen by what traces the module."""
    global _left
    _left -= 1
    if _left < 0:
        stop_watching()
        return
    if module in _parts:
        return
    try:
        torch: Any = sys.modules["torch"]
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return
        if hasattr(module, "_orig_mod"):  # it is about to be compiled
            stop_watching()
            module = module._orig_mod
        # A hook of all modules is not given the arguments by name; they are a variable of its caller.
        kwargs = sys._getframe(1).f_locals.get("kwargs") or {}
        kind = _kind(torch, (args, kwargs))
        if (known := _calls.get(module)) is not None and known[0] == kind:
            return
        keep = _keeper(torch, args, kwargs)
        kept = tuple(map(keep, args)), {name: keep(value) for name, value in kwargs.items()}
        _calls[module] = kind, *kept
        _parts.update(part for part in module.modules() if part is not module)
    except Exception:  # whatever it was, the user's call goes on
        return


def _kind(torch: Any, value: Any) -> Any:
    """What two calls with the same answers to "which shapes?" share, but for the number of rows."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape[1:])
    if isinstance(value, dict):
        return tuple((key, _kind(torch, each)) for key, each in value.items())
    if isinstance(value, tuple | list):
        return tuple(_kind(torch, each) for each in value)
    return value if isinstance(value, _PLAIN) else type(value).__name__


def _keeper(torch: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], Any]:
    """What copies an argument; of a large call, two rows of whatever has as many rows as the first tensor."""
    tensors = list(_tensors(torch, (args, kwargs)))
    size = sum(each.numel() * each.element_size() for each in tensors)
    rows = next((each.shape[0] for each in tensors if each.ndim), 0)
    cut = size > MOST_BYTES and rows > 2
    if size > MOST_BYTES and size * min(2, rows) > rows * 16 * MOST_BYTES:
        raise _NotKept
    if any(each.is_cuda for each in tensors) and torch.cuda.is_current_stream_capturing():
        raise _NotKept

    def keep(value: Any) -> Any:
        if type(value) is torch.Tensor or type(value) is torch.nn.Parameter:
            part = value[:2] if cut and value.ndim and value.shape[0] == rows else value
            return part.detach().to("cpu", copy=True)
        if isinstance(value, dict):
            return {key: keep(each) for key, each in value.items()}
        if type(value) in (tuple, list):
            return type(value)(keep(each) for each in value)
        if isinstance(value, _PLAIN):
            return value
        raise _NotKept

    return keep


def _tensors(torch: Any, value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _tensors(torch, each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _tensors(torch, each)
