"""The OpenAPI 3.1 document of what one token may call.

https://spec.openapis.org/oas/v3.1.1. It has only the routes of the Open Inference Protocol that a share may call, and
spells out the models, so that a reader sees each model's own inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from workbench.core.model import FREE, ModelStatus, TensorSpec
from workbench.core.tensor import BYTES, dtype_of
from workbench.share.code_samples import Endpoint, code_samples, example_body, is_few

VERSION: Final = "3.1.1"

_TOKEN: Final[list[dict[str, list[str]]]] = [{"token": []}]

_ERRORS: Final[Mapping[str, str]] = {
    "400": "What was sent cannot be used; the message says what is wrong with it.",
    "401": "There is no token, a wrong one, or one that has expired or was revoked.",
    "403": "The token is not for this.",
    "404": "There is no such model for this token.",
    "405": "Another method goes with this path.",
    "408": "The request did not come whole in time.",
    "413": "The body is larger than the service takes.",
    "415": "The body is neither JSON nor binary tensors.",
    "429": "The token's limits are used up; Retry-After says for how many seconds.",
    "500": "The service failed.",
    "503": "The service or the model is not ready, or its queue is full.",
    "504": "The request's timeout was over before the model had answered.",
}


def openapi(
    endpoint: Endpoint,
    models: Sequence[ModelStatus],
    versions: Mapping[str, str],
    share: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document for a caller of `models`.

    `versions`: model -> the version that its paths name, for those that are pinned to one. `share`: what the caller's
    share allows, shown as `x-share`; None for the owner.
    """
    paths: dict[str, Any] = {
        "/v2/health/live": {"get": _health("Whether the service runs")},
        "/v2/health/ready": {"get": _health("Whether the service and its models are ready")},
        "/v2": {"get": _read("Describe the service", "Server", _ref("Server"))},
    }
    schemas = dict(_SCHEMAS)
    for model in models:
        paths |= _paths_of(endpoint, model, versions.get(model.name, ""), schemas)
    if share is not None and share.get("metrics"):
        paths["/metrics"] = {"get": _metrics()}
    document: dict[str, Any] = {
        "openapi": VERSION,
        "info": {
            "title": "Models served by Workbench" if len(models) != 1 else f"The model {models[0].name}",
            "version": "2",
            "description": "The Open Inference Protocol, version 2, as KServe and Triton have it.",
        },
        "servers": [{"url": endpoint.url}],
        "security": _TOKEN,
        "tags": [{"name": model.name, "description": _sentence(model)} for model in models],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
            "responses": {f"Error{status}": _error(text, status) for status, text in _ERRORS.items()},
        },
    }
    if share is not None:
        document["x-share"] = dict(share)
    return document


def _paths_of(endpoint: Endpoint, model: ModelStatus, version: str, schemas: dict[str, Any]) -> dict[str, Any]:
    name = model.name
    path = f"/v2/models/{name}" + (f"/versions/{version}" if version else "")
    ready = _read(f"Tell whether {name} is ready", name, _ref("Ready"))
    ready["responses"]["503"] = {"description": "It is not ready.", "content": _json(_ref("Ready"))}
    found = {
        path: {"get": _read(f"Describe {name}: its inputs and outputs", name, _ref("Model"))},
        f"{path}/ready": {"get": ready},
        f"{path}/config": {
            "get": _read(f"Tell the settings of {name}, as Triton names them", name, {"type": "object"})
        },
        f"{path}/stats": {
            "get": _read(f"Tell how often {name} was called and how long it took", name, {"type": "object"})
        },
    }
    if model.signature is not None:
        schemas[f"{name}.request"] = _request(model.signature.inputs, _columns_of(model))
        schemas[f"{name}.response"] = _response(model.signature.outputs)
        content = _json(_ref(f"{name}.request"))
        body = example_body(model)
        if body is not None and is_few(model):
            content["application/json"]["example"] = body
        found[f"{path}/infer"] = {
            "post": {
                "summary": f"Ask {name}",
                "description": _sentence(model),
                "operationId": f"infer_{name}",
                "tags": [name],
                "requestBody": {"required": True, "content": content},
                "responses": _responses(_ref(f"{name}.response"), _ERRORS),
                "x-codeSamples": [
                    {"lang": each.lang, "label": each.label, "source": each.source}
                    for each in code_samples(endpoint, model, version)
                ],
            }
        }
    return found


