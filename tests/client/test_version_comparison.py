"""Two versions of a served model compared, on rows and by their calls, in a real service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from tests.helpers.service_process import Serve
from tests.models import add_constant, model, save, value
from tests.server.real_service import serving
from workbench.api import Workbench, connect
from workbench.client.version_comparison import VersionComparison
from workbench.errors import InvalidInput, ModelNotFound

ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("service"), {"m": add_constant(1.0)}) as serve:
        yield serve


@pytest.fixture(scope="module")
def wb(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    folder = tmp_path_factory.mktemp("models")
    with connect(serve.published["url"], serve.token) as wb:
        wb.load("m", save(add_constant(1.5), folder / "2.onnx"), route=False)
        wb.load("shaped", save(add_constant(1.0), folder / "3.onnx"))
        wb.load("shaped", save(add_constant(1.0, ("batch", 2)), folder / "4.onnx"), route=False)
        wb.load("table", save(looked_up(100), folder / "5.onnx"))
        wb.load("table", save(looked_up(95), folder / "6.onnx"), route=False)
        yield wb


def looked_up(size: int) -> ModelProto:
    """y = table[x]: a run fails for an x from `size` on."""
    table = numpy_helper.from_array(np.arange(size, dtype=np.float32), "table")
    node = helper.make_node("Gather", ["table", "x"], ["y"])
    return model([node], [value("x", "INT64", ("batch",))], [value("y", "FP32", ("batch",))], [table])


def compared(wb: Workbench, *given: object, **more: object) -> VersionComparison:
    found = wb.compare(*given, **more)  # type: ignore[call-overload]
    assert isinstance(found, VersionComparison)
    return found


def test_rows_tell_how_answers_differ_and_how_long_calls_take(wb: Workbench) -> None:
    found = compared(wb, "m:1", "m:2", ROWS, seconds=0.2)
    assert found.versions == ("1", "2")
    (output,) = found.outputs
    assert (output.name, output.rows, output.largest) == ("y", 10, 0.5)
    ratio, low, high = found.ratio or (0, 0, 0)
    assert 0 < low <= ratio <= high
    told = repr(found)
    assert told.splitlines()[0] == "m: version 2 beside version 1 on 10 rows"
    for said in ("version 1", "version 2", "largest difference 0.5", "median of", "chance"):
        assert said in told
        assert said in found._repr_html_()
    assert next(iter(found.df["figure"])) == "y"


def test_calls_tell_who_got_how_many(wb: Workbench) -> None:
    done, made = threading.Event(), [True]

    def call() -> None:
        while not done.is_set():
            wb.predict("m", ROWS)
            wb.predict("m:2", ROWS)
            made.append(True)

    calling = threading.Thread(target=call)
    calling.start()
    try:
        found = compared(wb, "m:1", "m:2", seconds="1s")
    finally:
        done.set()
        calling.join()
    assert found.live is not None
    assert found.live.first.calls > 0
    assert abs(found.live.first.calls - found.live.second.calls) <= 2
    assert found.live.first.calls <= len(made)
    assert not found.live.errors.enough
    assert "too little to tell" in repr(found)
    assert "p99" in repr(found)


def test_without_a_call_it_says_what_to_do(wb: Workbench) -> None:
    assert "route some calls to both, or give rows to ask them" in repr(compared(wb, "shaped:1", "shaped:2", seconds=1))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (("m:1", "m:1"), InvalidInput, "1 and 1 are both version 1 of 'm'"),
        (("m:1", "shaped:2"), InvalidInput, "compare takes two versions of one model, as 'digits:1' and 'digits:2'"),
        (("m:1", "m"), InvalidInput, "compare takes two versions of one model"),
        (("m:1", "m:9"), ModelNotFound, "9"),
        (("a-1", "b-1", ROWS), InvalidInput, "rows and seconds go with two versions, as 'digits:1'"),
        (("shaped:1", "shaped:2", ROWS), InvalidInput, "2"),
    ],
)
def test_what_cannot_be_compared_is_an_error_at_once(
    wb: Workbench, given: tuple[object, ...], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as told:
        wb.compare(*given)  # type: ignore[call-overload]
    assert said in str(told.value)


@pytest.mark.parametrize(("seconds", "said"), [(0, "over 0 s"), ("2d", "s"), (1e9, "at most 3600 s"), ("x", "time")])
def test_a_time_that_is_none_is_refused(wb: Workbench, seconds: object, said: str) -> None:
    with pytest.raises(InvalidInput) as told:
        wb.compare("m:1", "m:2", seconds=seconds)  # type: ignore[call-overload]
    assert said in str(told.value)


@pytest.mark.long
def test_a_version_that_fails_for_some_inputs_is_found_while_both_are_called(wb: Workbench, tmp_path: Path) -> None:
    done = threading.Event()
    random = np.random.default_rng(1)

    def call() -> None:
        while not done.wait(0.01):
            x = random.integers(0, 100, 1)
            for version in ("1", "2"):
                try:
                    wb.predict("table", x, version=version)
                except Exception:
                    assert version == "2"

    calling = threading.Thread(target=call)
    calling.start()
    try:
        found = compared(wb, "table:1", "table:2", seconds=20)
    finally:
        done.set()
        calling.join()
    assert found.live is not None
    assert found.live.errors.larger
    assert found.live.first.errors == 0
    assert "more; chance does not explain it" in repr(found)
