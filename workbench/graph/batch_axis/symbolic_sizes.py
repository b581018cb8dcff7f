"""Computes with sizes that a graph names only: whole numbers, and polynomials in the batch size and other free axes.

Exported graphs compute shapes (Shape, Gather, Mul, Concat, Reshape). Following them needs `batch * heads`, divided by
`heads`, to be `batch` again. What no polynomial expresses becomes a new symbol, which equals itself only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple


class Symbol(NamedTuple):
    """A size that is not known."""

    name: str
    of_batch: bool = False
    """It depends on the batch size."""
    is_size: bool = True
    """It is a whole number, and not negative."""
    at_most: str = ""
    """It is this size (as text) or a smaller constant."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A sum of products of symbols; never a plain number."""

    terms: tuple[tuple[tuple[Symbol, ...], int], ...]
    """(symbols, factor), both sorted; the product of no symbols is 1."""

    @property
    def of_batch(self) -> bool:
        return any(symbol.of_batch for symbols, _ in self.terms for symbol in symbols)

    @property
    def is_size(self) -> bool:
        return all(factor > 0 and all(symbol.is_size for symbol in symbols) for symbols, factor in self.terms)

    def __str__(self) -> str:
        return "+".join("*".join([*([str(factor)] if factor != 1 or not symbols else []), *(s.name for s in symbols)])
                        for symbols, factor in self.terms)  # fmt: skip


Number = int | float | Polynomial
"""A size, or an element of a small tensor."""

_LARGEST = 2**64
_MOST_TERMS = 8
_MOST_FACTORS = 12
_LONGEST_NAME = 80
_counter = itertools.count()


def named(name: str, *, of_batch: bool = False, is_size: bool = True) -> Polynomial:
    return Polynomial((((Symbol(name, of_batch, is_size),), 1),))


def at_most(size: Polynomial, most: int) -> Polynomial:
    """The smaller of the two, such as a table's length after it was cut to `size`."""
    return Polynomial((((Symbol(f"min({size},{most})", size.of_batch, True, str(size)),), 1),))


def is_capped(number: Number, by: Number) -> bool:
    """True of at_most(by, a constant)."""
    return (
        isinstance(number, Polynomial)
        and len(number.terms) == 1
        and number.terms[0][1] == 1
        and [symbol.at_most for symbol in number.terms[0][0]] == [str(by)]
    )


def fresh(*, of_batch: bool = False, is_size: bool = True) -> Polynomial:
    """A size that equals no other."""
    return named(f"#{next(_counter)}", of_batch=of_batch, is_size=is_size)


BATCH: Final = named("batch size", of_batch=True)


def of_batch(number: Number) -> bool:
    return isinstance(number, Polynomial) and number.of_batch


def of_sizes(number: Number) -> bool:
    """True of what is computed from sizes only, and so is not negative for want of a size."""
    return not isinstance(number, Polynomial) or all(s.is_size for symbols, _ in number.terms for s in symbols)


def is_count(number: Number) -> bool:
    """True of what is surely a whole number and not negative."""
    return number.is_size if isinstance(number, Polynomial) else isinstance(number, int) and number >= 0


def add(left: Number, right: Number) -> Number:
    if isinstance(left, Polynomial) or isinstance(right, Polynomial):
        terms = _terms(left), _terms(right)
        if terms[0] is None or terms[1] is None:
            return _opaque("+", left, right)
        total = dict(terms[0])
        for symbols, factor in terms[1]:
            total[symbols] = total.get(symbols, 0) + factor
        found = _polynomial(total)
        return _opaque("+", left, right) if found is None else found
    return _bounded(left + right)


def subtract(left: Number, right: Number) -> Number:
    return add(left, multiply(right, -1))


def multiply(left: Number, right: Number) -> Number:
    if isinstance(left, Polynomial) or isinstance(right, Polynomial):
        if left == 1:
            return right
        if right == 1:
            return left
        terms = _terms(left), _terms(right)
        if terms[0] is None or terms[1] is None:
            return _opaque("*", left, right)
        total: dict[tuple[Symbol, ...], int] = {}
        for symbols, factor in terms[0]:
            for others, by in terms[1]:
                both = tuple(sorted(symbols + others))
                total[both] = total.get(both, 0) + factor * by
        found = _polynomial(total)
        return _opaque("*", left, right) if found is None else found
    return _bounded(left * right)


def _bounded(number: int | float) -> Number:
    """What is larger than any size is not computed with: numbers of a hostile file could grow without end."""
    return number if abs(number) < _LARGEST or isinstance(number, float) else fresh(is_size=False)


def product(numbers: Iterable[Number]) -> Number:
    result: Number = 1
    for number in numbers:
        result = multiply(result, number)
    return result


