"""Turns texts into token ids as a transformers tokenizer does, and runs those of one length together.

A text is padded to a length that depends on nothing but its own tokens, and texts of one padded length share a run: so
no neighbour in a batch changes how a row is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.core.bundle import Activation, BundleSpec
from workbench.core.tensor import Array
from workbench.errors import ExecutionError, InvalidInput, ModelError
from workbench.runtimes.onnx import OnnxSession

if TYPE_CHECKING:
    from tokenizers import Encoding

TOKENIZERS = "its texts are read with tokenizers, which the service's environment lacks: pip install tokenizers"
MOST_CHARACTERS = 1_000_000
"""Of one text, and of texts that are split at a time: what comes of a character takes up to 120 bytes for a while."""

FINEST = 4
"""Padded lengths are multiples of this at the least, and of an eighth of the length at the most."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one text, or of a pair."""

    ids: list[int]
    type_ids: list[int]
    offsets: Sequence[tuple[int, int]] = ()
    """First and last character of each, in its text; these three only where they are asked for."""
    special: Sequence[bool] = ()
    parts: Sequence[int | None] = ()
    """0 for the tokens of a pair's first text, 1 for those of its second, None for special ones."""


class Texts:
    """The tokenizer of a bundle. Any number of threads may use it at once."""

    def __init__(self, spec: BundleSpec, content: bytes) -> None:
        """Raises ModelError for a tokenizer that cannot be read."""
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ModelError(TOKENIZERS) from None
        assert spec.text is not None
        self.spec = spec.text
        self._inputs = spec.inputs
        self._type_ids = "token_type_ids" in spec.inputs
        self._padded = self.spec.pad_id is not None and "attention_mask" in spec.inputs
        try:
            self.tokenizer = Tokenizer.from_buffer(content)
            self.tokenizer.no_padding()
            self.tokenizer.no_truncation()
            if self.spec.max_length:
                # Of a pair it is the second text that is cut, the context of a question.
                strategy = "only_second" if spec.task == "question-answering" else "longest_first"
                self.tokenizer.enable_truncation(self.spec.max_length, strategy=strategy, direction=self.spec.cut_side)
        except BaseException as error:
            raise _wrapped(error, "the bundle's tokenizer.json cannot be read", ModelError) from None

    def read(self, name: str, rows: Array) -> list[str]:
        """The texts of one input. Raises InvalidInput, naming the row, where one is not UTF-8."""
        spec, texts = self.spec, []
        for row, data in enumerate(rows.tolist()):
            try:
                text = data.decode()
            except UnicodeDecodeError:
                raise InvalidInput(f"row {row} of input {name!r} is not UTF-8; give text") from None
            if spec.strip:
                text = text.strip()
            if len(text) > MOST_CHARACTERS:
                raise InvalidInput(
                    f"row {row} of input {name!r} has {len(text)} characters; {MOST_CHARACTERS} are read at most"
                )
            text = spec.prompt + text
            texts.append(text.lower() if spec.lower else text)
        return texts

    def encode(self, texts: Sequence[str] | Sequence[tuple[str, str]], *, places: bool = False) -> list[Encoded]:
        """With `places` where in its text each token lies. Raises InvalidInput for a text without tokens."""
        encode = self.tokenizer.encode_batch if places else self.tokenizer.encode_batch_fast
        found: list[Encoded] = []
        try:
            for some in _portions(texts):
                found += [_encoded(encoding, places) for encoding in encode(some)]
        except BaseException as error:
            raise _wrapped(error, "the tokenizer failed", InvalidInput) from None
        for row, encoded in enumerate(found):
            if not encoded.ids:
                raise InvalidInput(f"row {row} has no token in it; give a text that is not empty")
        return found

    def run(
        self, session: OnnxSession, encodings: Sequence[Encoded], outputs: Sequence[str]
    ) -> Iterator[tuple[list[int], list[Array]]]:
        """(which of `encodings`, the outputs for these), until all had their turn."""
        groups: dict[int, list[int]] = defaultdict(list)
        for row, encoding in enumerate(encodings):
            groups[self._padded_length(len(encoding.ids))].append(row)
        for length, rows in sorted(groups.items()):
            yield rows, session.run(self._arrays([encodings[row] for row in rows], length), outputs)

    def place(self, encoding: Encoded, length: int) -> slice:
        """Where the tokens lie among `length` padded ones."""
        count = len(encoding.ids)
        return slice(length - count, length) if self.spec.pad_side == "left" else slice(count)

    def _padded_length(self, count: int) -> int:
        if not self._padded:
            return count
        step = max(FINEST, 1 << max(0, (count - 1).bit_length() - 3))
        length = -(-count // step) * step
        return min(length, self.spec.max_length) if count <= self.spec.max_length else length

    def _arrays(self, encodings: Sequence[Encoded], length: int) -> dict[str, Array]:
        shape = len(encodings), length
        ids = np.full(shape, self.spec.pad_id or 0, np.int64)
        mask = np.zeros(shape, np.int64)
        types = np.full(shape if self._type_ids else 0, self.spec.pad_type_id, np.int64)
        for row, encoding in enumerate(encodings):
            place = self.place(encoding, length)
            ids[row, place] = encoding.ids
            mask[row, place] = 1
            if self._type_ids:
                types[row, place] = encoding.type_ids
        arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: arrays[name] for name in self._inputs}


def _portions(texts: Sequence[Any]) -> Iterator[list[Any]]:
    """`texts` in order, of no more than MOST_CHARACTERS at a time, where one text is not longer."""
    some: list[Any] = []
    characters = 0
    for text in texts:
        size = len(text) if isinstance(text, str) else sum(map(len, text))
        if some and characters + size > MOST_CHARACTERS:
            yield some
            some, characters = [], 0
        some.append(text)
        characters += size
    if some:
        yield some


def _encoded(encoding: Encoding, places: bool) -> Encoded:
    """What is kept of `encoding`, which holds what was cut off too."""
    if not places:
        return Encoded(encoding.ids, encoding.type_ids)
    special = [bool(each) for each in encoding.special_tokens_mask]
    return Encoded(encoding.ids, encoding.type_ids, encoding.offsets, special, encoding.sequence_ids)


def _wrapped(error: BaseException, what: str, kind: type[ModelError] | type[InvalidInput]) -> Exception:
    """An error of ours for one of the tokenizers library, whose panics are no Exception; interrupts pass."""
    said = " ".join(str(error).split())[:300]
    if type(error).__name__ == "PanicException":
        return ExecutionError(f"{what}: {said}") if kind is InvalidInput else kind(f"{what}: {said}")
    if not isinstance(error, Exception) or isinstance(error, MemoryError):
        raise error
    return kind(f"{what}: {said}")


def activated(logits: Array, activation: Activation) -> Array:
    """Scores of logits."""
    if activation == "none":
        return logits
    return softmax(logits) if activation == "softmax" else _sigmoid(logits)


def softmax(scores: Array) -> Array:
    """Over the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def _sigmoid(scores: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-scores)))
