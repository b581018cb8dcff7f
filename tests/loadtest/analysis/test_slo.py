from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from workbench.loadtest.analysis.slo import CONFIRMATIONS, MAX_PROBES, ProbeResult, RateSearch

Server = Callable[[float], ProbeResult]


def hard(limit: float) -> Server:
    """A server that holds every rate up to its limit, and breaks by far above it."""
    return lambda rate: ProbeResult(rate, rate <= limit, 0.0 if rate <= limit else math.inf)


def found(server: Server, first: float = 100.0, most: float = 1e6) -> tuple[RateSearch, list[float]]:
    search, rates = RateSearch(first, most), list[float]()
    while (probe := search.next()) is not None:
        rates.append(probe.rate_per_s)
        search.record(server(probe.rate_per_s))
    return search, rates


@pytest.mark.parametrize("limit", [1.0, 30.0, 99.0, 100.0, 101.0, 2500.0, 60_000.0])
def test_the_highest_rate_that_holds_is_found_within_the_precision(limit: float) -> None:
    search, rates = found(hard(limit))
    assert search.answer is not None and search.why == ""
    assert 0.95 * limit <= search.answer <= limit
    assert len(rates) < 30
    assert rates[-CONFIRMATIONS:] == [search.answer] * CONFIRMATIONS


def test_nothing_rests_on_one_run() -> None:
    """One lucky run at 700, where 500 is the truth, is not believed; nor is one unlucky one below."""
    lucky, unlucky = [700.0], [450.0]

    def server(rate: float) -> ProbeResult:
        if lucky and rate >= lucky[0] * 0.9 and rate < 900:
            lucky.clear()
            return ProbeResult(rate, True)
        if unlucky and rate >= unlucky[0]:
            unlucky.clear()
            return ProbeResult(rate, False, 1.2)
        return hard(500)(rate)

    search, _ = found(server)
    assert search.answer is not None and 450 <= search.answer <= 500


def test_a_candidate_that_does_not_hold_again_is_given_up() -> None:
    tried: dict[float, int] = {}

    def server(rate: float) -> ProbeResult:
        tried[rate] = tried.get(rate, 0) + 1
        return ProbeResult(rate, rate <= 400 or (rate <= 600 and tried[rate] == 1), math.inf)

    search, _ = found(server)
    assert search.answer is not None and 380 <= search.answer <= 400


@pytest.mark.parametrize("seed", range(20))
def test_a_noisy_server_gives_rates_near_each_other(seed: int) -> None:
    """The 99th percentile of a queue that saturates at 1000/s, read with 10 % of noise, against a bound of 20 ms."""
    rng = np.random.default_rng(seed)

    def server(rate: float) -> ProbeResult:
        p99_s = 0.005 / max(1 - rate / 1000, 1e-3) * rng.lognormal(0, 0.1)
        return ProbeResult(rate, p99_s < 0.02, p99_s / 0.02)

    search, _ = found(server)
    assert search.answer == pytest.approx(750, rel=0.1)


def test_where_nothing_holds_it_says_so() -> None:
    search, _ = found(lambda rate: ProbeResult(rate, False, math.inf))
    assert search.answer is None and search.why == "not even 0.1 requests/s held"


def test_a_generator_that_is_always_the_limit_says_so_and_one_that_was_once_goes_on() -> None:
    search, rates = found(lambda rate: ProbeResult(rate, False, math.inf, reached=False))
    assert "load generator is the limit" in search.why and len(rates) == 4
    once = [1]
    server = hard(500)
    search, _ = found(
        lambda rate: ProbeResult(rate, False, math.inf, reached=False) if once and once.pop() else server(rate)
    )
    assert search.answer is not None and search.answer < 100  # what failed once is not tried again above


def test_a_server_faster_than_the_bound_ends_at_the_bound() -> None:
    search, rates = found(hard(1e9), most=5000)
    assert search.answer == 5000 and max(rates) == 5000


def test_it_ends_whatever_the_runs_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        search, rates = found(lambda rate: ProbeResult(rate, bool(rng.random() < 0.5), float(rng.random() * 3)))
        assert len(rates) <= MAX_PROBES
        assert (search.answer is None) == bool(search.why)
