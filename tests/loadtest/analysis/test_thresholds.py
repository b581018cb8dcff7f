from __future__ import annotations

from dataclasses import dataclass

import pytest

from workbench.errors import InvalidInput
from workbench.loadtest.analysis.thresholds import DEFAULT_ERRORS, Threshold, judge, parse_thresholds


@dataclass
class Stretch:
    answered_per_s: float = 600.0
    error_share: float | None = 0.0
    p: float | None = 0.012

    def quantile(self, q: float) -> float | None:
        return self.p


def test_the_words_of_a_threshold_become_seconds_shares_and_rates() -> None:
    assert parse_thresholds("p99<20ms, errors < 0.1%,rate>500, p99.9<=1.5s,max<900us") == (
        Threshold("p99", "<", 0.02),
        Threshold("errors", "<", 0.001),
        Threshold("rate", ">", 500.0),
        Threshold("p99.9", "<=", 1.5),
        Threshold("max", "<", pytest.approx(9e-4)),
    )


def test_errors_are_bounded_even_where_nothing_is_said_of_them() -> None:
    assert parse_thresholds("p99<20ms") == (Threshold("p99", "<", 0.02), DEFAULT_ERRORS)
    assert parse_thresholds("errors<=0") == (Threshold("errors", "<=", 0.0),)


def test_a_threshold_reads_as_it_was_written() -> None:
    text = "p99<20ms,errors<0.1%,rate>500/s,p99.9<=1.5s,max<900us"
    assert ",".join(map(str, parse_thresholds(text))) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no threshold"),
        ("fast", "'fast' is no threshold"),
        ("p99<20", "needs a unit of time"),
        ("p99<20 kg", "needs a unit of time"),
        ("p99>20ms", "did you mean p99<20ms"),
        ("p99>=20ms", "did you mean p99<=20ms"),
        ("rate<500", "did you mean rate>500"),
        ("rate>500ms", "requests a second"),
        ("errors<0.1", "in percent"),
        ("errors<101%", "between 0% and 100%"),
        ("p0<1ms", "no figure 'p0'"),
        ("p100<1ms", "is no threshold|no figure 'p100'"),
        ("latency<1ms", "no figure 'latency'"),
        ("p99<0ms", "can never hold"),
        ("p99<1.2.3ms", "no number"),
        ("rate>1e999", "too large"),
        ("p99<20ms,p99<30ms", "bounded twice"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        parse_thresholds(text)
    assert "\n" not in caught.value.message


def test_a_verdict_tells_what_was_measured() -> None:
    held = judge(parse_thresholds("p99<20ms,rate>500"), Stretch())
    assert [str(each) for each in held] == [
        "p99<20ms holds: 12ms",
        "rate>500/s holds: 600/s",
        "errors<1% holds: 0%",
    ]
    missed = judge(parse_thresholds("p99<10ms,errors<0.1%"), Stretch(error_share=0.004))
    assert [str(each) for each in missed] == [
        "p99<10ms does not hold: 12ms",
        "errors<0.1% does not hold: 0.4%",
    ]


def test_what_was_never_answered_holds_nothing() -> None:
    verdicts = judge(parse_thresholds("p99<1s"), Stretch(answered_per_s=0.0, error_share=None, p=None))
    assert not any(each.held for each in verdicts)
    assert str(verdicts[0]) == "p99<1s does not hold: nothing was answered"
