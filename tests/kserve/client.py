"""The KServe client as its users write it. Run by the Python of an environment that has it; prints what came back.

python client.py HTTP_URL GRPC_HOST:PORT TOKEN
"""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4) / 4


def request(model="plus", binary=False, array=ROWS, datatype="FP32"):
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[tensor], request_id="seven")


def texts():
    return request("texts", binary=True, array=np.array([["a", "bc"]], dtype=np.object_), datatype="BYTES")


def told(response):
    (output,) = response.outputs
    return {
        "model": response.model_name,
        "id": response.id,
        "name": output.name,
        "datatype": output.datatype,
        "shape": list(output.shape),
        "data": [each.decode() if isinstance(each, bytes) else each for each in output.as_numpy().ravel().tolist()],
    }


async def failure(call):
    try:
        await call
    except Exception as error:
        return f"{type(error).__name__}: {error} {getattr(error, 'details', str)()}"
    return "no error"


async def over_http(url, headers):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found = {
        "live": await client.is_server_live(url, headers=headers),
        "ready": await client.is_server_ready(url, headers=headers),
        "model": await client.is_model_ready(url, "plus", headers=headers),
        "json": told(await client.infer(url, request(), model_name="plus", headers=dict(headers))),
        "binary": told(await client.infer(url, request(binary=True), model_name="plus", headers=dict(headers))),
        "texts": told(await client.infer(url, texts(), model_name="texts", headers=dict(headers)))["data"],
        "wrong": await failure(client.infer(url, request(array=ROWS[:, :3]), model_name="plus", headers=dict(headers))),
        "no token": await failure(client.infer(url, request(), model_name="plus")),
    }
    await client.close()
    return found


async def over_grpc(address, headers):
    client = InferenceGRPCClient(url=address)
    found = {
        "live": await client.is_server_live(headers=headers),
        "ready": await client.is_server_ready(headers=headers),
        "model": await client.is_model_ready("plus", headers=headers),
        "raw": told(await client.infer(request(binary=True), headers=headers)),
        "texts": told(await client.infer(texts(), headers=headers))["data"],
        "typed": told(await client.infer(request(), headers=headers)),
        "wrong": await failure(client.infer(request(array=ROWS[:, :3]), headers=headers)),
        "no token": await failure(client.infer(request())),
    }
    await client.close()
    return found


async def main(url, address, token):
    http = await over_http(url, {"Authorization": f"Bearer {token}"})
    grpc = await over_grpc(address, (("authorization", f"Bearer {token}"),))
    print(json.dumps({"http": http, "grpc": grpc}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
