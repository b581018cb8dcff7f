from __future__ import annotations

import ast

import pytest

from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.runtime import BUNDLE
from workbench.share.code_samples import Endpoint, code_samples, example_body, is_few

URL = "http://127.0.0.1:8080/base"


def status(*inputs: TensorSpec, platform: str = "") -> ModelStatus:
    signature = Signature(inputs, (TensorSpec("y", "FP32", (-1,)),))
    return ModelStatus("digits", "1", ModelState.READY, platform=platform, signature=signature)


MIXED = status(TensorSpec("x", "FP32", (-1, 3)), TensorSpec("it's", "BYTES", (-1, 1)), TensorSpec("ok", "BOOL", (-1,)))
WIDE = status(TensorSpec("pixels", "FP16", (-1, 1, 28, 28)))


def test_each_language_names_the_models_own_inputs_and_no_token() -> None:
    samples = code_samples(Endpoint(URL), MIXED)
    assert [each.label.split(" (")[0] for each in samples] == ["curl", "Python", "Python", "JavaScript"]
    for each in samples:
        assert all(spec in each.source for spec in ("BYTES", "BOOL", "FP32", "INFER_TOKEN")), each.label
        assert "wbk_" not in each.source
        if each.lang == "Python":
            ast.parse(each.source)
    body = example_body(MIXED)
    assert body is not None
    assert [len(entry["data"]) for entry in body["inputs"]] == [3, 1, 1]
    assert is_few(MIXED)


def test_a_pinned_version_a_base_url_and_a_certificate_are_in_each_of_them() -> None:
    samples = code_samples(Endpoint("https://models.example:8443/base", "ca.pem"), MIXED, "3")
    for each in samples[:2]:
        assert "https://models.example:8443/base/v2/models/digits/versions/3/infer" in each.source
        assert "ca.pem" in each.source
    triton = samples[2].source
    assert all(part in triton for part in ('"models.example:8443/base", ssl=True', "ca.pem", 'model_version="3"'))


def test_a_large_input_is_filled_rather_than_written_out() -> None:
    assert not is_few(WIDE)
    for each in code_samples(Endpoint(URL), WIDE):
        assert len(each.source) < 1200


def test_no_name_of_a_hostile_model_becomes_a_line_of_code() -> None:
    name = "x\ntouch owned # \u202e'\"$(touch owned)"
    for size in (3, 1000):
        for each in code_samples(Endpoint(URL), status(TensorSpec(name, "FP32", (-1, size)))):
            assert "\ntouch owned" not in each.source and "\u202e" not in each.source, each.label
            if each.lang == "Python":
                ast.parse(each.source)


def test_a_picture_is_sent_by_the_client_that_can() -> None:
    picture = status(TensorSpec("image", "BYTES", (-1,)), platform=BUNDLE.platform)
    (only,) = code_samples(Endpoint(URL), picture)
    assert 'open("picture.jpg", "rb")' in only.source
    assert example_body(picture) is None


@pytest.mark.parametrize("url", [URL, "https://[::1]:8080"])
def test_nothing_is_said_of_a_model_whose_inputs_are_not_known(url: str) -> None:
    assert code_samples(Endpoint(url), ModelStatus("m", "1", ModelState.LOADING)) == []
