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
from collections.abc import Mapping

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, FourierFeatures, HardConditions
from pdeflow.problems import Problem
from pdeflow.training.collocation import Collocation
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed

FEWEST = 1000
"""Points inside, at least."""

DECADES = (-14.0, 6.0)
"""Between which powers of ten lambda is searched, times the ratio of the traces of both matrices."""

STEPS = 12
"""Of the bisection there, to half a percent."""

FLAT = 1e-3
"""By so much the logarithm of the condition number may grow with that of lambda and counts as not growing."""


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

    Any field will do. Where conditions are learned, the line search for their weight takes `STEPS` spectral
    decompositions of P parameters, of O(P^3) each; memory is some matrices (P, P), whatever the points are.

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
    objective = PhysicsInformed(problem, hard=isinstance(field, HardConditions))
    objective.join(field)
    return conditioning(objective, field, points)


def conditioning(
    objective: PhysicsInformed, field: Field, points: Mapping[str, Tensor] | None = None
) -> ConditionNumber:
    """As `condition_number`, of what an objective asks."""
    parameters = {f"field.{name}": p.detach() for name, p in field.named_parameters() if p.requires_grad}
    chosen = _fine_points(objective, field) if points is None else points
    like = next(iter(parameters.values()))
    points_of = {name: p.to(like) for name, p in chosen.items()}
    size = sum(p.numel() for p in parameters.values())
    inside, sides = like.new_zeros(size, size), like.new_zeros(size, size)
    training = [(module, module.training) for module in (objective, field)]
    try:
        for module, _ in training:
            module.eval()  # the loss and the field as they are validated
        for name in objective.statements:
            some, part = points_of[name.partition(":")[0]], inside if name == INSIDE else sides
            for jacobian in objective.jacobians(field, name, some, parameters):
                rows = jacobian.flatten(0, 1)
                part.addmm_(rows.T, rows, alpha=1.0 / len(some))
    finally:
        for module, before in training:
            module.train(before)
    if not bool(torch.isfinite(inside).all() & torch.isfinite(sides).all()):
        name, expected = f"model {type(field).__name__}", "finite residuals and slopes at all points"
        raise InvalidInput(name, "some that are not", expected)
    return ConditionNumber(inside, sides, best_weight(inside, sides))


def _fine_points(objective: PhysicsInformed, field: Field) -> dict[str, Tensor]:
    """A grid of more points than parameters, on which products of two waves are still told apart."""
    core = field.network if isinstance(field, HardConditions) else field
    problem = objective.problem
    count, dim = sum(p.numel() for p in field.parameters()), len(problem.coordinates)
    each = math.ceil(max(FEWEST, 4 * count) ** (1 / dim))
    if isinstance(core, FourierFeatures):
        each = max(each, 2 * max(core.settings["modes"]) + 1)
    data = Collocation(problem, inside=each**dim, on_sides=each ** max(1, dim - 1), sampler="grid")
    if objective.interfaces is not None:
        data.interfaces = objective.interfaces.places
    return data.points(0, each**dim)


def _quotient(eigenvalues: Tensor) -> float:
    smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    rounding = len(eigenvalues) * torch.finfo(eigenvalues.dtype).eps * largest
    return largest / smallest if smallest > rounding else math.inf


def best_weight(inside: Tensor, sides: Tensor) -> float:
    r"""The lambda that makes the condition number smallest, the largest one if there are several.

    The largest eigenvalue is a convex function of lambda and the smallest one a concave function: their
    quotient has one valley, and its slope tells on which side of it lambda is. With the eigenvectors v,

    .. math:: \frac{d \log \kappa}{d \log \lambda} = s(v_{\max}) - s(v_{\min}), \qquad
              s(v) = \frac{\lambda v^T A_{\partial\Omega} v}{v^T A v},

    which is right too where the smallest eigenvalue itself is lost in rounding.
    """
    if not bool(sides.any()):
        return 0.0
    unit = float(inside.trace() / sides.trace()) or 1.0

    def slope(decade: float) -> float:
        outer = unit * 10.0**decade * sides
        ends = torch.linalg.eigh(inside + outer).eigenvectors[:, [0, -1]]
        first, second = ((ends * (part @ ends)).sum(0) for part in (inside, outer))
        smallest, largest = (second / (first + second)).tolist()
        return largest - smallest

    low, high = DECADES
    for _ in range(STEPS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if slope(middle) < FLAT else (low, middle)
    return unit * 10.0 ** ((low + high) / 2.0)
