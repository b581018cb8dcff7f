from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import InvalidInput, TooLarge
from workbench.protocols.binary import array_from_bytes, bytes_from_array


def test_columns_of_few_and_of_many_texts_are_encoded_as_each_element_alone() -> None:
    few = np.array([b"a", b"", "Köln".encode(), b"Rom" * 40] * 1000, object)
    encoded = bytes(bytes_from_array(few, "t", "BYTES"))
    assert encoded == b"".join(bytes(bytes_from_array(few[row : row + 1], "t", "BYTES")) for row in range(len(few)))
    many = np.array([b"%d" % row + b"\0" * (row % 3) for row in range(3000)] + [b""], object)
    encoded = bytes(bytes_from_array(many, "t", "BYTES"))
    assert encoded == b"".join(bytes(bytes_from_array(many[row : row + 1], "t", "BYTES")) for row in range(len(many)))
    with pytest.raises(InvalidInput, match="t: a BYTES tensor holds bytes or str; found int"):
        bytes_from_array(np.array([b"a", 3] * 1000, object), "t", "BYTES")


def test_the_bad_element_of_many_texts_is_named() -> None:
    texts = np.array([b"ab"] * 5000, object)
    body = bytes(bytes_from_array(texts, "t", "BYTES"))

    def decoded(body: bytes, count: int, size: int | None = None, most: int = 10) -> list[bytes]:
        return list(array_from_bytes(body, 0, size or len(body), "t", "BYTES", (count,), count, most))

    assert decoded(body, 5000) == texts.tolist()
    bad = body[: 4500 * 6] + b"\x03" + body[4500 * 6 + 1 :]
    with pytest.raises(InvalidInput, match="t: element 4500 says 3 bytes, and 2 are left"):
        decoded(bad, 4501, 4501 * 6)
    with pytest.raises(TooLarge, match="t: element 0 has 2 bytes; max_string_bytes is 1"):
        decoded(body, 5000, most=1)
    with pytest.raises(InvalidInput, match="t: 6 bytes are left over after its 4999 elements"):
        decoded(body, 4999)
    with pytest.raises(InvalidInput, match="t: its binary data ends before element 4500 of 5000"):
        decoded(body, 5000, 4500 * 6)
