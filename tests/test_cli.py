from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import workbench
from tests import models
from tests.helpers.service_process import Serve
from workbench.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: VERB"),
        (["dance"], "invalid choice: 'dance'"),
        (["serve", "--http-port", "many"], "--http-port: value must be a whole number, got 'many'"),
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
        (["--http-port", "65536"], "http_port must be 0 to 65535, got 65536"),
        (["--host", "0.0.0.0", "--no-auth"], "without a token only loopback"),
        (["--model-repository", "nowhere"], "'nowhere' is not a directory"),
        (["--token-file", "nowhere"], "token file cannot be read"),
        (["--host", "0.0.0.0"], "without TLS anyone on the network in between can read tokens"),
        (["--host", "no.such.host.invalid", "--insecure"], "cannot listen on no.such.host.invalid"),
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
        "jupyter-infer serve: INFER_WORKBENCH_HTTP_PORT must be a whole number, got 'many'\n"
    )


def test_on_windows_serve_says_that_it_is_not_supported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == (
        "jupyter-infer serve: Windows is not supported: the service runs on Linux and macOS; "
        "connect(url, token) reaches one there\n"
    )


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"jupyter-infer {workbench.__version__}\n"


def test_python_m_workbench_is_the_same_command() -> None:
    ran = subprocess.run([sys.executable, "-m", "workbench", "--help"], capture_output=True, text=True, check=True)
    assert "jupyter-infer" in ran.stdout
    assert "serve" in ran.stdout


