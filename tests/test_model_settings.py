"""Settings of a model that are more than a number or a word."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from workbench.config import ModelConfig, model_config, read_model_toml
from workbench.config.byte_size import byte_size
from workbench.errors import InvalidInput


@pytest.mark.parametrize("given", [[8, 1, 32], (1, 8, 32, 8), "1, 8,32", "1 8 32", ["1", "8", "32"]])
def test_sizes_are_read_from_a_list_and_from_a_text(given: object) -> None:
    assert model_config({"batch_sizes": given}).batch_sizes == (1, 8, 32)


def test_sizes_come_from_a_model_toml(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("batch_sizes = [1, 8]\nrunners = 'latency'\n")
    assert read_model_toml(tmp_path / "model.toml") == ModelConfig(batch_sizes=(1, 8), runners="latency")


def test_sizes_survive_json() -> None:
    config = ModelConfig(batch_sizes=(1, 8))
    assert ModelConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("given", [[0], [1.5], [True], "many", 8, [70_000], list(range(1, 100)), [[1]]])
def test_other_sizes_are_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="batch_sizes"):
        model_config({"batch_sizes": given})


@pytest.mark.parametrize(
    "settings",
    [
        {"runners": "fast"},
        {"priority_levels": 0},
        {"default_priority": 0},
        {"priority_step_s": -1},
        {"queue_timeout_s": -1},
        {"device_share": 0},
        {"max_queue_delay_s": 10**400},
    ],
)
def test_what_is_out_of_range_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(settings))):
        model_config(settings)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("off", 0),
        ("64MB", 64_000_000),
        ("1 GiB", 1 << 30),
        ("1.5kB", 1500),
        ("2mib", 2 << 20),
        ("999999GB", 999_999 * 10**9),
    ],
)
def test_a_size_of_memory_is_read(text: str, size: int) -> None:
    assert byte_size(model_config({"cache": text}).cache) == size


@pytest.mark.parametrize("text", ["64", "0MB", "-1MB", "64TB", "on", "64MB ", "1e3MB", "MB", "", "1..5MB", 64, True])
def test_other_sizes_of_memory_are_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match="cache must be"):
        model_config({"cache": text})
    if isinstance(text, str):
        with pytest.raises(InvalidInput, match="64MB or 1GiB"):
            byte_size(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a." * 20_000 + "b = 1", "a line with more than 100 dots"),
        ("[" + '"a".' * 10_000 + "b]", "a line with more than 100 dots"),
        ("a = " + "[" * 20_000, "nested too deep"),
        ("a = " + "{b = " * 10_000, "nested too deep"),
        ("# " + "x" * 65_536, "more than 65536 characters"),
    ],
    ids=["dotted key", "dotted table", "arrays", "tables", "long"],
)
def test_a_settings_file_that_takes_all_memory_is_refused_before_it_is_read(
    text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "model.toml").write_text(text)
    with pytest.raises(InvalidInput, match=says):
        read_model_toml(tmp_path / "model.toml")
