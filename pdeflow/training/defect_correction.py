r"""How wrong a solution is, estimated by the correction that its residual asks for.

With the linearisation :math:`L_u` of a statement about u, the error :math:`e = u^* - u` solves

.. math:: L_u e = -R(u)

to first order, inside and on the sides: of a linear statement exactly. Here e is sought by least squares
among sums of plane waves, which meet what the form of the field meets: another space than that of the
network, whose own has little left to offer after training. It may be too small as well, so the residual with
the correction is looked at where nothing was fitted. If a share :math:`\rho` of it is left, and what is left
of the error is in proportion, then

.. math:: \|u^* - u\| \le \frac{\|e\|}{1 - \rho}.

That the other space sees the error is the assumption of saturation: this is an estimate, and no bound.

H. J. Stetter, "The defect correction principle and discretization methods", Numer. Math. 29 (1978).
R. E. Bank, R. K. Smith, "A posteriori error estimates based on hierarchical bases", SIAM J. Numer. Anal. 30
(1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy
import torch
from torch import Tensor

from pdeflow.fields import Field, FourierFeatures, HardConditions
from pdeflow.problems.compiled_statement import MultiIndex
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed

COLUMNS = 1000
"""Amplitudes at most, of all unknowns together: their least squares take half a second on one core."""

PERIOD = 1.5
"""Of the waves, in lengths of an axis that does not wrap around: what they extend has not to be periodic."""

SATURATED = 0.5
"""The largest share of the residual that may be left. Above it the waves do not see what is wrong."""

RIDGE = 0.7
"""The power of the rounding unit that regularises: 1e-11 in double precision, of squares."""


@dataclass(frozen=True)
class ErrorEstimate:
    """What a field lacks.

    Attributes
    ----------
    correction
        The field e.
    left
        The share of the residual that it leaves, as the loss weighs it.
    relative
        For each unknown the root of the mean square of e over that of u + e, divided by 1 - left.
    """

    correction: Field
    left: float
    relative: dict[str, float]


class Corrected(Field):
    """The sum of a field and a correction. Gradients by parameters are those of the correction alone."""

    def __init__(self, field: Field, correction: Field) -> None:
        super().__init__(
            field.settings,
            lower=field.lower,
            upper=field.upper,
            periodic=field.periodic,
            components=field.out_channels,
        )
        self.field, self.correction = field, correction

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        added = self.correction.derivatives(points, wanted)
        return {
            index: value + added[index] for index, value in self.field.derivatives(points, wanted).items()
        }

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`."""
        found = self.correction.pointwise_gradients(points, cotangents)
        return {f"correction.{name}": slope for name, slope in found.items()}


def modes_along_an_axis(field: Field) -> int:
    """How many waves there are along each axis that `COLUMNS` allow; 0 where there are too many axes."""
    modes = 0
    while field.out_channels * (2 * modes + 3) ** field.dim <= COLUMNS:
        modes += 1
    return modes


@torch.no_grad()
def estimate_error(
    objective: PhysicsInformed, field: Field, fitted: Mapping[str, Tensor], others: Mapping[str, Tensor]
) -> ErrorEstimate | None:
    """Estimate the error of a field; None where the waves do not see it, by `SATURATED`.

    Parameters
    ----------
    objective, field
        The statement and its solution, in evaluation mode; of one network, and with known parameters.
    fitted, others
        Points by ``"inside"`` and the names of sides. The correction is fitted at the first, more than
        `COLUMNS` of them, and judged at the others.
    """
    modes = modes_along_an_axis(field)
    if not modes:
        return None
    correction = _waves(field, modes)
    total = Corrected(field, correction).to(fitted[INSIDE])
    learned = {f"field.correction.{name}": p for name, p in correction.named_parameters()}
    (amplitudes,) = learned.values()
    amplitudes.zero_()
    with torch.enable_grad():
        residual, jacobian = objective.linearised(total, learned, {"points": fitted})
    residual, jacobian = residual.detach(), jacobian.detach()
    if not bool(torch.isfinite(residual).all() & torch.isfinite(jacobian).all()):
        return None
    amplitudes.copy_(_least_squares(jacobian, -residual).view_as(amplitudes))
    before, after = (objective.weighted(part, {"points": others}).norm() for part in (field, total))
    left = float(after / before) if before > 0 else 0.0
    if not left <= SATURATED:
        return None
    wrong, right = correction.at(others[INSIDE]), total.at(others[INSIDE])
    shares = (wrong.square().mean(0) / right.square().mean(0)).sqrt() / (1 - left)
    shares = torch.where(wrong.any(0), shares, 0.0)
    return ErrorEstimate(correction, left, dict(zip(objective.problem.fields, shares.tolist())))


def _waves(field: Field, modes: int) -> Field:
    """Sums of waves, which vanish where the form of a field meets conditions."""
    waves = FourierFeatures(
        field.lower,
        field.upper,
        field.out_channels,
        field.periodic,
        modes=[modes] * field.dim,
        periods=[1.0 if wraps else PERIOD for wraps in field.periodic],
    )
    if not isinstance(field, HardConditions):
        return waves
    return HardConditions(waves, [sympy.Integer(0)] * field.out_channels, field.distance, field.coordinates)


def _least_squares(jacobian: Tensor, right: Tensor) -> Tensor:
    """Amplitudes (P,) that make J a nearest to b, those of columns of norm 1 kept small."""
    eps = torch.finfo(jacobian.dtype).eps
    wide, right = jacobian.double(), right.double()
    sizes = wide.norm(dim=0)
    sizes = torch.where(sizes > 0, sizes, 1.0)
    wide = wide / sizes
    gram = wide.T @ wide
    gram.diagonal().add_(eps**RIDGE * len(gram))
    return torch.cholesky_solve((wide.T @ right)[:, None], torch.linalg.cholesky(gram))[:, 0] / sizes
