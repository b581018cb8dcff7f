from __future__ import annotations

from collections import UserDict
from typing import Any

import numpy as np
import pytest

from workbench.convert.hub.text_checks import given_texts
from workbench.errors import InvalidInput


@pytest.mark.parametrize("sample", ["a", ["a"], np.array(["a"]), {"text": "a"}, {"text": ["a"]}])
def test_a_sample_of_texts_has_the_forms_that_predict_takes(sample: Any) -> None:
    assert given_texts(sample) == ["a"]


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ([1, 2], "; an int was given"),
        (UserDict({"input_ids": [[1]]}), "; a UserDict was given"),  # as a tokenizer gives it
        ([], "; this holds none"),
    ],
)
def test_a_sample_that_holds_no_texts_is_refused_with_what_it_holds(sample: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=f"sample takes texts, as predict takes them{said}"):
        given_texts(sample)
