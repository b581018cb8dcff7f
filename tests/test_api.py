from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import workbench
from tests.models import add_constant, mlp, save, slow
from workbench.api import Model, Workbench
from workbench.client import sync
from workbench.client.control_calls import ControlCalls
from workbench.client.load_progress import LoadProgress, Step
from workbench.client.shared_service import Address, SharedService
from workbench.convert.load import load
from workbench.errors import (
    Conflict,
    InvalidInput,
    ModelError,
    ModelNotFound,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

X, Y = load_iris(return_X_y=True)
DOCS = Path(workbench.__file__).parents[1] / "docs"


def iris(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=1000).fit(X, Y)


def test_a_model_from_load_to_unload(wb: Workbench) -> None:
    report = wb.load("iris", iris(), sample=X, max_batch=32, delay="1ms")
    assert report.status.config.max_queue_delay_s == 0.001
    model = wb["iris"]
    assert isinstance(model, Model)
    np.testing.assert_array_equal(model(X).array, iris().predict(X))
    np.testing.assert_allclose(model.predict(X)["probabilities"], iris().predict_proba(X), atol=1e-5)
    assert model.signature is not None
    assert [spec.name for spec in model.signature.inputs] == ["X"]
    assert model.status.routed
    assert "iris" in wb
    assert list(wb) == ["iris"]
    assert "iris, version 1 (serving)" in repr(model)
    assert "<table" in model._repr_html_()
    model.unload()
    assert "iris" not in wb


def test_the_same_is_unchanged_and_a_retrained_one_is_swapped_in(wb: Workbench) -> None:
    wb.load("iris", iris())
    assert "unchanged, version 1 serving" in repr(wb.load("iris", iris()))
    assert "version 2 serves on cpu instead of version 1" in repr(wb.load("iris", iris(C=0.1)))
    assert wb["iris"](X).version == "2"


def test_a_changed_signature_needs_force(wb: Workbench) -> None:
    wb.load("m", add_constant(1.0))
    wide = add_constant(1.0, ("batch", 6))
    with pytest.raises(Conflict, match="force"):
        wb.load("m", wide)
    assert wb.load("m", wide, force=True).previous == "1"


def test_a_dataframe_goes_in_and_comes_out_with_its_index(wb: Workbench) -> None:
    frame = pd.DataFrame(
        {"age": np.linspace(18, 80, 60), "city": ["Bern", "Zürich", "Genf"] * 20}, index=[f"p{i}" for i in range(60)]
    )
    target = np.where(frame["age"] > 50, "old", "young")
    columns = ColumnTransformer([("n", StandardScaler(), ["age"]), ("w", OneHotEncoder(), ["city"])])
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, target)
    wb.load("people", pipeline, sample=frame)
    table = wb["people"](frame).to_pandas()
    assert table.index.tolist() == frame.index.tolist()
    assert table["label"].tolist() == pipeline.predict(frame).tolist()
    assert wb["people"]({"age": 30, "city": "Bern"}).array.tolist() == ["young"]
    with pytest.raises(InvalidInput, match="missing: 'age'"):
        wb["people"](frame[["city"]])


def test_settings_change_while_it_serves(wb: Workbench) -> None:
    wb.load("iris", iris())
    assert "up to 16 rows" in str(wb.set("iris", max_batch=16)["batching"])
    assert len(wb["iris"](X).timings.requests) == 10
    with pytest.raises(InvalidInput, match="did you mean 'max_batch'"):
        wb.set("iris", max_bach=16)
    with pytest.raises(InvalidInput, match="at least one setting"):
        wb.set("iris")


def test_the_same_model_with_other_settings_takes_the_settings(wb: Workbench) -> None:
    wb.load("iris", iris())
    wb.load("iris", iris(), max_batch=8)
    assert wb["iris"].status.max_batch_size == 8
    wb.load("m", add_constant(1.0))
    wb.load("m", add_constant(1.0), max_batch=4)
    assert wb["m"].status.max_batch_size == 4


def test_the_service_can_be_asked_about_itself(wb: Workbench) -> None:
    wb.load("iris", iris())
    assert wb.status()["url"] == wb.url
    assert "iris" in repr(wb.logs(50))
    snapshots = wb.snapshots(0.1)
    assert next(snapshots)["sequence"] < next(snapshots)["sequence"]
    snapshots.close()  # type: ignore[attr-defined]
    assert wb.models().to_pandas()["model"].tolist() == ["iris"]
    assert wb.show("iris", 1)["device"] == "cpu"


def test_a_job_answers_as_a_call_does(wb: Workbench) -> None:
    wb.load("iris", iris())
    job = wb["iris"].submit(X, outputs=["label"])
    assert np.array_equal(job.result(20).array, iris().predict(X))
    assert list(job.result()) == ["label"]
    assert str(job.step) == "answered: 150 of 150 rows"
    with pytest.raises(ModelNotFound):
        wb.submit("nothing", X).result(20)


def test_a_call_tells_how_far_it_has_come(wb: Workbench) -> None:
    wb.load("slow", slow(), max_batch=1)
    told: list[Step] = []
    wb.predict("slow", np.ones((100, 4), np.float32), progress=told.append)
    assert {step.what for step in told} == {"answered"}
    shares = [step.share or 0.0 for step in told]
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1


