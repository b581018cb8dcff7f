from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import onnx
import pytest
import torch
from lightgbm import LGBMClassifier
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier

from tests.models import add_constant, save
from workbench.client.client import AsyncClient
from workbench.client.export import export
from workbench.client.model_card import described, markdown_card
from workbench.client.predict import Predictor
from workbench.client.shared_service import Address
from workbench.convert import export_check
from workbench.convert import load as loading
from workbench.convert.converters import Converted
from workbench.convert.load import load
from workbench.convert.pytorch import torch_module
from workbench.convert.scikit import sklearn
from workbench.convert.scikit.sklearn import convert
from workbench.errors import Conflict, InvalidInput, ModelError, NotFound, SignatureChanged, Unsupported

X, Y = load_iris(return_X_y=True)


def iris(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=1000).fit(X, Y)


async def test_an_estimator_is_exported_compared_and_served(client: AsyncClient) -> None:
    report = await load(client, "iris", iris(), {"max_batch_size": 16}, sample=X)
    assert (report.version, report.unchanged, report.previous) == ("1", False, None)
    assert re.fullmatch(
        r"exported LogisticRegression \(scikit-learn \d+\.\d+, opset \d+\) · labels equal, max \|diff\| \d\.\de-\d "
        r"on 288 rows · serving in [\d.]+ m?s",
        repr(report).splitlines()[0],
    )
    detail = report.details[0]
    found = report.status.provenance
    assert found is not None
    assert (found.source, list(found.versions)) == ("LogisticRegression", ["scikit-learn", "skl2onnx"])
    assert found.check is not None
    assert (found.check.agrees, found.check.rows, found.check.summary) == (True, 288, report.compared)
    label, probabilities = found.check.outputs
    assert (label.name, label.flips, probabilities.over) == ("label", 0, 0)
    assert 0 < (probabilities.largest or 0) < 1e-5
    card = described(await client.describe("iris"))
    assert str(card["exported from"]).startswith("LogisticRegression (scikit-learn ")
    assert card["answers"] == report.compared
    assert "answers beside the original&#x27;s" in card._repr_html_()
    written = markdown_card(card.description)
    assert written.startswith("# iris\n\n- **exported from**: LogisticRegression (scikit-learn ")
    assert "| probabilities | 288 |" in written
    assert detail.startswith("compared with the original on 150 rows of yours: label equal, probabilities within")
    assert report.status.max_batch_size == 16
    assert report.status.routed
    assert 0 < report.seconds < 60


async def test_the_same_again_is_unchanged_and_another_becomes_the_next_version(client: AsyncClient) -> None:
    await load(client, "iris", iris(), {})
    assert repr(await load(client, "iris", iris(), {})).startswith("iris is unchanged, version 1 serving")
    assert len(await client.statuses("iris")) == 1
    retrained = await load(client, "iris", iris(C=0.1), {})
    assert (retrained.version, retrained.previous) == ("2", "1")


async def test_a_path_bytes_and_a_model_proto_load_alike(client: AsyncClient, tmp_path: Path) -> None:
    proto = add_constant(1.0)
    path = save(proto, tmp_path / "model.onnx")
    assert (await load(client, "plain", str(path), {})).version == "1"
    for same in (path, proto.SerializeToString(), bytearray(proto.SerializeToString()), proto):
        assert (await load(client, "plain", same, {})).unchanged
    assert (await load(client, "plain", add_constant(2.0), {})).version == "2"


async def test_a_path_that_is_not_there_comes_with_the_nearest(client: AsyncClient, tmp_path: Path) -> None:
    save(add_constant(1.0), tmp_path / "digits.onnx")
    with pytest.raises(NotFound, match=r"no file or folder '.*digts.onnx'; did you mean '.*digits.onnx'\?"):
        await load(client, "m", tmp_path / "digts.onnx", {})


