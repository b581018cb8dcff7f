"""Writes down, as source and by value, what a function needs: names, numbers, arrays, instances. Never a pickle.

`Frozen` collects the steps that make all of it anew; `functions.worker` takes them. What cannot be written
down is Unsupported, with the way to it and the reason: "model.steps[1][1]: a Lock is bound to this process".
"""

from __future__ import annotations

import builtins
import collections
import functools
import importlib.metadata
import inspect
import math
import re
import sys
import types
from pathlib import PurePath
from typing import Any

import numpy as np

from workbench.convert.python.python_names import needed_names
from workbench.convert.python.python_source import source_of
from workbench.core.tensor import Array
from workbench.errors import Unsupported
from workbench.functions.function_bundle import Block

DEEPEST = 60
MOST_ELEMENTS = 1_000_000
"""Of one list or dict that is written element by element."""

_HEAP_TYPE = 1 << 9
_OF_A_PROCESS = ("_io", "_thread", "io", "multiprocessing", "socket", "sqlite3", "subprocess", "threading")
_OF_NOTEBOOKS = ("display", "get_ipython")
_OURS = ("__main__", "__mp_main__")


class Frozen:
    """What one function needs, in the order in which it is to be made."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self.blocks: list[Block] = []
        self.texts: list[str] = []
        self.arrays: list[Array] = []
        self.packages: dict[str, str] = {}
        self.local_modules: dict[str, str] = {}
        """Module of the user's own that is imported when the process starts -> its file."""
        self._named: dict[str, object] = {}
        self._kept: list[object] = []
        self._seen: dict[int, dict[str, Any]] = {}

    def name(self, name: str, value: object, way: str = "") -> None:
        """Have `value` under `name`. Raises Unsupported."""
        if name in self._named:
            if self._named[name] is not value and not _equal(self._named[name], value):
                raise Unsupported(f"two different things that are needed are called {name!r}; rename one")
            return
        self._named[name] = value
        way = way or name
        if isinstance(value, types.ModuleType):
            self._import(value.__name__)
            self.steps.append({"import": value.__name__, "as": name})
        elif (place := importable(value)) is not None:
            self._import(place[0])
            self.steps.append({"from": place[0], "take": place[1], "as": name})
        elif _has_source(value):
            self._source(name, value)
        else:
            self.steps.append({"value": self.written(value, way), "as": name})

    def _source(self, name: str, thing: Any) -> None:
        """The text of a function or class, after what it needs."""
        found = source_of(thing)
        space: dict[str, Any] = _space_of(thing)
        for each in needed_names(found.text):
            if each == thing.__name__ and each not in space:
                continue
            if each in space:
                if space[each] is not thing:
                    self.name(each, space[each], f"{name} uses {each}")
            elif each in _OF_NOTEBOOKS or not hasattr(builtins, each):
                why = "which only a notebook has" if each in _OF_NOTEBOOKS else "which is not defined"
                raise Unsupported(f"{name} uses {each!r}, {why}")
        assigned = name if found.is_lambda else ""
        self.steps.append({"block": len(self.blocks)})
        self.blocks.append(Block(found.file, found.line, assigned))
        self.texts.append(found.text)
        if not found.is_lambda and thing.__name__ != name:
            self.steps.append({"value": {"name": thing.__name__}, "as": name})

    def _import(self, module: str) -> None:
        top = module.partition(".")[0]
        if top in self.packages or top in sys.stdlib_module_names:
            return
        for distribution in _distributions().get(top, ()):
            self.packages[top] = importlib.metadata.version(distribution)
            return
        if version := getattr(sys.modules.get(top), "__version__", ""):
            self.packages[top] = str(version)
        self.local_modules[module] = str(getattr(sys.modules.get(module), "__file__", ""))

    def written(self, value: object, way: str, depth: int = 0) -> Any:
        """`value` as JSON has it, or as {KIND: what}. Raises Unsupported."""
        if depth > DEEPEST:
            raise Unsupported(f"{way} is nested deeper than {DEEPEST} levels, or holds itself")
        if value is None or isinstance(value, bool) or type(value) is str:
            return value
        if type(value) is int:
            return value if abs(value) < 1 << 53 else {"int": str(value)}
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is complex:
            return {"complex": [self.written(value.real, way), self.written(value.imag, way)]}
        if type(value) is bytes:
            return {"bytes": value.hex()}
        if (seen := self._seen.get(id(value))) is not None:
            return seen
        return self._structured(value, way, depth + 1)

    def _structured(self, value: Any, way: str, depth: int) -> Any:
        kind = type(value)
        if kind in (list, tuple, set, frozenset):
            _check_size(value, way)
            elements = sorted(value, key=repr) if kind in (set, frozenset) else value
            return {kind.__name__: [self.written(each, f"{way}[{i}]", depth) for i, each in enumerate(elements)]}
        if kind in (dict, collections.OrderedDict):
            _check_size(value, way)
            pairs = [
                [self.written(key, f"a key of {way}", depth), self.written(each, f"{way}[{key!r:.40}]", depth)]
                for key, each in value.items()
            ]
            return {"dict" if kind is dict else "ordered": pairs}
        if kind is slice:
            return {"slice": [self.written(each, way, depth) for each in (value.start, value.stop, value.step)]}
        if kind is range:
            return {"range": [value.start, value.stop, value.step]}
        if isinstance(value, PurePath):
            return {"path": str(value)}
        if kind is re.Pattern:
            return {"pattern": [self.written(value.pattern, way), value.flags]}
        if isinstance(value, np.dtype):
            return {"dtype": value.str}
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, way, depth)
        if isinstance(value, types.ModuleType):
            self._import(value.__name__)
            return {"module": value.__name__}
        if (place := importable(value)) is not None:
            self._import(place[0])
            return {"from": list(place)}
        if _has_source(value):
            name = value.__name__ if value.__name__.isidentifier() else f"lambda_{len(self._kept)}"
            self._kept.append(value)
            self.name(name, value, way)
            return self._remember(value, {"name": name})
        return self._instance(value, way, depth)

    def _array(self, value: Any, way: str, depth: int) -> Any:
        if value.dtype.hasobject:
            if value.dtype != object:
                raise Unsupported(f"{way} is an array of {value.dtype}, which holds Python objects")
            _check_size(value.reshape(-1), way)
            elements = [self.written(each, f"{way}[{i}]", depth) for i, each in enumerate(value.reshape(-1).tolist())]
            return {"elements": [list(value.shape), elements]}
        if type(value) is not np.ndarray and not isinstance(value, np.generic):
            raise Unsupported(f"{way} is a {type(value).__name__}; give np.asarray of it")
        self.arrays.append(np.asarray(value))
        where = {"scalar" if isinstance(value, np.generic) else "array": len(self.arrays) - 1}
        return self._remember(value, where)

    def _instance(self, value: Any, way: str, depth: int) -> Any:
        cls = type(value)
        if (args := _arguments(value)) is not None:
            arguments, state = args
            made = {"class": self.written(cls, way, depth), "id": len(self._kept)}
            made["arguments"] = [self.written(each, f"{way}, argument {i},", depth) for i, each in enumerate(arguments)]
            if state is not None:
                made["state"] = self.written(state, way, depth)
            self._remember(value, {"seen": made["id"]})
            return {"called": made}
        if (reason := why_not_by_value(value)) is not None:
            raise Unsupported(f"{way}: {reason}")
        number = len(self._kept)
        self._remember(value, {"seen": number})
        written_class = self.written(cls, way, depth)
        state = {**getattr(value, "__dict__", {})}
        for owner in cls.__mro__:
            slots = owner.__dict__.get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if slot not in ("__dict__", "__weakref__") and hasattr(value, slot):
                    state[slot] = getattr(value, slot)
        fields = [[name, self.written(each, f"{way}.{name}", depth)] for name, each in state.items()]
        return {"object": {"class": written_class, "id": number, "state": fields}}

    def _remember(self, value: object, where: dict[str, Any]) -> dict[str, Any]:
        self._kept.append(value)  # so that no other object gets its id
        self._seen[id(value)] = where
        return where


