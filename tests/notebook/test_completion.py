from __future__ import annotations

import pytest
from IPython.core.error import TryNext

from workbench.notebook.commands import VERBS
from workbench.notebook.completion import candidates


def offered(text: str) -> list[str]:
    return candidates(text, lambda: ["digits", "resnet"], ["X", "clf"])


@pytest.mark.parametrize("text", ["%infer ", "%infer pre", "%infer help ", "infer "])
def test_verbs_are_offered_first(text: str) -> None:
    assert offered(text) == list(VERBS)


@pytest.mark.parametrize("verb", ["load", "predict", "show", "unload", "set"])
def test_then_the_names_of_models(verb: str) -> None:
    assert offered(f"%infer {verb} ") == ["digits", "resnet"]
    assert offered(f"%infer {verb} di") == ["digits", "resnet"]


def test_flags_once_each() -> None:
    assert "--max-batch" in offered("%infer load digits clf --")
    assert "--max-batch" not in offered("%infer load digits clf --max-batch 8 --")
    assert offered("%infer load digits clf --device ") == ["auto", "cpu", "cuda"]


def test_settings_with_their_equals_sign() -> None:
    assert {"max_batch=", "max_queue_delay_s="} <= set(offered("%infer set digits "))


def test_variables_where_an_expression_stands() -> None:
    assert offered("%infer predict digits ") == ["X", "clf"]
    assert offered("%infer load digits cl") == ["X", "clf"]


@pytest.mark.parametrize(
    "text", ["%infer predict digits X.", "%infer load m ./mo", "%infer nothing ", "%infer set d a=1"]
)
def test_the_rest_is_left_to_ipython(text: str) -> None:
    with pytest.raises(TryNext):
        offered(text)


def test_a_service_is_not_needed_for_what_needs_no_names() -> None:
    assert candidates("%infer load digits clf --f", list, []) != []
