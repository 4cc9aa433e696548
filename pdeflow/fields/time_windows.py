"""A network a window of time, joined to one field that is continuous."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.fields.mlp import MLP
from pdeflow.problems.compiled_statement import MultiIndex


class TimeWindows(Field):
    r"""In each of K equal windows of the last coordinate, time, what was reached before and a network's part:

    .. math:: u(x, t) = N_1(x, s_1) + \sum_{k=2}^K \frac{s_k - t_k}{t_{k+1} - t_k} N_k(x, s_k), \qquad
              s_k = \min(\max(t, t_k), t_{k+1}),

    where the window k is from :math:`t_k` to :math:`t_{k+1}`. What a network adds vanishes before its window
    and stays as it is after it, so that windows can be solved one after the other (``TimeMarching``).
    Derivatives by time jump where windows meet, unless the solution is found, and there are those of the
    later one.

    Parameters
    ----------
    lower, upper, components, periodic, widths, activation
        As of `MLP`, the box of all windows together.
    windows
        K.

    Raises
    ------
    InvalidInput
        As `MLP`, and if there are less than two windows, or time wraps around.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0, 0.0),
        upper: Sequence[float] = (1.0, 1.0),
        components: int = 1,
        periodic: Sequence[bool] = (),
        windows: int = 4,
        widths: Sequence[int] = (20, 20),
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "windows": windows,
            "widths": list(widths),
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if windows < 2:
            raise InvalidInput("model.windows", windows, "at least 2", "One window is an MLP.")
        if self.periodic[-1]:
            raise InvalidInput(
                "model.periodic", list(periodic), "a last coordinate that does not wrap around"
            )
        self.windows = windows
        self.current: int | None = None
        start, stop = self.lower[-1], self.upper[-1]
        self.times = [start + (stop - start) * k / windows for k in range(windows)] + [stop]
        self.networks = nn.ModuleList(
            MLP(
                [*self.lower[:-1], low],
                [*self.upper[:-1], high],
                components,
                self.periodic,
                widths,
                activation,
            )
            for low, high in itertools.pairwise(self.times)
        )

    def train_window(self, number: int) -> None:
        """Let the network of one window alone need gradients; in training later ones count for nothing.

        Parameters
        ----------
        number
            From 0.
        """
        self.current = number
        for k, network in enumerate(self.networks):
            network.requires_grad_(k == number)

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        total: dict[MultiIndex, Tensor] = {}
        for k, network in self._counting():
            places, factors = self._window(k, points, wanted)
            known = network.derivatives(places, list(dict.fromkeys(i for f in factors.values() for i in f)))
            for index, parts in factors.items():
                part = torch.stack([factor[:, None] * known[i] for i, factor in parts.items()]).sum(0)
                total[index] = total[index] + part if index in total else part
        return total

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`; of networks that need gradients."""
        self.check_points(points)
        found = {}
        for k, network in self._counting():
            if not any(p.requires_grad for p in network.parameters()):
                continue
            places, factors = self._window(k, points, tuple(cotangents))
            weights: dict[MultiIndex, Tensor] = {}
            for index, parts in factors.items():
                for i, factor in parts.items():
                    term = factor[:, None] * cotangents[index]
                    weights[i] = weights[i] + term if i in weights else term
            for name, slope in network.pointwise_gradients(places, weights).items():
                found[f"networks.{k}.{name}"] = slope
        return found

    def _counting(self) -> Iterator[tuple[int, MLP]]:
        """The networks that count, by number."""
        last = self.current if self.training and self.current is not None else self.windows - 1
        for k, network in enumerate(self.networks):
            assert isinstance(network, MLP)
            if k <= last:
                yield k, network

    def _window(
        self, k: int, points: Tensor, wanted: Sequence[MultiIndex]
    ) -> tuple[Tensor, dict[MultiIndex, dict[MultiIndex, Tensor]]]:
        """Where network k is evaluated (N, d), and what its derivatives (N,) count in those of the field."""
        low, high, first, last = self.times[k], self.times[k + 1], k == 0, k == self.windows - 1
        t = points[:, -1]
        s = t.clamp(None if first else low, None if last else high)
        here = torch.ones_like(t, dtype=torch.bool) if first else t >= low
        if not last:
            here = here & (t < high)
        inside = here.to(points.dtype)
        places = torch.cat([points[:, :-1], s[:, None]], dim=1)
        factors = {}
        for index in dict.fromkeys(wanted):
            moves = inside if index[-1] else torch.ones_like(inside)
            parts = {index: moves if first else moves * (s - low) / (high - low)}
            if index[-1] and not first:
                parts[(*index[:-1], index[-1] - 1)] = index[-1] / (high - low) * inside
            factors[index] = parts
        return places, factors
