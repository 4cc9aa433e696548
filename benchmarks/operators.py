"""Operators learned in the same seconds from the same samples: ours by our loop, and the peers' by theirs.

Every operator but CODANO on every case that it fits (``operators_cases.py``, ``operators_models.py``), beside
neuraloperator's Trainer with its FNO, TFNO and UNO, and PINA's with its FNO. All trainings of a case have the
same seconds (``SECONDS``, from the first batch to the last step; reading and starting are not in them), the
same batches, AdamW, the rate of the same one cycle over these seconds, and the relative H1 loss but where
``loss`` says otherwise (in neuraloperator's Trainer of normalised values, in the others of physical ones).
Nothing is set aside and nothing chosen on the test set: ``error`` is the mean relative L2 error on it after
the last step, the mean of three seeds (of weights; for the peers also of the order of the samples). Two
trainings run side by side, with one thread each. Trajectories (``ns``) are learned as single steps and tested
as a march from the first state to the last.

``error_twice`` is that of the same weights at twice the training resolution: FNO by its modes, MgNO by
interpolating to and from the mesh it was trained on, GNO (and MKGN, GINO) by means over the nodes in a
radius, LNO by quadrature. ``mgno_over_fno_...`` is after the fifteen minutes of the cases ``darcy_longer``
and ``rough_longer``, which only our FNO and MgNO learn; ``..._shorter`` after the seconds that all operators
have, against the best of the three codes' FNOs. In ``mkgn_over_gkn`` MKGN is trained on all nodes of a mesh
and GNO on a quarter as many, and both are tested on all.

``steps`` are medians of a step (batch, forward, backward, optimiser), one process at a time, rounds in turn.
``fno_step_ratio`` is neuraloperator's Trainer over our loop, with the same model and batch;
``mgno_step_ratio`` an FNO with as many parameters over MgNO (``_numel``: complex ones counted once);
``mkgn_step_ratio`` GNO over MKGN with four times the nodes. ``refiner`` trains an FNO on Navier-Stokes and
then refines the march of one test trajectory.

Rows may be measured in parts: onto a file that is there, a run replaces its own rows (``parts.py``).
``python -m benchmarks.operators [--quick] [--rows A,B] [--device cpu|cuda] [--json FILE]``
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.generation_run import timed
from benchmarks.operators_cases import CASES, REFINER, Case
from benchmarks.operators_models import (
    MATCHED_FNO,
    MATCHED_NUMEL,
    NEURALOPERATOR,
    OURS,
    PINA,
    model_of,
    models,
)
from benchmarks.parts import Parts
from benchmarks.result import NOT_MEASURED, ROOT, parser

SECONDS = {"darcy": 150.0, "rough": 105.0, "burgers": 30.0, "ns": 55.0, "meshes": 300.0, "refiner": 60.0}
SECONDS |= {"darcy_longer": 900.0, "rough_longer": 900.0}
"""Of each training of a case. With three seeds all of them take about four hours on two cores."""
SEEDS = (0, 1, 2)
ROUNDS, STEPS = 3, 25
WORKERS = {
    OURS: "benchmarks.operators_train",
    NEURALOPERATOR: "benchmarks.peers.neuralop_trainer",
    PINA: "benchmarks.peers.pina_trainer",
}
PACKAGES = {NEURALOPERATOR: "neuralop", PINA: "pina", OURS: "pdeflow"}
TIMED = (
    ("darcy", "FNO", OURS),
    ("darcy", "FNO", NEURALOPERATOR),
    ("darcy", "MgNO", OURS),
    ("darcy", MATCHED_FNO, OURS),
    ("darcy", MATCHED_NUMEL, OURS),
    ("meshes", "GNO", OURS),
    ("meshes", "MKGN", OURS),
)
STEP_DATA = {"train": 32, "test": 8}
MGNO_OVER_FNO = {
    "darcy": "darcy_longer",
    "rough": "rough_longer",
    "darcy_shorter": "darcy",
    "rough_shorter": "rough",
}
"""Keys of the summary, and whose errors they compare."""
ZERO_SHOT = ("FNO", "MgNO", "GNO", "LNO")
QUICK_SECONDS = 5.0
QUICK = {
    "darcy": ({"train": 160, "test": 40}, ("FNO", "MgNO")),
    "meshes": ({"train": 24, "test": 4}, ("GNO", "MKGN")),
    "refiner": ({"train": 20, "test": 2}, ("FNO",)),
}
"""Cases of a quick run, what is cut of them, and their models."""
QUICK_OTHER = {"train": 40, "test": 4}
"""Of a case that is asked for by ``--rows``, with all models."""
QUICK_TOLD = (
    f"{QUICK_SECONDS:g} s a training, one seed, fewer samples; only {', '.join(QUICK)} and steps, "
    "with FNO, MgNO, GNO, MKGN"
)
ROWS = (*(case.name for case in CASES), "steps", REFINER.name)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long, how often and where."""

    device: str
    quick: bool

    @property
    def seeds(self) -> Sequence[int]:
        """Of the weights."""
        return SEEDS[:1] if self.quick else SEEDS

    def seconds(self, case: Case) -> float:
        """Of a training."""
        return QUICK_SECONDS if self.quick else SECONDS[case.name]

    def cut(self, case: Case) -> dict[str, Any]:
        """What is changed of a case."""
        if not self.quick:
            return {}
        return QUICK[case.name][0] if case.name in QUICK else QUICK_OTHER

    def names(self, case: Case) -> list[str]:
        """Models of a case."""
        every = [model.name for model in models(case)]
        return list(QUICK[case.name][1]) if self.quick and case.name in QUICK else every


