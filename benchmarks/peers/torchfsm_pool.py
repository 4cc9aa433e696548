"""Data sets in time by torchfsm: ETDRK4 on a batch, every instant recorded.

``python -m benchmarks.peers.torchfsm_pool JOB.json``; see ``evolution.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchfsm.integrator import SETDRKIntegrator
from torchfsm.operator import ExplicitSource
from torchfsm.pde import Burgers, KuramotoSivashinsky, NavierStokesVorticity
from torchfsm.traj_recorder import AutoRecorder, IntervalController

from benchmarks.peers.evolution import DIMENSIONS, Job, Solve, forcing, main


def equation(job: Job, dtype: torch.dtype) -> Any:
    """Of the family."""
    if job["family"] == "burgers":
        return Burgers(job["viscosity"])
    if job["family"] == "kuramoto_sivashinsky":
        return KuramotoSivashinsky()
    force = ExplicitSource(torch.from_numpy(forcing(job))[None, None].to(dtype))
    return NavierStokesVorticity(1 / job["viscosity"], force)


def make(job: Job) -> Solve:
    """In the job's number format."""
    dtype = getattr(torch, job["dtype"])
    operator = equation(job, dtype)
    mesh = [(0.0, job["length"], job["n"])] * DIMENSIONS[job["family"]]
    operator.register_mesh(mesh, n_channel=1, dtype=dtype)
    operator.set_integrator(SETDRKIntegrator.SETDRK4)
    dt = job["stop"] / (job["instants"] - 1) / job["steps"]

    @torch.inference_mode()
    def solve(u0: np.ndarray) -> np.ndarray:
        path = operator.integrate(
            torch.from_numpy(u0)[:, None].to(dtype),
            dt=dt,
            step=job["steps"] * (job["instants"] - 1),
            trajectory_recorder=AutoRecorder(IntervalController(job["steps"])),
        )
        return path[:, :, 0].numpy()

    return solve


if __name__ == "__main__":
    main(make)
