"""The problems of ``benchmarks.physics``: which config of ours, how accurate, within how many seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One row.

    Parameters
    ----------
    name
        Of the row, and of the statement that DeepXDE and PINA have (``peers/pinn_cases.py``).
    config
        Ours, in ``configs/``.
    reach
        The relative L2 error that is asked for, within so many ``seconds``.
    beside
        Another row of the same problem, whose peers are those of this one too; empty where it has its own.
    on_grid
        Whether errors are taken on a grid, by validation; else by `error_at_points.py`.
    unknown
        Of an inverse problem the parameter whose relative error it is, and what that is.
    """

    name: str
    config: str
    reach: float
    seconds: float
    beside: str = ""
    on_grid: bool = True
    unknown: tuple[str, float] | None = None


CASES = (
    Case("poisson", "sine_poisson_mlp", 1e-6, 60),
    Case("heat", "heated_rod_mlp", 1e-6, 60),
    Case("helmholtz_4_1", "sine_helmholtz_gaussians", 4.1e-5, 300),
    Case("klein_gordon", "klein_gordon_gaussians", 2.4e-3, 600),
    Case("convection_40", "convected_sine_time_windows", 1e-3, 300),
    Case("burgers", "sine_burgers_mlp", 1e-5, 600),
    Case("allen_cahn", "cosine_allen_cahn_mlp", 2e-5, 600),
    Case("allen_cahn_gaussians", "cosine_allen_cahn_gaussians", 1e-4, 600, beside="allen_cahn"),
    Case("helmholtz_10_10", "sine_helmholtz_waves_gaussians", 7e-3, 600),
    Case("flow_mixing", "flow_mixing_mlp", 3e-3, 600),
    Case("nonlinear_diffusion", "spreading_bumps_mlp", 2.7e-3, 600),
    Case("inverse_burgers", "observed_burgers_mlp", 1e-2, 120, unknown=("nu", 0.01 / math.pi)),
    Case("l_shape", "l_shaped_poisson_mlp", 1e-3, 300, on_grid=False),
    Case("holes", "poisson_with_holes_mlp", 1e-3, 300, on_grid=False),
)
QUICK = ("poisson", "heat")
QUICK_SECONDS = 20.0
