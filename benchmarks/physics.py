"""Solutions from statements alone: ours, DeepXDE and PINA, the error against the seconds of training.

Ours is ``pdeflow fit`` of the configs that ship, with nothing else set but the seed, of weights and points,
and the most time; the error is that of the weights at the end, at the nodes of the first test grid, or on
other domains than boxes at points inside against our finite elements (``physics_reference.py``), and its
curve is what ``history.json`` has, validation included in its seconds. The peers solve the same equation
(``peers/pinn_cases.py``) at the points that ours starts with (``peers/pinn_points.py``) in the way that their
documentation has it (``deepxde_pinn.py``, ``pina_pinn.py``), with the learning rate, the weight and the
seconds of Adam that were best of a few for the row and the peer (``physics_sweep.py``; the time that took is
in nobody's seconds): ``setting`` says with which, and whether a sweep found them. Their errors are taken at
the same points as ours, for which they are not charged. Of an inverse problem it is the relative error of the
parameter, which may pass through 0, so that it is asked for no time. Reading and starting are in nobody's
seconds. Float64, one thread, two trainings side by side; three seeds, whose mean is ``error``.

Convection by plane waves that the operator's symbol preconditions (``convected_sine_fourier``) is exact to
rounding in seconds, but in a time of six whole turns and with the solution among its waves: the row is that
of networks, one for each eighth of the time. Allen-Cahn has two rows of ours, a network and Gaussians; both
are compared with the peers of the first.

``to_1e3_s`` are the seconds until the error is first below 1e-3, the median of the seeds; ``speedup_to_1e3``
is the faster peer's over ours, and where both have failed the seconds they were given over ours, with ``>``.
Peers end at the seconds of the row, or earlier, at twenty times what ours took to 1e-3 but after a minute at
least. ``curves``, of each seed, are with the part in ``parts``.

``kappa_ratio`` is the condition number of training Poisson's equation in one dimension by 64 Fourier modes
over that with the modes preconditioned (``physics_conditioning.py``), each for the best weight of the
conditions.

A row takes five times its seconds at most, fifty minutes; all of them take seven and a half hours, and the
starts. They may be measured in parts: onto a file that is there, a run replaces its own rows (``parts.py``).

``python -m benchmarks.physics [--quick] [--rows A,B] [--json FILE]``
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import math
import shutil
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pdeflow
from benchmarks.generation_run import timed
from benchmarks.parts import Parts
from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.physics_cases import CASES, QUICK, QUICK_SECONDS, Case
from benchmarks.physics_conditioning import MODES, kappas
from benchmarks.physics_reference import FOLDER
from benchmarks.result import NOT_MEASURED, ROOT, parser

SEEDS = (0, 1, 2)
PEERS = {"DeepXDE": ("deepxde", "deepxde_pinn"), "PINA": ("pina", "pina_pinn")}
DISTRIBUTIONS = {"deepxde": "deepxde", "pina": "pina-mathlab"}
GOAL, BEYOND, LEAST_SECONDS = 1e-3, 20.0, 60.0
SIDE_BY_SIDE = 2
"""Trainings, with one thread each."""
SWEPT = ROOT / "benchmarks" / "results" / "physics_sweep.json"
SETTINGS = ("weight", "rate", "adam")
"""What `benchmarks.physics_sweep` chooses for the peers."""

Told = dict[str, Any]


def ours(case: Case, seed: int, seconds: float) -> Told:
    """Train by our command, and read what it has recorded; ``failure`` says if that did not work."""
    run = FOLDER / f"{case.name}_{seed}"
    shutil.rmtree(run, ignore_errors=True)
    limit = f"00:00:{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
    command = [sys.executable, "-m", "pdeflow", "fit", "-c", ROOT / "configs" / f"{case.config}.yaml"]
    command += ["--run", run, f"--seed_everything={seed}", f"--data.init_args.seed={seed}"]
    command.append(f"--trainer.max_time={limit}")
    if not case.on_grid:
        name = "benchmarks.error_at_points"
        command += ["--allow", name, f"--trainer.callbacks+={name}.ErrorAtPoints"]
    try:
        timed(command, {"PYTHONPATH": str(ROOT)})
    except RuntimeError as error:
        return {"failure": str(error)}
    rows = json.loads((run / "history.json").read_text())
    name, truth = case.unknown or ("l2", None)
    found = [(row["seconds"], row[f"valid/{name}"]) for row in rows if f"valid/{name}" in row]
    curve = found if truth is None else [(seconds, abs(value / truth - 1)) for seconds, value in found]
    if not curve:
        return {"failure": "no epoch was over in time"}
    model = pdeflow.load(run).model
    return {
        "curve": curve,
        "seconds": rows[-1]["seconds"],
        "error": curve[-1][1],
        "parameters": sum(p.numel() for p in model.parameters()),
        "setting": f"configs/{case.config}.yaml",
    }


def chosen(case: Case, name: str) -> dict[str, float]:
    """The settings of a peer that the sweep found best; none where it has not run, or none has worked."""
    rows = json.loads(SWEPT.read_text())["rows"] if SWEPT.is_file() else []
    found = [r for r in rows if (r["case"], r["by"]) == (case.name, name) and r["error"] != NOT_MEASURED]
    return {key: found[0][key] for key in SETTINGS} if found else {}


def peer(
    name: str,
    case: Case,
    seed: int,
    seconds: float,
    settings: dict[str, float] | None = None,
    steps: int | None = None,
) -> Told:
    """Train by the peer's script; ``failure`` says if that did not work.

    Without settings it has those of the sweep; so many steps of each optimiser are in place of the seconds.
    """
    package, module = PEERS[name]
    if importlib.util.find_spec(package) is None:
        return {"failure": "not installed"}
    swept = chosen(case, name)
    job = {"case": case.name, "config": case.config, "seed": seed, "seconds": seconds, "steps": steps}
    path = FOLDER / f"{module}_{case.name}_{seed}.json"
    path.write_text(json.dumps(job | {"settings": swept if settings is None else settings}))
    command = [sys.executable, "-m", f"benchmarks.peers.{module}", path]
    try:
        told = json.loads(timed(command, {"PYTHONPATH": str(ROOT)})[1])
    except RuntimeError as error:
        return {"failure": str(error)}
    return told | {"setting": f"{told['setting']}, {'best of a sweep' if swept else 'not swept'}"}


def checked(told: Told) -> Told:
    """An error that is no number is a failure."""
    return told if math.isfinite(told.get("error", 0.0)) else {"failure": "no finite error"}


def reached(told: Told) -> float:
    """Seconds until the error is below the goal; infinity where it never is."""
    return next((seconds for seconds, error in told.get("curve", ()) if error < GOAL), math.inf)


def thinned(curve: Sequence[Sequence[float]], points: int = 24) -> list[list[float]]:
    """A curve of few points, for the record: the last of each equal step of the logarithm of time."""
    kept: dict[int, Sequence[float]] = {}
    for seconds, error in curve:
        kept[int(4 * math.log2(max(seconds, 0.1)))] = (seconds, error)
    return [[round(s, 2), float(f"{e:.3g}")] for s, e in list(kept.values())[-points:]]


def row(case: Case, name: str, found: list[Told]) -> dict[str, Any]:
    """What one contender did on one problem."""
    found = list(map(checked, found))
    good = [told for told in found if "failure" not in told]
    failures = [told["failure"] for told in found if "failure" in told]
    if not good:
        blank = dict.fromkeys(("error", "worst", "seconds", "to_1e3_s", "parameters"), NOT_MEASURED)
        blank |= {"failure": failures[0], "setting": "-"}
        return {"case": case.name, "by": name, "reach": case.reach, **blank}
    took = statistics.median(map(reached, found))  # a failure has never reached it
    return {
        "case": case.name,
        "by": name,
        "reach": case.reach,
        "error": statistics.fmean(told["error"] for told in good),
        "worst": max(told["error"] for told in good),
        "seconds": max(told["seconds"] for told in good),
        "to_1e3_s": "-" if case.unknown else took if math.isfinite(took) else "never",
        "parameters": good[0]["parameters"],
        "failure": f"{len(failures)} of {len(found)}: {failures[0]}" if failures else "",
        "setting": good[0].get("setting", "-"),
    }


def speedup(rows: list[dict[str, Any]], case: str) -> tuple[float, bool] | None:
    """The faster peer's seconds to the goal over ours, and whether that is a lower bound only."""
    mine = next((r for r in rows if r["case"] == case and r["by"] == "pdeflow"), None)
    beside = next(c.beside for c in CASES if c.name == case) or case
    theirs = [r for r in rows if r["case"] == beside and r["by"] != "pdeflow" and r["error"] != NOT_MEASURED]
    if mine is None or not theirs:
        return None
    reached_it = [r["to_1e3_s"] for r in theirs if isinstance(r["to_1e3_s"], float)]
    if not isinstance(mine["to_1e3_s"], float):
        return (0.0, False) if reached_it else None  # lost, or nobody came there
    seconds = min(reached_it) if reached_it else min(r["seconds"] for r in theirs)
    return seconds / max(mine["to_1e3_s"], 1e-3), not reached_it


