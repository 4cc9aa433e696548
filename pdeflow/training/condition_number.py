r"""The matrix that decides how fast gradient descent learns a solution from its statement, and its condition.

.. math:: A_{ij} = \langle D \phi_i, D \phi_j \rangle_\Omega
          + \lambda \sum_{\text{sides}} \langle B \phi_i, B \phi_j \rangle,
          \qquad \phi_i = \partial u / \partial \theta_i,

with means over points for inner products: the matrix of Gauss and Newton. Near the solution the error falls
like :math:`(1 - c / \kappa(A))^n` in n steps.

T. De Ryck, F. Bonnet, S. Mishra, E. de Bezenac, "An operator preconditioning perspective on training in
physics-informed machine learning", ICLR 2024.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, FourierFeatures, HardConditions
from pdeflow.problems import Problem
from pdeflow.training.collocation import Collocation
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed

FEWEST = 1000
"""Points inside, at least."""

DECADES = range(-14, 6)
"""Powers of ten that are tried for lambda, times the ratio of the traces of both matrices."""

AS_GOOD = 1.01
"""Of these lambdas the largest is refined whose condition number is that near to the smallest."""

STEPS = 14
"""Of the golden section between two decades, to half a percent."""


@dataclasses.dataclass(frozen=True)
class ConditionNumber:
    r"""The matrix :math:`A = A_\Omega + \lambda A_{\partial\Omega}` of a field at its present parameters.

    Attributes
    ----------
    inside, sides
        Both parts (P, P), a row a parameter; zeros for the second where no condition is learned.
    weight
        The lambda by line search that makes the condition number smallest; 0 where there are no conditions.
    """

    inside: Tensor
    sides: Tensor
    weight: float

    @property
    def matrix(self) -> Tensor:
        """A (P, P)."""
        return self.inside + self.weight * self.sides

    @functools.cached_property
    def eigenvalues(self) -> Tensor:
        """The spectrum (P,) of A, the smallest first."""
        return torch.linalg.eigvalsh(self.matrix)

    @property
    def kappa(self) -> float:
        """The condition number; infinite where A is singular but for rounding."""
        return _quotient(self.eigenvalues)

    def with_weight(self, weight: float) -> ConditionNumber:
        """For another lambda."""
        return dataclasses.replace(self, weight=weight)

    @property
    def learning_rate(self) -> float:
        r"""With which gradient descent is fastest, :math:`1 / (\lambda_{\min} + \lambda_{\max})`.

        The gradient of the loss is :math:`2 A (\theta - \theta^*)`, near the solution: with a rate above
        :math:`1 / \lambda_{\max}` it grows.
        """
        return 1.0 / float(self.eigenvalues[0] + self.eigenvalues[-1])


def condition_number(
    problem: Problem, field: Field, points: Mapping[str, Tensor] | None = None
) -> ConditionNumber:
    """How well conditioned training of a field from a statement is, at the parameters that the field has.

    Any field will do; in time some twenty eigenvalue problems of P parameters, in memory a Jacobian (N, P).

    Parameters
    ----------
    problem
        The statement, its parameters numbers or fixed fields.
    field
        With its parameters in float64 if the answer may be above 1e6; where it meets values by its form
        (:class:`~pdeflow.fields.HardConditions`), the other conditions count.
    points
        By ``"inside"`` and the names of sides, as `Collocation` has them; by default a grid that is so fine
        that means over it are integrals.

    Raises
    ------
    InvalidInput
        As `PhysicsInformed`, and if a slope of the field is not finite.
    """
    return conditioning(PhysicsInformed(problem, hard=isinstance(field, HardConditions)), field, points)


def conditioning(
    objective: PhysicsInformed, field: Field, points: Mapping[str, Tensor] | None = None
) -> ConditionNumber:
    """As `condition_number`, of what an objective asks."""
    parameters = {f"field.{name}": p.detach() for name, p in field.named_parameters() if p.requires_grad}
    chosen = _fine_points(objective.problem, field) if points is None else points
    like = next(iter(parameters.values()))
    batch = {"points": {name: p.to(like) for name, p in chosen.items()}}
    training = objective.training
    objective.eval()  # without weights that change in training
    _, jacobian = objective.linearised(field, parameters, batch)
    objective.train(training)
    if not bool(torch.isfinite(jacobian).all()):
        name, expected = f"model {type(field).__name__}", "finite residuals and slopes at all points"
        raise InvalidInput(name, "some that are not", expected)
    # Rows come by statement, with the equation in front, and the weight of the conditions in theirs.
    count = len(chosen[INSIDE]) * len(objective.problem.fields)
    inner, outer = jacobian[:count], jacobian[count:] / math.sqrt(objective.weight)
    inside, sides = inner.T @ inner, outer.T @ outer
    return ConditionNumber(inside, sides, _best_weight(inside, sides))


def _fine_points(problem: Problem, field: Field) -> dict[str, Tensor]:
    """A grid of more points than parameters, on which products of two waves are still told apart."""
    core = field.network if isinstance(field, HardConditions) else field
    count, dim = sum(p.numel() for p in field.parameters()), len(problem.coordinates)
    each = math.ceil(max(FEWEST, 4 * count) ** (1 / dim))
    if isinstance(core, FourierFeatures):
        each = max(each, 2 * max(core.settings["modes"]) + 1)
    data = Collocation(problem, inside=each**dim, on_sides=each ** max(1, dim - 1), sampler="grid")
    return data.points(0, each**dim)


def _quotient(eigenvalues: Tensor) -> float:
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    rounding = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * largest
    return largest / smallest if smallest > rounding else math.inf


def _best_weight(inside: Tensor, sides: Tensor) -> float:
    """Lambda by line search: decade by decade, then by golden section."""
    if not bool(sides.any()):
        return 0.0
    unit = float(inside.trace() / sides.trace()) or 1.0

    def kappa(decade: float) -> float:
        return _quotient(torch.linalg.eigvalsh(inside + unit * 10.0**decade * sides))

    tried = {decade: kappa(decade) for decade in DECADES}
    smallest = min(tried.values())
    start = max(decade for decade, value in tried.items() if value <= AS_GOOD * smallest)
    return unit * 10.0 ** _golden_section(kappa, start - 1.0, start + 1.0)


def _golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one valley is smallest between two numbers (J. Kiefer, Proc. AMS 4, 1953)."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(STEPS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return left if at_left <= at_right else right
