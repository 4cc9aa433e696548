"""Write the tables of README.md from the results: ``python -m benchmarks.readme [--check]``.

No figure in the README is typed by hand. A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from benchmarks.result import ROOT

RESULTS = ROOT / "benchmarks" / "results"
FAMILY_COUNT = 28
"""Of ``benchmarks.sequences``, which is not imported, for it needs torch; a test compares."""


def load(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text())


def measured_at(held: dict[str, Any]) -> str:
    """Of a file in parts: at which commits they were measured, and which ones were not."""
    commits: dict[str, list[str]] = {}
    for part, told in held.get("parts", {}).items():
        commits.setdefault(told.get("commit", "a commit that was not kept"), []).append(part)
    if not commits:
        return held.get("note", "")
    said = "; ".join(f"{', '.join(parts)} at {at}" for at, parts in commits.items())
    missing = f" Not measured yet: {', '.join(held['missing'])}." if held["missing"] else ""
    return f"Measured: {said}.{missing}"


def darcy_small() -> str:
    """The table of the small Darcy set."""
    s = load("darcy_small")["summary"]
    lines = [
        "| mean relative L2 error, small Darcy set | 16x16 | 32x32, zero-shot | training |",
        "|---|---|---|---|",
        f"| pdeflow, `configs/darcy_small_fno.yaml` | {s['pdeflow_l2_16']:.4f} | {s['pdeflow_l2_32']:.4f} "
        f"| {s['pdeflow_seconds']:.0f} s |",
        f"| neuraloperator's Trainer, its recipe | {s['neuralop_l2_16']:.4f} | {s['neuralop_l2_32']:.4f} "
        f"| {s['neuralop_seconds']:.0f} s |",
        f"| the same, given our seconds | {s['neuralop_l2_16_our_seconds']:.4f} | "
        f"{s['neuralop_l2_32_our_seconds']:.4f} | {s['neuralop_our_seconds']:.0f} s |",
        "",
        f"Means of {s['seeds']} seeds, {s['threads']} threads, CPU. GPU: not measured.",
    ]
    return "\n".join(lines)


def first_run() -> str:
    """The table of waiting times."""
    s = load("first_run")["summary"]
    lines = [
        "| what | seconds |",
        "|---|---|",
        f"| `make demo`, after the install | {s['demo_seconds']:.0f} |",
        f"| `pdeflow --help` | {s['help_seconds']:.2f} |",
        f"| `pdeflow fit --help` | {s['fit_help_seconds']:.1f} |",
    ]
    return "\n".join(lines)


def elliptic() -> str:
    """Our solver and the best peer of every case."""
    held = load("elliptic")
    lines = [
        "| ms a system | unknowns | best common peer | best of all | pdeflow | one at a time | ratios |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(row["case"] for row in held["rows"]):
        rows = [row for row in held["rows"] if row["case"] == case]
        measured = [row for row in rows if isinstance(row["ratio"], float)]
        common = min((row for row in measured if row["common"]), key=lambda row: row["peer_ms"], default=None)
        if common is None:
            lines.append(f"| {case.split('_')[0]} | {rows[0]['size']} | not measured | | | | |")
            continue
        best = min(measured, key=lambda row: row["peer_ms"])
        lines.append(
            f"| {case.split('_')[0]} | {best['size']} | {common['peer_ms']:.1f}, {common['peer']} "
            f"| {best['peer_ms']:.1f}, {best['peer']} | {best['pdeflow_ms']:.2f} "
            f"| {best['pdeflow_ms_batch1']:.2f} | {common['ratio']:.1f}, {best['ratio']:.1f} |"
        )
    peers = {
        common: ", ".join(dict.fromkeys(r["peer"] for r in held["rows"] if r["common"] is common))
        for common in (True, False)
    }
    lines += [
        "",
        "Residual 1e-8, medians, one thread each, set-up included, in batches of 4 or 16 and one at a time. "
        f"Common peers, each at the best of several settings: {peers[True]}. With them, told of the grid or "
        f"that the pattern stays: {peers[False]}. GPU: not measured.",
    ]
    return "\n".join(lines)


def recycling() -> str:
    """Best against best on every sequence, and what recycling brings under one preconditioner."""
    held = load("recycling")
    lines = [
        "| ms a system | best peer | pdeflow | ratio | same preconditioner: against GMRES(40) |",
        "|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(row["case"] for row in held["rows"]):
        rows = [row for row in held["rows"] if row["case"] == case]
        best = [
            row
            for row in rows
            if row.get("contest") == "best against best"
            and isinstance(row["ratio"], float)
            and not row["failed"]
            and not row["peer"].startswith("pdeflow")
        ]
        gains = [
            f"{other['ratio']:.1f} times ({other['preconditioner']})"
            for other in rows
            if other["peer"] == "PETSc GMRES(40)" and isinstance(other["ratio"], float)
        ]
        ours = next((row for row in rows if row.get("contest") == "best against best"), None)
        if ours is None:
            lines.append(f"| `{case}` | not measured | | | |")
            continue
        mine = f"{ours['pdeflow_ms']:.1f}" if not ours["pdeflow_failed"] else "missed the residual"
        row = min(best, key=lambda row: row["peer_ms"], default=None)
        peer = f"{row['peer_ms']:.1f}, {row['peer']}" if row else "none solves all in time"
        ratio = f"{row['ratio']:.1f}" if row and not ours["pdeflow_failed"] else "-"
        lines.append(f"| `{case}` | {peer} | {mine} | {ratio} | {', '.join(gains)} |")
    missing = FAMILY_COUNT - len({row["case"] for row in held["rows"]})
    lines += [
        "",
        *([f"{missing} of {FAMILY_COUNT} sequences are not measured yet.", ""] if missing else []),
        "Residual 1e-8, means over up to 100 systems, one thread each, set-up included, direct solvers among "
        "the peers. GPU: not measured.",
    ]
    return "\n".join(lines)


def generation() -> str:
    """The fastest peer of every case, end to end."""
    held = load("generation")
    lines = [
        "| samples a second, two processes | samples | best peer | pdeflow | ratio | its start | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(row["case"] for row in held["rows"]):
        ours, *others = [row for row in held["rows"] if row["case"] == case]
        mine = f"{ours['pdeflow_value']:.3g}"
        best = min(
            (row for row in others if isinstance(row["ratio"], float)),
            key=lambda row: row["ratio"],
            default=None,
        )
        peer = f"{best['peer_value']:.3g}, {best['peer']}" if best else "not measured"
        ratio, start = (f"{best['ratio']:.1f}", f"{best['start_s']:.1f} s") if best else ("-", "-")
        own_start = f"{ours['start_s']:.1f} s"
        lines.append(f"| `{case}` | {ours['samples']} | {peer} | {mine} | {ratio} | {start} | {own_start} |")
    speedup = held["summary"]["two_process_speedup"]
    told = f"{speedup:.2f}" if isinstance(speedup, float) else speedup
    lines += [
        "",
        "From the command to a closed file, start included and code compiled before, to the same residual "
        "(1e-8) or the same error in time; ours is compressed, verified and recorded. "
        f"Two processes over one: {told} times. GPU: not measured. {held.get('note', '')}".rstrip(),
    ]
    return "\n".join(lines)


def operators() -> str:
    """Every operator on every case, so that none is chosen by its error; then what the summary says."""
    held = load("operators")
    rows = [row for row in held["rows"] if not row["case"].startswith(("steps", "refiner"))]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    lines = []
    if cases:
        lines = [f"| relative L2 error | {' | '.join(f'`{case}`' for case in cases)} |"]
        lines.append("|---" * (1 + len(cases)) + "|")

    def told(error: float | str) -> str:
        if isinstance(error, float):
            return f"{error:.4f}"
        return error if error in ("not measured", "not installed") else "failed"

    for code, model in sorted(
        dict.fromkeys((r["code"], r["model"]) for r in rows), key=lambda who: who[0] != "pdeflow"
    ):
        found = {r["case"]: told(r["error"]) for r in rows if (r["code"], r["model"]) == (code, model)}
        name = model if code == "pdeflow" else f"{model} of {code}"
        lines.append(f"| {name} | {' | '.join(found.get(case, '-') for case in cases)} |")
    worst: dict[str, float] = {}
    for row in rows:
        if row["code"] == "pdeflow" and isinstance(row["twice_over_once"], float):
            worst[row["model"]] = max(row["twice_over_once"], worst.get(row["model"], 0.0))
    finer = ", ".join(
        f"{factor:.2f} ({model})" for model, factor in sorted(worst.items(), key=lambda m: m[1])
    )
    seconds = {row["case"]: row["seconds"] for row in rows if isinstance(row["seconds"], float)}
    budget = ", ".join(f"{value:.0f} s (`{case}`)" for case, value in seconds.items())

    def number(key: str) -> str:
        value = held["summary"][key]
        return f"{value:.2f}" if isinstance(value, float) else value

    def pair(key: str) -> str:
        on_darcy, on_rough = number(key.format("darcy")), number(key.format("rough"))
        if on_darcy == on_rough == "not measured":
            return on_darcy
        return f"{on_darcy} on Darcy, {on_rough} on the rough set"

    lines += [
        "",
        f"Means of seeds, the same seconds for all operators of a case: {budget or 'not measured'}; two "
        "trainings side by side. "
        f"MgNO over FNO after fifteen minutes: {pair('mgno_over_fno_{}')}; after the seconds that all have, "
        f"over the best of three codes' FNOs: {pair('mgno_over_fno_{}_shorter')}. "
        f"MKGN over GNO: {number('mkgn_over_gkn')}. "
        "At twice the resolution, without training there, errors are so many times those at the training "
        f"resolution, at worst over the cases: {finer or 'not measured'}. "
        f"A step of neuraloperator's Trainer over ours, with FNO: {number('fno_step_ratio')}; "
        f"of an FNO with as many parameters over MgNO: {number('mgno_step_ratio')}; "
        f"of GNO over MKGN with four times the nodes: {number('mkgn_step_ratio')}. "
        f"Spectral-Refiner makes the error {number('refiner_factor')} times smaller. GPU: not measured. "
        f"{measured_at(held)}".rstrip(),
    ]
    return "\n".join(lines)


def physics() -> str:
    """Ours and the peers on every problem."""
    held = load("physics")
    lines = [
        "| problem | asked | pdeflow | DeepXDE | PINA | s to 1e-3: pdeflow | DeepXDE | PINA |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(row["case"] for row in held["rows"]):
        by = {row["by"]: row for row in held["rows"] if row["case"] == case}

        def error(name: str, by: dict[str, Any] = by) -> str:
            row = by.get(name, {"error": "-"})
            if not isinstance(row["error"], float):
                return row["error"]
            failed = f", {row['failure'].split(':')[0]} failed" if row["failure"] else ""
            return f"{row['error']:.1e} in {row['seconds']:.0f} s{failed}"

        def time(name: str, by: dict[str, Any] = by) -> str:
            value = by.get(name, {}).get("to_1e3_s", "-")
            return f"{value:.2f}" if isinstance(value, float) else value

        names = ("pdeflow", "DeepXDE", "PINA")
        cells = [*map(error, names), *map(time, names)]
        lines.append(f"| `{case}` | {by['pdeflow']['reach']:.1e} | {' | '.join(cells)} |")
    peers = [row for row in held["rows"] if row["by"] != "pdeflow" and isinstance(row["error"], float)]
    swept = sum(row["setting"].endswith("best of a sweep") for row in peers)
    lines += [
        "",
        f"Relative L2 error at the end, means of {held['seeds']} seeds; float64, one thread each, two "
        "trainings side by side, all from the same points. Peers end at the seconds of the row, or at twenty "
        "times what ours took to 1e-3, a minute at least; their learning rate, weight and seconds of Adam "
        f"are the best of a few in {swept} of {len(peers)} trainings, else as their problem has them. "
        f"GPU: not measured. {measured_at(held)}".rstrip(),
    ]
    return "\n".join(lines)


TABLES = {
    "darcy_small": darcy_small,
    "elliptic": elliptic,
    "first_run": first_run,
    "generation": generation,
    "operators": operators,
    "physics": physics,
    "recycling": recycling,
}


def filled(text: str) -> str:
    """The text with every table made anew."""
    for name, make in TABLES.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has no place for the table {name!r}")
        # Tables hold no backslash, which a replacement would read as its own.
        shown = make() if (RESULTS / f"{name}.json").exists() else f"`benchmarks.{name}`: not measured yet."
        text = pattern.sub(rf"\g<1>{shown}\n\g<2>", text)
    return text


def main() -> None:
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = filled(old)
    if "--check" in sys.argv[1:]:
        raise SystemExit(
            0 if old == new else "README.md differs from benchmarks/results: run without --check"
        )
    readme.write_text(new)


if __name__ == "__main__":
    main()
