"""SSBroyden and L-BFGS against dense formulas and SciPy, and their line search."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training import RestartedLBFGS, SSBroyden
from pdeflow.training.optimisers import QuasiNewton
from pdeflow.training.optimisers.ssbroyden import LARGEST, self_scaling, update
from pdeflow.training.optimisers.strong_wolfe import CURVATURE, DECREASE, Trial, strong_wolfe
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FINITE

Function = Callable[[Tensor], Tensor]
METHODS = [SSBroyden, RestartedLBFGS]


def rosenbrock(p: Tensor) -> Tensor:
    return (100 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2).sum()


def quadratic(size: int, condition: float) -> tuple[Tensor, Function]:
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64)).Q
    values = torch.logspace(0, math.log10(condition), size, dtype=torch.float64)
    A = (basis * values) @ basis.T
    return A, lambda p: 0.5 * p @ A @ p


class Closure:
    """The loss and its gradient, counted."""

    def __init__(self, function: Function, parameter: nn.Parameter) -> None:
        self.function, self.parameter, self.calls = function, parameter, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        self.parameter.grad = None
        loss = self.function(self.parameter)
        loss.backward()
        return loss


def run(
    method: Callable[..., QuasiNewton], function: Function, start: list[float], most: int, small: float = 1e-9
) -> tuple[QuasiNewton, nn.Parameter, int, int]:
    """Iterations until the gradient is small, one a step, and evaluations in them."""
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    optimiser, closure = method([parameter], iterations=1), Closure(function, parameter)
    for k in range(most):
        optimiser.step(closure)
        # Each step evaluates once at its start, which a step of many iterations does once in all of them.
        gradient = torch.autograd.grad(function(parameter), parameter)[0]
        if float(gradient.norm()) <= small or optimiser.stalled:
            return optimiser, parameter, k + 1, closure.calls - (k + 1)
    return optimiser, parameter, most, closure.calls - most


@pytest.mark.parametrize("method", METHODS)
def test_rosenbrock_takes_no_more_than_a_third_above_bfgs(method) -> None:
    start = np.array([-1.2, 1.0])
    reference = scipy.optimize.minimize(
        scipy.optimize.rosen, start, jac=scipy.optimize.rosen_der, method="BFGS", options={"gtol": 1e-9}
    )
    optimiser, found, steps, evaluations = run(method, rosenbrock, start.tolist(), 100)
    np.testing.assert_allclose(found.detach(), [1.0, 1.0], atol=1e-9)
    assert steps <= 4 * reference.nit // 3
    assert evaluations <= 4 * reference.nfev // 3
    assert (optimiser.restarts, optimiser.stalled) == (0, False)


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e10])
def test_ill_conditioned_quadratics_are_solved(condition: float) -> None:
    A, function = quadratic(40, condition)
    optimiser, found, _, _ = run(SSBroyden, function, [1.0] * 40, 600)
    assert float((A @ found).detach().norm()) <= 1e-9
    assert not optimiser.stalled


def test_lbfgs_is_as_good_as_that_of_torch() -> None:
    _, function = quadratic(50, 1e4)
    ours = nn.Parameter(torch.ones(50, dtype=torch.float64))
    theirs = nn.Parameter(ours.detach().clone())
    closures = Closure(function, ours), Closure(function, theirs)
    RestartedLBFGS([ours], iterations=150).step(closures[0])
    torch.optim.LBFGS(
        [theirs], max_iter=150, max_eval=1000, tolerance_grad=0, tolerance_change=0, history_size=100,
        line_search_fn="strong_wolfe",
    ).step(closures[1])  # fmt: skip
    assert float(function(ours).detach()) <= 2 * float(function(theirs).detach())
    assert closures[0].calls <= 1.1 * closures[1].calls


def formula(H: Tensor, s: Tensor, y: Tensor) -> Tensor:
    """The update of SSBroyden's docstring, from its direct form: that of B, the inverse, scaled by tau."""
    B = torch.linalg.inv(H)
    ys, sBs, yHy = y @ s, s @ B @ s, y @ H @ y
    b, h = float(sBs / ys), float(yHy / ys)
    a = b * h - 1
    tau, phi = self_scaling(a, h, len(s))
    theta = (1 - phi) / (1 + a * phi)  # the same relation holds both ways
    w = y / ys - B @ s / sBs
    changed = B - torch.outer(B @ s, B @ s) / sBs + theta * sBs * torch.outer(w, w)
    return torch.linalg.inv(tau * changed + torch.outer(y, y) / ys)