def summarise(rows: list[dict[str, Any]], kappa_ratio: float | str = NOT_MEASURED) -> dict[str, Any]:
    """The keys that are asked for; what has no row is not measured.

    A row of ours with a failure has no reach, and so the whole has none: the key tells which.
    """
    mine = {r["case"]: r for r in rows if r["by"] == "pdeflow"}
    broken = [case for case, r in mine.items() if r["failure"]]
    reach = max((r["error"] / r["reach"] for r in mine.values() if not r["failure"]), default=NOT_MEASURED)
    summary: dict[str, Any] = {"worst_reach": f"failed: {', '.join(broken)}" if broken else reach}
    found = {case: value for case in mine if (value := speedup(rows, case)) is not None}
    summary["min_speedup_to_1e3"] = min((v for v, _ in found.values()), default=NOT_MEASURED)
    for case, (value, bound) in found.items():
        summary[f"speedup_to_1e3_{case}"] = f"> {value:.3g}" if bound else value
    summary["kappa_ratio"] = kappa_ratio
    for key, case in (("poisson_error", "poisson"), ("helmholtz41_error", "helmholtz_4_1")):
        summary[key] = "failed" if case in broken else mine.get(case, {}).get("error", NOT_MEASURED)
    return summary


def measured(
    case: Case, seconds: float, seeds: Sequence[int], pool: ThreadPoolExecutor
) -> dict[str, list[Told]]:
    """What each contender did from each seed."""
    if not case.on_grid:
        STATEMENTS[case.name]().tested(case.config)  # the reference, before anyone needs it
    found = {"pdeflow": list(pool.map(functools.partial(ours, case, seconds=seconds), seeds))}
    if case.beside:
        return found
    took = statistics.median(map(reached, found["pdeflow"]))
    given = seconds if case.unknown else min(seconds, max(LEAST_SECONDS, BEYOND * took))
    waiting = {name: [pool.submit(peer, name, case, seed, given) for seed in seeds] for name in PEERS}
    return found | {name: [task.result() for task in tasks] for name, tasks in waiting.items()}


