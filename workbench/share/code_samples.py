"""Code that calls a shared model, ready to paste: curl, Python with requests and with tritonclient, JavaScript.

Each sample reads the token from the environment variable INFER_TOKEN, so that what is pasted into a file or a notebook
holds no secret. The inputs are the model's own, one row with values of the right datatypes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np

from workbench.core.model import FREE, ModelStatus, TensorSpec
from workbench.core.random_inputs import random_values
from workbench.core.runtime import BUNDLE
from workbench.core.tensor import BYTES

TOKEN_VARIABLE: Final = "INFER_TOKEN"

_FREE_SIZE: Final = 4
"""The size of a free axis but the first."""

_FEW: Final = 64
"""The most values that a sample spells out; of more it fills the tensor with one value."""

_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a teammate reaches the service."""

    url: str
    """Without a slash at its end; a path in it is kept."""
    ca_file: str = ""
    """The file that holds the certificate to trust; empty: the system's own certificates do."""


@dataclass(frozen=True, slots=True)
class CodeSample:
    """One entry of OpenAPI's widely read extension `x-codeSamples`."""

    lang: str
    label: str
    source: str


def code_samples(endpoint: Endpoint, model: ModelStatus, version: str = "") -> list[CodeSample]:
    """One inference of `model`, in each language; `version` where the path is to name one.

    Empty where the model's inputs are not known.
    """
    if model.signature is None:
        return []
    inputs = [_Example.of(spec) for spec in model.signature.inputs]
    path = f"/v2/models/{model.name}" + (f"/versions/{version}" if version else "")
    samples = [_tritonclient(endpoint, model, inputs, version)]
    if not _takes_images(model):  # a picture is no JSON string
        url = f"{endpoint.url}{path}/infer"
        samples[:0] = [_curl(endpoint, url, inputs), _requests(endpoint, url, inputs)]
        samples.append(_javascript(url, inputs))
    return samples


def example_body(model: ModelStatus) -> dict[str, Any] | None:
    """The JSON body of one inference of one row; None where a body of JSON cannot hold the model's inputs."""
    if model.signature is None or _takes_images(model):
        return None
    return {"inputs": [_Example.of(spec).entry() for spec in model.signature.inputs]}


def is_few(model: ModelStatus) -> bool:
    """Whether `example_body` is short enough to be shown."""
    return model.signature is not None and all(_Example.of(spec).few for spec in model.signature.inputs)


@dataclass(frozen=True, slots=True)
class _Example:
    """One row of one input."""

    spec: TensorSpec
    shape: list[int]
    values: list[Any]
    """Flat. At most _FEW of them differ: a larger tensor has one value throughout."""

    @staticmethod
    def of(spec: TensorSpec) -> _Example:
        shape = [_FREE_SIZE if size == FREE else size for size in spec.shape]
        if spec.shape[:1] == (FREE,):
            shape[0] = 1
        count = int(np.prod(shape, dtype=np.int64))
        drawn = random_values(spec.datatype, (min(count, _FEW),), np.random.default_rng(_SEED))
        if spec.datatype == BYTES:
            values: list[Any] = ["text"] * len(drawn)
        elif drawn.dtype.kind not in "biu":
            values = [round(float(value), 2) for value in drawn]
        else:
            values = drawn.tolist()
        return _Example(spec, shape, values if count <= _FEW else values[:1] * count)

    @property
    def few(self) -> bool:
        return len(self.values) <= _FEW

    def entry(self) -> dict[str, Any]:
        """As the protocol's JSON has it."""
        return {"name": self.spec.name, "shape": self.shape, "datatype": self.spec.datatype, "data": self.values}


def _takes_images(model: ModelStatus) -> bool:
    assert model.signature is not None
    return model.platform == BUNDLE.platform and any(spec.name == "image" for spec in model.signature.inputs)


def _curl(endpoint: Endpoint, url: str, inputs: Sequence[_Example]) -> CodeSample:
    trust = f" --cacert {shlex.quote(endpoint.ca_file)}" if endpoint.ca_file else ""
    body = json.dumps({"inputs": [each.entry() for each in inputs]})
    few = all(each.few for each in inputs)
    data = shlex.quote(body) if few else "@request.json"
    lines = [
        f'curl{trust} -H "Authorization: Bearer ${TOKEN_VARIABLE}" -H "Content-Type: application/json" \\',
        f"     -d {data} \\",
        f"     {shlex.quote(url)}",
    ]
    if not few:
        names = ", ".join(json.dumps(each.spec.name) for each in inputs)  # one with a line break would be a command
        lines.insert(0, f"# request.json holds the inputs ({names}) as the Open Inference Protocol writes them")
    return CodeSample("Shell", "curl", "\n".join(lines))


