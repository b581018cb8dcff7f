"""Reads the values that a function needs, as `convert.python.python_values` wrote them."""

from __future__ import annotations

import builtins
import collections
import importlib
import pathlib
import re
import zipfile
from typing import Any

import numpy as np


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
