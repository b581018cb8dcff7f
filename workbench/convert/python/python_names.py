"""Tells which names from outside a piece of Python source needs. Pure."""

from __future__ import annotations

import symtable
from collections.abc import Iterator


def needed_names(text: str) -> tuple[str, ...]:
    """The names that the text uses and does not make itself, builtins among them, in alphabetical order."""
    # Annotations stay texts in the process, so the names in them are not needed.
    top = symtable.symtable(f"from __future__ import annotations\n{text}", "source", "exec")
    made = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    found = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    for table in _inner(top):
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return tuple(sorted(found - made - {"__class__"}))


def _inner(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner(child)
