from __future__ import annotations

import pytest

from workbench.config import ModelConfig
from workbench.errors import InvalidInput
from workbench.loadtest.analysis.sweep_grid import grid_of, label_of


def test_all_combinations_are_tried_the_first_setting_changing_slowest() -> None:
    assert grid_of("batch=1:8,delay=0:2ms", ModelConfig(), 2) == [
        {"max_batch_size": 1, "max_queue_delay_s": 0.0},
        {"max_batch_size": 1, "max_queue_delay_s": 0.002},
        {"max_batch_size": 8, "max_queue_delay_s": 0.0},
        {"max_batch_size": 8, "max_queue_delay_s": 0.002},
    ]


def test_a_name_alone_means_usual_values_and_those_in_force() -> None:
    assert grid_of("batch", ModelConfig(max_batch_size=32), 2) == [{"max_batch_size": n} for n in (1, 4, 16, 32)]
    assert grid_of("instances", ModelConfig(), 8) == [{"instances": 1}, {"instances": 8}]


def test_python_values_do_as_well() -> None:
    assert grid_of({"max_queue_size": [16, 64]}, ModelConfig(), 2) == [{"max_queue_size": 16}, {"max_queue_size": 64}]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "needs a setting to change"),
        ("batch=", "a setting to sweep looks like batch or batch=1:8:32, got 'batch='"),
        ("batch=1:", "or batch=1:8:32, got 'batch=1:'"),
        ("batch=1,batch=2", "batch is given twice"),
        ("batch=1,max_batch=2", "max_batch_size is given twice"),
        ("bacth=1", "there is no setting 'bacth'; did you mean"),
        ("batch=0", "max_batch_size must be 1 to 65536, got 0"),
        ("delay=5", "delay needs a unit: 5us or 5ms or 5s"),
        ("device=cpu", "device cannot change without a reload"),
        ("device_share", "say which values of device_share to try"),
        ("batch=" + ":".join(map(str, range(1, 60))), "a sweep of 59 combinations takes too long; 48 are the most"),
    ],
)
def test_what_cannot_be_swept_is_refused_in_words(asked: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        grid_of(asked, ModelConfig(), 2)


def test_a_point_is_called_by_its_settings() -> None:
    assert label_of({"max_batch_size": 8, "max_queue_delay_s": 0.002}) == "batch=8, delay=2ms"
    assert label_of({"max_queue_delay_s": 0.0, "max_queue_size": 16}) == "delay=0, queue=16"
    assert label_of({"instances": 2, "queue_timeout_s": 1.5}) == "instances=2, queue_timeout_s=1.5"