async def test_a_path_is_uploaded_to_a_service_elsewhere(
    client: AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_is_loopback", lambda url: False)
    path = save(add_constant(1.0), tmp_path / "model.onnx")
    assert (await load(client, "plain", path, {})).status.routed
    with pytest.raises(InvalidInput, match="cannot be uploaded"):
        await load(client, "plain", tmp_path, {})


async def test_a_wrong_name_is_refused_before_anything_is_converted(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match="cannot name a model"):
        await load(client, "no spaces", object(), {})
    with pytest.raises(InvalidInput, match="the name must be text, not of type ndarray: the name comes first"):
        await load(client, X, "line", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["m" * 5000, "~nobody-of-this-name/m.onnx"], ids=["long", "user"])
async def test_what_can_be_no_path_is_refused(client: AsyncClient, path: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be used as a path"):
        await load(client, "m", path, {})


async def test_a_proto_that_cannot_be_written_is_refused(client: AsyncClient) -> None:
    class Huge:
        def SerializeToString(self, deterministic: bool = False) -> bytes:
            raise ValueError("Message exceeds maximum protobuf size of 2GB")

    with pytest.raises(ModelError, match=r"the Huge cannot be written .*2GB\); save it to a file"):
        await load(client, "m", Huge(), {})


@pytest.mark.parametrize("tolerance", [-1.0, float("nan"), "0.1"])
async def test_a_tolerance_that_nothing_could_pass_is_refused(client: AsyncClient, tolerance: float) -> None:
    with pytest.raises(InvalidInput, match="it takes 0 or more"):
        await load(client, "line", object(), {}, tolerance=tolerance)


async def test_a_class_in_place_of_an_instance_is_told_what_was_meant(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match=r"load a fitted instance of it, as LinearRegression\(\).fit\(X, y\)"):
        await load(client, "line", LinearRegression, {})
    with pytest.raises(InvalidInput, match="predict is a method of LogisticRegression; load the LogisticRegression"):
        await load(client, "line", iris().predict, {})
    with pytest.raises(InvalidInput, match="dict is a class, not a model"):
        await load(client, "line", dict, {})


def broken(estimator: Any, **changes: Any) -> Callable[[object], Callable[..., Converted]]:
    """A converter whose export is of another estimator than the original."""

    def converter(source: object, sample: object | None) -> Converted:
        return dataclasses.replace(
            convert(source, sample), model=convert(estimator, None).model, **{"retry": None, **changes}
        )

    return lambda source: converter


async def test_an_export_that_differs_is_discarded_and_the_one_before_serves_on(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = LinearRegression().fit(X, Y)
    await load(client, "line", line, {}, sample=X)
    monkeypatch.setattr(loading, "converter_for", broken(LinearRegression().fit(X, Y + 0.5)))
    with pytest.raises(
        ModelError,
        match=r"off by 0\.\d+ of its largest value, in row \d+: .*is 0\.001.*version 2 was discarded.*tolerance=",
    ) as caught:
        await load(client, "line", line, {}, sample=X)
    assert "\n" not in caught.value.message
    assert [(status.version, status.routed) for status in await client.statuses("line")] == [("1", True)]
    report = await load(client, "line", line, {}, sample=X, tolerance=0.3)
    assert re.search(r"variable within \d\.\de-01 of its largest value", report.details[0])


async def test_a_load_that_is_cancelled_leaves_no_staged_version(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(client, "iris", iris(), {})
    reached = asyncio.Event()

    async def wait_for_ever(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(loading, "compare_with_original", wait_for_ever)
    task = asyncio.create_task(load(client, "iris", iris(C=0.1), {}))
    await reached.wait()
    assert len(await client.statuses("iris")) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [status.version for status in await client.statuses("iris")] == ["1"]


async def test_another_signature_needs_force_and_leaves_nothing_staged_without_it(client: AsyncClient) -> None:
    await load(client, "iris", iris(), {})
    narrow = LogisticRegression(max_iter=1000).fit(X[:, :2], Y)
    with pytest.raises(Conflict, match="force"):
        await load(client, "iris", narrow, {})
    assert len(await client.statuses("iris")) == 1
    assert (await load(client, "iris", narrow, {}, force=True)).version != "1"


async def test_a_conversion_does_not_hold_up_the_loop(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    original = loading.converter_for

    def converter_for(source: object) -> Any:
        def convert(source: object, sample: object | None) -> Converted:
            threads.append(threading.current_thread())
            return original(source)(source, sample)

        return convert

    monkeypatch.setattr(loading, "converter_for", converter_for)
    await load(client, "iris", iris(), {})
    assert threads[0] is not threading.current_thread()
    answer = await Predictor(client).predict("iris", X)
    assert np.array_equal(answer.array, iris().predict(X))


async def test_a_forest_that_was_trained_with_missing_values_answers_them_as_it_did(client: AsyncClient) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(600, 6)).astype(np.float32)
    labels = (rows[:, 0] + 0.5 * rows[:, 1] > 0).astype(int)
    rows[random.random(rows.shape) < 0.15] = np.nan
    forest = RandomForestClassifier(20, max_depth=5, random_state=0).fit(rows, labels)
    assert any(np.isinf(tree.tree_.threshold).any() for tree in forest.estimators_)
    await load(client, "forest", forest, {})
    answer = await Predictor(client).predict("forest", rows)
    assert np.array_equal(answer["label"], forest.predict(rows))
    np.testing.assert_allclose(answer["probabilities"], forest.predict_proba(rows), atol=1e-6)


@pytest.mark.parametrize("error", [OverflowError("Range exceeds valid bounds"), MemoryError(), KeyError("n_inputs")])
async def test_no_exception_of_a_library_leaves_a_load(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(source: object, sample: object | None) -> Converted:
        raise error

    monkeypatch.setattr(loading, "converter_for", lambda source: fails)
    with pytest.raises(
        ModelError, match=f"the export of LogisticRegression failed in a library, with {type(error).__name__}"
    ):
        await load(client, "iris", iris(), {})
    assert await client.statuses() == []


async def test_answers_that_cannot_be_compared_are_refused(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise IndexError("boolean index did not match")

    monkeypatch.setattr(export_check, "compare", fails)
    with pytest.raises(
        ModelError, match=r"could not be compared with the original's on .* made-up rows .*IndexError: boolean index"
    ):
        await load(client, "iris", iris(), {})
    assert await client.statuses() == []


async def test_an_export_that_does_not_run_is_the_models_fault_and_not_the_callers(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "converter_for", broken(LinearRegression().fit(X[:, :2], Y)))
    with pytest.raises(ModelError, match="the export of LinearRegression does not take the rows that the or"):
        await load(client, "line", LinearRegression().fit(X, Y), {})
    assert await client.statuses() == []


async def test_an_export_that_the_service_refuses_is_said_to_be_one(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_fault(source: object, sample: object | None) -> Converted:
        converted = convert(source, sample)
        proto = onnx.load_from_string(cast(bytes, converted.model))
        proto.graph.node[0].op_type = "NoSuchOperator"
        return dataclasses.replace(converted, model=proto.SerializeToString())

    monkeypatch.setattr(loading, "converter_for", lambda source: with_fault)
    with pytest.raises(ModelError, match=r"exported LinearRegression \(.*\), which the service refuses: ") as caught:
        await load(client, "line", LinearRegression().fit(X, Y), {})
    assert "\n" not in caught.value.message


async def test_several_labels_are_answered_as_several(client: AsyncClient) -> None:
    labels = np.stack([Y == 1, X[:, 0] > 6], axis=1).astype(int)
    ridge = RidgeClassifier().fit(X, labels)
    await load(client, "ridge", ridge, {})
    answer = await Predictor(client).predict("ridge", X)
    assert np.array_equal(answer["label"], ridge.predict(X))


async def test_numbers_far_from_zero_that_float32_cannot_tell_apart_are_served_in_double(client: AsyncClient) -> None:
    far = 1e6 + X
    line = LinearRegression().fit(far, Y)
    report = await load(client, "far", line, {})
    assert "· in double precision, since float32 was off in" in repr(report)
    assert [str(spec) for spec in report.status.signature.inputs] == ["X FP64[-1, 4]"]  # type: ignore[union-attr]
    answer = await Predictor(client).predict("far", far)
    np.testing.assert_allclose(answer["variable"].reshape(-1), line.predict(far), atol=1e-6)


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> LinearRegression:
    """A model whose export answers 0.5 too much."""
    monkeypatch.setattr(loading, "converter_for", broken(LinearRegression().fit(X, Y + 0.5)))
    return LinearRegression().fit(X, Y)


async def test_a_refusal_tells_rows_with_their_values_and_what_became_of_them(
    client: AsyncClient, off: LinearRegression
) -> None:
    with pytest.raises(ModelError) as caught:
        await load(client, "line", off, {}, sample=X)
    first = off.predict(X[:1])[0]
    assert f"; row 0 (5.1, 3.5, 1.4, 0.2): variable {first:.6g} became" in caught.value.message
    assert re.search(rf" became {first + 0.5:.5f}\d*; row 1 \(4\.9, .*; row 2 ", caught.value.message)
    assert caught.value.message.endswith("; force=True (--force) serves it all the same")


async def test_force_serves_an_export_that_differs_and_says_so(client: AsyncClient, off: LinearRegression) -> None:
    report = await load(client, "line", off, {}, sample=X, force=True)
    assert report.status.routed
    assert "· forced, though it differs: max |diff| 0.5, 288 over the tolerance on 288 rows ·" in repr(report)
    assert "off by 0." in report.details[0]
    (told,) = [note for note in (await client.status("line")).notes if "original" in note]
    assert told == (
        "loaded with force, though it does not answer as the original: max |diff| 0.5, "
        "288 over the tolerance on 288 rows"
    )


async def test_another_way_to_export_is_tried_and_the_line_says_why(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = LogisticRegression(max_iter=1000).fit(X, (Y + 1) % 3)

    def again() -> Converted:
        return dataclasses.replace(convert(iris(), X), way="in double precision")

    monkeypatch.setattr(loading, "converter_for", broken(flipped, retry=again))
    report = await load(client, "iris", iris(), {}, sample=X, force=True)
    assert "· in double precision, since float32 flipped 288 labels · labels equal," in repr(report)
    assert [status.version for status in await client.statuses("iris")] == [report.version]


async def test_the_columns_of_the_probabilities_say_their_classes(client: AsyncClient, service: Address) -> None:
    kinds = np.array(["setosa", "versicolor", "virginica"])[Y]
    for model in (LogisticRegression(max_iter=1000), LGBMClassifier(n_estimators=3, verbose=-1)):
        await load(client, "named", model.fit(X, kinds), {})
        assert (await client.status("named")).labels == {"probabilities": ("setosa", "versicolor", "virginica")}
        card = described(await client.describe("named"))
        assert card["classes"] == "probabilities: 0 setosa, 1 versicolor, 2 virginica"
        lines = repr(await Predictor(client).predict("named", X[:1])).splitlines()
        assert lines[2].split() == ["setosa", "versicolor", "virginica"]
        told = httpx.get(f"{service.url}/v2/models/named", headers={"Authorization": f"Bearer {service.token}"}).json()
        assert told["outputs"][1]["parameters"] == {"labels": ["setosa", "versicolor", "virginica"]}
        assert "parameters" not in told["outputs"][0]
        await client.unload("named")


async def test_what_is_served_already_is_compared_with_a_sample_too(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = LinearRegression().fit(X, Y)
    await load(client, "line", line, {})
    again = await load(client, "line", line, {}, sample=X)
    assert again.unchanged
    assert re.search(r"line is unchanged, version 1 serving · max \|diff\| \S+ on 288 rows\n", repr(again))
    other = LinearRegression().fit(X, Y + 0.5)
    monkeypatch.setattr(loading, "converter_for", broken(line))
    with pytest.raises(ModelError, match="and version 1, which serves, is the same model: it goes on serving; "):
        await load(client, "line", other, {}, sample=X)
    assert [(status.version, status.routed) for status in await client.statuses("line")] == [("1", True)]


async def never(*_: object, **__: object) -> None:
    raise AssertionError("it came so far")


async def test_other_inputs_of_an_estimator_are_told_before_it_is_exported(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(client, "iris", iris(), {})
    monkeypatch.setattr(sklearn, "export", never)
    said = re.escape(
        "the new model of 'iris' has other inputs or outputs than version 1, which serves: input 'X' was [-1, 4] and "
        "would be [-1, 2]. Its callers would break; load it under another name, or with force=True (--force) to "
        "replace it all the same"
    )
    with pytest.raises(SignatureChanged, match=said):
        await load(client, "iris", LogisticRegression(max_iter=1000).fit(X[:, :2], Y), {})


async def test_other_inputs_of_a_module_are_told_before_it_is_exported(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(client, "iris", iris(), {})
    monkeypatch.setattr(torch_module, "export_module", never)
    said = r"input 'X' was FP32 \[-1, 4\] and would be absent; input 'input' was absent\."
    with pytest.raises(SignatureChanged, match=said):
        await load(client, "iris", torch.nn.Linear(4, 3), {})


async def test_another_output_is_told_before_the_upload(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    await load(client, "iris", iris(), {})
    monkeypatch.setattr(client, "stage", never)
    with pytest.raises(SignatureChanged, match=r"output 'label' was INT64 \[-1\] and would be absent; output 'prob"):
        await load(client, "iris", LinearRegression().fit(X, Y), {})


async def test_an_estimator_that_is_served_in_double_is_retrained_in_double(client: AsyncClient) -> None:
    far = 1e6 + X
    first = await load(client, "far", LinearRegression().fit(far, Y), {})
    assert "in double precision, since float32" in first.exported
    again = await load(client, "far", LinearRegression().fit(far[:100], Y[:100]), {})
    assert (again.version, again.previous) == ("2", "1")


async def test_a_second_way_that_fails_too_is_told_with_the_first(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flipped = LogisticRegression(max_iter=1000).fit(X, (Y + 1) % 3)

    def again() -> Converted:
        return dataclasses.replace(convert(flipped, X), checks=convert(iris(), X).checks, way="in double", retry=None)

    monkeypatch.setattr(loading, "converter_for", broken(flipped, retry=again))
    with pytest.raises(ModelError, match=r"serves it all the same. Exported in double it flipped \d+ labels too"):
        await load(client, "iris", iris(), {}, sample=X)

    def none() -> Converted:
        raise Unsupported("Foo has no ONNX form")

    monkeypatch.setattr(loading, "converter_for", broken(flipped, retry=none))
    with pytest.raises(ModelError, match="Another way to export it was tried, and there is none: Foo has no ONNX form"):
        await load(client, "iris", iris(), {}, sample=X)
    assert await client.statuses() == []


async def test_an_exported_file_tells_where_it_came_from_when_it_is_loaded_again(
    client: AsyncClient, tmp_path: Path
) -> None:
    report = await load(client, "iris", iris(), {}, sample=X)
    await export(client, "iris", tmp_path / "iris.onnx")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "iris.onnx").metadata_props}
    assert told["workbench.card"].startswith("# iris\n\n- **exported from**: LogisticRegression (scikit-learn ")
    again = await load(client, "again", tmp_path / "iris.onnx", {})
    assert again.status.provenance == report.status.provenance is not None
    await export(client, "again", tmp_path / "twice.onnx")
    onnx.checker.check_model(tmp_path / "twice.onnx")  # no key is there twice
    answer = await Predictor(client).predict("again", X)
    assert np.array_equal(answer.array, iris().predict(X))


async def test_an_exported_file_keeps_the_largest_batch_and_the_classes(client: AsyncClient, tmp_path: Path) -> None:
    await load(client, "iris", iris(), {"max_batch_size": 4096}, sample=X)
    await export(client, "iris", tmp_path / "iris.onnx")
    again = (await load(client, "again", tmp_path / "iris.onnx", {})).status
    assert (again.config.max_batch_size, again.labels) == (4096, {"probabilities": ("0", "1", "2")})
    assert (await load(client, "less", tmp_path / "iris.onnx", {"max_batch_size": 8})).status.config.max_batch_size == 8
    model = onnx.load(tmp_path / "iris.onnx")
    entry = next(each for each in model.metadata_props if each.key == "workbench.max_batch_size")
    for wrong in ("0", "99999", "-1", "x", "9" * 5000):
        entry.value = wrong
        assert (await client.stage("wrong", model.SerializeToString())).status.config.max_batch_size == 64