def _requests(endpoint: Endpoint, url: str, inputs: Sequence[_Example]) -> CodeSample:
    entries = "\n".join(
        f'        {{"name": {json.dumps(each.spec.name)}, "shape": {each.shape}, '
        f'"datatype": "{each.spec.datatype}",\n         "data": {_python_list(each)}}},'
        for each in inputs
    )
    trust = f",\n    verify={endpoint.ca_file!r}" if endpoint.ca_file else ""
    source = f"""\
import os
import requests

answer = requests.post(
    {json.dumps(url)},
    headers={{"Authorization": "Bearer " + os.environ["{TOKEN_VARIABLE}"]}},
    json={{"inputs": [
{entries}
    ]}},
    timeout=60{trust},
)
if answer.status_code != 200:
    raise SystemExit(f"{{answer.status_code}}: {{answer.text}}")
for output in answer.json()["outputs"]:
    print(output["name"], output["shape"], output["data"])"""
    return CodeSample("Python", "Python (requests)", source)


def _tritonclient(endpoint: Endpoint, model: ModelStatus, inputs: Sequence[_Example], version: str) -> CodeSample:
    assert model.signature is not None
    parts = urlsplit(endpoint.url)
    secure = ""
    if parts.scheme == "https":
        secure = ", ssl=True"
        if endpoint.ca_file:
            secure += f', ssl_options={{"ca_certs": {endpoint.ca_file!r}}}'
    lines = [
        "import os",
        "import numpy as np",
        "import tritonclient.http as triton  # pip install tritonclient[http]",
        "",
        f'client = triton.InferenceServerClient("{parts.netloc}{parts.path}"{secure})',
        "inputs = []",
    ]
    for each in inputs:
        lines += [f"values = {_numpy(model, each)}", *_input_lines(each)]
    with_version = f', model_version="{version}"' if version else ""
    lines += [
        f'headers = {{"Authorization": "Bearer " + os.environ["{TOKEN_VARIABLE}"]}}',
        f'answer = client.infer("{model.name}", inputs{with_version}, headers=headers)',
    ]
    lines += [f"print(answer.as_numpy({json.dumps(spec.name)}))" for spec in model.signature.outputs]
    return CodeSample("Python", "Python (tritonclient)", "\n".join(lines))


def _input_lines(each: _Example) -> list[str]:
    name = json.dumps(each.spec.name)
    return [
        f'inputs.append(triton.InferInput({name}, list(values.shape), "{each.spec.datatype}"))',
        "inputs[-1].set_data_from_numpy(values)",
    ]


def _javascript(url: str, inputs: Sequence[_Example]) -> CodeSample:
    entries = ",\n".join(
        f'      {{ name: {json.dumps(each.spec.name)}, shape: {each.shape}, datatype: "{each.spec.datatype}",\n'
        f"        data: {_javascript_list(each)} }}"
        for each in inputs
    )
    source = f"""\
const answer = await fetch({json.dumps(url)}, {{
  method: "POST",
  headers: {{
    Authorization: `Bearer ${{process.env.{TOKEN_VARIABLE}}}`,
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({{
    inputs: [
{entries},
    ],
  }}),
}});
if (!answer.ok) throw new Error(`${{answer.status}}: ${{await answer.text()}}`);
for (const output of (await answer.json()).outputs) {{
  console.log(output.name, output.shape, output.data);
}}"""
    return CodeSample("JavaScript", "JavaScript (Node.js 18 or later)", source)


def _python_list(each: _Example) -> str:
    return repr(each.values) if each.few else f"[{each.values[0]!r}] * {len(each.values)}"


def _javascript_list(each: _Example) -> str:
    if each.few:
        return json.dumps(each.values)
    return f"new Array({len(each.values)}).fill({json.dumps(each.values[0])})"


def _numpy(model: ModelStatus, each: _Example) -> str:
    if _takes_images(model) and each.spec.name == "image":
        return 'np.array([open("picture.jpg", "rb").read()], object)'
    if each.spec.datatype == "BF16":  # set_data_from_numpy takes float32 for it
        dtype = "np.float32"
    elif each.spec.datatype == BYTES:
        dtype = "object"
    else:
        dtype = {"BOOL": "bool", "FP16": "np.float16", "FP32": "np.float32", "FP64": "np.float64"}.get(
            each.spec.datatype, f"np.{each.spec.datatype.lower()}"
        )
    if not each.few:
        return f"np.full({each.shape}, {each.values[0]!r}, {dtype})"
    return f"np.array({each.values!r}, {dtype}).reshape({each.shape})"
