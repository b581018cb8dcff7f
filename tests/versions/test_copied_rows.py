"""What the growing figures of a shadow say of an agreement, look by look."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.core.model import FREE, Signature, TensorSpec
from workbench.core.shadow_figures import ShadowFigures, ShadowOutput
from workbench.versions.copied_rows import CopiedRows, tells_agreement

BEGAN = ShadowFigures("m", "2", "1", 1.0, since=5.0)
LABEL = ShadowOutput("label", 10, 9, is_label=True)


def test_each_look_has_the_rows_since_the_one_before() -> None:
    rows = CopiedRows()
    assert rows.since(None) == ((0, 0), "")
    assert rows.since(BEGAN) == ((0, 0), "")
    later = replace(BEGAN, rows=10, differing=1, outputs=(LABEL,))
    assert rows.since(later) == ((10, 9), "")
    assert rows.since(later) == ((0, 0), "")
    assert rows.since(replace(later, rows=13, differing=2)) == ((3, 2), "")
    assert rows.since(replace(later, since=6.0)) == ((10, 9), ""), "a version was loaded anew"


def test_outputs_that_differ_in_shape_are_told_once_with_both() -> None:
    rows = CopiedRows()
    odd = ShadowOutput("y", unlike=3, why_unlike="the shapes differ: [1, 2] and [1, 3]")
    found = replace(BEGAN, rows=3, outputs=(odd,))
    assert rows.since(found) == ((3, 3), "y: the shapes differ: [1, 2] and [1, 3]")
    assert rows.since(found) == ((0, 0), "")


def test_numbers_neither_agree_nor_disagree() -> None:
    number = ShadowOutput("price", 10, None, largest=0.5)
    assert CopiedRows().since(replace(BEGAN, rows=10, outputs=(number,)))[1].startswith("they are numbers")
    assert CopiedRows().since(replace(BEGAN, rows=10, outputs=(number, LABEL))) == ((10, 10), "")


@pytest.mark.parametrize(
    ("datatype", "shape", "tells"),
    [
        ("FP32", (FREE, 3), True),
        ("FP32", (FREE, FREE), True),
        ("FP32", (FREE, 1), False),
        ("BF16", (FREE,), False),
        ("FP16", (FREE, 3, 3), False),
        ("INT64", (FREE,), True),
        ("BYTES", (FREE,), True),
        ("BOOL", (FREE, 4), True),
    ],
)
def test_labels_and_scores_of_classes_agree_or_not(datatype: str, shape: tuple[int, ...], tells: bool) -> None:
    number = TensorSpec("n", "FP64", (FREE, 1))
    assert tells_agreement(Signature((), (number, TensorSpec("y", datatype, shape)))) is tells
