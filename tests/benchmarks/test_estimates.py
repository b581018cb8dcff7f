from __future__ import annotations

import numpy as np

from benchmarks.estimates import slope


def test_a_straight_line_has_its_own_slope() -> None:
    found = slope([0, 1, 2, 3], [5, 7, 9, 11])
    assert abs(found.value - 2.0) < 1e-9 and found.error < 1e-9 and not found.is_flat


def test_noise_around_a_level_is_flat() -> None:
    values = np.random.default_rng(0).standard_normal(500)
    assert slope(list(range(500)), list(values)).is_flat


def test_a_slow_wave_has_a_wider_error_than_noise_of_the_same_size() -> None:
    t = np.arange(500)
    wave = np.sqrt(2) * np.sin(2 * np.pi * t / 250)
    noise = np.random.default_rng(0).standard_normal(500)
    assert slope(list(t), list(wave)).error > 2 * slope(list(t), list(noise)).error


def test_two_points_prove_nothing() -> None:
    assert slope([0, 1], [0, 9]).is_flat
