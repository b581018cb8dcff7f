"""The gRPC port beside a bare grpc.aio server that parses and builds the same messages, in one run on one machine.

h2load (nghttp2) drives both. Rounds are interleaved, so that a machine that is slow for a while is slow for both; the
figures are medians of the rounds, and only ratios are meant to be quoted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bodies import rows_of
from benchmarks.models import LARGE, SMALL, save_mlp
from benchmarks.processes import accepts, free_port, leave_nothing_behind, running
from benchmarks.serving import START_S, service

METHOD = "/inference.GRPCInferenceService/ModelInfer"
LOADS = ((1, 1), (1, 32), (8, 4))
"""(connections, calls at once on each)"""

SLACK_S = 30


@dataclass(frozen=True, slots=True)
class Load:
    requests_per_s: float
    mean_s: float
    answered: int


def main() -> None:
    if sys.argv[1:2] == ["bare"]:
        bare(int(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grpc", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load in each round")
    parser.add_argument("--out", type=Path, help="write the raw figures here, as JSON")
    arguments = parser.parse_args()
    leave_nothing_behind()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.rounds, arguments.seconds)
    report(figures, arguments.rounds, arguments.seconds)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(figures, indent=1))


def measure(folder: Path, rounds: int, seconds: int) -> dict[str, list[list[float]]]:
    """model/connections x calls -> requests/s of (service, bare) in each round."""
    paths = {"small": save_mlp(SMALL, folder / "small.onnx"), "large": save_mlp(LARGE, folder / "large.onnx")}
    figures: dict[str, list[list[float]]] = {}
    with service(folder / "service", paths) as found:
        address = json.loads((folder / "service" / "ready.json").read_text())["grpc"]
        for model in paths:
            message = request(model, rows_of(model, 1))
            body = folder / f"{model}.bin"
            body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
            port = free_port()
            command = [sys.executable, "-m", "benchmarks.grpc", "bare", str(port), str(answer_size(model))]
            with running(command, folder / "bare.log") as run:
                run.wait_until(lambda port=port: accepts(port), START_S)  # type: ignore[misc]
                for _ in range(rounds):
                    for connections, calls in LOADS:
                        before = answered(address, found.headers, model)
                        served = drive(address, body, found.headers, connections, calls, seconds)
                        counted = answered(address, found.headers, model) - before
                        if counted < served.answered:  # the status of a gRPC call is none of h2load's business
                            raise SystemExit(f"{model}: {served.answered} answers, of which {counted} had outputs")
                        alone = drive(f"127.0.0.1:{port}", body, {}, connections, calls, seconds)
                        key = f"{model}/{connections} x {calls}"
                        figures.setdefault(key, []).append([served.requests_per_s, alone.requests_per_s])
    return figures


def report(figures: Mapping[str, list[list[float]]], rounds: int, seconds: int) -> None:
    print(
        f"\n{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load generator included; "
        f"medians of {rounds} interleaved rounds of {seconds} s\n"
    )
    print(f"{'model/conn. x calls':<20} {'req/s':>8} {'bare req/s':>11} {'x bare':>7}")
    for key, pairs in figures.items():
        served, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(one / other for one, other in pairs)
        print(f"{key:<20} {served:>8.0f} {alone:>11.0f} {ratio:>7.2f}")


def drive(address: str, body: Path, headers: Mapping[str, str], connections: int, calls: int, seconds: int) -> Load:
    """One thread of h2load with so many connections, and so many calls at once on each."""
    h2load = shutil.which("h2load")
    if h2load is None:
        raise SystemExit("h2load is not installed; on Debian: apt-get install nghttp2-client")
    sent = {"content-type": "application/grpc", "te": "trailers", **headers}
    command = [h2load, "-t1", f"-c{connections}", f"-m{calls}", f"-D{seconds}", "--warm-up-time=1", f"-d{body}"]
    for name, value in sent.items():
        command += ["-H", f"{name}: {value}"]
    printed = subprocess.run(
        [*command, f"http://{address}{METHOD}"], capture_output=True, text=True, check=True, timeout=seconds + SLACK_S
    ).stdout
    rate = re.search(r"finished in [\d.]+s, ([\d.]+) req/s", printed)
    ended = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", printed)
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", printed)
    assert rate and ended and mean, printed
    if any(map(int, ended.groups()[1:])):
        raise SystemExit(f"{address}: {ended[0]}, so its figures mean nothing")
    return Load(float(rate[1]), float(mean[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[mean[2]], int(ended[1]))


def request(model: str, rows: Any) -> bytes:
    """A ModelInferRequest, as tritonclient makes it."""
    from workbench.core.messages import InferRequest
    from workbench.protocols.oip_grpc import encode_request

    return encode_request(InferRequest(model, {"x": rows}))


def answer_size(model: str) -> int:
    """Elements of one row of a model's answer."""
    return int(rows_of(model, 1).size)


def answered(address: str, headers: Mapping[str, str], model: str) -> int:
    """How many requests the service has answered with their outputs."""
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(address) as client:
        lower = {name.lower(): value for name, value in headers.items()}
        stats = client.get_inference_statistics(model, headers=lower)
        return int(stats.model_stats[0].inference_stats.success.count)


def bare(port: int, elements: int) -> None:
    """A grpc.aio server that reads each message and builds an answer of so many floats: the same messages and loop."""
    import grpc
    import uvloop

    from workbench.protocols import pb

    request_type, response_type = pb.message("ModelInferRequest"), pb.message("ModelInferResponse")
    output = b"\0" * 4 * elements

    async def infer(request: Any, context: Any) -> Any:
        (tensor,), (raw,) = request.inputs, request.raw_input_contents
        assert len(raw) and tensor.name
        response = response_type(model_name=request.model_name, model_version="1", id=request.id)
        response.outputs.add(name="y", datatype=tensor.datatype, shape=(1, elements))
        response.raw_output_contents.append(output)
        return response

    handler = grpc.unary_unary_rpc_method_handler(infer, request_type.FromString, response_type.SerializeToString)

    async def serve() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
