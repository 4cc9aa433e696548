r"""What is left of a statement beside the size of its own terms: its backward error.

At a point an equation is a sum of terms, :math:`R = \sum_k T_k`, with all that is given as one of them. Where

.. math:: |R| \le \omega \sum_k |T_k|,

there are factors :math:`1 + \epsilon_k`, none of them further than omega from 1, with which the terms add up
to 0: u solves an equation whose terms are changed by no more than that, exactly. So a residual of 0.01 is
small in an equation with terms of 100, and large in one with terms of 0.02.

W. Oettli, W. Prager, "Compatibility of approximate solution of linear equations with given error bounds for
coefficients and right-hand sides", Numer. Math. 6 (1964), for each row of a linear system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.fields import Field
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed
from pdeflow.training.statement_slopes import StatementSlopes

OBSERVED = "observed"
"""How the names of values that are known at points begin."""


@dataclass(frozen=True)
class BackwardError:
    """What is left of an equation or a condition.

    Attributes
    ----------
    name
        ``"equation"``, of several ``"equation 2"``; or the condition, such as ``"x-:value"``.
    residual, terms
        Roots of mean squares over points, of the residual and of the sum of the absolute values of the terms.
    met
        ``"inside"`` for an equation; for a condition ``"form"`` where the form of the field meets it,
        ``"learned"`` where the loss asks for it, and ``"measured"`` where it is values at points, which may
        have errors of their own.
    """

    name: str
    residual: float
    terms: float
    met: str

    @property
    def relative(self) -> float:
        """The residual over its terms, at most 1 for an equation; 0 where there is nothing but zeros."""
        return self.residual / self.terms if self.residual else 0.0


@torch.no_grad()
def backward_errors(
    objective: PhysicsInformed, field: Field, points: Mapping[str, Tensor]
) -> list[BackwardError]:
    """Of each equation, then of each condition, those that the form of the field meets included.

    On a side a condition may leave no terms to compare with, as u = 0 does where u is small. Its terms with
    the unknown count inside of the domain too: u = 0 is met as well as u is small beside its values inside.

    Parameters
    ----------
    objective, field
        The statement, and its solution.
    points
        By ``"inside"`` and the names of sides, best ones that training has not seen.
    """
    slopes = StatementSlopes(objective.problem.coordinates, objective.unknown, objective.curriculum)
    inside, equations = points[INSIDE], objective.statements[INSIDE]
    residuals = slopes.values(field, equations, inside)
    sizes = torch.stack(slopes.sizes(field, equations, inside)).sum(0)
    names = ["equation"] if equations.parts == 1 else [f"equation {k + 1}" for k in range(equations.parts)]
    columns = zip(names, residuals.unbind(1), sizes.unbind(1))
    found = [BackwardError(name, _rms(left), _rms(terms), "inside") for name, left, terms in columns]
    # Normals and values, which points of some conditions carry, stand in further columns: 1 will do inside.
    everywhere = torch.cat([inside, torch.ones_like(inside)], dim=1)
    for name, statement in objective.conditions.items():
        place = name.partition(":")[0]
        asked = field if objective.interfaces is None else objective.interfaces.asked_of(name, field)
        left = slopes.values(asked, statement, points[place])
        there = torch.stack(slopes.sizes(asked, statement, points[place])).sum(0)
        terms = (_rms(there) ** 2 + _rms(slopes.sizes(field, statement, everywhere)[0]) ** 2) ** 0.5
        met = "learned" if name in objective.statements else "form"
        found.append(
            BackwardError(name, _rms(left), terms, "measured" if place.startswith(OBSERVED) else met)
        )
    return found


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