def test_a_reader_that_leaves_early_is_no_error() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "workbench", "history"],
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writes)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "--url", "http://127.0.0.1:1", "--ready-file", "f"], "say which service"),
        (["models", "--ready-file", "nowhere"], "ready file cannot be read: No such file or directory"),
        (["status", "--url", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_a_service_that_is_not_there_is_one_line_and_status_2(
    arguments: Sequence[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("READY_FILE", "URL", "TOKEN_FILE"):
        monkeypatch.delenv(f"INFER_WORKBENCH_{variable}", raising=False)
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "{",
            "{}",
            "[]",
            '"url"',
            '{"url": 8080}',
            '{"url": "http://127.0.0.1:1", "token_file": 1}',
            "[" * 100_000,
        ),
        '{"url": "grpc://127.0.0.1:1"}',
    ],
)
def test_a_ready_file_that_names_no_service_is_one_line_and_status_2(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ready.json"
    file.write_text(content)
    assert main(["status", "--ready-file", str(file)]) == 2
    assert capsys.readouterr().err == (
        "jupyter-infer status: the ready file names no service; give the file that `serve --ready-file` wrote\n"
    )


def test_the_verbs_of_a_client_speak_to_a_running_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.save(models.add_constant(2.0), tmp_path / "model.onnx")
    np.save(tmp_path / "rows.npy", np.zeros((3, 4), np.float32))
    (tmp_path / "rows.json").write_text("[[1, 2, 3, 4]]")
    (tmp_path / "wrong.json").write_text("[")
    with Serve(tmp_path) as serve:
        serve.ready()
        monkeypatch.setenv("INFER_WORKBENCH_READY_FILE", str(serve.ready_file))

        def said(*arguments: str, status: int = 0) -> str:
            assert main(arguments) == status
            printed = capsys.readouterr()
            return printed.err if status else printed.out

        said("load", "plus", str(model), "--max-batch", "8", "--delay", "1ms")
        assert "plus" in said("models")
        assert "unchanged" in said("load", "plus", str(model), "--max-batch", "8", "--delay", "1ms")
        assert "3" in said("predict", "plus", str(tmp_path / "rows.json"))
        assert "2" in said("predict", "plus", str(tmp_path / "rows.npy"))
        assert "holds no rows" in said("predict", "plus", str(tmp_path / "wrong.json"), status=2)
        assert "cannot be read" in said("predict", "plus", str(tmp_path / "none.json"), status=2)
        assert "16" in said("set", "plus", "max_batch=16")
        assert "is not KEY=VALUE" in said("set", "plus", "max_batch", status=2)
        assert "16" in said("show", "plus")
        assert serve.published["url"] in said("status")
        assert "there was no rollout of model 'plus': begin one with" in said("rollout", "plus", status=2)
        other = models.save(models.add_constant(3.0), tmp_path / "other.onnx")
        said("load", "plus", str(other), "--no-route")
        began = said("rollout", "plus", "v2", "--steps", "25,100", "--every", "10m", "--guard", "errors<2%")
        assert began.startswith("rollout of plus, version 2: step 1 of 2, 25 %; ") and " left; guard errors<2%" in began
        assert "step 1 of 2, 25 %" in said("rollout", "plus")
        assert "is running" in said("rollout", "plus", "--resume", status=2)
        assert "version 2: stopped at 25 %: by owner" in said("rollout", "plus", "--stop")
        assert "1,much" in said("rollout", "plus", "v2", "--steps", "1,much", status=2)
        assert "nothing is shared" in said("shares")
        shared = said("share", "plus", "--with", "team-a", "--rate", "20/s", "--expires", "1d")
        assert "/share/claim#" in shared and "wbk_" not in shared
        said("share", "plus", "--with", "b", "--as-env", str(tmp_path / "b.env"))
        token = (tmp_path / "b.env").read_text().split("INFER_TOKEN=")[1].strip()
        assert "wbk_" in said("share", "plus", "--with", "c", "--show-token")
        assert "there is a share 'b'" in said("share", "plus", "--with", "b", status=2)
        assert "plus version 2 gets all calls of share team-a" in said("route", "plus", "v2", "--for", "team-a")
        assert "all of share team-a" in said("versions", "plus")
        assert "team-a has ended" in said("revoke", "team-a")
        assert "no share that holds" in said("route", "plus", "v2", "--for", "team-a", status=2)
        assert "no share that holds" in said("revoke", "team-a", status=2)
        assert "expires must lie ahead" in said("share", "plus", "--with", "e", "--expires", "-1d", status=2)
        assert "no port for shares is open" in said("port")
        assert "add --tls self-signed" in said("share", "plus", "--with", "e", "--host", "0.0.0.0", status=2)
        assert "not found" in said("share", "nobody", "--with", "e", "--host", "127.0.0.1", status=2)
        assert "no port for shares is open" in said("port")
        assert "add --host" in said("share", "plus", "--with", "e", "--insecure", status=2)
        opened = said("share", "plus", "--with", "e", "--host", "127.0.0.1")
        url = re.search(r"http://127\.0\.0\.1:[0-9]+", opened)
        assert url is not None and f"{url[0]}/share/claim#" in opened and url[0] in said("port")
        assert url[0] in said("share", "plus", "--with", "f", "--host", "127.0.0.1")
        assert "closed" in said("port", "--close")
        assert "no port for shares is open" in said("port", "--close", status=2)
        listed = said("shares")
        assert "revoked" in listed and token not in listed
        assert token not in said("logs", "--lines", "50")
        told = [json.loads(line) for line in said("audit", "--last", "1h", "--json").splitlines()]
        shares = [each for each in told if each["action"] == "share" and each["subject"] == "team-a"]
        assert [(each["outcome"], each["who"], each["address"]) for each in shares] == [("ok", "owner", "127.0.0.1")]
        assert "(command line; pid " in shares[0]["agent"]
        assert "in place of 1" in said("audit") or "max_batch" in said("audit")
        assert "last needs a unit" in said("audit", "--last", "7", status=2)
        assert "ready" in said("logs", "--lines", "50")
        before = serve.token
        assert serve.published["token_file"] in said("token")
        assert before in said("token", "--show")
        assert "no other one is valid any more" in said("token", "--rotate")
        assert before not in said("token", "--show")
        shown = said("token", "--rotate", "--show")
        assert serve.token in shown
        said("unload", "plus")
        assert "plus" in said("show", "plus", status=2)
        url, token_file = serve.published["url"], serve.published["token_file"]
        said("status", "--url", url, "--token-file", token_file)
        assert "token" in said("status", "--url", url, "--token-file", str(model.with_name("rows.json")), status=2)
        assert serve.stop() == 0
