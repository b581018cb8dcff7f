"""`%infer` in a real IPython shell, against a real service."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.core.events import EventManager, available_events
from IPython.utils.capture import capture_output

import workbench
from tests.models import add_constant, save
from tests.notebook.cells import CLF, Cells, X
from workbench.api import Workbench
from workbench.client.futures import Job
from workbench.client.results import Lines, LoadReport, ModelTable, Prediction
from workbench.client.share_results import Share
from workbench.client.summary import Card
from workbench.convert.pytorch.last_calls import watch_cell
from workbench.notebook.commands import BENCH_OPTIONS, VERBS
from workbench.notebook.magics import register

DOCS = Path(workbench.__file__).parents[1] / "docs"


def test_the_whole_way_from_load_to_unload(cells: Cells, wb: Workbench) -> None:
    assert isinstance(cells.run("%infer"), ModelTable)
    report = cells.run("%infer load iris clf --max-batch 32 --delay 1ms --sample X[:, :]")
    assert isinstance(report, LoadReport)
    assert report.status.config.max_batch_size == 32
    assert report.status.config.max_queue_delay_s == 0.001
    assert "on 150 rows of yours" in report.details[0]
    prediction = cells.run("%infer predict iris X[:10, :]")
    assert isinstance(prediction, Prediction)
    assert np.array_equal(prediction.array, cells.run("clf.predict(X[:10])"))
    assert cells.run("p = %infer predict iris X[0]\np.array.shape") == (1,)
    assert [status.name for status in cells.run("%infer models")] == ["iris"]
    assert "iris" in [figures.name for figures in cells.run("%infer models --window 60s")]
    assert isinstance(cells.run("%infer show iris"), Card)
    assert "up to 8 rows" in cells.run("%infer set iris max-batch=8")["batching"]
    assert cells.run("%infer status")["url"] == wb.url
    assert list(cells.run("%infer token").facts) == ["token file"]
    assert cells.run("%infer token --show")["token"] == wb.client.token
    assert any("iris" in line for line in cells.run("%infer logs --lines 50"))
    assert repr(cells.run("%infer unload iris")) == "iris is unloaded"
    assert len(cells.run("%infer")) == 0


def test_a_cell_gives_its_last_value_and_leaves_its_variables(cells: Cells) -> None:
    report = cells.run("%%infer load iris -o report\nmodel = clf\nmodel.fit(X, y)")
    assert report is cells.shell.user_ns["report"]
    assert cells.shell.user_ns["model"] is CLF
    prediction = cells.run("%%infer predict iris -o p\nfew = X[:5]\n!true\nfew * 1.0;")
    assert prediction is cells.shell.user_ns["p"]
    assert np.array_equal(prediction.array, CLF.predict(X[:5]))
    assert cells.run("few.shape") == (5, 4)


def test_a_job_is_given_at_once_and_kept(cells: Cells) -> None:
    cells.run("%infer load iris clf")
    job = cells.run("%infer predict iris X --bg -o job")
    assert isinstance(job, Job)
    assert cells.shell.user_ns["job"] is job
    assert np.array_equal(cells.run("job.result(20).array"), CLF.predict(X))
    assert cells.run("await job") is job.result()
    assert cells.run("%%infer predict iris --bg\nX[:3]").result(20).array.shape == (3,)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("%%infer predict iris\nfew = X[:5]", "UsageError: a %%infer cell must end with an expression"),
        ("%%infer predict iris\n", "UsageError: %%infer is a cell magic, but the cell body is empty"),
        ("%%infer predict iris X\nX", "UsageError: in a %%infer cell the last expression is the EXPR"),
        ("%%infer models\nX", "UsageError: %%infer takes load, predict or function"),
        ("%infer predict iris X -o 3p", "UsageError: -o must be the name of a variable, got '3p'"),
        ("%%infer predict nothing\nX", "ModelNotFound: "),
    ],
)
def test_a_cell_that_cannot_be_read_is_one_line(cells: Cells, cell: str, says: str) -> None:
    assert says in cells.refused(cell)
    assert "few" not in cells.shell.user_ns


def test_what_the_cells_own_code_raises_is_shown_from_its_own_lines(cells: Cells) -> None:
    with capture_output() as captured:
        done = cells.shell.run_cell("%%infer predict iris\nrows = [1]\nrows[5]")
    assert isinstance(done.error_in_exec, IndexError)
    plain = re.sub(r"\x1b\[[\d;]*m", "", captured.stdout)
    assert "----> 3 rows[5]" in plain
    assert "last_value" not in plain
    assert "run_cell_magic" not in plain


def test_a_cell_that_is_no_python_is_shown_with_its_line_and_nothing_of_ours(cells: Cells) -> None:
    with capture_output() as captured:
        done = cells.shell.run_cell("%%infer function wrong\ndef predict(x):\n    return x +\n")
    assert not done.success
    said = captured.stdout + captured.stderr
    assert said.startswith("UsageError: line 3 of the cell cannot be read\n    return x +\n")
    assert said.rstrip().endswith("SyntaxError: invalid syntax")
    assert len(said.splitlines()) == 4


def test_a_source_is_a_variable_a_file_or_an_expression(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(add_constant(1.0), tmp_path / "my models" / "add one.onnx")
    assert cells.run("%infer load add my models/add one.onnx").status.name == "add"
    assert cells.run("%infer load add 'my models/add one.onnx'").unchanged
    assert cells.run("from pathlib import Path") is None
    assert cells.run("%infer load add Path('my models') / 'add one.onnx'").unchanged
    (tmp_path / "clf").write_bytes(b"a file beside the variable")
    assert cells.run("%infer load iris clf").exported.startswith("exported LogisticRegression")


def test_braces_and_dollars_are_the_expressions_own(cells: Cells) -> None:
    cells.run("%infer load iris clf")
    assert cells.run("%infer predict iris {'X': X[:3]}").array.shape == (3,)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lod", "UsageError: there is no verb 'lod'"),
        ("load iris", "UsageError: load iris needs SOURCE"),
        (
            "load iris nothing",
            "UsageError: there is neither a variable nor a file 'nothing'; did you mean: %infer load iris clf",
        ),
        (
            "load iris clff",
            "UsageError: there is neither a variable nor a file 'clff'; did you mean: %infer load iris clf",
        ),
        ("load iris nothing.onnx", "NotFound: there is no file or folder 'nothing.onnx'"),
        ("load iris 'https://a/b.onnx'", "NotFound: there is no file or folder 'https://a/b.onnx'; nothing is fetched"),
        ("load iris (1", "UsageError: '(1' is not an expression: '(' was never closed"),
        ("load iris 1/0", "UsageError: '1/0' failed, ZeroDivisionError: division by zero"),
        ("load iris X", "InvalidInput: an ndarray holds data, not a model; load what was trained on it, and give"),
        ("load iris None", "InvalidInput: None is no model: the call that was to give one returned nothing"),
        ("load no/slash clf", "InvalidInput: 'no/slash' cannot name a model"),
        ("load iris clf --max-batch many", "InvalidInput: max_batch_size must be a whole number, got 'many'"),
        ("load iris clf --delay soon", "InvalidInput: delay must be a time"),
        ("load iris clf --delay 5", "InvalidInput: delay needs a unit: 5us or 5ms"),
        ("load iris clf --device gpu", 'InvalidInput: device must be "auto", "cpu", "cuda" or "cuda:N", got'),
        ("load iris clf --tolerance x", "UsageError: --tolerance must be a number"),
        ("predict nothing X", "ModelNotFound: "),
        ("show nothing", "ModelNotFound: "),
        ("unload nothing", "ModelNotFound: "),
        ("set nothing max_batch=1", "ModelNotFound: "),
        ("set nothing max_bach=1", "did you mean 'max_batch'"),
        ("models --window soon", "InvalidInput: window must be a time with its unit (5s, 5m, 5min)"),
        ("models --window", "UsageError: --window needs a value, 60s"),
        ("logs --lines many", "UsageError: --lines must be a whole number"),
    ],
)
def test_whatever_is_wrong_is_one_line(cells: Cells, line: str, says: str) -> None:
    assert says in cells.refused(f"%infer {line}")


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("X[:, :2]", "axis 1 takes 4"),
        ("[[1, 2, 3, 4], [1]]", "rows of different lengths"),
        ("X * 1e300", "does not fit FP32"),
        ("{'Z': X}", "unknown: 'Z'"),
        ("['a', 'b', 'c', 'd']", "takes numbers"),
        ("X --version 7", "has no version 7"),
    ],
)
def test_whatever_is_wrong_with_the_rows_is_one_line(cells: Cells, expression: str, says: str) -> None:
    cells.run("%infer load iris clf")
    assert says in cells.refused(f"%infer predict iris {expression}")
    assert cells.run("%infer predict iris X[0]").array.shape == (1,)


def test_tab_offers_only_what_fits(cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells.run("%infer load iris clf")
    cells.run("%infer load digits clf")
    assert cells.complete("%infer ") == list(VERBS)
    assert cells.complete("p = %infer pr") == ["predict"]
    assert cells.complete("%infer show ir") == ["iris"]
    assert cells.complete("%infer load iris clf -") == list(VERBS["load"].flags)
    assert cells.complete("%infer load iris clf --device c") == ["cpu", "cuda"]
    assert cells.complete("%infer predict iris cl") == ["clf"]
    assert cells.complete("%infer status ") == []
    assert cells.complete("x = 1\n%infer unl") == ["unload"]


def test_tab_inside_an_expression_is_pythons(cells: Cells) -> None:
    assert cells.complete("%infer predict iris X.argm") == ["argmax", "argmin"]
    assert cells.complete("%infer load iris make(clf.predict_pr") == ["predict_proba"]


def test_tab_between_brackets_names_the_models(cells: Cells, wb: Workbench) -> None:
    cells.run("%infer load iris clf")
    cells.shell.user_ns["wb"] = wb
    assert "iris" in cells.complete("wb['")
    assert "iris" in cells.complete("%infer predict iris wb['i")


def test_a_token_is_replaced_and_shown_only_where_that_is_asked_for(cells: Cells) -> None:
    done: list[object] = []
    other: object = SimpleNamespace(  # the shared service of the tests keeps its token
        token=lambda show: done.append(show) or Card("where", {}),
        rotate_token=lambda: done.append("rotated") or Card("replaced", {}),
    )
    register(cells.shell, lambda: other, lambda: other)  # type: ignore[arg-type, return-value]
    assert cells.run("%infer token --rotate").title == "replaced"
    assert cells.run("%infer token --rotate --show").title == "where"
    assert cells.run("%infer token").title == "where"
    assert done == ["rotated", "rotated", True, False]


def test_loaded_twice_the_extension_completes_once(cells: Cells, wb: Workbench) -> None:
    register(cells.shell, lambda: wb, lambda: wb)
    assert cells.complete("%infer unl") == ["unload"]
    assert len(cells.shell.Completer.custom_matchers) == 1
    assert cells.shell.events.callbacks["pre_run_cell"].count(watch_cell) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("predict iris stop()", "KeyboardInterrupt: interrupted; the request was cancelled"),
        ("load iris stop()", "KeyboardInterrupt: interrupted; %infer models shows what is served"),
    ],
)
def test_an_interrupt_is_one_line_and_ends_the_cell(cells: Cells, line: str, says: str) -> None:
    cells.run("import os, signal\nstop = lambda: os.kill(os.getpid(), signal.SIGINT)\nafter = 0")
    assert cells.refused(f"%infer {line}\nafter = 1") == says
    assert cells.shell.user_ns["after"] == 0


def test_help_is_text(cells: Cells) -> None:
    assert isinstance(cells.run("%infer help"), Lines)
    assert cells.run("%infer --help") == cells.run("%infer help")
    assert "--device auto|cpu|cuda" in cells.run("%infer load --help")[2]
    assert "load NAME SOURCE" in cells.run("get_ipython().find_line_magic('infer').__doc__")
    assert "%%infer load|predict NAME" in cells.run("get_ipython().find_cell_magic('infer').__doc__")


def test_the_extension_starts_nothing_until_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[str] = []
    shell = SimpleNamespace(
        register_magics=lambda magics: registered.append("magics"),
        Completer=SimpleNamespace(custom_matchers=[]),
        events=EventManager(None, available_events),
        configurables=[],
    )
    monkeypatch.setattr("workbench.api.connecting.connect", lambda *_: pytest.fail("connected"))
    monkeypatch.setattr("workbench.notebook.magics.InferMagics", lambda *_: None)
    workbench.load_ipython_extension(shell)  # type: ignore[arg-type]
    assert registered == ["magics"]
    assert len(shell.Completer.custom_matchers) == 1


def test_every_verb_and_flag_is_in_the_documentation() -> None:
    text = (DOCS / "magics.md").read_text(encoding="utf-8")
    for verb in VERBS.values():
        magic = "%%infer" if verb.defines else "%infer"
        assert f"`{' '.join((magic, verb.name, *verb.positions))}`" in text
        for flag in verb.flags:
            assert f"`{flag}" in text


def test_every_option_of_bench_is_documented_with_its_default() -> None:
    text = (DOCS / "magics.md").read_text(encoding="utf-8")
    rows = [line for line in text[text.index("## bench") :].splitlines() if line.startswith("| `--")]
    for option in BENCH_OPTIONS:
        (row,) = [line for line in rows if re.search(rf"`{option.flag}[ `]", line.split(" | ")[0])]
        assert f"({option.default})" in row or not option.default


def test_a_cell_s_function_is_served_from_its_source(cells: Cells) -> None:
    cells.run("import numpy as np\nclass Scaler:\n    by = 2\n    def __call__(self, x):\n        return x * self.by")
    cells.run("weights = np.arange(4.0)\nscaler = Scaler()\nscaler.by = 3")
    report = cells.run(
        "%%infer function scaled --sample few --batch -o report\n"
        "few = X[:5]\n"
        "def predict(x):\n"
        "    if (x < 0).any():\n"
        "        raise KeyError('negative')\n"
        "    return scaler(x) @ weights\n"
    )
    assert report is cells.shell.user_ns["report"]
    assert "predict served from its source" in report.exported
    assert np.array_equal(cells.run("%infer predict scaled X").array, cells.run("predict(X)"))
    refused = cells.refused("%infer predict scaled -X")
    assert "KeyError: 'negative' (line 5 of the cell, in predict: raise KeyError('negative'))" in refused
    assert "defines `def predict(x)" in cells.refused("%%infer function nothing --sample X\nx = 1")
    assert "goes on top of a cell" in cells.refused("%infer function nothing")
    cells.run("%%infer load squared --sample X[:3]\nlambda x: x ** 2")
    assert np.array_equal(cells.run("%infer predict squared X").array, X**2)


def test_a_cell_s_functions_are_put_around_a_model(cells: Cells) -> None:
    cells.run("%infer load iris clf")
    cells.run(
        "%%infer function tenfold --model iris --sample X[:5]/10 --batch\ndef preprocess(rows):\n    return rows * 10"
    )
    assert np.array_equal(cells.run("%infer predict tenfold X / 10")["label"], CLF.predict(X))
    assert "defines `def preprocess or postprocess`" in cells.refused("%%infer function m --model iris\nx = 1")


def test_a_model_is_shared_and_no_token_gets_into_the_notebook(cells: Cells, wb: Workbench, tmp_path: Path) -> None:
    cells.run("%infer load iris clf")
    limits = "--rate 600/min --row-rate 90/s --quota 800 --row-quota 9000/day --max-in-flight 3 --expires 12h"
    share = cells.run(f"%infer share iris --with team-a {limits} --version 1 --max-body 2kB --metrics -o mine")
    assert isinstance(share, Share) and share is cells.shell.user_ns["mine"]
    assert (share.label, share.models, share.rate, share.max_in_flight) == ("team-a", ("iris",), 10.0, 3)
    assert (share.row_rate, share.quota, share.row_quota) == (90.0, 800, 9000)
    assert (share.version, share.max_body, share.metrics) == ("1", 2000, True)
    assert share.token is None and "#" in share.link
    path = tmp_path / "b.env"
    written = cells.run(f"%infer share iris --with 'b' --as-env \"{path}\"")
    assert f"file       {path}, with the url and the token" in repr(written)
    token = path.read_text().split("INFER_TOKEN=")[1].strip()
    with capture_output() as shown:
        cells.shell.run_cell("%infer shares")
        cells.shell.run_cell("%infer share iris --with c --rate 5/s --as-env " + str(tmp_path / "c.env"))
    assert "team-a" in shown.stdout and "unclaimed" in shown.stdout
    assert token not in shown.stdout and "wbk_" not in shown.stdout
    with capture_output() as shown:
        cells.shell.run_cell("%infer share iris --with d --show-token")
    assert "wbk_" in shown.stdout
    for label in ("team-a", "b", "c", share.id, "d"):
        if label == share.id:
            cells.run(f"%infer revoke {label}")  # it has ended before, which is no error
        else:
            assert repr(cells.run(f"%infer revoke {label}")).startswith(f"the share {label} has ended")
    assert {each.state for each in wb.shares() if each.label in "abcd" or each.id == share.id} == {"revoked"}
    assert "NotFound: " in cells.refused("%infer revoke team-a")
    with capture_output() as shown:
        cells.shell.run_cell("%infer share iris --with h --host 127.0.0.1")
    url = cells.run("%infer port")["url"]
    assert shown.stdout.count(url) == 3 and wb.port()["url"] == url  # of the port, the link and the share
    assert "add --host" in cells.refused("%infer share iris --with i --tls self-signed")
    assert "is open already" in cells.refused("%infer share iris --with i --host 0.0.0.0 --insecure")
    assert "is closed" in repr(cells.run("%infer port --close"))
    cells.run("%infer revoke h")
    assert "UsageError: share needs whom it is for: %infer share NAME --with LABEL" in cells.refused(
        "%infer share iris"
    )
    told = cells.run("%infer audit --last 1h")
    assert [each.outcome for each in told if (each.action, each.subject) == ("revoke", "team-a")] == [
        "ok",
        "ok",
        "not_found",
    ]
    assert len(cells.run("%infer audit --last 1h --json")) == len(told)
    assert "last must be a time that lies behind" in cells.refused("%infer audit --last 0s")
    assert "UsageError: revoke needs SHARE" in cells.refused("%infer revoke")
    assert "rate must be" in cells.refused("%infer share iris --with e --rate 0")
