"""Live functions and objects, served from their source: they answer as here, or the reason names what is in the way."""

from __future__ import annotations

import functools
import linecache
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from catboost import CatBoostClassifier
from IPython.core import interactiveshell
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from workbench.api import Workbench
from workbench.convert.converters import converter_for
from workbench.convert.python.python_annotations import annotated_inputs, annotated_outputs
from workbench.convert.python.python_function import PythonFunction, convert
from workbench.convert.python.python_names import needed_names
from workbench.convert.python.python_way import python_way
from workbench.errors import InvalidInput, ModelError, Unsupported

X, Y = load_iris(return_X_y=True)
WEIGHTS = np.arange(8.0).reshape(4, 2)
SETTINGS = {"scale": 2.0, "names": ("a", "b"), "nested": {"mean": WEIGHTS.mean(axis=0), "none": None, "inf": np.inf}}
LOCK = threading.Lock()
HOLES = pd.DataFrame({"age": [30, 40, 50], "city": ["Bern", "Rome", None]})
DATES = pd.DataFrame({"age": [1.0, 2.0], "when": pd.date_range("2026-01-01", periods=2)})


def test_the_names_that_a_text_needs() -> None:
    text = (
        "@deco\ndef f(x: T, y=default):\n    z = [w for w in x if g(w)]\n    def inner(): return z, h\n    return inner"
    )
    assert needed_names(text) == ("deco", "default", "g", "h")
    assert needed_names("class A(Base):\n    n = K\n    def f(self):\n        return super().f() + A.n") == (
        "Base",
        "K",
        "super",
    )
    assert needed_names("import os\ndef f(x):\n    global count\n    count = 1\n    return os.sep, f") == ()


def test_a_function_comes_with_all_that_it_needs_by_value(wb: Workbench) -> None:
    class Scale:
        __slots__ = ("by", "self_")

        def __init__(self, by: float) -> None:
            self.by = by
            self.self_ = self

        def __call__(self, x: Any) -> Any:
            return x * self.self_.by

    class Answer(NamedTuple):
        total: Any
        name: Any

    scale, offset = Scale(3.0), np.float32(0.5)
    pattern, where = re.compile("[a-z]+", re.IGNORECASE), Path("/tmp")
    half = functools.partial(np.multiply, 0.5)

    @np.errstate(all="ignore")
    def helper(x: Any) -> Any:
        return half(scale(x)) @ WEIGHTS + offset

    def predict(x: Any, words: Any, extra: float = 1.0) -> Answer:
        assert where.name == "tmp"
        assert np.isinf(SETTINGS["nested"]["inf"])  # type: ignore[index]
        total = helper(x) * SETTINGS["scale"] - SETTINGS["nested"]["mean"] + extra  # type: ignore[index]
        return Answer(total, np.array([pattern.sub("", str(each)) for each in words]))

    sample = {"x": X[:6], "words": np.array(["a1", "ß", "3"])}
    report = wb.load("m", predict, sample=sample)
    assert "predict served from its source as Python" in report.exported
    assert "a call of the sample takes" in report.exported
    assert "labels equal, max |diff| 0" in report.compared
    served = wb.predict("m", {"x": X[:2], "words": ["x7", "8"]})
    assert np.array_equal(served["total"], predict(X[:2], ["x7", "8"]).total)
    assert served["name"].tolist() == ["7", "8"]


def test_rows_of_several_requests_share_a_call_where_that_is_said(wb: Workbench) -> None:
    def predict(x: Any) -> Any:
        return x @ WEIGHTS

    def mixed(x: Any) -> Any:
        return x - x.mean(axis=0)

    status = wb.load("m", predict, sample=X[:5], batch=True).status
    assert status.max_batch_size == 64
    assert str(status.signature).startswith("<Signature x FP64[-1, 4]")
    with pytest.raises(ModelError, match="does not answer as the original on 1 row of yours in batches of 1"):
        wb.load("mixed", mixed, sample=X[:5], batch=True)
    assert wb.load("mixed", mixed, sample=X[:5]).status.max_batch_size == 0