def installed() -> dict[str, str]:
    """The versions of the peers that are there."""
    there = {package: name for package, name in DISTRIBUTIONS.items() if importlib.util.find_spec(package)}
    return {package: importlib.metadata.version(name) for package, name in there.items()}


def at_most(case: Case, seconds: float, seeds: int) -> float:
    """Seconds that a row takes without the starts, if nothing ends early."""
    peers = 0 if case.beside else len(PEERS)
    return seconds * (math.ceil(seeds / SIDE_BY_SIDE) + math.ceil(peers * seeds / SIDE_BY_SIDE))


def main() -> None:
    names = [case.name for case in CASES]
    options = parser(__doc__ or "", rows=names).parse_args()
    wanted = options.rows or (QUICK if options.quick else names)
    cases = [case for case in CASES if case.name in wanted]
    seconds = {c.name: min(c.seconds, QUICK_SECONDS) if options.quick else c.seconds for c in cases}
    seeds = SEEDS[:1] if options.quick else SEEDS
    parts = Parts(options.json, names, quick=options.quick, seeds=len(seeds))
    minutes = {case.name: at_most(case, seconds[case.name], len(seeds)) / 60 for case in cases}
    each = ", ".join(f"{name} {value:.0f}" for name, value in minutes.items())
    print(f"at most {sum(minutes.values()):.0f} minutes and the starts: {each}", flush=True)
    before, after = kappas()
    more = {"conditioning": {"modes": MODES, "kappa": before, "kappa_preconditioned": after}}
    ratio = before / after
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for case in cases:
            found = measured(case, seconds[case.name], seeds, pool)
            rows = [row(case, name, told) for name, told in found.items()]
            curves = {n: [thinned(one.get("curve", ())) for one in told] for n, told in found.items()}
            parts.add(case.name, rows, peers=installed(), seconds=seconds[case.name], curves=curves)
            parts.write(summarise(parts.rows, ratio), **more)
    shutil.rmtree(FOLDER, ignore_errors=True)
    parts.finish(summarise(parts.rows, ratio), **more)


if __name__ == "__main__":
    main()