def test_the_factor_is_updated_like_the_dense_inverse() -> None:
    torch.manual_seed(1)
    A, _ = quadratic(9, 50.0)
    Z = torch.linalg.cholesky(torch.eye(9, dtype=torch.float64) + quadratic(9, 5.0)[0])
    for _ in range(12):
        s = torch.randn(9, dtype=torch.float64)
        y = A @ s
        expected = formula(Z @ Z.T, s, y)
        update(Z, torch.linalg.solve(Z, s), y)
        torch.testing.assert_close(Z @ Z.T, expected, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(Z @ (Z.T @ y), s, rtol=1e-10, atol=1e-10)


def test_without_curvature_left_to_learn_the_update_scales() -> None:
    """Where H y is s already, the plane of the update is a line."""
    Z = torch.eye(4, dtype=torch.float64)
    y = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    update(Z, y.clone(), y)
    torch.testing.assert_close(Z, torch.eye(4, dtype=torch.float64))


def test_a_step_whose_curvature_is_lost_in_rounding_changes_nothing() -> None:
    Z = quadratic(4, 10.0)[0]
    before = Z.clone()
    y = torch.tensor([1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    update(Z, -(Z.T @ y), y)
    assert torch.equal(Z, before)


@pytest.mark.parametrize(("dtype", "along"), [(torch.float64, 1e-18), (torch.float32, 1e-9)])
def test_a_curvature_below_rounding_is_not_learned(dtype: torch.dtype, along: float) -> None:
    Z, y = torch.eye(3, dtype=dtype), torch.tensor([1.0, 0.0, 0.0], dtype=dtype)
    update(Z, torch.tensor([along, 1.0, 0.0], dtype=dtype), y)
    assert torch.equal(Z, torch.eye(3, dtype=dtype))


def test_exact_steps_on_a_quadratic_end_after_as_many_as_it_has_dimensions() -> None:
    """Whatever the scaling, directions are conjugate: L. C. W. Dixon, Math. Programming 2 (1972)."""
    size = 8
    A, _ = quadratic(size, 1e3)
    x, Z = torch.ones(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64)
    first, directions = float((A @ x).norm()), []
    for _ in range(size):
        g = A @ x
        direction = -Z @ (Z.T @ g)
        length = -(g @ direction) / (direction @ A @ direction)
        directions.append(direction / (direction @ A @ direction).sqrt())
        update(Z, -length * (Z.T @ g), length * (A @ direction))
        x = x + length * direction
    assert float((A @ x).norm()) <= 1e-9 * first
    P = torch.stack(directions)
    torch.testing.assert_close(P @ A @ P.T, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("h", [1e-3, 0.4, 1.0, 3.0, 1e4])
@pytest.mark.parametrize("a", [0.0, 1e-9, 0.3, 2.0, 1e6, 1e20])
def test_scalings_keep_the_matrix_positive_definite_and_never_shrink_it(a: float, h: float) -> None:
    tau, phi = self_scaling(a, h, 100)
    assert 0 < tau <= 1
    assert 1 + phi * a > 0


@pytest.mark.parametrize(
    ("a", "h", "size", "tau", "phi"),
    [
        # theta > 0: (1 - b) / b, which is 1/8 in the first row; at most 1 / rho
        (3.0, 4.5, 10, (11 / 8) ** (-1 / 9), 7 / 11),
        (3.0, 8.0, 5, 0.7071067811865475, 0.0),
        (3.0, 100.0, 10, 0.8572439828530728, 0.0),
        # theta <= 0: (1 - b) / b, with tau from sigma and with tau from 1 / b
        (1.0, 1.9, 4, 0.95, 21 / 19),
        (0.5, 0.2, 6, 0.1493733782855490, 56 / 17),
        (1e-9, 1.0, 100, 0.999999999, 1.000000001),
        # theta at its least, (rho - 1) / a
        (3.0, 2.0, 100, 0.2679491924311227, 4.642734410091836),
        (1e6, 1e-3, 100, 4.999996250003125e-10, 2000003500.001374),
        (1e20, 3.0, 100, 1.5e-20, 6.666666666666667e19),
    ],
)
def test_scalings_are_those_that_are_published(a: float, h: float, size: int, tau: float, phi: float) -> None:
    """Al-Baali's formulas as Urban et al. print them, in 60 digits by mpmath; fractions by hand."""
    assert self_scaling(a, h, size) == pytest.approx((tau, phi), rel=1e-13, abs=1e-30)


@pytest.mark.parametrize("slope", [1e-3, 1.0, 300.0])
@pytest.mark.parametrize("length", [1e-4, 1.0, 50.0])
def test_a_length_meets_both_conditions(slope: float, length: float) -> None:
    """On a function that is steep, has two minima and is not finite from 60 on."""

    def evaluate(t: float) -> Trial:
        value = math.inf if t > 60 else slope * ((t - 3) ** 2 / 20 + math.cos(2 * t))
        rate = slope * ((t - 3) / 10 - 2 * math.sin(2 * t))
        return Trial(t, value, torch.zeros(1), rate)

    start = evaluate(0.0)
    found = strong_wolfe(evaluate, start, length)
    assert found is not None
    assert found.loss <= start.loss + DECREASE * found.length * start.slope
    assert abs(found.slope) <= CURVATURE * abs(start.slope)


def test_no_length_uphill_or_where_everything_is_larger() -> None:
    def kink(t: float) -> Trial:
        return Trial(t, t, torch.zeros(1), 1.0 if t > 0 else -1.0)

    assert strong_wolfe(kink, kink(0.0), 1.0) is None
    assert strong_wolfe(kink, Trial(0.0, 0.0, torch.zeros(1), 1.0), 1.0) is None


def test_a_curvature_that_is_never_small_leaves_the_best_length() -> None:
    """A kink at 1: the slope jumps from -1 to 1."""

    def kink(t: float) -> Trial:
        return Trial(t, abs(t - 1), torch.zeros(1), 1.0 if t > 1 else -1.0)

    found = strong_wolfe(kink, kink(0.0), 3.0)
    assert found is not None
    assert found.loss <= 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_a_matrix_that_leads_uphill_is_forgotten(method) -> None:
    _, function = quadratic(6, 100.0)
    parameter = nn.Parameter(torch.ones(6, dtype=torch.float64))
    optimiser, closure = method([parameter], iterations=5), Closure(function, parameter)
    optimiser.step(closure)
    assert optimiser.restarts == 0
    before = float(function(parameter).detach())
    if method is SSBroyden:
        optimiser.memory["Z"].zero_()
    else:
        optimiser.memory["s"] = [-s for s in optimiser.memory["s"]]
    optimiser.step(closure)
    assert optimiser.restarts == 1
    assert not optimiser.stalled
    assert float(function(parameter).detach()) < before


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("function", "start"),
    [(lambda p: p.log().sum(), -1.0), (lambda p: p.sqrt().sum(), 0.0)],
    ids=["loss", "gradient"],
)
def test_a_start_that_is_not_finite_is_no_minimum(method, function: Function, start: float) -> None:
    """And nothing is moved; the next stall has its own cause."""
    optimiser, found, steps, _ = run(method, function, [start], 3)
    assert (optimiser.stalled, optimiser.cause, steps) == (True, NOT_FINITE, 1)
    assert found.tolist() == [start]
    with torch.no_grad():
        found.zero_()
    optimiser.stalled = False
    optimiser.step(Closure(lambda p: p.square().sum(), found))
    assert (optimiser.stalled, optimiser.cause) == (True, NO_STEP)


@pytest.mark.parametrize("method", METHODS)
def test_at_the_minimum_it_has_stalled(method) -> None:
    _, function = quadratic(3, 10.0)
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimiser = method([parameter])
    assert optimiser.step(Closure(function, parameter)) == 0.0
    assert optimiser.stalled
    assert parameter.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_on_from_its_state_to_the_same_numbers(method) -> None:
    def started() -> tuple[nn.Parameter, QuasiNewton]:
        parameter = nn.Parameter(torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64))
        return parameter, method([parameter], iterations=4)

    whole, optimiser = started()
    for _ in range(4):
        optimiser.step(Closure(rosenbrock, whole))
    parameter, optimiser = started()
    for _ in range(2):
        optimiser.step(Closure(rosenbrock, parameter))
    again, resumed = started()
    again.data.copy_(parameter.detach())
    resumed.load_state_dict(optimiser.state_dict())
    for _ in range(2):
        resumed.step(Closure(rosenbrock, again))
    assert again.tolist() == whole.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_parameters_of_several_shapes_without_a_gradient_among_them(method) -> None:
    weights = [
        nn.Parameter(torch.ones(2, 3, dtype=torch.float64)),
        nn.Parameter(torch.ones((), dtype=torch.float64)),
    ]
    unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimiser = method([*weights, unused], iterations=30)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (weights[0] * weights[1] - 2).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert float(closure().detach()) <= 1e-20
    assert unused.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda p: SSBroyden([p], iterations=0), "optimizer.iterations"),
        (lambda p: RestartedLBFGS([p], history=0), "optimizer.history"),
        (lambda p: SSBroyden([nn.Parameter(torch.empty(LARGEST + 1, device="meta"))]), "RestartedLBFGS"),
    ],
)
def test_wrong_settings(make, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        make(nn.Parameter(torch.zeros(1)))
