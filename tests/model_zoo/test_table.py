"""Every kind of object, loaded into a real service; docs/models.md has what came of it (`make model-table`)."""

from __future__ import annotations

import pytest
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector, is_regressor

from tests.model_zoo import sklearn_cases
from tests.model_zoo.case import Case
from tests.model_zoo.table import NO, PAGE, all_cases, cell, line, lines_in, measured, written
from workbench.api import Workbench

QUICK = ("scikit-learn LogisticRegression", "scikit-learn filled, scaled, logistic", "XGBRegressor, count:poisson")
OTHERS = 40
"""The least number of objects of other libraries."""
SHARE = 0.9
"""Of scikit-learn's classifiers, regressors, clusterers and outlier detectors, at least this much is served."""


def test_the_table_names_each_case_and_no_other() -> None:
    listed = set(lines_in(PAGE.read_text(encoding="utf-8")))
    cases = {cell(case.kind) for case in all_cases()}
    assert listed == cases, (
        f"`make model-table MODEL_TABLE_OPTIONS=--missing` adds {sorted(cases - listed)} and removes "
        f"{sorted(listed - cases)}"
    )


def test_a_case_that_is_refused_is_so_in_the_table_for_its_reason() -> None:
    lines = lines_in(PAGE.read_text(encoding="utf-8"))
    for case in all_cases():
        if case.refused:
            assert f" | {NO} | " in lines[cell(case.kind)]
            assert cell(case.refused) in lines[cell(case.kind)]


@pytest.mark.parametrize("kind", QUICK)
def test_an_object_is_served_and_measured(wb: Workbench, kind: str) -> None:
    (case,) = [each for each in all_cases() if each.kind == kind]
    row = measured(wb, case)
    assert row.served, row.answers
    assert "max |diff| " in row.answers
    assert min(row.served_per_s or 0, row.own_per_s or 0) > 0
    assert line(row) in written(PAGE.read_text(encoding="utf-8"), [line(row)])


def test_what_is_refused_has_its_reason_in_the_table(wb: Workbench) -> None:
    row = measured(wb, Case("nothing", lambda: (object(), [[1.0]])))
    assert (row.served, row.served_per_s) == (False, None)
    assert "cannot be loaded" in line(row)
    assert not list(wb)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_objects_are_served_right_or_refused_for_the_reason_that_is_known(wb: Workbench) -> None:
    rows = {}
    for case in all_cases():
        row = rows[case.kind] = measured(wb, case)
        if case.refused:
            assert not row.served, case.kind
            assert case.refused in row.answers
        elif not case.kind.startswith("scikit-learn "):
            assert row.served, f"{case.kind}: {row.answers}"
    assert len([kind for kind in rows if not kind.startswith("scikit-learn ")]) >= OTHERS
    kinds = (is_classifier, is_regressor, is_clusterer, is_outlier_detector)
    served = []
    for name in sklearn_cases.names():
        estimator = sklearn_cases.fitted(name).estimator
        if hasattr(estimator, "predict") and any(is_kind(estimator) for is_kind in kinds):
            served.append(rows[f"scikit-learn {name}"].served)
    print(f"{sum(served)} of {len(served)} estimators that predict")
    assert sum(served) >= SHARE * len(served)