def test_annotations_declare_what_no_sample_shows(wb: Workbench) -> None:
    def predict(x: Any, names: Any) -> Any:
        return {"label": x.sum(axis=1).astype(np.int64), "n": [each.encode() for each in names]}

    predict.__annotations__ = {"x": "FP32[-1, 2]", "names": "'TEXT[-1]'", "return": "label INT64[-1], n BYTES[-1]"}
    inputs = annotated_inputs(predict, ["x", "names"])
    assert [str(each.tensor) for each in inputs.values()] == ["x FP32[-1, 2]", "names BYTES[-1]"]
    assert [each.text for each in inputs.values()] == [False, True]
    assert [each.name for each in annotated_outputs(predict) or ()] == ["label", "n"]
    report = wb.load("declared", predict)
    assert report.compared == "nothing compared on 0 rows"
    served = wb.predict("declared", {"x": [[1, 2], [3, 4]], "names": ["a", "ü"]})
    assert (served["label"].tolist(), served["n"].tolist()) == ([3, 7], ["a", "ü"])
    predict.__annotations__["x"] = "FP31[-1]"
    with pytest.raises(InvalidInput, match=r"the annotation 'FP31\[-1\]' is not read as NAME DATATYPE\[SIZES\]"):
        wb.load("declared", predict)


