from __future__ import annotations

import pytest

from workbench.client.model_settings import settings_from
from workbench.errors import InvalidInput


def test_short_names_hyphens_and_durations_are_understood() -> None:
    given = {"max-batch": "8", "delay": "5ms", "instances": 2, "device": None, "batching": "never"}
    assert settings_from(given) == {
        "max_batch_size": 8,
        "max_queue_delay_s": 0.005,
        "instances": 2,
        "batching": "never",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("200us", 2e-4), ("0.01s", 0.01), ("1 s", 1), ("0", 0), (0.5, 0.5), (1, 1)]
)
def test_a_duration_is_a_number_of_seconds_or_a_text_with_its_unit(text: object, seconds: float) -> None:
    assert settings_from({"delay": text}) == {"max_queue_delay_s": pytest.approx(seconds)}


def test_a_setting_whose_name_says_the_unit_takes_a_bare_number() -> None:
    assert settings_from({"max_queue_delay_s": "0.01"}) == {"max_queue_delay_s": 0.01}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_bach": 8}, "did you mean 'max_batch'?"),
        ({"xyzzy": 8}, "the settings are device"),
        ({"max_batch": 8, "max_batch_size": 9}, "given twice"),
        ({"max_batch": "many"}, "max_batch_size must be a whole number, got 'many'"),
        ({"max_batch": 0}, "max_batch_size must be 1 to 65536, got 0"),
        ({"delay": "5 minutes"}, "delay must be a time with its unit (5us, 5ms, 5s), got '5 minutes'"),
        ({"delay": "5m"}, "delay must be a time"),
        ({"delay": "..s"}, "delay must be a time"),
        ({"delay": "5"}, "delay needs a unit: 5us or 5ms or 5s"),
        ({"device": "gpu"}, '"cuda"'),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_sent(given: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        settings_from(given)
    assert says in caught.value.message
