"""The comparison itself: a trial that settles how many workers serve each peer best, rounds of loads with every server
started anew, and open loops at 70 % of what the best peer can take. Plain records come out; `report` reads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bodies import Row, oip_body, oip_row
from benchmarks.load import Body, Load, drive
from benchmarks.peers import install, right
from benchmarks.peers.peer import Peer, Place, Variant, variants
from benchmarks.processes import DidNotStart, Running, free_port, running
from benchmarks.serving import bare_runs, echo, service

OURS, ECHO = "ours", "echo"

READY_S = 120.0
STARTS = 2
"""How often a start is tried before a peer counts as not started: PyTriton's instances sometimes miss each other."""
STOP_S = 1.0
"""What a peer may take to end of itself; there is nothing of it to be kept."""
SATURATION = 0.7
"""Of the best peer's rate, at which the open loops run."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One load."""

    model: str
    encoding: str
    connections: int


CASES = (
    Case("small", "json", 1),
    Case("small", "json", 8),
    Case("small", "json", 32),
    Case("small", "binary", 32),
    Case("large", "json", 8),
    Case("large", "json", 32),
    Case("large", "binary", 8),
    Case("large", "binary", 32),
)
"""Each where a server has the encoding."""


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    seconds: int
    """Of each load."""
    open_seconds: float
    """Of each open loop."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server that is up, whoever's it is."""

    port: int
    path: Callable[[str], str]
    body: Callable[[Row, str], Body]
    read: Callable[[bytes, Mapping[str, str], str], Row]
    encodings: tuple[str, ...]
    running: Running

    def url(self, model: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.path(model)}"


@dataclass(frozen=True, slots=True)
class Contender:
    """A peer in one of its variants, and the models that this start of it serves; of ours, no variant."""

    peer: Peer | None
    variant: Variant | None
    models: tuple[str, ...]

    @property
    def names(self) -> Record:
        if self.peer is None or self.variant is None:
            return {"server": OURS, "delay": "", "workers": 1}
        return {"server": self.peer.key, "delay": self.variant.delay, "workers": self.variant.workers}


