from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.helpers.hostile_text import HOSTILE, harmful_in
from workbench.core.model import ModelState, ModelStatus, Signature, TensorSpec
from workbench.core.tensor import DTYPES
from workbench.share.code_samples import Endpoint
from workbench.share.openapi import openapi

ENDPOINT = Endpoint("http://127.0.0.1:8080")

ALL_TYPES = ModelStatus(
    "all.types-1",
    "1",
    ModelState.READY,
    signature=Signature(
        tuple(TensorSpec(datatype.lower(), datatype, (-1, 2)) for datatype in DTYPES),
        (TensorSpec("unranked", "FP32", (), ranked=False),),
    ),
)


def test_the_document_is_valid() -> None:
    named = TensorSpec("X", "FP64", (-1, 2), missing="NaN", columns=("age", "fare"))
    table = ModelStatus("table", "4", ModelState.READY, signature=Signature((named,), (named,)))
    models = [ALL_TYPES, table, ModelStatus("unknown", "1", ModelState.READY)]
    share = {"label": "team-a", "terms": ["It may call table."], "expires_at": 1.0}
    document = openapi(ENDPOINT, models, {"table": "4"}, share)
    OpenAPIV31SpecValidator(document).validate()
    assert document["x-share"] == share
    assert "/v2/models/table/versions/4/infer" in document["paths"]
    assert "/v2/models/unknown" in document["paths"]
    assert "/v2/models/unknown/infer" not in document["paths"]
    tensor = document["components"]["schemas"]["table.request"]["properties"]["inputs"]["prefixItems"][0]
    assert "age, fare" in tensor["description"]
    assert "'NaN'" in tensor["description"]


def test_names_in_a_hostile_model_are_data_of_a_valid_document_and_shown_visibly() -> None:
    hostile = (TensorSpec(HOSTILE, "FP32", (-1, 2), columns=(HOSTILE, "b")),)
    document = openapi(ENDPOINT, [ModelStatus("m", "1", ModelState.READY, signature=Signature(hostile, hostile))], {})
    OpenAPIV31SpecValidator(document).validate()
    shown = [each["description"] for each in document["tags"]]
    for calls in document["paths"].values():
        for call in calls.values():
            shown += [
                call["summary"],
                call.get("description", ""),
                *(each["source"] for each in call.get("x-codeSamples", ())),
            ]
    assert shown and not harmful_in("".join(shown))


def test_a_document_of_no_models_is_valid_too() -> None:
    document = openapi(ENDPOINT, [], {})
    OpenAPIV31SpecValidator(document).validate()
    assert set(document["paths"]) == {"/v2", "/v2/health/live", "/v2/health/ready"}