def importable(value: Any) -> tuple[str, str] | None:
    """(module, name) by which a function, class or ufunc is imported elsewhere; None for the user's own."""
    if isinstance(value, np.ufunc):
        called = str(value.__name__)
        return ("numpy", called) if getattr(np, called, None) is value else None
    if not callable(value):
        return None
    if isinstance(value, types.FunctionType) and value.__globals__.get("__name__") == "IPython.core.interactiveshell":
        value = inspect.unwrap(value)  # a notebook's `open` is IPython's, around Python's own
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in _OURS or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is value else None


def why_not_by_value(value: Any) -> str | None:
    """The reason why an instance cannot be made again from its class and its attributes; None where it can."""
    cls = type(value)
    name = f"{'an' if cls.__name__[:1] in 'AEIOUaeio' else 'a'} {cls.__name__}"
    tops = [each.__module__.partition(".")[0] for each in cls.__mro__]
    if "torch" in tops:
        return f"{name} is torch's; load it by itself, and give the function as what is around it (--model)"
    if tops[0] in _OF_A_PROCESS:
        return f"{name} belongs to this process; make it inside the function"
    if tops[0] == "pandas":
        return f"{name} is pandas'; keep what the function needs of it as arrays, as .to_numpy()"
    if not all(each.__flags__ & _HEAP_TYPE or each is object for each in cls.__mro__):
        return f"{name} holds what only its own library can read; keep what is needed of it as numbers or arrays"
    if not _is_installed(tops[0]) or any(each.__module__ == "sklearn.base" for each in cls.__mro__):
        return None
    return (
        f"{name} is of {tops[0]}, whose objects are not known here by their values; read it from its file inside of a "
        "function (%%infer function NAME)"
    )


