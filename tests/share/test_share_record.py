from __future__ import annotations

import pytest

from tests.helpers.hostile_text import harmful_in
from workbench.core.model import check_model_name
from workbench.errors import InvalidInput
from workbench.share.share_record import (
    check_in_flight,
    check_label,
    check_models,
    parse_life_s,
    parse_max_body,
    parse_quota,
    parse_rate,
)


@pytest.mark.parametrize(
    "text", ['=HYPERLINK("http://x")', "a\x1b[2J", "<img src=x onerror=y>", "a\u202eb", "a\nb", "-a", "@a"]
)
def test_nothing_that_is_more_than_a_word_becomes_a_label_or_names_a_model(text: str) -> None:
    """Labels and names go into tables, files of spreadsheets, metrics, logs and pages."""
    for check in (check_label, check_model_name):
        with pytest.raises(InvalidInput) as caught:
            check(text)
        assert not harmful_in(caught.value.message)


@pytest.mark.parametrize(
    ("asked", "rate"),
    [(None, None), (20, 20.0), (0.5, 0.5), ("20/s", 20.0), ("600 / min", 10.0), ("36/h", 0.01), ("7", 7)],
)
def test_rates_as_users_write_them(asked: object, rate: float | None) -> None:
    assert parse_rate(asked) == rate


@pytest.mark.parametrize("asked", [0, -1, "0/s", "x", "20/d", "", True, float("nan"), float("inf"), 1e7, [1]])
def test_a_rate_that_is_none_is_refused(asked: object) -> None:
    with pytest.raises(InvalidInput, match="rate must be requests a second above 0"):
        parse_rate(asked)


def test_a_rate_is_called_what_it_is() -> None:
    with pytest.raises(InvalidInput, match=r"row_rate must be rows a second above 0 .*, got '0'"):
        parse_rate(0, "row_rate", "rows")


@pytest.mark.parametrize(("asked", "quota"), [(None, None), (1, 1), ("10000", 10_000), (" 5 / day ", 5), ("7/d", 7)])
def test_quotas_as_users_write_them(asked: object, quota: int | None) -> None:
    assert parse_quota(asked) == quota


@pytest.mark.parametrize("asked", [0, -1, "0", "-5", "5/s", "x", "", 1.5, True, 10**13, [1]])
def test_a_quota_that_is_none_is_refused(asked: object) -> None:
    with pytest.raises(InvalidInput, match="row_quota must be a whole number of rows a day above 0"):
        parse_quota(asked, "row_quota", "rows")


@pytest.mark.parametrize(
    ("asked", "size"),
    [(None, None), (1, 1), ("100", 100), ("1MB", 10**6), ("1.5 kB", 1500), ("64KiB", 65536), ("3B", 3)],
)
def test_sizes_as_users_write_them(asked: object, size: int | None) -> None:
    assert parse_max_body(asked) == size


@pytest.mark.parametrize("asked", [0, -1, "0MB", "0.1B", "-5", "5TB", "x", "", "iB", 1.5, True, 2**50, [1]])
def test_a_size_that_is_none_is_refused(asked: object) -> None:
    with pytest.raises(InvalidInput, match="max_body must be bytes above 0"):
        parse_max_body(asked)


@pytest.mark.parametrize(("asked", "seconds"), [("7d", 604800), ("12h", 43200), ("30min", 1800), (60, 60)])
def test_lives_as_users_write_them(asked: object, seconds: float) -> None:
    assert parse_life_s(asked) == seconds


@pytest.mark.parametrize("asked", [0, -1, "-7d", "0", "367d", float("nan"), float("inf")])
def test_an_expiry_in_the_past_or_never_is_refused(asked: object) -> None:
    with pytest.raises(InvalidInput, match="expires must lie ahead"):
        parse_life_s(asked)


@pytest.mark.parametrize("label", ["", " ", "a b", "a/b", "-x", "x" * 65, "ä", "a\n", None])
def test_a_label_is_a_word(label: object) -> None:
    with pytest.raises(InvalidInput, match="label must be"):
        check_label(label)
    assert check_label("team-a.2_b") == "team-a.2_b"


def test_a_share_is_of_some_models_each_once() -> None:
    assert check_models(["b", "a", "b"]) == ("b", "a")
    for models in ([], [""], [3], ["../x"], [f"m{i}" for i in range(33)]):
        with pytest.raises(InvalidInput):
            check_models(models)


def test_some_requests_may_be_under_way() -> None:
    assert check_in_flight(1) == 1
    for value in (0, -1, 1.5, True, "4"):
        with pytest.raises(InvalidInput, match="max_in_flight"):
            check_in_flight(value)
