"""A whole service that is attacked while others call it: what they are answered, and what it costs.

    def test_an_attack(tmp_path: Path) -> None:
        with watched_service(tmp_path, nofile=1024) as watched:
            with watched.attack() as seen:
                ...  # from anywhere, against watched.serve.address and watched.serve.grpc
            seen.others_were_served()
            assert seen.grown_bytes < 100 * MB

`seen` is filled when the `with` block ends: once all calls that were due meanwhile are answered. The other callers are
`bystander_process`. `print(seen)` has the numbers for a commit body. Attack code runs in the test's own process; what
the attacked service must still do for the attacker is for the test to assert.

Tests that use this are `serial`. A quiet service is measured for QUIET_S first, so share one (`conftest.attacked`)
where the attack needs no settings of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tests import models
from tests.helpers.service_process import Serve, worker_of
from tests.helpers.waiting import until
from tests.security.bystander_process import Span, Target
from workbench.core.messages import InferRequest
from workbench.protocols.oip_grpc import encode_request

MB = 1_000_000
QUIET_S = 2.0
"""How long others are watched before anybody attacks."""
AT_LEAST_S = 2.0
"""How long others are watched from the beginning of an attack, so that there are enough calls for a p99."""
TIMES = 3.0
"""The most by which an attack may lengthen others' p99."""
FLOOR_S = 0.25
"""A p99 below this is no harm: two busy cores, on which the attacker runs too, make as much of nothing."""


@dataclass(slots=True, repr=False)
class Seen:
    """What happened during an attack."""

    quiet: Span
    """Before the attack."""
    quiet_again: Callable[[], Span]
    """Watches a while after it: the machine may have become busy with something else meanwhile."""
    span: Span = field(default_factory=Span)
    grown_bytes: int = 0
    """By how much the worker's memory was larger at its highest than before."""
    kept_bytes: int = 0
    """By how much it was larger when the attack had ended."""
    longest_stall_s: float = 0.0
    """Upper bound of the longest delay of the service's event loop, by its own metric; 0 where there was none."""
    log: list[str] = field(default_factory=list)
    """What the service logged."""
    replaced: bool = False
    """The worker did not survive."""

    def others_were_served(self) -> None:
        """Right, by the same worker, and at most TIMES as late as without the attack."""
        assert not self.replaced, f"the worker was replaced: {self}"
        assert not self.span.wrongs, f"others got wrong answers: {self}"
        allowed_s = max(TIMES * p99(self.quiet), FLOOR_S)
        if p99(self.span) > allowed_s:
            allowed_s = max(TIMES * p99(self.quiet_again()), allowed_s)
        assert p99(self.span) <= allowed_s, f"others were answered late, in more than {allowed_s:.3f} s: {self}"

    def __repr__(self) -> str:
        lines = [
            f"memory +{self.grown_bytes / MB:.0f} MB, kept +{self.kept_bytes / MB:.0f} MB; "
            f"longest stall under {self.longest_stall_s:.3f} s; {self.span.wrongs} wrong",
            f"p99 {p99(self.span) * 1e3:.0f} ms, without attack {p99(self.quiet) * 1e3:.0f} ms",
            *(
                f"{kind}: {len(latency)} calls, the slowest {max(latency) * 1e3:.0f} ms, "
                f"without attack {max(self.quiet.latency_s[kind]) * 1e3:.0f} ms"
                for kind, latency in self.span.latency_s.items()
            ),
            *self.span.wrong,
            *self.log[-10:],
        ]
        return "\n  ".join(lines)


def p99(span: Span) -> float:
    """Of the calls of all kinds, in seconds."""
    return float(np.percentile([each for latency in span.latency_s.values() for each in latency], 99))


class Watched:
    """A service and its other callers."""

    def __init__(self, serve: Serve, callers: subprocess.Popen[str]) -> None:
        self.serve = serve
        self.worker = worker_of(serve)
        self._callers = callers
        x = np.arange(4, dtype=np.float32).reshape(1, 4)
        target = Target(
            http=serve.address,
            grpc=serve.grpc,
            token=serve.token,
            pid=self.worker.pid,
            grpc_request=encode_request(InferRequest("plus", {"x": x})).hex(),
            grpc_right=(x + 1).tobytes().hex(),
            ca_file=serve.published["ca_file"] or "",
        )
        self._tell(json.dumps(asdict(target)))
        self._span()  # what comes before the first answers is the start of the callers
        self._quiet = self._quiet_span()
        assert not self._quiet.wrongs, self._quiet.wrong

    @contextmanager
    def attack(self) -> Iterator[Seen]:
        """Watch others while the block runs, and until all that was due meanwhile is answered."""
        seen = Seen(self._quiet, self._quiet_span)
        self.serve.said()
        before, delays = self.worker.memory_info().rss, self._loop_delays()
        self._span()
        began = time.monotonic()
        try:
            yield seen
        finally:
            time.sleep(max(0.0, began + AT_LEAST_S - time.monotonic()))
            seen.span = self._span()
            seen.grown_bytes = seen.span.peak_bytes - before
            seen.replaced = not self.worker.is_running() or worker_of(self.serve).pid != self.worker.pid
            if not seen.replaced:
                seen.kept_bytes = self.worker.memory_info().rss - before
                after = self._loop_delays()
                seen.longest_stall_s = max(
                    (le for le, count in after.items() if count > delays.get(le, 0)), default=0.0
                )
            seen.log = self.serve.said()

    def settled(self) -> None:
        """Waits until the worker has closed what an attack left, so that a shared service is as it was before."""
        until(lambda: len(self.worker.net_connections("tcp")) < 20)

    def _quiet_span(self) -> Span:
        self._span()
        time.sleep(QUIET_S)
        return self._span()

    def _span(self) -> Span:
        self._tell("a span")
        assert self._callers.stdout is not None
        answer = self._callers.stdout.readline()
        assert answer, "the other callers have ended"
        return Span(**json.loads(answer))

    def _tell(self, line: str) -> None:
        assert self._callers.stdin is not None
        self._callers.stdin.write(line + "\n")
        self._callers.stdin.flush()

    def _loop_delays(self) -> dict[float, float]:
        """How many delays lay in each bucket, by the bucket's upper bound."""
        _, text = self.serve.call("GET", "/metrics")
        found: dict[float, float] = {}
        below = 0.0
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if sample.name == "infer_loop_delay_seconds_bucket":
                    found[float(sample.labels["le"])] = sample.value - below
                    below = sample.value
        assert found
        return found


@contextmanager
def watched_service(
    folder: Path, *flags: str, nofile: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Watched]:
    """A ready service that serves "plus" (y = x + 1), over HTTP and gRPC, to others. `nofile`: as of `ulimit -n`."""
    models.save(models.add_constant(1.0), folder / "repository" / "plus" / "1" / "model.onnx")
    arguments = ["--model-repository", str(folder / "repository"), "--grpc-port", "0", *flags]
    with contextlib.ExitStack() as stack:
        serve = stack.enter_context(Serve(folder, *arguments, environment=environment, nofile=nofile)).ready()
        callers = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.security.bystander_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
        )
        stack.callback(callers.kill)
        yield Watched(serve, callers)