def test_an_object_with_predict_is_served_by_its_values(wb: Workbench) -> None:
    class Nearest(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            self.classes_ = np.unique(y)
            self.centres_ = np.array([X[y == each].mean(axis=0) for each in self.classes_])
            return self

        def predict(self, X: Any) -> Any:
            return self.classes_[((X[:, None] - self.centres_) ** 2).sum(axis=2).argmin(axis=1)]

    model = Nearest().fit(X, Y)
    report = wb.load("nearest", model, as_python=True, sample=X)
    assert "Nearest served from its source" in report.exported
    assert np.array_equal(np.asarray(wb.predict("nearest", X)), model.predict(X))

    frame = pd.DataFrame({"size": X[:, 0], "kind": np.where(Y > 0, "b", "a")})
    mapped = make_pipeline(FunctionTransformer(lambda f: f.assign(kind=f["kind"] == "b")), DecisionTreeClassifier())
    mapped.fit(frame, Y > 0)
    with pytest.raises(Unsupported, match=r"encode the.*Or serve it as Python: %infer load NAME obj --as-"):
        wb.load("mapped", mapped, sample=frame)
    report = wb.load("mapped", mapped, as_python=True, sample=frame)
    assert "labels equal" in report.compared
    assert np.array_equal(wb.predict("mapped", frame)["label"], mapped.predict(frame))


def _refused() -> dict[str, tuple[Callable[[], object], str]]:
    class Opened:
        def __init__(self) -> None:
            self.parts = [{"handle": open(__file__)}]  # noqa: SIM115

        def predict(self, X: Any) -> Any:
            return X

    def locked(x: Any) -> Any:
        with LOCK:
            return x

    def unknown(x: Any) -> Any:
        return x + missing  # type: ignore[name-defined]  # noqa: F821

    def by_star(*x: Any) -> Any:
        return x

    def failing(x: Any) -> Any:
        return x[:, 17]

    def capital(text: Any) -> Any:
        return text.upper()

    def shouting(x: Any) -> Any:
        return np.char.upper(x)

    def by_table(table: Any) -> Any:
        return table.age

    def to_complex(x: Any) -> Any:
        return x * 1j

    made: dict[str, Any] = {}
    exec("def f(x): return x", made)  # noqa: S102

    def opened() -> object:
        model = Opened()
        try:
            return convert(PythonFunction(model), X)
        finally:
            model.parts[0]["handle"].close()

    def call(function: Any, sample: object = X) -> Callable[[], object]:
        return lambda: convert(PythonFunction(function), sample)

    return {
        "a file": (opened, r"model\.parts\[0\]\['handle'\]: a TextIOWrapper belongs to this process"),
        "a lock": (call(locked), "locked uses LOCK: a lock belongs to this process; make it inside the function"),
        "an unknown name": (call(unknown), "unknown uses 'missing', which is not defined"),
        "star": (call(by_star), r"by_star takes \*x"),
        "no source": (call(made["f"]), "the source of f is not known"),
        "fails": (
            call(failing),
            r"failing itself fails on the sample: IndexError: .* \(line \d+ of test_python_function.py, in failing: "
            r"return x\[:, 17\]\)",
        ),
        "text of numpy's": (
            call(shouting, np.array(["a"])),
            r"non-string array; .* take x\.astype\(str\) of it \(line",
        ),
        "a text's method": (
            call(capital, "hello"),
            r"no attribute 'upper'; it gets NumPy arrays, whatever the sample was: .* x.tolist\(\) of one \(line",
        ),
        "missing values": (call(by_table, HOLES), r"the sample of 'city' has missing values.*df\['city'\].fillna"),
        "dates": (call(by_table, DATES), r"the sample of 'when' holds dates \(datetime64.*pandas.to_datetime\(when\)"),
        "no datatype": (call(to_complex), "output 'output' is an array of complex128, which cannot be served"),
        "no sample": (call(locked, None), r"what locked takes is not known; give a sample, as sample=X\[:3\]"),
        "no predict": (call(object()), "object has neither predict nor transform"),
        "a wrong sample": (call(failing, object()), "the sample of 'x' is of the type object"),
    }


def test_a_function_of_a_table_takes_an_input_a_column(wb: Workbench) -> None:
    names = "not its own"

    def table_sum(table: Any) -> Any:
        assert names
        return table.groupby("city")["age"].transform("sum").to_numpy()

    def by_name(city: Any, age: Any) -> Any:
        return [f"{each} {number}" for each, number in zip(city, age, strict=True)]

    frame = HOLES.fillna("")
    assert "output equal" in str(wb.load("table", table_sum, sample=frame).details)
    asked = pd.DataFrame({"age": [1, 2, 4], "city": ["Bern", "Rome", "Bern"]})
    assert np.asarray(wb.predict("table", asked)).tolist() == [5, 2, 5]
    assert np.asarray(wb.predict("table", {"age": [7], "city": ["Bern"]})).tolist() == [7]
    wb.load("named", by_name, sample=frame)
    assert np.asarray(wb.predict("named", asked)).tolist() == ["Bern 1", "Rome 2", "Bern 4"]


def test_a_function_that_dies_of_made_up_rows_is_served_and_compared(wb: Workbench) -> None:
    def rude(x: Any) -> Any:
        if x.shape == X.shape:
            return x
        os._exit(3)

    assert wb.load("rude", rude, sample=X).compared == "max |diff| 0 on the sample"


def test_text_that_is_no_array_goes_in_and_comes_out(wb: Workbench) -> None:
    def shout(text: Any) -> Any:
        return {"loud": str(text).upper(), "length": len(str(text))}

    assert "loud equal, length equal" in str(wb.load("m", shout, sample="so be it"))
    assert wb["m"]("no")["loud"].tolist() == "NO"


def test_what_returns_no_array_is_told_so() -> None:
    def nothing(x: Any) -> Any:
        pass

    def later(x: Any) -> Any:
        yield x

    with pytest.raises(InvalidInput, match="nothing returns None for the sample; return arrays, numbers or text"):
        convert(nothing, X[:3])
    with pytest.raises(InvalidInput, match="later returns a generator for the sample"):
        convert(later, X[:3])


def test_an_answer_of_bytes_is_compared_as_bytes(wb: Workbench) -> None:
    def ended(x: Any) -> Any:
        return [b"%d\0" % number for number in x[:, 0]]

    assert wb.load("ended", ended, sample=X).compared == "labels equal on the sample"


def test_a_module_of_ones_own_is_imported_and_the_report_says_so(
    wb: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_notebook.py").write_text("def shifted(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    from beside_the_notebook import shifted  # type: ignore[import-not-found]

    def helped(x: Any) -> Any:
        return shifted(x)

    report = wb.load("helped", helped, sample=X)
    assert "beside_the_notebook is imported and not frozen, so it must stay where it is" in str(report)
    assert report.status.provenance is not None
    assert dict(report.status.provenance.versions) == {}


def test_what_mixes_rows_is_told_to_leave_out_batch(wb: Workbench) -> None:
    def centred(x: Any) -> Any:
        return x - x.mean(axis=0)

    with pytest.raises(ModelError, match=r"centred, served as Python, does not answer .* leave --batch out"):
        wb.load("centred", centred, sample=X, batch=True)
    report = wb.load("centred", centred, sample=X)
    assert report.compared == "max |diff| 0 on the sample"


@pytest.mark.parametrize("case", _refused())
def test_what_cannot_be_served_is_named_with_its_reason(case: str) -> None:
    call, reason = _refused()[case]
    with pytest.raises((InvalidInput, Unsupported, ModelError), match=reason):
        call()


class Doubles:
    def predict(self, X: Any) -> Any:
        return 2 * X


class Triples:
    def __call__(self, X: Any) -> Any:
        return 3 * X


def test_serving_as_python_is_not_offered_for_a_sample_that_cannot_be_sent(wb: Workbench) -> None:
    encoder = make_pipeline(OneHotEncoder()).fit(DATES[["when"]])
    with pytest.raises(Unsupported, match=r"cannot be served as Python either while the sample of 'when' holds dates"):
        wb.load("m", encoder, sample=DATES[["when"]])
    with pytest.raises(InvalidInput, match="Linear is exported and not served as Python"):
        wb.load("m", torch.nn.Linear(2, 2), as_python=True, sample=X[:3])


def test_serving_as_python_is_offered_only_where_the_object_can_be_frozen() -> None:
    line = "serve it as Python: %infer load NAME obj --as-python --sample X[:5] (as_python=True)"
    assert python_way(Doubles()) == (line, "")
    held = Doubles()
    held.lock = LOCK  # type: ignore[attr-defined]
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4] * 5, "k": pd.Categorical(["u", "v"] * 10)})
    trained = CatBoostClassifier(iterations=2, cat_features=["k"], verbose=0, allow_writing_files=False)
    for without in (held, LOCK, 3, np, X, trained.fit(frame, [0, 1] * 10)):
        assert python_way(without) == ("", "")
    head = "%%infer function NAME --sample X[:5]\ndef predict(x):\n"
    for function, body in (
        (np.mean, "    import numpy\n    return numpy.mean(x)"),
        (np.linalg.norm, "    import numpy.linalg\n    return numpy.linalg.norm(x)"),
        (len, "    return len(x)"),
    ):
        assert python_way(function) == ("serve it as a function, by a cell like this:", head + body)
    with pytest.raises(Unsupported, match="lock cannot be loaded; a model is a path"):
        converter_for(LOCK)


