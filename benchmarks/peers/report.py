"""Writes the peers' section of docs/performance.md from the measured records: no number in it is typed by hand."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers.figures import Figures, Middle, Setting
from benchmarks.peers.measure import CASES, ECHO, OURS, SATURATION, Case, Record
from benchmarks.peers.plot import Dot, Panel, draw

BEGIN, END = "<!-- bench-peers: begin -->", "<!-- bench-peers: end -->"
PICTURE = "performance-peers.svg"


def section(records: Record) -> str:
    figures = Figures(records)
    parts = [_intro(records), _ratios(figures), _picture(), _everyone(figures), _open(figures), _memory(figures)]
    parts += [_how(records), _failures(figures)]
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(records: Record) -> str:
    figures = Figures(records)
    panels = []
    for case in (Case("small", "json", 32), Case("large", "binary", 32)):
        dots = []
        for server, name in figures.names().items():
            if server in (OURS, ECHO):
                found = (figures.own(server, case), case)
            elif (best := _best_of(figures, server, case)) is not None:
                found = best
            else:
                continue
            if (rate := figures.of(*found, "requests_per_s")) is not None:
                label = name if found[1] == case else f"{name} ({_written(found[1].encoding)})"
                dots.append(Dot(label, rate.value, rate.low, rate.high, server == OURS))
        dots.sort(key=lambda dot: -dot.value)
        panels.append(Panel(f"{case.model} model, {_written(case.encoding)}, {case.connections} connections", dots))
    return draw(panels, "requests/s (logarithmic)")


def write_docs(records: Record, docs: Path) -> None:
    """Replaces what lies between the two marks in performance.md, and draws its picture."""
    page = docs / "performance.md"
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    if not mark:
        before, after = text.rstrip() + "\n\n", "\n"
    page.write_text(f"{before}{BEGIN}\n{section(records)}{END}{after}", encoding="utf-8")
    (docs / PICTURE).write_text(picture(records), encoding="utf-8")


def _intro(records: Record) -> str:
    machine, plan = records["machine"], records["plan"]
    return (
        "## Beside other servers\n\n"
        f"One run of {records['took_s'] / 60:.0f} minutes on {machine['cores']} shared cores ({machine['cpu']}), which "
        f"also ran the load generator. Python {machine['python']}, {machine['month']}.\n\n"
        f"- There were {plan['rounds']} interleaved rounds. Each server was started again in each round. Every load "
        f"took {plan['seconds']} s.\n"
        "- Figures are medians of the rounds, with the lowest and the highest in brackets. Ratios are taken within a "
        "round.\n"
        "- Before it was measured, every server had to give right answers to 64 different rows, 16 at a time."
    )


def _ratios(figures: Figures) -> str:
    lines = [
        "| load | requests/s | p50 ms | p99 ms | best peer | × its requests/s | × echo's requests/s | × echo's p50 "
        "| × bare rows/s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    names = figures.names()
    for case in CASES:
        ours, echo = (figures.own(OURS, case), case), (figures.own(ECHO, case), case)
        best = figures.best(case)
        cells = [
            _case(case),
            _number(figures.of(*ours, "requests_per_s")),
            _ms(figures.of(*ours, "p50_s")),
            _ms(figures.of(*ours, "p99_s")),
            "–" if best is None else _named(names, *best, case),
            "–" if best is None else _times(figures.ratio(ours, best)),
            _times(figures.ratio(ours, echo), 2),
            _times(figures.ratio(ours, echo, "p50_s"), 2),
            _times(figures.of_bare(case), 2) if case.model == "large" else "–",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    note = (
        "A load is a model, an encoding and a number of connections. A JSON load is compared with the peers' JSON. In "
        "a binary load each peer uses the encoding that is fastest for it. *Bare rows/s* is the best result of "
        "`session.run` alone, over batch sizes and thread settings."
    )
    return "\n".join(lines) + "\n\n" + note


def _picture() -> str:
    return f"![Requests per second of each server, for the small and the large model]({PICTURE})"


def _everyone(figures: Figures) -> str:
    lines = [
        "Each peer was measured with its advised delay and with none, each with the number of workers that was faster "
        "in a trial. A cell has requests/s, then p50 and p99 in ms:",
        "",
        "| peer | delay | workers | " + " | ".join(map(_case, CASES)) + " |",
        "|---|---|---|" + "---|" * len(CASES),
    ]
    for peer in figures.records["peers"]:
        for delay in ("advised", "0"):
            cells, workers = [], []
            for case in CASES:
                setting = next((s for s in figures.settings(case) if (s.server, s.delay) == (peer["key"], delay)), None)
                cells.append(_cell(figures, setting, case))
                workers += [setting.workers] if setting else []
            if workers:
                counts = " or ".join(map(str, sorted(set(workers))))
                lines.append(f"| {peer['name']} {peer['version']} | {delay} | {counts} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _open(figures: Figures) -> str:
    lines = [
        f"Requests that arrive at random (Poisson) at {SATURATION:.0%} of the best peer's rate. Latency counts from "
        "the time at which a request was due:",
        "",
        "| model | arrivals/s | peer | our p50, p99 ms | its p50, p99 ms | our p99 ÷ its | failed, ours and its "
        "| sent late, p99 ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = figures.names()
    loops = figures.open_loops()
    for model, encoding, server, pairs in loops:
        ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        cells = [
            f"{model}, {_written(encoding)}",
            f"{ours[0]['rate_per_s']:,.0f}",
            names[server],
            *(
                ", ".join(_ms(Middle.of(one[value] for one in each)) for value in ("p50_s", "p99_s"))
                for each in (ours, theirs)
            ),
            _times(Middle.of(us["p99_s"] / them["p99_s"] for us, them in pairs), 2),
            f"{sum(one['failed'] for one in ours)}, {sum(one['failed'] for one in theirs)}",
            _ms(Middle.of(one["lag_p99_s"] for pair in pairs for one in pair)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) if loops else ""


def _memory(figures: Figures) -> str:
    held = {name: figures.memory(server) for server, name in figures.names().items() if server != ECHO}
    listed = {name: middle.value for name, middle in held.items() if middle is not None}
    idle = figures.records.get("idle_worker_bytes", 0)
    lines = [
        "Memory after the first requests, of all processes of a server together (shared pages count once):",
        "",
        "| server | MiB |",
        "|---|---|",
        *(f"| {name} | {value / 2**20:.0f} |" for name, value in listed.items()),
        f"| Our worker without a model (resident) | {idle / 2**20:.0f} |",
    ]
    return "\n".join(lines)


def _how(records: Record) -> str:
    lines = ["The settings of each peer, with at most 32 rows in a batch:", "", "| peer | settings |", "|---|---|"]
    return "\n".join(lines + [f"| {peer['name']} | {peer['settings']} |" for peer in records["peers"]])


def _failures(figures: Figures) -> str:
    lines = [
        f"- {peer['name']} {peer['outcome']}, and is left out of the comparison: `{_code(peer['said'])}`"
        for peer in figures.records["peers"]
        if peer["outcome"] != "installed"
    ]
    gone = {peer["key"] for peer in figures.records["peers"] if peer["outcome"] != "installed"}
    names, seen = figures.names(), dict[tuple[str, str], Record]()
    for failure in figures.records["failures"]:
        if failure["server"] not in gone:
            seen.setdefault((failure["server"], failure["delay"]), failure)
    lines += [
        f"- {names[server]} with delay {delay} failed ({failure['when']}): `{_code(failure['said'])}`"
        for (server, delay), failure in seen.items()
    ]
    return "\n".join(["What did not work:", "", *lines]) if lines else ""


def _best_of(figures: Figures, server: str, case: Case) -> tuple[Setting, Case] | None:
    cases = [case] if case.encoding == "json" else [case, Case(case.model, "json", case.connections)]
    found = [
        (rate.value, setting, each)
        for each in cases
        for setting in figures.settings(each)
        if setting.server == server and (rate := figures.of(setting, each, "requests_per_s")) is not None
    ]
    if not found:
        return None
    _, setting, best = max(found, key=lambda one: one[0])
    return setting, best


def _cell(figures: Figures, setting: Setting | None, case: Case) -> str:
    if setting is None:
        return "–"
    errors = figures.errors(setting, case)
    rate = figures.of(setting, case, "requests_per_s")
    if rate is None:
        return f"{errors:,} errors"
    times = ", ".join(_ms(figures.of(setting, case, value), bounds=False) for value in ("p50_s", "p99_s"))
    return f"{rate.value:,.0f}<br>{times}" + (f"<br>{errors:,} errors in other rounds" if errors else "")


def _named(names: dict[str, str], setting: Setting, found: Case, case: Case) -> str:
    encoding = "" if found.encoding == case.encoding else f", {_written(found.encoding)}"
    return f"{names[setting.server]} (delay {setting.delay}, {_counted(setting.workers, 'worker')}{encoding})"


def _case(case: Case) -> str:
    return f"{case.model}, {_written(case.encoding)}, {case.connections}"


def _written(encoding: str) -> str:
    return "JSON" if encoding == "json" else encoding


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _number(middle: Middle | None) -> str:
    return "–" if middle is None else f"{middle.value:,.0f} ({middle.low:,.0f}–{middle.high:,.0f})"


def _times(middle: Middle | None, digits: int = 1) -> str:
    if middle is None:
        return "–"
    return f"**{middle.value:.{digits}f}** ({middle.low:.{digits}f}–{middle.high:.{digits}f})"


def _ms(middle: Middle | None, *, bounds: bool = True) -> str:
    if middle is None:
        return "–"
    value, low, high = (one * 1e3 for one in (middle.value, middle.low, middle.high))
    return f"{value:.2f} ({low:.2f}–{high:.2f})" if bounds else f"{value:.1f}"


def _code(text: str) -> str:
    return text.replace("`", "'").replace("|", "¦")
