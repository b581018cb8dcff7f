from __future__ import annotations

import argparse
import dataclasses
import os
import re
from pathlib import Path
from typing import Any

import pytest

from workbench.cli.command_line import parser
from workbench.config import LIVE_SETTINGS, Limits, ModelConfig, ServerConfig, settings_of
from workbench.config.settings_schema import Choices, Range, Setting, TextPattern
from workbench.errors import InvalidInput, StorageError
from workbench.server.settings import named_path, server_config

CONFIG = ServerConfig(data_dir=Path("data"))

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


def section(heading: str) -> str:
    return DOCS.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> dict[str, list[str]]:
    """The cells of each row of the table under a heading, by the setting that it begins with."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section(heading).splitlines()
        if line[:3] == "| `"
    ]
    return {row[0].strip("`"): row[1:] for row in cells}


def default(config: object, name: str) -> str:
    value = getattr(config, name)
    return "" if value in (None, (), "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_of_the_service_is_documented_and_nothing_else() -> None:
    documented = rows("The service")
    names = [field.name for field in dataclasses.fields(ServerConfig) if field.name != "limits"]
    assert list(documented) == names
    for name in names:
        _, variable, value, _ = documented[name]
        assert variable == f"`{settings_of(ServerConfig)[name].variable}`"
        assert value == (default(CONFIG, name) if name != "data_dir" else "")


def test_every_flag_of_serve_is_documented_and_nothing_else() -> None:
    verbs = next(action.choices for action in parser()._actions if action.dest == "verb")
    assert isinstance(verbs, dict)
    shown = [action for action in verbs["serve"]._actions if action.help is not argparse.SUPPRESS]
    flags = {option for action in shown for option in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"`(--[a-z-]+)", section("The service"))) == flags


def test_every_way_to_name_a_service_is_documented_and_nothing_else() -> None:
    verbs = next(action.choices for action in parser()._actions if action.dest == "verb")
    assert isinstance(verbs, dict)
    text = section("The command line as a client")
    flags = {option for action in verbs["models"]._actions for option in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"^\| `(--[a-z-]+)`", text, re.MULTILINE)) == flags
    for verb in verbs:
        assert verb == "serve" or f"`{verb}`" in text


def test_every_cap_is_documented_and_nothing_else() -> None:
    documented = rows("What one client may send")
    assert list(documented) == [field.name for field in dataclasses.fields(Limits)]
    for name, (variable, value, _) in documented.items():
        assert variable == f"`{settings_of(Limits)[name].variable}`"
        assert value == default(Limits(), name)


def test_every_setting_of_a_model_is_documented_and_nothing_else() -> None:
    documented = rows("A model")
    assert list(documented) == [field.name for field in dataclasses.fields(ModelConfig)]
    for name, (value, live, _) in documented.items():
        assert value == default(ModelConfig(), name)
        assert live == ("yes" if name in LIVE_SETTINGS else "")


def test_the_environment_sets_everything_and_a_flag_wins() -> None:
    separated = os.pathsep
    environment = {
        "INFER_WORKBENCH_HOST": "::1",
        "INFER_WORKBENCH_HTTP_PORT": "0",
        "INFER_WORKBENCH_MODEL_REPOSITORIES": f"one{separated}two",
        "INFER_WORKBENCH_LOAD": f"a=a.onnx{separated}b=b.onnx",
        "INFER_WORKBENCH_DATA_DIR": "data",
        "INFER_WORKBENCH_TOKEN_FILE": "token",
        "INFER_WORKBENCH_AUTH": "false",
        "INFER_WORKBENCH_READY_FILE": "ready.json",
        "INFER_WORKBENCH_GRPC_PORT": "0",
        "INFER_WORKBENCH_INSECURE": "true",
        "INFER_WORKBENCH_OWNER_REMOTE": "true",
        "INFER_WORKBENCH_OWNER_ADDRESSES": "127.0.0.1 10.0.0.0/8",
        "INFER_WORKBENCH_GRPC_TLS_CERT": "cert.pem",
        "INFER_WORKBENCH_GRPC_TLS_KEY": "key.pem",
        "INFER_WORKBENCH_GRPC_TLS_CLIENT_CA": "ca.pem",
        "INFER_WORKBENCH_LOG_FORMAT": "json",
        "INFER_WORKBENCH_DRAIN_TIMEOUT_S": "1.5",
        "INFER_WORKBENCH_STATE_KEY": "here",
        "INFER_WORKBENCH_TRIAL": "no",
        "INFER_WORKBENCH_TRIAL_TIMEOUT_S": "3",
        "INFER_WORKBENCH_TRIAL_MEMORY_MIB": "512",
        "INFER_WORKBENCH_ALLOW_SHARED_MEMORY": "true",
        "INFER_WORKBENCH_MAX_BODY_BYTES": "1000",
    }
    assert server_config({}, environment) == ServerConfig(
        host="::1",
        http_port=0,
        grpc_port=0,
        insecure=True,
        owner_remote=True,
        owner_addresses="127.0.0.1 10.0.0.0/8",
        grpc_tls_cert=Path("cert.pem"),
        grpc_tls_key=Path("key.pem"),
        grpc_tls_client_ca=Path("ca.pem"),
        model_repositories=(Path("one"), Path("two")),
        load=(("a", Path("a.onnx")), ("b", Path("b.onnx"))),
        data_dir=Path("data"),
        token_file=Path("token"),
        auth=False,
        ready_file=Path("ready.json"),
        log_format="json",
        drain_timeout_s=1.5,
        state_key="here",
        trial=False,
        trial_timeout_s=3.0,
        trial_memory_mib=512,
        allow_shared_memory=True,
        limits=Limits(max_body_bytes=1000),
    )
    assert server_config({"host": "127.0.0.1"}, environment).host == "127.0.0.1"
    assert server_config({"data_dir": Path("data")}, {}) == CONFIG


def test_without_a_data_folder_each_working_folder_and_port_has_one_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    found = []
    for folder in ("a/my models", "b/my models"):
        (tmp_path / folder).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / folder)
        found += [server_config({}, environment).data_dir for environment in ({}, {"INFER_WORKBENCH_HTTP_PORT": "0"})]
        assert server_config({}, {}).data_dir == found[-2]
        assert not list(Path().iterdir())
    assert len(set(found)) == 4
    assert {path.parent for path in found} == {tmp_path / "jupyter" / "infer-workbench-serve"}
    assert all(re.fullmatch(r"my-models-(8080|0)-[0-9a-f]{8}", path.name) for path in found)


def test_a_working_folder_that_is_gone_needs_a_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(StorageError, match="--data-dir"):
        server_config({}, {})
    assert server_config({"data_dir": tmp_path}, {}).data_dir == tmp_path


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("INFER_WORKBENCH_HTTP_PORT", "many"),
        ("INFER_WORKBENCH_GRPC_PORT", "many"),
        ("INFER_WORKBENCH_DRAIN_TIMEOUT_S", "soon"),
        ("INFER_WORKBENCH_AUTH", "perhaps"),
        ("INFER_WORKBENCH_TRIAL", "perhaps"),
        ("INFER_WORKBENCH_LOAD", "digits"),
        ("INFER_WORKBENCH_LOAD", "../digits=x.onnx"),
    ],
)
def test_a_wrong_variable_is_named_in_the_error(variable: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=variable):
        server_config({}, {variable: text})


@pytest.mark.parametrize("wrong", [{"state_key": "../other"}, {"trial_timeout_s": 0.0}, {"trial_memory_mib": -1}])
def test_a_value_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        server_config({"data_dir": Path("data"), **wrong}, {})


SETTINGS = [
    (config, setting) for config in (CONFIG, Limits(), ModelConfig()) for setting in settings_of(type(config)).values()
]


def outside(setting: Setting) -> list[object]:
    """Values that do not fit."""
    match setting.allowed:
        case Range(low, high):
            step = 1 if setting.kind is not float else 1e-3
            wrong: list[object] = [low - step, high * 1.001 if step < 1 else high + 1]
            return [(each,) for each in wrong] if isinstance(setting.default, tuple) else wrong
        case Choices():
            return ["another", ""]
        case TextPattern():
            return ["../a"]
    return []


@pytest.mark.parametrize(("config", "setting"), SETTINGS, ids=[setting.name for _, setting in SETTINGS])
def test_a_value_just_outside_is_refused_by_name_with_what_was_given(config: Any, setting: Setting) -> None:
    for value in outside(setting):
        with pytest.raises(InvalidInput, match=rf"^{setting.name} must be .*, got {re.escape(repr(value))}$"):
            dataclasses.replace(config, **{setting.name: value})
    assert setting.kind in (bool, Path, str) or outside(setting) or "Path" in str(setting.kind)


@pytest.mark.parametrize("text", ["digits", "=x.onnx", "digits=", "a/b=x.onnx"])
def test_what_is_not_name_and_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        named_path(text)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"grpc_port": 65_536}, "grpc_port"),
        ({"grpc_tls_cert": Path("cert.pem")}, "grpc_tls_key"),
        ({"grpc_tls_key": Path("key.pem")}, "grpc_tls_key"),
        ({"grpc_tls_client_ca": Path("ca.pem")}, "grpc_tls_client_ca"),
    ],
)
def test_settings_of_grpc_that_make_no_sense_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        server_config({"data_dir": Path("data"), **settings}, {})
