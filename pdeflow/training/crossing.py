"""Whether characteristics that are learned cross: the map from starts to places then folds.

In a shock characteristics bring several values of u to one place. The equations that are learned along them
hold there as everywhere, so that no residual tells (P. D. Lax, "Hyperbolic systems of conservation laws and
the mathematical theory of shock waves", SIAM 1973).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.fields import Field
from pdeflow.problems.along_characteristics import DISPLACEMENT, AlongCharacteristics
from pdeflow.problems.initial import TIME

ADVICE = (
    "End the time of the domain before that, or learn the statement itself, with some viscosity, instead of "
    "AlongCharacteristics."
)


@dataclass(frozen=True)
class Crossing:
    """Where characteristics cross first, as far as was looked.

    Attributes
    ----------
    time
        When.
    place
        Where, along the axis of the statement.
    start
        Where what is there comes from.
    stretch
        The derivative of the place by the start, which is negative.
    axis
        The name of that axis.
    """

    time: float
    place: float
    start: float
    stretch: float
    axis: str

    @property
    def told(self) -> str:
        """A part of a sentence."""
        stretch = f"1 + d {DISPLACEMENT} / d{self.axis} = {self.stretch:.2g}"
        return (
            f"characteristics cross from {TIME} = {self.time:.3g} on, first at "
            f"{self.axis} = {self.place:.3g} (there {stretch}, of what started at {self.axis} = "
            f"{self.start:.3g}): the solution has several values at one place, as in a shock"
        )


@torch.no_grad()
def first_crossing(problem: AlongCharacteristics, field: Field, points: Tensor) -> Crossing | None:
    r"""The earliest of the points (N, 2) where :math:`1 + d_\xi \le 0`; None where things keep their order.

    Parameters
    ----------
    problem
        Its ``displacement`` is d.
    field
        Learned from it.
    points
        Places at the start, and times, in the order of the axes.
    """
    along, now = problem.domain.axes.index(problem.space), problem.domain.axes.index(TIME)
    unknown = problem.fields.index(DISPLACEMENT)
    slope = tuple(int(k == along) for k in range(2))
    found = field.derivatives(points, [(0, 0), slope])
    moved, stretch = found[0, 0][:, unknown], 1.0 + found[slope][:, unknown]
    times = torch.where(stretch <= 0, points[:, now], torch.inf)
    first = int(times.argmin())
    if not bool(stretch[first] <= 0):
        return None
    start = float(points[first, along])
    return Crossing(
        float(points[first, now]), start + float(moved[first]), start, float(stretch[first]), problem.space
    )
