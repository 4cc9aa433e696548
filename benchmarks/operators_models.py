"""Every operator of ``benchmarks.operators`` with its settings on each case, and whose code it is.

A peer's model of one name has the same modes, width and layers as ours, and the same learning rate.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from benchmarks.operators_cases import REFINER, Case
from pdeflow import operators
from pdeflow.operators.operator import Operator

NEURALOPERATOR, PINA, OURS = "neuraloperator", "pina", "pdeflow"


@dataclass(frozen=True)
class Model:
    """An operator's class with its arguments, and how it is trained."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    lr: float = 2e-3
    loss: str = "H1"
    clip: float | None = None
    """The largest norm of a gradient."""
    subsample: int | None = None
    """Nodes drawn from each mesh in training."""
    peers: tuple[str, ...] = ()

    def build(self, in_channels: int, out_channels: int) -> Operator:
        """Ours."""
        made = getattr(operators, self.name)
        return made(**self.arguments, in_channels=in_channels, out_channels=out_channels)


MATCHED_FNO, MATCHED_NUMEL = "FNO, matched", "FNO, matched by numel"
MATCHED = {MATCHED_FNO: 20, MATCHED_NUMEL: 28}
"""Widths of the FNOs with as many parameters as the MgNO of the Darcy case, within 2%: as many real numbers,
and as many numbers, complex ones counted once as torch's ``numel`` does and the papers do."""


def on_meshes() -> list[Model]:
    """MKGN and GINO on all nodes of a mesh, 1130 on average, and GNO on a quarter as many."""
    reach = {"coarse": [200, 50], "inner": [0.07, 0.25, 1.0], "inter": [0.125, 0.4]}
    multipole = reach | {"kernel_width": 16, "layers": 2}
    # As ``configs/polygon_diffusion_gino.yaml``: the box that the polygons are drawn in.
    box = {"grid": [32, 32], "modes": [16, 16], "lower": [-1.0, -1.0], "upper": [1.0, 1.0]}
    return [
        Model("GNO", {"radius": 0.25, "width": 32, "kernel_width": 64, "layers": 4}, 1e-2, "L2", None, 280),
        Model("MKGN", multipole, 1e-2, "L2"),
        Model("GINO", box | {"in_radius": 0.1, "out_radius": 0.07}, 2e-3, "L2"),
    ]


def on_grids(case: Case) -> list[Model]:
    """The operators on grids; not CODANO, which attends between input functions: here there is one."""
    periodic = case.positions == "periodic"
    mesh = [case.points] * case.dim
    modes = [16] * case.dim if case.dim > 1 else [64]
    # Two nodes are left on the coarsest grid, or more.
    levels = min(6, case.points.bit_length() - 1) if case.dim > 1 else 8
    cycle = {"mesh": mesh, "width": 24, "layers": 4, "levels": levels}
    fourier = {"modes": modes, "positions": case.positions}
    local = {"dim": case.dim, "width": 32, "rank": 8, "positions": case.positions}
    sensors = {"sensors": mesh, "positions": case.positions}
    return [
        Model("FNO", fourier | {"width": 32}, 6e-3, peers=(NEURALOPERATOR, PINA)),
        Model("TFNO", fourier | {"width": 32, "rank": 0.1}, 1.5e-2, peers=(NEURALOPERATOR,)),
        Model("UNO", fourier | {"width": 16}, 6e-3, peers=(NEURALOPERATOR,)),
        Model("LocalNO", fourier | {"mesh": mesh, "width": 32}, 6e-3),
        Model("MgNO", cycle | {"boundary": "periodic" if periodic else "dirichlet"}, clip=1.0),
        # Its outputs may jump with the input: slopes are no guide.
        Model("LNO", local, loss="L2"),
        Model("UNet", {"dim": case.dim, "width": 16, "depth": 3, "periodic": periodic}, 1e-3),
        Model("DeepONet", sensors, 1e-3),
        Model("MultiONet", sensors, 1e-3),
    ]


def models(case: Case) -> list[Model]:
    """Those that fit a case."""
    if case.name == REFINER.name:
        small = {"modes": [16, 16], "width": 20, "positions": "periodic"}
        return [Model("FNO", small, 6e-3, "L2")]
    every = on_meshes() if case.kind == "mesh" else on_grids(case)
    if not case.only:
        return every
    return [dataclasses.replace(model, peers=()) for model in every if model.name in case.only]


def model_of(case: Case, name: str) -> Model:
    """By its name, those of ``MATCHED`` included."""
    made = {model.name: model for model in models(case)}
    if name in MATCHED:
        fno = made["FNO"]
        return dataclasses.replace(fno, arguments=fno.arguments | {"width": MATCHED[name]})
    return made[name]


def count(model: nn.Module) -> int:
    """Real numbers among the parameters: a complex one is two, as neuraloperator counts."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
