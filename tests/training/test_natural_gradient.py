"""The systems of Gauss-Newton in their forms, and the energy natural gradient."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training import EnergyNaturalGradient, LevenbergMarquardt
from pdeflow.training.optimisers import natural_gradient
from pdeflow.training.optimisers.gauss_newton import NormalEquations, NystromEquations
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FACTORED, NOT_FINITE


def jacobian(rows: int, columns: int) -> Tensor:
    """Singular values from 1 down to 1e-6, as those of networks fall."""
    torch.manual_seed(0)
    size = min(rows, columns)
    left, right = (torch.linalg.qr(torch.randn(n, size, dtype=torch.float64)).Q for n in (rows, columns))
    return (left * torch.logspace(0, -6, size, dtype=torch.float64)) @ right.T


def dense(J: Tensor, r: Tensor, damping: float) -> Tensor:
    """As a least-squares problem, by QR."""
    P = J.shape[1]
    stacked = torch.cat([J, damping**0.5 * torch.eye(P, dtype=J.dtype)])
    return torch.linalg.lstsq(stacked, torch.cat([r, torch.zeros(P, dtype=J.dtype)])[:, None]).solution[:, 0]


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
@pytest.mark.parametrize("kernel", [True, False])
def test_both_forms_are_the_dense_formula_to_rounding(shape: tuple[int, int], kernel: bool) -> None:
    J = jacobian(*shape)
    r = torch.randn(shape[0], dtype=torch.float64)
    system, damping = NormalEquations(J, r, kernel), 1e-4
    assert len(system.gram) == shape[0 if kernel else 1]
    found, expected = system.solve(damping), dense(J, r, damping)
    assert found is not None
    assert float((found - expected).norm() / expected.norm()) <= 1e-11
    assert system.mean_square == pytest.approx(float(J.square().sum()) / shape[1])
    other = torch.randn(shape[0], dtype=torch.float64)
    again, expected = system.solve_again(other), dense(J, other, damping)
    assert float((again - expected).norm() / expected.norm()) <= 1e-11


def test_the_smaller_form_is_taken() -> None:
    assert NormalEquations(jacobian(5, 8), torch.ones(5, dtype=torch.float64)).kernel
    assert not NormalEquations(jacobian(8, 5), torch.ones(8, dtype=torch.float64)).kernel


def test_an_indefinite_matrix_is_told() -> None:
    assert NormalEquations(jacobian(8, 5), torch.ones(8, dtype=torch.float64)).solve(-1.0) is None


@pytest.mark.parametrize("shape", [(300, 120), (120, 300)])
@pytest.mark.parametrize("damping", [1e-3, 1e-8])
def test_a_sketch_solves_the_same_system(shape: tuple[int, int], damping: float) -> None:
    J = jacobian(*shape)
    r = torch.randn(shape[0], dtype=torch.float64)
    expected = NormalEquations(J, r).solve(damping)
    found = NystromEquations(J, r, rank=60).solve(damping)
    assert expected is not None
    assert float((J @ (found - expected)).norm() / (J @ expected).norm()) <= 1e-6


def test_a_sketch_may_have_more_columns_than_the_jacobian_has_rank() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(200, 5, dtype=torch.float64), torch.randn(5, 90, dtype=torch.float64)
    J, r = left @ right, torch.randn(200, dtype=torch.float64)
    found = NystromEquations(J, r, rank=60).solve(1e-6)
    expected = torch.linalg.lstsq(J, r[:, None], driver="gelsd").solution[:, 0]
    assert float((J @ (found - expected)).norm() / (J @ expected).norm()) <= 1e-6
    assert torch.isfinite(NystromEquations(torch.zeros_like(J), r, rank=60).solve(1e-6)).all()


class Curve:
    """Exponentials that are to be 1, 2 and 3 at three places, with four parameters."""

    def __init__(self, parameter: nn.Parameter) -> None:
        self.parameter, self.x = parameter, torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)

    def _function(self, p: Tensor) -> Tensor:
        return p[0] * torch.exp(p[1] * self.x) + p[2] * torch.exp(p[3] * self.x) - (1 + self.x)

    def residuals(self) -> Tensor:
        return self._function(self.parameter.detach())

    def linearised(self) -> tuple[Tensor, Tensor]:
        p = self.parameter.detach()
        return self._function(p), torch.func.jacrev(self._function)(p)


@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.5}, {"rank": 3}, {"damping": 1e-3, "momentum": 0.9}], ids=str
)
def test_residuals_fall_to_rounding(settings: dict) -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.tensor([1.0, 0.1, 0.2, -0.4], dtype=torch.float64))
    curve = Curve(parameter)
    optimiser, losses = EnergyNaturalGradient([parameter], **settings), []
    for _ in range(150):
        if float(curve.residuals().norm()) <= 1e-10:
            break
        assert optimiser.step(lambda: "what the closure gave", curve) == "what the closure gave"
        losses.append(float(curve.residuals().norm()))
    assert losses[-1] <= 1e-10
    assert losses == sorted(losses, reverse=True)
    assert not optimiser.stalled


def test_an_indefinite_system_is_damped_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """In single precision the factors of a small damping fail; that is no stall."""
    parameter = nn.Parameter(torch.tensor([1.0, 0.1, 0.2, -0.4], dtype=torch.float64))
    curve, tried = Curve(parameter), []
    solve = NormalEquations.solve

    def failing(system: NormalEquations, damping: float) -> Tensor | None:
        tried.append(damping)
        return None if len(tried) < 4 else solve(system, damping)

    said = []
    monkeypatch.setattr(natural_gradient, "inform", said.append)
    monkeypatch.setattr(NormalEquations, "solve", failing)
    before = float(curve.residuals().norm())
    optimiser = EnergyNaturalGradient([parameter])
    optimiser.step(lambda: None, curve)
    assert tried == pytest.approx([tried[0] * 10**k for k in range(4)])
    assert float(curve.residuals().norm()) < before
    assert not optimiser.stalled
    assert len(said) == 1
    assert "EnergyNaturalGradient indefinite: it is damped more" in said[0]


SECOND_ORDER = [EnergyNaturalGradient, LevenbergMarquardt, partial(EnergyNaturalGradient, rank=2)]


@pytest.mark.parametrize("make", SECOND_ORDER[:2])
def test_a_system_without_factors_is_no_lack_of_smaller_losses(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NormalEquations, "solve", lambda system, damping: None)
    parameter = nn.Parameter(torch.tensor([1.0, 0.1, 0.2, -0.4], dtype=torch.float64))
    optimiser = make([parameter])
    optimiser.step(lambda: None, Curve(parameter))
    assert (optimiser.stalled, optimiser.cause) == (True, NOT_FACTORED)


@pytest.mark.parametrize("make", SECOND_ORDER)
@pytest.mark.parametrize("which", [0, 1], ids=["residuals", "jacobian"])
def test_what_is_not_finite_is_told(make, which: int) -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 0.1, 0.2, -0.4], dtype=torch.float64))

    class Broken(Curve):
        def linearised(self) -> tuple[Tensor, Tensor]:
            both = super().linearised()
            both[which][-1] = torch.nan
            return both

    optimiser = make([parameter])
    optimiser.step(lambda: None, Broken(parameter))
    assert (optimiser.stalled, optimiser.cause) == (True, NOT_FINITE)
    assert parameter.tolist() == [1.0, 0.1, 0.2, -0.4]


def test_sketches_go_on_from_a_state_as_they_would_have() -> None:
    """Whatever else has drawn random numbers."""
    start = torch.tensor([1.0, 0.1, 0.2, -0.4], dtype=torch.float64)

    def stepped(at: Tensor, steps: int, state: dict | None = None) -> tuple[Tensor, dict]:
        parameter = nn.Parameter(at.clone())
        optimiser = EnergyNaturalGradient([parameter], rank=1, damping=1e-4)
        if state is not None:
            optimiser.load_state_dict(state)
        for _ in range(steps):
            optimiser.step(lambda: None, Curve(parameter))
        return parameter.detach(), optimiser.state_dict()

    torch.manual_seed(0)
    whole, _ = stepped(start, 4)
    half, state = stepped(start, 2)
    torch.manual_seed(1)
    assert torch.equal(stepped(half, 2, state)[0], whole)
    # Each step has a sketch of its own.
    J, r = jacobian(20, 8), torch.ones(20, dtype=torch.float64)
    first, second = (NystromEquations(J, r, rank=3, seed=seed).values for seed in (1, 2))
    assert not torch.allclose(first, second)


def test_no_step_is_said() -> None:
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    curve = Curve(parameter)
    curve.x = torch.tensor([-1.0, -1.0, -1.0], dtype=torch.float64)  # all residuals are 0
    optimiser = EnergyNaturalGradient([parameter])
    optimiser.step(lambda: None, curve)
    assert (optimiser.stalled, optimiser.cause) == (True, NO_STEP)
    assert parameter.tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"damping": 0.0}, "optimizer.damping"),
        ({"momentum": 1.0}, "optimizer.momentum"),
        ({"rank": 0}, "optimizer.rank"),
    ],
)
def test_wrong_settings(settings: dict, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        EnergyNaturalGradient([nn.Parameter(torch.zeros(1))], **settings)
