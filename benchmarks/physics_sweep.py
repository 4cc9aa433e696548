"""Settings of the peers of ``benchmarks.physics``: the best of a few, for each row and each peer.

From those of the statement (``peers/pinn_statement.py``) on, one after the other and with the best so far of
the others: the weight of values that are learned, where there are any; the learning rate of Adam; and its
seconds before L-BFGS. The best is the one that comes to 1e-3 first; where none does, and of an inverse
problem, the one whose error is least at the end. That is the error against the solution, which is in favour
of the peers: ours are chosen by no error. A trial has a fifth of the seconds of the row, half a minute at
least, and a seed that is not among the measured ones; both peers run side by side, with one thread each.

``benchmarks.physics`` reads what was chosen from ``benchmarks/results/physics_sweep.json``. What a sweep
takes is counted for nobody: sixteen minutes a row at most, all rows two hours and the starts. ``tried``, with
the part in ``parts``, has every trial; ``--quick`` has trials of three seconds, on two rows, and chooses
nothing that is of use. They may be swept in parts: onto a file that is there, a run replaces its own rows
(``parts.py``).

``python -m benchmarks.physics_sweep [--quick] [--rows A,B] [--json FILE]``
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.parts import Parts
from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.physics import PEERS, SETTINGS, Told, checked, installed, peer, reached
from benchmarks.physics_cases import CASES, QUICK, Case
from benchmarks.physics_reference import FOLDER
from benchmarks.result import NOT_MEASURED, parser

VALUES = {"weight": (1.0, 10.0, 100.0, 1000.0), "rate": (1e-3, 3e-3, 1e-2), "adam": (1.0, 10.0, 60.0)}
SEED = 3
SHARE, LEAST_SECONDS, QUICK_SECONDS = 0.2, 30.0, 3.0


def rank(case: Case, told: Told) -> tuple[float, float]:
    """The lower the better; failures are last."""
    return (0.0 if case.unknown else reached(told), told.get("error", math.inf))


def swept(name: str, case: Case, seconds: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a peer, with the best settings, and all that was tried."""
    statement = STATEMENTS[case.name]()
    best = {key: getattr(statement, key) for key in SETTINGS}
    tried: list[tuple[dict[str, float], Told]] = []
    for key in SETTINGS:
        if key == "weight" and not statement.learned:
            continue
        for value in dict.fromkeys((best[key], *VALUES[key])):
            settings = best | {key: value}
            if settings not in [before for before, _ in tried]:
                tried.append((settings, checked(peer(name, case, SEED, seconds, settings))))
        best = min(tried, key=lambda trial: rank(case, trial[1]))[0]
    told = [
        {
            "case": case.name,
            "by": name,
            **settings,
            "error": found.get("error", NOT_MEASURED),
            "to_1e3_s": to if (to := reached(found)) < math.inf and not case.unknown else "-",
            "failure": found.get("failure", ""),
        }
        for settings, found in tried
    ]
    return told[[settings for settings, _ in tried].index(best)] | {"trials": len(tried)}, told


def main() -> None:
    names = [case.name for case in CASES if not case.beside]
    options = parser(__doc__ or "", rows=names).parse_args()
    parts = Parts(options.json, names, quick=options.quick)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(PEERS)) as pool:
        for case in CASES:
            if case.name not in (options.rows or (QUICK if options.quick else names)):
                continue
            if not case.on_grid:
                STATEMENTS[case.name]().tested(case.config)  # the reference, before both need it
            seconds = QUICK_SECONDS if options.quick else max(LEAST_SECONDS, SHARE * case.seconds)
            found = list(pool.map(functools.partial(swept, case=case, seconds=seconds), PEERS))
            tried = [trial for _, trials in found for trial in trials]
            rows = [row for row, _ in found]
            parts.add(case.name, rows, peers=installed(), seconds=seconds, tried=tried)
            parts.write({"trials": sum(row["trials"] for row in parts.rows)})
    parts.finish({"trials": sum(row["trials"] for row in parts.rows)})


if __name__ == "__main__":
    main()