def exactly(left: Number, right: Number) -> Number | None:
    """left / right where that is a whole number or a polynomial; None where it is not, or not surely."""
    if right == 1:
        return left
    if left == right and left != 0:
        return 1
    above, below = _terms(left), _terms(right)
    if not above or not below:
        return 0 if below and above is not None else None
    # Long division, from the longest products down.
    rest, quotient = dict(above), dict[tuple[Symbol, ...], int]()
    lead, by = max(below, key=_length)
    for _ in range(_MOST_TERMS):
        symbols, factor = max(rest.items(), key=_length)
        part = _without(symbols, lead)
        if part is None or factor % by:
            return None
        quotient[part] = quotient.get(part, 0) + factor // by
        for others, times in below:
            both = tuple(sorted(part + others))
            rest[both] = rest.get(both, 0) - factor // by * times
            if not rest[both]:
                del rest[both]
        if not rest:
            return _polynomial(quotient)
    return None


def _length(term: tuple[tuple[Symbol, ...], int]) -> tuple[int, tuple[Symbol, ...]]:
    return len(term[0]), term[0]


def _without(symbols: tuple[Symbol, ...], others: tuple[Symbol, ...]) -> tuple[Symbol, ...] | None:
    left = list(symbols)
    for symbol in others:
        if symbol not in left:
            return None
        left.remove(symbol)
    return tuple(left)


def divide(left: Number, right: Number) -> Number:
    """As ONNX divides: towards zero where both are whole numbers."""
    found = exactly(left, right)
    if found is not None:
        return found
    if isinstance(left, Polynomial) or isinstance(right, Polynomial) or right == 0:
        whole = isinstance(right, int) and right > 0 and is_count(left)
        return _opaque("//" if whole else "/", left, right, is_size=whole)
    if isinstance(left, int) and isinstance(right, int):
        return left // right if (left < 0) == (right < 0) else -(-left // right)
    return left / right


def floor_divide(left: Number, right: int) -> Number:
    """Of sizes: not negative in any run that the runtime does not refuse."""
    if isinstance(left, Polynomial):
        found = exactly(left, right)
        return _opaque("//", left, right, is_size=True) if found is None else found
    return int(left // right)


def opaque(operation: str, *numbers: Number) -> Number:
    """What an operation gives that is not computed here: it depends on the batch size if one of its operands does."""
    return _opaque(operation, *numbers, is_size=False)


def apply(function: Callable[..., Number], name: str, *numbers: Number) -> Number:
    """function(*numbers) of plain numbers, else opaque."""
    if any(isinstance(number, Polynomial) for number in numbers):
        return opaque(name, *numbers)
    return function(*numbers)


def equal(left: Number, right: Number) -> bool | None:
    """Whether they are equal at all sizes; None where it depends."""
    if left == right:
        return True
    return False if greater(left, right) or greater(right, left) else None


def greater(left: Number, right: Number) -> bool | None:
    """Whether left > right at all sizes; None where it depends. A batch has a row at least."""
    difference = subtract(left, right)
    if not isinstance(difference, Polynomial):
        return difference > 0
    if difference.is_size:
        sure = any(all(symbol == BATCH.terms[0][0][0] for symbol in symbols) for symbols, _ in difference.terms)
        return True if sure else None
    negative = multiply(difference, -1)
    return False if isinstance(negative, Polynomial) and negative.is_size else None


def _terms(number: Number) -> tuple[tuple[tuple[Symbol, ...], int], ...] | None:
    if isinstance(number, Polynomial):
        return number.terms
    if isinstance(number, float):
        if not number.is_integer():
            return None
        number = int(number)
    return (((), number),) if number else ()


def _polynomial(terms: dict[tuple[Symbol, ...], int]) -> Number | None:
    """None: too long to go on with."""
    kept = {symbols: factor for symbols, factor in terms.items() if factor}
    if not kept.keys() - {()}:
        return kept.get((), 0)
    if len(kept) > _MOST_TERMS or any(len(one) > _MOST_FACTORS or abs(by) >= _LARGEST for one, by in kept.items()):
        return None
    return Polynomial(tuple(sorted(kept.items())))


def _opaque(operation: str, *numbers: Number, is_size: bool | None = None) -> Number:
    if is_size is None:
        is_size = all(map(is_count, numbers))
    depends = any(map(of_batch, numbers))
    name = f"{operation}({','.join(map(str, numbers))})"
    # The same operation on the same operands gives the same size: its name says which.
    if len(name) > _LONGEST_NAME:
        return fresh(of_batch=depends, is_size=is_size)
    return named(name, of_batch=depends, is_size=is_size)