def _request(inputs: Sequence[TensorSpec], columns: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    tensors = [_tensor(spec, columns.get(spec.name, ())) for spec in inputs]
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 128, "description": "Comes back in the answer."},
            "inputs": {
                "type": "array",
                "minItems": len(tensors),
                "maxItems": len(tensors),
                "prefixItems": tensors,
            },
            "outputs": {
                "type": "array",
                "description": "The outputs that are wanted; all of them where this is left out.",
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            },
            "parameters": {
                "type": "object",
                "properties": {"timeout": {"type": "integer", "minimum": 1, "description": "In microseconds."}},
            },
        },
    }


def _response(outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": {"anyOf": [_tensor(spec, (), sent=False) for spec in outputs]}},
        },
    }


def _tensor(spec: TensorSpec, columns: Sequence[str], *, sent: bool = True) -> dict[str, Any]:
    """The schema of one tensor. The number of values must be the product of the shape, which JSON Schema cannot say."""
    words = [f"Shape {list(spec.shape)}, -1 being any size." if spec.ranked else "Of any shape."]
    if columns:
        words.append(f"Along the second axis: {', '.join(columns)}.")
    if sent and spec.missing not in ("", "refused"):
        words.append(f"A missing value is sent as {spec.missing!r}.")
    found: dict[str, Any] = {
        "type": "object",
        "description": " ".join(words),
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": _shape(spec, sent=sent),
            "data": {"type": "array", "items": _value(spec.datatype, sent=sent)},
        },
    }
    return found


def _shape(spec: TensorSpec, *, sent: bool) -> dict[str, Any]:
    size = {"type": "integer", "minimum": 0}
    found: dict[str, Any] = {"type": "array", "items": size}
    if spec.ranked:
        found |= {"minItems": len(spec.shape), "maxItems": len(spec.shape)}
    if spec.ranked and sent:  # of an answer, tools read the simpler schema
        found["prefixItems"] = [size if each == FREE else {"const": each} for each in spec.shape]
    return found


def _value(datatype: str, *, sent: bool) -> dict[str, Any]:
    """One element of `data`; it may also be nested in lists as the shape is."""
    if datatype == BYTES:
        return {"type": "string"}
    kind = dtype_of(datatype).kind
    if kind == "b":
        return {"type": "boolean"}
    if kind in "iu":
        bits = 8 * dtype_of(datatype).itemsize
        low, high = (0, 2**bits - 1) if kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return {"type": "integer", "minimum": low, "maximum": high}
    # JSON has no NaN: it is sent and answered as a word or as null.
    return {"type": ["number", "string", "null"]} if not sent else {"type": "number"}


def _columns_of(model: ModelStatus) -> dict[str, Sequence[str]]:
    assert model.signature is not None
    return {spec.name: spec.columns for spec in model.signature.inputs if spec.columns}


def _sentence(model: ModelStatus) -> str:
    if model.signature is None:
        return f"{model.name} is {model.state.lower()}."
    inputs, outputs = (", ".join(map(str, specs)) for specs in (model.signature.inputs, model.signature.outputs))
    return f"Takes {inputs} and gives {outputs}."


def _health(summary: str) -> dict[str, Any]:
    ready = {"type": "object", "properties": {"live": {"type": "boolean"}, "ready": {"type": "boolean"}}}
    answers = {"200": {"description": "Yes.", "content": _json(ready)}, "503": {"description": "No."}}
    return {"summary": summary, "tags": ["Health"], "security": [], "responses": answers}


def _read(summary: str, tag: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "tags": [tag],
        "responses": _responses(schema, ("400", "401", "403", "404", "429", "500", "503")),
    }


def _metrics() -> dict[str, Any]:
    answers = {"200": {"description": "In Prometheus' text format.", "content": {"text/plain": {}}}}
    answers |= {status: {"$ref": f"#/components/responses/Error{status}"} for status in ("401", "403", "429", "500")}
    return {"summary": "Read the metrics of these models", "tags": ["Server"], "responses": answers}


def _responses(schema: Mapping[str, Any], errors: Any) -> dict[str, Any]:
    answer = {"200": {"description": "The answer.", "content": _json(schema)}}
    return answer | {status: {"$ref": f"#/components/responses/Error{status}"} for status in errors}


def _error(text: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": text, "content": _json(_ref("Error"))}
    if status in ("429", "503"):
        found["headers"] = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return found


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": dict(schema)}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_TENSORS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
        },
    },
}

_SCHEMAS: Final[Mapping[str, Any]] = {
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
    },
    "Server": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Model": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": _TENSORS,
            "outputs": _TENSORS,
        },
    },
    "Ready": {"type": "object", "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}}},
}
