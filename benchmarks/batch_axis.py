"""What the graphs of the ONNX files in a folder prove about their batch axis, and whether ONNX Runtime agrees.

For each file: its verdict and why, the processor time of the analysis, and, if its rows are said to be independent,
whether rows alone, together and in another order gave the same. `--all` runs the others too, `--table` prints Markdown.

python -m benchmarks.batch_axis FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from tests.helpers.row_truth import BareModel, difference, rows_of, trial_feeds
from workbench.core.batch_proof import BatchProof, Verdict
from workbench.graph.batch_axis import analyse

FREE_SIZES = (8, 32, 1, 64, 48, 224, 512, 4000)
"""Tried for free axes but the first."""
INTEGERS_BELOW = (256, 2)
"""Tried for integers that may be indices."""


@dataclass(frozen=True)
class Finding:
    path: Path
    nodes: int
    proof: BatchProof
    analysis_s: float
    fixed: str
    """The input or output whose first axis is fixed, so that nothing is ever batched; empty where there is none."""
    runs: str
    """What runs of ONNX Runtime said: "same", a difference, or why there was none."""

    @property
    def decided(self) -> bool:
        return bool(self.fixed) or self.proof.verdict is not Verdict.UNKNOWN

    @property
    def verdict(self) -> str:
        return "fixed" if self.fixed else self.proof.verdict.value


def look(path: Path, run_all: bool = False) -> Finding:
    model = onnx.load(path, load_external_data=False)
    taken = []
    for _ in range(3):
        began = time.thread_time()
        proof = analyse(model)
        taken.append(time.thread_time() - began)
    try:
        run = BareModel(str(path))
    except Exception as error:
        return Finding(path, count_nodes(model.graph), proof, min(taken), "", f"not loaded: {str(error)[:100]}")
    fixed = first_axis_fixed(run)
    wanted = run_all or proof.verdict is Verdict.INDEPENDENT
    runs = try_rows(run, model, proof) if wanted and not fixed else ""
    return Finding(path, count_nodes(model.graph), proof, min(taken), fixed, runs)


def count_nodes(graph: onnx.GraphProto) -> int:
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return len(graph.node) + sum(map(count_nodes, inner))


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    return [info for info in model.graph.input if info.name not in constants]


def first_axis_fixed(run: BareModel) -> str:
    for name, shape in run.shapes.items():
        if not shape or isinstance(shape[0], int):
            return f"{name!r} is {f'{shape[0]} long' if shape else 'a scalar'}"
    return ""


def try_rows(run: BareModel, model: onnx.ModelProto, proof: BatchProof, rows: int = 3) -> str:
    """What rows alone, together and permuted gave."""
    inputs = inputs_of(model)
    hints = {name: hint.below for name, hint in proof.hints.items() if hint.below}
    said = ""
    for free, most, whole in itertools.product(FREE_SIZES, INTEGERS_BELOW, (False, True)):
        below = {info.name: most for info in inputs} | hints
        try:
            tried = 0
            for feeds, judged in trial_feeds(inputs, rows, 1, free, below, whole):
                run(rows_of(feeds, slice(0, 1)))
                if found := difference(run, feeds, run.outputs, judged):
                    return found
                tried += 1
            return f"same, {tried} trials"
        except Exception as error:
            said = said or f"not run: {str(error)[:100]}"
    return said


def files(folders: list[Path]) -> Iterator[Path]:
    """Each distinct file once."""
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob("*.onnx")) if folder.is_dir() else [folder]:
            digest = hashlib.sha256(path.read_bytes()).digest()
            if digest not in seen:
                seen.add(digest)
                yield path


def line(found: Finding, table: bool) -> str:
    why = found.fixed or found.proof.reason
    cells = [found.path.name, str(found.nodes), f"{found.analysis_s * 1e3:.1f}", found.verdict, why, found.runs]
    if table:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
    return "  ".join((f"{cells[0]:40}", f"{cells[1]:>6}", f"{cells[2]:>8}", f"{cells[3]:12}", *cells[4:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, nargs="+", help="folders or files")
    parser.add_argument("--all", action="store_true", help="run those that are not said to be independent too")
    parser.add_argument("--table", action="store_true", help="print a Markdown table")
    asked = parser.parse_args()
    if asked.table:
        print("| file | nodes | ms | verdict | why | runs |\n|---|---|---|---|---|---|")
    found = []
    for path in files(asked.folder):
        found.append(look(path, asked.all))
        print(line(found[-1], asked.table), flush=True)
    verdicts = Counter(each.verdict for each in found)
    decided = sum(each.decided for each in found)
    wrong = [each for each in found if each.proof.verdict is Verdict.INDEPENDENT and "alone" in each.runs]
    slowest = max((each.analysis_s / max(each.nodes, 500) * 500 for each in found), default=0.0)
    print(f"\n{len(found)} files: {dict(verdicts)}; {decided} decided by the graph; {len(wrong)} contradicted by runs")
    print(f"slowest analysis: {slowest * 1e3:.1f} ms for 500 nodes")


if __name__ == "__main__":
    main()
