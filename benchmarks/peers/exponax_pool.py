"""Data sets in time by exponax: ETDRK4, vmapped over the batch, one compiled function for all instants.

``python -m benchmarks.peers.exponax_pool JOB.json``; see ``evolution.py``.
"""

from __future__ import annotations

from typing import Any

import exponax as ex
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.evolution import Job, Solve, forcing, main

jax.config.update("jax_enable_x64", True)


class ForcedVorticity(ex.nonlin_fun.VorticityConvection2d):
    """Vorticity convection and a steady forcing, as the Kolmogorov flow of the library adds its own."""

    injection: jax.Array

    def __init__(self, *args: Any, injection: jax.Array, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.injection = injection

    def __call__(self, u_hat: jax.Array) -> jax.Array:
        return super().__call__(u_hat) + self.injection


class ForcedFlow(ex.stepper.NavierStokesVorticity):
    """Navier-Stokes in vorticity form with a steady forcing."""

    injection: jax.Array

    def __init__(self, *args: Any, injection: jax.Array, **kwargs: Any) -> None:
        self.injection = injection
        super().__init__(*args, **kwargs)

    def _build_nonlinear_fun(self, derivative_operator: jax.Array) -> ForcedVorticity:
        return ForcedVorticity(
            self.num_spatial_dims,
            self.num_points,
            convection_scale=self.vorticity_convection_scale,
            derivative_operator=derivative_operator,
            dealiasing_fraction=self.dealiasing_fraction,
            injection=self.injection,
        )


def stepper(job: Job) -> Any:
    """Of the family."""
    dt = job["stop"] / (job["instants"] - 1) / job["steps"]
    if job["family"] == "burgers":
        return ex.stepper.Burgers(
            1, job["length"], job["n"], dt, diffusivity=job["viscosity"], conservative=True, order=4
        )
    if job["family"] == "kuramoto_sivashinsky":
        return ex.stepper.KuramotoSivashinskyConservative(1, job["length"], job["n"], dt, order=4)
    injection = ex.fft(jnp.asarray(forcing(job))[None], num_spatial_dims=2)
    return ForcedFlow(
        2,
        job["length"],
        job["n"],
        dt,
        diffusivity=job["viscosity"],
        vorticity_convection_scale=-1.0,  # their velocity turns the other way: w = u_y - v_x
        order=4,
        injection=injection,
    )


def make(job: Job) -> Solve:
    """A compiled function of the job's number format."""
    dtype = np.dtype(job["dtype"])
    # Coefficients are worked out in float64, and rounded once.
    once = jax.tree_util.tree_map(lambda leaf: _rounded(leaf, dtype), stepper(job))
    between = ex.RepeatedStepper(once, job["steps"])
    roll = jax.jit(jax.vmap(ex.rollout(between, job["instants"] - 1, include_init=True)))
    return lambda u0: np.asarray(roll(jnp.asarray(u0[:, None], dtype)))[:, :, 0]


def _rounded(leaf: Any, dtype: np.dtype) -> Any:
    if not isinstance(leaf, jax.Array) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    if jnp.iscomplexobj(leaf):
        return leaf.astype(np.result_type(dtype, np.complex64))
    return leaf.astype(dtype)


if __name__ == "__main__":
    main(make)
