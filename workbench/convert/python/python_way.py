"""Says how an object that nothing exports can be served all the same: as Python, with a cell to paste."""

from __future__ import annotations

import builtins
import inspect
import sys
from types import ModuleType
from typing import Any

from workbench.convert.converters import CONVERTERS, variable_of
from workbench.convert.python.python_values import importable
from workbench.errors import Unsupported

_ANSWERS = ("predict", "transform")
_LIKELY = ("predict_proba", "score", "infer", "generate", "encode", "embed", "classify", "forward", "run")
"""Methods that answer, the likeliest first; one of another name is taken where there is none of these."""

_NO_ANSWERS = ("fit", "train", "load", "save", "close", "reset", "set_params", "get_params", "register")


def python_way(source: object) -> tuple[str, str]:
    """How to serve an object by its values, as a clause, and a cell to paste; each empty where there is none."""
    if not isinstance(source, type) and (place := importable(source)) is not None:  # a function without a source
        module, name = place
        called = name if module == builtins.__name__ else f"{module}.{name}"
        line = "" if module == builtins.__name__ else f"    import {module}\n"
        return "serve it as a function, by a cell like this:", f"{_HEAD}{line}    return {called}(x)"
    if isinstance(source, ModuleType | type) or type(source).__module__ == builtins.__name__:
        return "", ""
    call = _call(source)
    if not call:
        return "", ""
    if not (why := _kept_here(source)):
        if any(callable(getattr(source, method, None)) for method in _ANSWERS):
            return "serve it as Python: %infer load NAME obj --as-python --sample X[:5] (as_python=True)", ""
        return (
            "serve what it does as a function, by a cell like this:",
            f"{_HEAD}    return {variable_of(source, 'obj')}{call}",
        )
    name, reason = type(source).__name__, why.partition(";")[0]
    known = any(cls.__module__.partition(".")[0] in CONVERTERS for cls in type(source).__mro__)
    if known or name not in vars(sys.modules["__main__"]):  # what it learned would be lost, or only they can make it
        return "", ""
    return (
        f"serve what it does as a function, by a cell like this, which makes it in the function ({reason}):",
        f"{_HEAD}    if not made:\n        made.append({name}(...))  # as you made yours\n    return made[0]{call}\n\n"
        "made = []",
    )


_HEAD = "%%infer function NAME --sample X[:5]\ndef predict(x):\n"


def _kept_here(source: object) -> str:
    """Why its values cannot be written down; empty where they can."""
    from workbench.convert.python.python_values import Frozen

    try:
        Frozen().name("model", source)
    except Unsupported as error:
        return error.message
    except Exception as error:  # of the object's own parts, of any class
        return f"its values cannot be read ({type(error).__name__})"
    return ""


def _call(source: object) -> str:
    """What asks it for an answer, to be written behind its name; empty where nothing does."""
    kind = type(source)
    named = [each for each in (*_ANSWERS, *_LIKELY) if callable(getattr(source, each, None))]
    if any(each in _ANSWERS for each in named):
        return f".{named[0]}(x)"
    if callable(source):
        return "(x)"
    others = [
        each
        for cls in kind.__mro__[:-1]
        for each, method in vars(cls).items()
        if not each.startswith(("_", *_NO_ANSWERS)) and inspect.isfunction(method) and _takes_one(method)
    ]
    return next((f".{each}(x)" for each in (*named, *others)), "")


def _takes_one(method: Any) -> bool:
    """Whether it can be called with one argument beside `self`."""
    try:
        inspect.signature(method).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True
