from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import InvalidInput
from workbench.protocols.binary import bytes_from_array


def test_a_column_of_a_few_texts_is_encoded_as_one_of_many() -> None:
    few = np.array([b"a", b"", "Köln".encode(), b"Rom" * 40] * 1000, object)
    encoded = bytes(bytes_from_array(few, "t", "BYTES"))
    assert encoded == b"".join(bytes(bytes_from_array(few[row : row + 1], "t", "BYTES")) for row in range(len(few)))
    with pytest.raises(InvalidInput, match="t: a BYTES tensor holds bytes or str; found int"):
        bytes_from_array(np.array([b"a", 3] * 1000, object), "t", "BYTES")
