"""Gray-Scott against ordinary differential equations of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Status
from pdeflow.problems import Constant, GaussianBumps, GrayScott, Uniform


def test_the_reaction_where_nothing_varies() -> None:
    problem, stop = GrayScott(), 20.0
    grid = problem.grid(4)
    F, k = np.array([0.03, 0.05, 0.04]), np.array([0.06, 0.062, 0.058])
    starts = np.array([[0.5, 0.25], [0.6, 0.3], [1.0, 0.0]])
    flat = torch.as_tensor(starts)[..., None, None].expand(3, 2, 4, 4)
    given = {"F": torch.as_tensor(F), "k": torch.as_tensor(k), "u0": flat[:, 0], "v0": flat[:, 1]}
    path = problem.evolve(grid, given, stop, 3, rtol=1e-10)
    assert (path.status == int(Status.CONVERGED)).all()
    for row in range(3):

        def rate(t: float, w: np.ndarray, F=F[row], k=k[row]) -> list[float]:
            u, v = w
            return [F * (1 - u) - u * v**2, u * v**2 - (F + k) * v]

        found = scipy.integrate.solve_ivp(
            rate, (0, stop), starts[row], "DOP853", path.times.numpy(), rtol=1e-13, atol=1e-15
        )
        exact = found.y.T[:, :, None, None]
        np.testing.assert_allclose(
            path.u[row].numpy(), np.broadcast_to(exact, (3, 2, 4, 4)), rtol=0, atol=1e-10
        )


def small(points: int) -> tuple[GrayScott, dict[str, torch.Tensor]]:
    """A square that one or two spots fit into, and the same start on every grid."""
    problem = GrayScott(
        length=0.2,
        initial_u=GaussianBumps(1.0, 0.5, (2, 2), (0.02, 0.03)),
        initial_v=GaussianBumps(0.0, 0.25, (2, 2), (0.02, 0.03)),
    )
    return problem, problem.sample([0], problem.grid(points), seed=3)


def collocation(points: int, stop: float) -> np.ndarray:
    """Fourier collocation in NumPy, (2, points, points), stepped by an explicit method of SciPy."""
    given = small(points)[1]
    F, k = float(given["F"]), float(given["k"])
    waves = 2 * np.pi / 0.2 * np.fft.fftfreq(points, 1 / points)
    squares = waves[:, None] ** 2 + waves**2

    def rate(t: float, w: np.ndarray) -> np.ndarray:
        u, v = w.reshape(2, points, points)
        lap = np.fft.ifft2(-squares * np.fft.fft2(w.reshape(2, points, points))).real
        reaction = u * v**2
        return np.stack(
            [2e-5 * lap[0] - reaction + F * (1 - u), 1e-5 * lap[1] + reaction - (F + k) * v]
        ).ravel()

    start = torch.cat([given["u0"], given["v0"]]).numpy().ravel()
    found = scipy.integrate.solve_ivp(rate, (0, stop), start, "DOP853", rtol=1e-10, atol=1e-12)
    return found.y[:, -1].reshape(2, points, points)


def test_spots_against_collocation_with_spectral_accuracy() -> None:
    stop, errors = 15.0, []
    reference = collocation(40, stop)
    for points in (10, 20, 40):
        problem, given = small(points)
        path = problem.evolve(problem.grid(points), given, stop, rtol=1e-9)
        every = 40 // points
        errors.append(np.abs(path.u[0, -1].numpy() - reference[:, ::every, ::every]).max())
    assert errors[0] < 0.1
    assert errors[1] < errors[0] ** 1.6
    assert errors[2] < 1e-7


def test_too_few_nodes_are_refused_with_the_number_that_is_needed() -> None:
    # 2.5 / (1.5 sqrt(1e-5 / (0.04 + 0.06))) = 166.7
    problem = GrayScott(feed=Uniform(0.01, 0.04), kill=Constant(0.06))
    with pytest.raises(InvalidInput, match="resolution: got 166, expected at least 167 nodes"):
        problem.check_resolution(problem.grid(166))
    problem.check_resolution(problem.grid(167))
    with pytest.raises(InvalidInput, match="positive"):
        GrayScott(feed=Uniform(0.0, 0.04))