def test_a_notebooks_open_is_pythons(wb: Workbench, tmp_path: Path) -> None:
    space = {"open": interactiveshell._modified_open, "path": str(tmp_path / "factor")}
    (tmp_path / "factor").write_text("3")
    body = "def scaled(x):\n    with open(path) as file:\n        return int(file.read()) * x\n"
    linecache.cache["<ipython-input-open>"] = (len(body), None, body.splitlines(keepends=True), "<ipython-input-open>")
    exec(compile(body, "<ipython-input-open>", "exec"), space)  # noqa: S102
    wb.function("m", predict=space["scaled"], sample=X[:5])
    assert_array_equal(wb.predict("m", X[:5])["output"], 3 * X[:5])


class Writes:
    def fit(self, X: Any) -> None: ...

    def close(self) -> None: ...

    def written(self, X: Any) -> Any:
        return 3 * X


class Connected:
    def __init__(self, factor: int) -> None:
        self.lock = threading.Lock()
        self.factor = factor

    def __call__(self, X: Any) -> Any:
        return self.factor * X


def test_an_object_that_nobody_knows_comes_with_a_cell_to_paste_which_serves_it(
    wb: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"writer": Writes(), "Connected": Connected, "connected": Connected(3)}
    for name, value in space.items():
        monkeypatch.setattr(sys.modules["__main__"], name, value, raising=False)
    for name in ("writer", "connected"):
        with pytest.raises(
            Unsupported, match=r"an object of scikit-learn, .*Or serve what it does as a func"
        ) as caught:
            wb.load("m", space[name])
        assert "\n" not in caught.value.message
        assert caught.value._render_traceback_()[1:] == caught.value.__notes__
        head, _, cell = caught.value.__notes__[0].strip().partition("\n")
        assert head == "%%infer function NAME --sample X[:5]"
        file = f"<ipython-input-{name}>"
        cell = cell.replace("...", "3")
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec"), space)  # noqa: S102
        wb.function(name, predict=space["predict"], sample=X[:5])
        assert_array_equal(wb.predict(name, X[:5])["output"], 3 * X[:5])