class Comparison:
    """Everything of one run. `records` grows as it goes."""

    def __init__(self, plan: Plan, peers: Sequence[Peer], paths: Mapping[str, Path], scratch: Path) -> None:
        self._plan = plan
        self._peers = peers
        self._paths = paths
        self._scratch = scratch
        self._starts = 0
        self._truth = {model: right.expected(path, model, right.ROWS) for model, path in paths.items()}
        self.records: Record = {
            "machine": machine(),
            "plan": asdict(plan),
            "peers": [],
            "trial": [],
            "loads": [],
            "bare": [],
            "memory": [],
            "open": [],
            "failures": [],
        }

    def run(self) -> Record:
        began = time.monotonic()
        present = self._install()
        chosen = self._settle(present)
        for round_ in range(self._plan.rounds):
            self._round(round_, chosen)
            say(f"round {round_ + 1} of {self._plan.rounds}: {time.monotonic() - began:.0f} s so far")
        self._open_loops(chosen)
        self._idle()
        self.records["took_s"] = round(time.monotonic() - began)
        return self.records

    def _install(self) -> list[Peer]:
        present = []
        for peer in self._peers:
            noted: Record = {"key": peer.key, "name": peer.name, "settings": peer.settings, "version": "", "said": ""}
            self.records["peers"].append(noted)
            try:
                noted["version"] = install.install(peer)
                noted["outcome"] = "installed"
                present.append(peer)
            except install.NotInstalled as error:
                noted["outcome"], noted["said"] = "could not be installed", tidy(str(error))
                say(f"{peer.name} could not be installed: {noted['said']}")
        return present

    def _settle(self, peers: Sequence[Peer]) -> list[Contender]:
        """The contenders of the rounds: of each peer and delay the better number of workers, a model at a time."""
        rates: dict[tuple[str, str, str], dict[Variant, float]] = {}
        for peer in peers:
            started = False
            for variant in variants(peer):
                for models in _starts(peer, variant, tuple(self._paths)):
                    contender = Contender(peer, variant, models)
                    with self._tolerant(contender, "trial"), self._open(contender, warm=False) as target:
                        started = True
                        for model in models:
                            load = self._load(target, Case(model, target.encodings[-1], 32), 1)
                            self.records["trial"].append({**contender.names, "model": model, **_plain(load)})
                            good = load.requests_per_s if not load.errors else 0.0
                            rates.setdefault((peer.key, variant.delay, model), {})[variant] = good
            say(f"{peer.name}: tried" if started else f"{peer.name}: did not start")
            if not started:
                last = [each for each in self.records["failures"] if each["server"] == peer.key][-1]
                self._note(peer.key, "did not start", last["said"])
        found: dict[tuple[str, Variant], list[str]] = {}
        for (key, _, model), rate in rates.items():
            found.setdefault((key, max(rate, key=lambda variant: rate[variant])), []).append(model)
        by_key = {peer.key: peer for peer in peers}
        return [
            Contender(by_key[key], variant, each)
            for (key, variant), models in found.items()
            for each in _starts(by_key[key], variant, tuple(models))
        ]

    def _round(self, round_: int, chosen: Sequence[Contender]) -> None:
        bare = bare_runs(self._paths["large"], self._plan.seconds / 6)
        self.records["bare"].append({"round": round_, "model": "large", **bare})
        ours = Contender(None, None, tuple(self._paths))
        # Each round begins with another, so that nobody always comes first.
        turn = round_ % (len(chosen) + 1)
        order = [ours, *chosen]
        for contender in [*order[turn:], *order[:turn]]:
            with self._tolerant(contender, f"round {round_ + 1}"), self._open(contender) as target:
                memory = {"bytes": target.running.resident_bytes(), "models": len(contender.models)}
                self.records["memory"].append({"round": round_, **contender.names, **memory})
                for case in CASES:
                    if case.model in contender.models and case.encoding in target.encodings:
                        load = self._load(target, case, self._plan.seconds)
                        noted = {"round": round_, **contender.names, **asdict(case), **_plain(load)}
                        self.records["loads"].append(noted)
                if contender.peer is None:
                    self._echoes(round_, target)

    def _echoes(self, round_: int, ours: Target) -> None:
        """A bare server that is sent what ours is sent, and answers with as many bytes."""
        for model, encoding in dict.fromkeys((case.model, case.encoding) for case in CASES):
            body = ours.body(self._truth[model][0][0], encoding)
            size = len(right.call(ours.url(model), body)[0])
            with echo(size, self._scratch) as url:
                for case in CASES:
                    if (case.model, case.encoding) == (model, encoding):
                        load = drive(url, body, case.connections, self._plan.seconds, self._scratch)
                        names = {"round": round_, "server": ECHO, "delay": "", "workers": 1}
                        self.records["loads"].append({**names, **asdict(case), **_plain(load)})

    def _open_loops(self, chosen: Sequence[Contender]) -> None:
        for model in self._paths:
            best = best_peer(self.records["loads"], model)
            if best is None:
                continue
            rate = SATURATION * best["requests_per_s"]
            peer = next(
                each
                for each in chosen
                if model in each.models and each.names == {name: best[name] for name in ("server", "delay", "workers")}
            )
            for round_ in range(self._plan.rounds):
                pair = [Contender(None, None, (model,)), Contender(peer.peer, peer.variant, (model,))]
                for contender in pair if round_ % 2 == 0 else reversed(pair):
                    with self._tolerant(contender, "open loop"), self._open(contender) as target:
                        encoding = best["encoding"]
                        found = self._open_loop(target, model, encoding, rate, seed=round_)
                        noted = {"round": round_, **contender.names, "model": model, "encoding": encoding}
                        self.records["open"].append({**noted, **found})
            say(f"open loop on {model}: done")

    def _open_loop(self, target: Target, model: str, encoding: str, rate: float, seed: int) -> Record:
        body = target.body(self._truth[model][0][0], encoding)
        content, spec = self._scratch / "open.bin", self._scratch / "open.json"
        content.write_bytes(body.data)
        where = {"port": target.port, "path": target.path(model), "headers": body.headers, "body_file": str(content)}
        how = {"rate_per_s": rate, "seconds": self._plan.open_seconds, "seed": seed}
        spec.write_text(json.dumps({**where, **how}))
        command = [sys.executable, "-m", "benchmarks.poisson", str(spec)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self._plan.open_seconds + 60)
        if done.returncode:
            raise DidNotStart(f"the open loop failed: {done.stderr.strip().splitlines()[-1]}")
        found: Record = json.loads(done.stdout)
        return found

    def _idle(self) -> None:
        """What the worker holds that has no model."""
        with service(self._folder(), {}) as found:
            children = psutil.Process(found.running.process.pid).children(recursive=True)
            worker = max((child.memory_info().rss for child in children), default=0)
            self.records["idle_worker_bytes"] = worker

    def _load(self, target: Target, case: Case, seconds: int) -> Load:
        body = target.body(self._truth[case.model][0][0], case.encoding)
        return drive(target.url(case.model), body, case.connections, seconds, self._scratch)

    @contextlib.contextmanager
    def _open(self, contender: Contender, *, warm: bool = True) -> Iterator[Target]:
        """Started, its answers found right, and warm."""
        models = {model: self._paths[model] for model in contender.models}
        with self._ours(models) if contender.peer is None else self._theirs(contender, models) as target:
            for model in models:
                rows, outputs = self._truth[model]
                for encoding in target.encodings:
                    write, read = _bound(target, encoding)
                    right.check(target.url(model), write, read, rows, outputs)
                if warm:
                    drive(target.url(model), target.body(rows[0], target.encodings[-1]), 32, 1, self._scratch)
            yield target

    @contextlib.contextmanager
    def _ours(self, models: Mapping[str, Path]) -> Iterator[Target]:
        with service(self._folder(), models) as found:
            yield Target(
                found.port,
                lambda model: f"/v2/models/{model}/infer",
                lambda row, encoding: oip_body(row, encoding, found.headers),
                lambda answer, headers, _: oip_row(answer, headers),
                ("json", "binary"),
                found.running,
            )

    @contextlib.contextmanager
    def _theirs(self, contender: Contender, models: Mapping[str, Path]) -> Iterator[Target]:
        peer, variant = contender.peer, contender.variant
        assert peer is not None and variant is not None
        for attempt in range(1, STARTS + 1):
            folder = self._folder()
            place = Place(install.environment_of(peer), folder, free_port(), models)
            launch = peer.launch(place, variant)
            with running(launch.command, folder / "log", {**os.environ, **launch.environment}, STOP_S) as started:
                target = Target(place.port, peer.path, peer.body, peer.read, peer.encodings, started)
                try:
                    started.wait_until(partial(self._answers, target, models), READY_S)
                except DidNotStart as error:
                    if attempt == STARTS:
                        raise
                    self._fail(contender, "a start, tried again", error)
                    continue
                yield target
                return

    def _answers(self, target: Target, models: Mapping[str, Path]) -> bool:
        try:
            for model in models:
                right.call(target.url(model), target.body(self._truth[model][0][0], "json"))
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _tolerant(self, contender: Contender, when: str) -> Iterator[None]:
        """A peer that fails is noted with its own words; our own failure ends the run."""
        try:
            yield
        except (DidNotStart, right.WrongAnswer, OSError, subprocess.SubprocessError) as error:
            if contender.peer is None:
                raise
            self._fail(contender, when, error)

    def _fail(self, contender: Contender, when: str, error: Exception) -> None:
        said = tidy(str(error))
        self.records["failures"].append({**contender.names, "when": when, "said": said})
        say(f"{contender.names}, {when}: {said}")

    def _note(self, key: str, outcome: str, said: str) -> None:
        for noted in self.records["peers"]:
            if noted["key"] == key:
                noted.update(outcome=outcome, said=said)

    def _folder(self) -> Path:
        self._starts += 1
        folder = self._scratch / str(self._starts)
        folder.mkdir()
        return folder


