"""Systems of conservation laws whose waves go at finite speeds."""

from __future__ import annotations

import abc
import functools
import operator
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.cell_evolution import CellEvolution
from pdeflow.problems.unknowns import components

if TYPE_CHECKING:
    from pdeflow.problems.finite_volumes import CellTrajectory


class HyperbolicSystem(CellEvolution, abc.ABC):
    """``w_t + f(w)_x + g(w)_y = 0`` on a box: derive from it, give the fluxes and the speeds of their waves.

    What is conserved are the unknowns themselves, ``fields``. Each starts from a parameter of its name with a
    0, ``h0`` for ``h``: a field, or a number where it does not vary. Solved by finite volumes.

    An axis that does not wrap has two ends. One that is named in ``walls``, ``"x-"`` or ``"x+"``, reflects
    waves: beyond it everything is as in a mirror, in which the unknowns that ``mirrored`` names for the axis
    change their sign. Any other is open, and waves leave through it: beyond it everything is as in the last
    cell.
    """

    walls: tuple[str, ...] = ()
    mirrored: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    @abc.abstractmethod
    def flux(self, w: Any, axis: str, p: Any) -> Any:
        """What flows along the axis, of each unknown; of several a tuple."""

    @abc.abstractmethod
    def waves(self, left: Any, right: Any, axis: str, p: Any) -> tuple[Tensor, Tensor]:
        """Bounds of the speeds along the axis at which two states part that lie side by side.

        Given are tensors, by name. With the eigenvalues of the states and of their mean by Roe, as B.
        Einfeldt proposes (SIAM J. Numer. Anal. 25, 1988), shocks and fans are within the bounds. Of one state
        twice, they are its own slowest and fastest speed. Where a state is none that can be, they are NaN,
        and the step that led there is not taken.
        """

    def check_start(self, w: Any) -> None:
        """Raise InvalidInput for averages at time 0 that have no solution; by default none are refused."""
        return

    def rate(self, u: Any, p: Any) -> Any:
        """``-f(w)_x - g(w)_y``."""
        method = f"{type(self).__name__}.flux"
        rates = []
        fluxes = [components(self.fields, self.flux(u, axis, p), method) for axis in self.domain.axes]
        for of_one in zip(*fluxes):
            first, *others = (D(flux, axis) for flux, axis in zip(of_one, self.domain.axes))
            rates.append(functools.reduce(operator.sub, others, -first))
        return rates[0] if len(rates) == 1 else tuple(rates)

    @property
    def ends(self) -> dict[str, str]:
        """What each side of an axis that does not wrap is, ``"wall"`` or ``"open"``."""
        return {side: "wall" if side in self.walls else "open" for side in self.domain.sides}

    def grid(self, points: Any) -> Grid:
        """The centres of so many equal cells along each axis."""
        known = self.domain.sides
        for side in self.walls:
            if side not in known:
                hint = "An axis that wraps has no sides."
                raise InvalidInput("walls", side, f"sides of {self.domain}", hint, choices=known)
            if not self.mirrored.get(side[:-1]):
                expected = f"an axis for which {type(self).__name__}.mirrored says what changes its sign"
                raise InvalidInput("walls", side, expected)
        return super().grid(points)

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the nodes are the centres of cells, and each unknown has its start."""
        super().check_grid(grid)
        self._check_initials()

    def evolve(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-12,
        device: torch.device | str | None = None,
    ) -> CellTrajectory:
        """The solutions from time 0 to ``stop``; see :func:`pdeflow.problems.system_volumes.evolve`."""
        from pdeflow.problems.system_volumes import evolve

        return evolve(self, grid, parameters, stop, instants, rtol=rtol, device=device)

    def statement(self) -> dict[str, Any]:
        """As of any problem, with the ends."""
        return super().statement() | {"ends": self.ends}

    def describe(self) -> dict[str, Any]:
        """As of any problem; the conditions say which ends are walls and which are open."""
        card = super().describe()
        kinds = {kind: [side for side, own in self.ends.items() if own == kind] for kind in ("wall", "open")}
        said = [f"{kind} on {', '.join(which)}" for kind, which in kinds.items() if which]
        return card | {"conditions": said + card["conditions"]}