def _arguments(value: Any) -> tuple[tuple[object, ...], object] | None:
    """(arguments, state) of an instance of a class that is known to be made again from them; None: another class."""
    cls = type(value)
    where = f"{cls.__module__}.{cls.__qualname__}"
    if where == "sklearn.tree._tree.Tree":
        _, arguments, state = value.__reduce__()
        return arguments, state
    if cls is functools.partial:
        return (value.func,), (value.func, value.args, value.keywords, None)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return tuple(value), None
    if where.startswith("scipy.sparse.") and hasattr(value, "tocsr") and getattr(value, "format", "") in ("csr", "csc"):
        return ((value.data, value.indices, value.indptr), value.shape), None
    return None


def _has_source(value: Any) -> bool:
    """A class, a function, or a function in a decorator's wrapping."""
    return isinstance(value, type | types.FunctionType) or (
        callable(value) and isinstance(getattr(value, "__wrapped__", None), types.FunctionType)
    )


def _space_of(thing: Any) -> dict[str, Any]:
    """The names that a function or a class of the user's sees."""
    thing = thing if isinstance(thing, type) else inspect.unwrap(thing)
    if isinstance(thing, types.FunctionType):
        closed = inspect.getclosurevars(thing).nonlocals
        return {**thing.__globals__, **closed}
    methods = [each for each in vars(thing).values() if isinstance(each, types.FunctionType)]
    own = [each for each in methods if each.__module__ == thing.__module__]
    module = sys.modules.get(thing.__module__)
    return {**(vars(module) if module else {}), **(own[0].__globals__ if own else {})}


def _equal(one: object, other: object) -> bool:
    return isinstance(one, int | float | str | bool) and type(one) is type(other) and one == other


def _check_size(value: Any, way: str) -> None:
    if len(value) > MOST_ELEMENTS:
        raise Unsupported(f"{way} has {len(value)} elements; keep so many in an array")


def _is_installed(top: str) -> bool:
    return top in _distributions() or top in sys.stdlib_module_names


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())
