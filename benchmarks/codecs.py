"""What the codec costs for one row of a small model: microseconds for each step, the best of five rounds.

python -m benchmarks.codecs
"""

from __future__ import annotations

import timeit

import numpy as np

from workbench.config import Limits
from workbench.core.messages import InferRequest, InferResponse
from workbench.protocols.oip_json import decode_request, decode_response, encode_request, encode_response

RUNS, ROUNDS = 10_000, 5


def main() -> None:
    row = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)
    request, response, limits = InferRequest("mlp", {"x": row}), InferResponse("mlp", "1", {"y": row}), Limits()
    print(f"{'[1, 16] FP32, us':18}{'encode req':>12}{'decode req':>12}{'encode resp':>12}{'decode resp':>12}")
    for kind, binary in (("JSON", False), ("binary", True)):
        parts, length = encode_request(request, binary=binary)
        sent = b"".join(parts)
        answer = decode_request("mlp", None, sent, length, limits, 0.0)[1]
        found, answer_length = encode_response(response, answer, limits)
        got = found if isinstance(found, bytes) else b"".join(found)
        steps = (
            lambda binary=binary: encode_request(request, binary=binary),
            lambda sent=sent, length=length: decode_request("mlp", None, sent, length, limits, 0.0),
            lambda answer=answer: encode_response(response, answer, limits),
            lambda got=got, length=answer_length: decode_response(got, length),
        )
        costs = [min(timeit.repeat(step, number=RUNS, repeat=ROUNDS)) / RUNS * 1e6 for step in steps]
        print(f"{kind:18}" + "".join(f"{cost:12.2f}" for cost in costs))


if __name__ == "__main__":
    main()
