from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from workbench.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: VERB"),
        (["dance"], "invalid choice: 'dance'"),
        (["serve", "--http-port", "many"], "--http-port: invalid int value: 'many'"),
        (["serve", "--http"], "unrecognized arguments: --http"),
        (["serve", "--log-format", "xml"], "invalid choice: 'xml'"),
        (["serve", "--token-file", "f", "--no-auth"], "not allowed with"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert said in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--load", "digits"], "'digits' is not NAME=PATH"),
        (["--load", "../x=y"], "cannot name a model"),
        (["--http-port", "65536"], "http_port is 65536"),
        (["--host", "0.0.0.0", "--no-auth"], "without a token only loopback"),
        (["--model-repository", "nowhere"], "'nowhere' is no folder"),
        (["--token-file", "nowhere"], "token file cannot be read"),
        (["--host", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_status_2(
    arguments: Sequence[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *arguments]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("jupyter-infer serve: ")
    assert said in printed
    assert len(printed.splitlines()) == 1


def test_a_wrong_variable_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFER_WORKBENCH_HTTP_PORT", "many")
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == (
        "jupyter-infer serve: INFER_WORKBENCH_HTTP_PORT is 'many'; it takes a whole number\n"
    )


def test_python_m_workbench_is_the_same_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "workbench", "--help"], capture_output=True, text=True, check=True)
    assert "jupyter-infer" in ran.stdout
    assert "serve" in ran.stdout