def ask(job: dict[str, Any], code: str) -> dict[str, Any]:
    """What a process of its own told; ``failure`` where it did not end well."""
    if importlib.util.find_spec(PACKAGES[code]) is None:
        return {"failure": "not installed"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "job.json")
        path.write_text(json.dumps(job))
        command = [sys.executable, "-m", WORKERS[code], path]
        try:
            return json.loads(timed(command, {"PYTHONPATH": str(ROOT)})[1])
        except RuntimeError as error:
            return {"failure": str(error)}


def row(case: Case, name: str, code: str, told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of the seeds; a failure of one of them is that of all."""
    model = model_of(case, name)
    made = {
        "case": case.name,
        "model": name,
        "code": code,
        **dict.fromkeys(("error", "error_twice", "twice_over_once"), NOT_MEASURED),
        **dict.fromkeys(("parameters", "seconds", "steps", "step_s"), NOT_MEASURED),
        "loss": model.loss,
        "lr": model.lr,
        "clip": "none" if model.clip is None else model.clip,
        "seeds": len(told),
        "each": NOT_MEASURED,
    }
    failures = [one["failure"] for one in told if "failure" in one]
    if failures:
        return made | {"error": failures[0]}
    for key in ("seconds", "steps", "step_s"):
        made[key] = statistics.mean(one[key] for one in told)
    made["parameters"] = told[0]["parameters"]
    if "errors" not in told[0]:
        return made
    means = [statistics.mean(values) for values in zip(*(one["errors"] for one in told))]
    made |= {"error": means[0], "each": ", ".join(f"{one['errors'][0]:.4g}" for one in told)}
    if len(means) > 1:
        made |= {"error_twice": means[1], "twice_over_once": means[1] / means[0]}
    return made


def accuracy(case: Case, plan: Plan) -> list[dict[str, Any]]:
    """Every model of a case, by ours and by the peers."""
    cut = plan.cut(case)
    files = [str(path) for path in dataclasses.replace(case, **cut).files()]
    contenders = [(name, code) for name in plan.names(case) for code in (OURS, *model_of(case, name).peers)]
    common = {"case": case.name, "files": files, "cut": cut, "seconds": plan.seconds(case), "steps": None}
    jobs = [
        (common | {"model": name, "seed": seed, "device": plan.device}, code)
        for name, code in contenders
        for seed in plan.seeds
    ]
    with ThreadPoolExecutor(1 if plan.device == "cuda" else 2) as pool:
        told = list(pool.map(lambda job: ask(*job), jobs))
    each = len(plan.seeds)
    return [row(case, *who, told[i * each : (i + 1) * each]) for i, who in enumerate(contenders)]


def steps(plan: Plan) -> list[dict[str, Any]]:
    """The median of a step of each of ``TIMED``, in rounds that go round all."""
    by_name = {case.name: case for case in CASES}
    files = {
        name: [str(path) for path in dataclasses.replace(by_name[name], **STEP_DATA).files()]
        for name in dict.fromkeys(name for name, _, _ in TIMED)
    }
    told: dict[tuple[str, str, str], list[dict[str, Any]]] = {who: [] for who in TIMED}
    for _ in range(1 if plan.quick else ROUNDS):
        for who in TIMED:
            case, name, code = who
            job = {"case": case, "model": name, "files": files[case], "cut": STEP_DATA, "seed": 0}
            job |= {"seconds": 600.0, "steps": 8 if plan.quick else STEPS, "device": plan.device}
            told[who].append(ask(job, code))
    made = []
    for (case, name, code), found in told.items():
        one = row(by_name[case], name, code, found)
        if "failure" not in found[0] and one["step_s"] != NOT_MEASURED:
            one["step_s"] = statistics.median(f["step_s"] for f in found)
        made.append(one | {"case": f"steps, {case}"})
    return made


def summarise(rows: list[dict[str, Any]], refined: dict[str, float]) -> dict[str, Any]:
    """What the rows come to; what they lack is not measured."""

    def held(case: str, model: str, key: str, codes: Sequence[str] = (OURS,)) -> float | None:
        found = [
            r[key]
            for r in rows
            if r["case"] == case and r["model"] == model and r["code"] in codes and isinstance(r[key], float)
        ]
        return min(found) if found else None

    def ratio(a: float | None, b: float | None) -> float | str:
        return NOT_MEASURED if a is None or b is None else a / b

    codes = tuple(WORKERS)
    summary: dict[str, Any] = {
        f"mgno_over_fno_{key}": ratio(held(case, "MgNO", "error"), held(case, "FNO", "error", codes))
        for key, case in MGNO_OVER_FNO.items()
    }
    summary["mkgn_over_gkn"] = ratio(held("meshes", "MKGN", "error"), held("meshes", "GNO", "error"))
    factors = [
        r["twice_over_once"]
        for r in rows
        if r["case"] != REFINER.name and r["model"] in ZERO_SHOT and r["code"] == OURS
        if isinstance(r["twice_over_once"], float)
    ]
    summary["superres_worst_factor"] = max(factors) if factors else NOT_MEASURED

    def step(case: str, model: str, code: str = OURS) -> float | None:
        return held(f"steps, {case}", model, "step_s", (code,))

    summary["fno_step_ratio"] = ratio(step("darcy", "FNO", NEURALOPERATOR), step("darcy", "FNO"))
    summary["mgno_step_ratio"] = ratio(step("darcy", MATCHED_FNO), step("darcy", "MgNO"))
    summary["mgno_step_ratio_numel"] = ratio(step("darcy", MATCHED_NUMEL), step("darcy", "MgNO"))
    summary["mkgn_step_ratio"] = ratio(step("meshes", "GNO"), step("meshes", "MKGN"))
    for key in ("factor", "seconds"):
        summary[f"refiner_{key}"] = refined.get(key, NOT_MEASURED)
    return summary


def refinement(plan: Plan) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Of one trajectory, after each training; the mean factor, and the most seconds."""
    cut = plan.cut(REFINER)
    files = [str(path) for path in dataclasses.replace(REFINER, **cut).files()]
    job = {"case": REFINER.name, "files": files, "cut": cut, "steps": None, "device": plan.device}
    job |= {"model": "FNO", "seconds": plan.seconds(REFINER)}
    told = [ask(job | {"seed": seed}, OURS) for seed in plan.seeds]
    made = row(REFINER, "FNO", OURS, told)
    if any("failure" in one for one in told):
        return [made], {}
    found = [one["refined"] for one in told]
    factor = statistics.mean(one["factor"] for one in found)
    return [made], {"factor": factor, "seconds": max(one["seconds"] for one in found)}


def unmeasured(name: str, plan: Plan) -> list[dict[str, Any]]:
    """The rows of a case on a device that is not there."""
    by_name = {case.name: case for case in (*CASES, REFINER)}
    absent = [{"failure": NOT_MEASURED}]
    if name == "steps":
        rows = [row(by_name[case], model, code, absent) for case, model, code in TIMED]
        return [one | {"case": f"steps, {one['case']}"} for one in rows]
    case = by_name[name]
    return [
        row(case, model, code, absent)
        for model in plan.names(case)
        for code in (OURS, *model_of(case, model).peers)
    ]


def main() -> None:
    options = parser(__doc__ or "", rows=ROWS, device=True).parse_args()
    plan = Plan(options.device, options.quick)
    parts = Parts(options.json, ROWS, device=options.device, quick=options.quick)
    more: dict[str, Any] = {"threads": 1}
    if importlib.util.find_spec(PACKAGES[PINA]) is not None:
        more["pina"] = importlib.metadata.version("pina-mathlab")
    if options.quick:
        more["shortened"] = QUICK_TOLD
        print(f"quick: {QUICK_TOLD}")
    # Of an earlier run, which its rows do not have.
    before = {key: parts.summary.get(f"refiner_{key}", NOT_MEASURED) for key in ("factor", "seconds")}
    refined = {key: value for key, value in before.items() if value != NOT_MEASURED}
    by_name = {case.name: case for case in CASES}
    there = options.device == "cpu" or torch.cuda.is_available()
    for name in options.rows or [row for row in ROWS if not options.quick or row in (*QUICK, "steps")]:
        if not there:
            rows, refined = unmeasured(name, plan), {} if name == REFINER.name else refined
        elif name == "steps":
            rows = steps(plan)
        elif name == REFINER.name:
            rows, refined = refinement(plan)
        else:
            rows = accuracy(by_name[name], plan)
        parts.add(name, rows, budget_s=QUICK_SECONDS if options.quick else SECONDS.get(name))
        parts.write(summarise(parts.rows, refined), **more)
    parts.finish(summarise(parts.rows, refined), **more)


if __name__ == "__main__":
    main()
