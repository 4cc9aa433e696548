"""What ``benchmarks.operators`` trains on: the cases, their data by ``pdeflow generate``, and the models.

Files lie in the work folder, named by the fingerprint of their recipe, so that a run makes each of them once.
A case is trained at ``points`` nodes along each axis. Where the file has twice as many, the test is on the
same samples at both; meshes of half the width are a second file of the same polygons.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.worker import ONE_THREAD
from benchmarks.result import ROOT, WORK
from pdeflow.cli.generate import parse_recipe
from pdeflow.data import GridData, MeshData, TrajectoryData
from pdeflow.training import H1, L2, Objective, Rollout, Supervised

FOLDER = WORK / "operators"


@dataclass(frozen=True)
class Case:
    """A recipe that ships, with other values under some of its keys, and how it is learned."""

    name: str
    family: str
    train: int
    test: int
    points: int
    batch: int
    stored: int
    """Nodes along each axis of the file; where they are more than ``points``, the test is on these, too."""
    changes: dict[str, Any] = field(default_factory=dict)
    kind: str = "grid"
    dim: int = 2
    positions: str = "bounded"
    inputs: tuple[str, ...] = ("a",)
    targets: tuple[str, ...] = ("u",)
    only: tuple[str, ...] = ()
    """Names of the models that learn it, by our code alone; if empty all that fit, and the peers'."""

    def recipe(self, samples: int, resolution: int, seed: int | None = None) -> dict[str, Any]:
        """Of so many samples; another seed for other ones."""
        recipe = yaml.safe_load((ROOT / "datasets" / self.family / "recipe.yaml").read_text())
        own = recipe | self.changes | {"samples": samples, "resolution": resolution}
        return own | ({} if seed is None else {"seed": seed})

    def files(self) -> list[Path]:
        """Made where they are not there; of meshes three: training, test, and the finer test."""
        if self.kind != "mesh":
            return [generated(self.recipe(self.train + self.test, self.stored))]
        return [
            generated(self.recipe(self.train, self.points)),
            generated(self.recipe(self.test, self.points, seed=TEST_SEED)),
            generated(self.recipe(self.test, self.stored, seed=TEST_SEED)),
        ]


TEST_SEED = 1007
ROUGH = {
    "class_path": "LogNormalField",
    "init_args": {"mean": 0.0, "std": 1.5, "alpha": 1.5, "tau": 5.0},
}
ROUGH_DARCY = {
    "class_path": "Darcy",
    "init_args": {
        "dim": 2,
        "coefficient": ROUGH,
        "source": {"class_path": "Constant", "init_args": {"value": 1.0}},
    },
}
SHORT = {"stop": 20.0, "instants": 21}
CASES = (
    Case("darcy", "darcy", 1000, 200, 85, 8, 169),
    # Its coefficient has as many modes as nodes: on every second node of a finer grid it would not be known.
    Case("rough", "darcy", 1000, 200, 64, 8, 64, {"problem": ROUGH_DARCY, "name": "darcy_rough"}),
    Case("burgers", "burgers", 1000, 200, 1024, 16, 2048, {}, "grid", 1, "periodic", ("u",), ("u",)),
    Case("ns", "navier_stokes", 200, 40, 64, 8, 64, SHORT, "trajectory", 2, "periodic", ("w",), ("w",)),
    Case("meshes", "polygon_diffusion", 400, 40, 49, 4, 97, {}, "mesh", 2, "", ("a", "g", "boundary")),
)
CASES += tuple(
    dataclasses.replace(case, name=f"{case.name}_longer", only=("FNO", "MgNO")) for case in CASES[:2]
)
REFINER = dataclasses.replace(
    CASES[3], name="refiner", train=100, test=4, points=32, batch=32, changes={"stop": 5.0, "instants": 11}
)
"""As ``configs/navier_stokes_refined_fno.yaml``."""


def generated(recipe: dict[str, Any]) -> Path:
    """The file of a recipe, made by ``pdeflow generate`` if it is not there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    made = FOLDER / f"{recipe['name']}-{parse_recipe(['-c', str(path)]).fingerprint()[:12]}.h5"
    if not made.exists():
        command = [
            sys.executable,
            "-m",
            "pdeflow",
            "generate",
            "-c",
            path,
            "-o",
            made,
            "--workers",
            "2",
            "--quiet",
        ]
        environment = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT)}
        subprocess.run([*map(str, command)], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return made


def data(
    case: Case, files: Sequence[str], subsample: int | None = None, testing: bool = False
) -> GridData | MeshData:
    """The same training and test samples for every seed and every code; none are set aside to validate."""
    if case.kind == "mesh":
        # A test takes one mesh at a time: the finer ones have millions of neighbours.
        return MeshData(
            files[0],
            list(case.inputs),
            list(case.targets),
            batch_size=1 if testing else case.batch,
            subsample=subsample,
            test_paths=list(files[1:]),
            split=(1.0, 0.0, 0.0),
        )
    samples = case.train + case.test
    common: dict[str, Any] = {
        "batch_size": case.batch,
        "resolution": case.points,
        "test_resolutions": sorted({case.points, case.stored}),
        "split": (case.train / samples, 0.0, case.test / samples),
    }
    if case.kind == "trajectory":
        return TrajectoryData(files[0], list(case.targets), **common)
    return GridData(files[0], list(case.inputs), list(case.targets), **common)


def objective(case: Case, loss: str) -> Objective:
    """Of ours: one application, or one step of a trajectory."""
    made = {"H1": H1, "L2": L2}[loss]()
    return Rollout(made) if case.kind == "trajectory" else Supervised(made)


def case_of(job: dict[str, Any]) -> Case:
    """The case of a job; ``cut`` is what a shorter run changes of it."""
    (found,) = [case for case in (*CASES, REFINER) if case.name == job["case"]]
    return dataclasses.replace(found, **job.get("cut", {}))