def test_a_large_upload_tells_its_bytes(wb: Workbench) -> None:
    proto = mlp((1024, 1024, 1024))
    told: list[Step] = []
    call = load(wb.client, "large", proto, {}, progress=(progress := LoadProgress()))
    sync.run(call, lambda: told.append(progress.step), 0.001)
    assert {"byte"} <= {step.unit for step in told} or "the service loads it" in told[0].what
    assert "the service loads it and warms it up" in {step.what for step in told}


def test_a_model_is_described_from_its_file_to_its_run_times(wb: Workbench) -> None:
    wb.load("iris", iris())
    card = wb.show("iris")
    assert "skl2onnx" in str(card["written by"])
    assert card["parameters"] == "15"
    assert card.df.loc["ai.onnx.ml:LinearClassifier"].tolist() == [1, 1]
    assert card.run_times["rows"].tolist() == [1, 2, 4, 8, 16, 32, 64]
    assert "CPU: all 2 nodes" in str(card["runs on"])


def test_the_last_seconds_can_be_looked_at(wb: Workbench) -> None:
    wb.load("iris", iris())
    for _ in range(3):
        wb["iris"](X)
    (figures,) = [each for each in wb.models(window="60s") if each.routed]  # others may have gone a moment ago
    assert figures.requests["ok"] >= 3
    assert figures.p50_s is not None
    assert "iris" in set(wb.models(window=5).df["model"])
    with pytest.raises(InvalidInput, match="1s to 15m"):
        wb.models(window="20m")


def test_an_unknown_model_or_version_is_an_error_at_once(wb: Workbench) -> None:
    wb.load("iris", iris())
    with pytest.raises(ModelNotFound, match="did you mean 'iris'"):
        wb["irris"]
    with pytest.raises(ModelNotFound, match="it has 1"):
        wb.predict("iris", X, version=3)


def test_a_load_that_failed_leaves_nothing_behind(wb: Workbench, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError):
        wb.load("bad", tmp_path / "bad.onnx")
    assert not wb.models()


def test_arguments_in_the_wrong_order_are_an_error_of_one_line(wb: Workbench) -> None:
    name: Any = X
    for swapped in (lambda: wb.predict(name, "iris"), lambda: wb.load(name, "iris"), lambda: wb[name]):
        with pytest.raises(InvalidInput, match="the name must be text, not of type ndarray: the name comes first"):
            swapped()
    assert name not in wb


def test_connecting_wrongly_is_an_error_at_once(service: Address) -> None:
    with pytest.raises(
        Unauthenticated, match=r"does not know this token: connect\(url, token\) in Python, --url URL --tok"
    ):
        workbench.connect(service.url, "wrong")
    with pytest.raises(Unauthenticated, match="needs its token"):
        workbench.connect(service.url)
    with pytest.raises(Unavailable, match="does not answer"):
        workbench.connect("http://127.0.0.1:9")
    with pytest.raises(InvalidInput, match="a token needs the url"):
        workbench.connect(token="token")


def test_on_windows_connecting_without_a_url_says_that_it_is_not_supported(
    workplace: SharedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(Unsupported, match="Windows is not supported"):
            workbench.connect()
    assert workplace.record() is None


def test_a_stop_leaves_a_service_alone_that_was_attached_to(service: Address) -> None:
    wb = workbench.connect(service.url, service.token)
    wb.stop()
    assert wb.closed
    with workbench.connect(service.url, service.token) as again:
        assert list(again) == []
    assert "a service" in repr(again)


def test_the_call_that_finds_its_service_ended_starts_another_and_says_so(
    workplace: SharedService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with workbench.connect() as wb:
        wb.load("plus", add_constant(1.0))
        assert capsys.readouterr().err == ""
        SharedService(workplace.rendezvous, tmp_path).stop()  # as another process would
        assert list(wb) == ["plus"]
        said = capsys.readouterr().err
        assert said.startswith("the service had ended (")
        assert said.endswith("); another one serves the same models now\n")
        assert list(wb) == ["plus"]
        assert capsys.readouterr().err == ""


def test_a_file_is_loaded_from_a_path_of_the_callers_folder(
    wb: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(add_constant(1.0), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    assert wb.load("m", "model.onnx").version == "1"
    assert wb["m"]([0, 0, 0, 0]).array.tolist() == [[1, 1, 1, 1]]


def test_the_public_names_are_there_and_listed() -> None:
    for name in workbench.__all__:
        assert getattr(workbench, name) is not None
    assert {*workbench.__all__, "__version__"} == set(dir(workbench))
    assert workbench.__version__
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        workbench.conect  # noqa: B018


def test_importing_the_api_is_light() -> None:
    code = "import sys, workbench; workbench.connect; print('aiohttp' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_every_public_call_is_in_the_documentation() -> None:
    text = (DOCS / "python.md").read_text(encoding="utf-8")
    for name in workbench.__all__:
        assert f"`{name}`" in text
    clients = ((workbench.AsyncClient, ""), (ControlCalls, ""))
    for kind, prefix in ((Workbench, "wb."), (Model, "."), *clients, (workbench.Prediction, "p.")):
        parts = [base for base in kind.__mro__ if base.__module__.startswith("workbench.api.")] or [kind]
        for name in (name for part in parts for name in vars(part)):
            if not name.startswith("_"):
                assert f"`{prefix}{name}" in text, f"{kind.__name__}.{name}"
    assert all(f"{name}" in text for name in workbench.LoadReport.__dataclass_fields__)