def best_peer(loads: Sequence[Record], model: str) -> Record | None:
    """The fastest of a peer's loads on `model`, by the median of its rounds, whatever connections and encoding."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for load in loads:
        if load["model"] == model and load["server"] not in (OURS, ECHO) and not load["errors"]:
            names = ("server", "delay", "workers", "encoding", "connections")
            found.setdefault(tuple(load[name] for name in names), []).append(load)
    middles = []
    for each in found.values():
        each.sort(key=lambda load: float(load["requests_per_s"]))
        middles.append(each[len(each) // 2])
    return max(middles, key=lambda load: float(load["requests_per_s"]), default=None)


def machine() -> Record:
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "month": time.strftime("%B %Y"),
    }


def tidy(said: str) -> str:
    """One line, without this machine's folders."""
    for folder in (str(install.FOLDER), str(Path.home()), str(Path(__file__).parents[2])):
        said = said.replace(folder, "…")
    return " ".join(said.split())[:600]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _starts(peer: Peer, variant: Variant, models: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(model,) for model in models] if peer.one_model else [models]


def _bound(target: Target, encoding: str) -> tuple[Callable[[Row], Body], right.Read]:
    return (lambda row: target.body(row, encoding)), (lambda answer, headers: target.read(answer, headers, encoding))


def _plain(load: Load) -> Record:
    return asdict(load)
