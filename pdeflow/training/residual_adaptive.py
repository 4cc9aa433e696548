"""Where to look next: points inside that are chosen anew while a field is trained."""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput


class Resampling(abc.ABC):
    """Chooses new points inside after so many steps; those on sides are drawn anew then, spread evenly.

    Parameters
    ----------
    every
        Steps of the optimiser.
    """

    needs_residuals = True
    """Whether the choice depends on the model."""

    def __init__(self, every: int = 100) -> None:
        if every < 1:
            raise InvalidInput("data.resample.every", every, "at least 1 step")
        self.every = every

    @abc.abstractmethod
    def choose(
        self,
        points: Tensor,
        draw: Callable[[int], Tensor],
        residual: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """The next points (N, d).

        Parameters
        ----------
        points
            (N, d), those until now.
        draw
            Of a number, about as many new points inside, spread evenly.
        residual
            Of points (n, d), the norm (n,) of the residual there, float64 on the host.
        rng
            Of this choice alone.
        """


class Redraw(Resampling):
    """New points, spread evenly."""

    needs_residuals = False

    def choose(
        self,
        points: Tensor,
        draw: Callable[[int], Tensor],
        residual: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """See :meth:`Resampling.choose`."""
        return draw(len(points))


class RAD(Resampling):
    r"""Residual-based adaptive distribution: drawn with :math:`p(x) \propto |R|^k / \overline{|R|^k} + c`.

    Among candidates that are spread evenly, none twice. C. Wu, M. Zhu, Q. Tan, Y. Kartha, L. Lu, "A
    comprehensive study of non-adaptive and residual-based adaptive sampling for physics-informed neural
    networks", Comput. Methods Appl. Mech. Eng. 403 (2023).

    Parameters
    ----------
    every
        Steps of the optimiser.
    power
        k: how much large residuals count.
    floor
        c: the share that is even.
    candidates
        For each point that is drawn.
    """

    def __init__(
        self, every: int = 100, power: float = 1.0, floor: float = 1.0, candidates: int = 10
    ) -> None:
        super().__init__(every)
        if not power > 0:
            raise InvalidInput("data.resample.power", power, "a positive number")
        if not floor >= 0:
            raise InvalidInput("data.resample.floor", floor, "a number of at least 0")
        if candidates < 2:
            raise InvalidInput("data.resample.candidates", candidates, "at least 2")
        self.power, self.floor, self.candidates = power, floor, candidates

    def choose(
        self,
        points: Tensor,
        draw: Callable[[int], Tensor],
        residual: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """See :meth:`Resampling.choose`."""
        places = draw(self.candidates * len(points))
        size = residual(places) ** self.power
        if not bool(size.isfinite().all()):
            return points  # a model that is lost says nothing of where to look
        mean = float(size.mean())
        # Where the equation holds everywhere, every place is as good.
        weights = (size / mean + self.floor if mean > 0 else torch.ones_like(size)).numpy()
        # The largest of log(uniform) / weight: without replacement (P. S. Efraimidis, P. G. Spirakis, 2006).
        with np.errstate(divide="ignore"):
            keys = np.log(rng.random(len(weights))) / weights
        return places[torch.from_numpy(np.sort(np.argsort(-keys)[: len(points)]))]


class R3(Resampling):
    r"""Retain, resample, release: points with :math:`|R|` above the mean stay, the others are drawn anew.

    A. Daw, J. Bu, S. Wang, P. Perdikaris, A. Karpatne, "Mitigating propagation failures in physics-informed
    neural networks using retain-resample-release (R3) sampling", ICML 2023.

    Parameters
    ----------
    every
        Steps of the optimiser.
    """

    def choose(
        self,
        points: Tensor,
        draw: Callable[[int], Tensor],
        residual: Callable[[Tensor], Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """See :meth:`Resampling.choose`."""
        size = residual(points)
        kept = points[size > size.mean()]
        missing = len(points) - len(kept)
        new = draw(2 * missing + 8)
        return torch.cat([kept, new[torch.from_numpy(np.sort(rng.permutation(len(new))[:missing]))]])
