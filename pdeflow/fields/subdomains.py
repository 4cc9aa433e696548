"""A network on each part of a box, with what their values and derivatives jump by where they meet.

A. D. Jagtap, E. Kharazmi, G. E. Karniadakis, "Conservative physics-informed neural networks on discrete
domains for conservation laws", Comput. Methods Appl. Mech. Eng. 365 (2020); A. D. Jagtap, G. E. Karniadakis,
"Extended physics-informed neural networks (XPINNs)", Commun. Comput. Phys. 28 (2020).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.fields.hard_conditions import HardConditions
from pdeflow.fields.mlp import MLP
from pdeflow.problems.compiled_statement import MultiIndex


class Subdomains(Field):
    """On each of a grid of boxes, which do not overlap, an MLP of its own that sees it scaled to [-1, 1].

    Nothing in its form joins the networks: `PhysicsInformed` asks that values and derivatives do not jump at
    the ``interfaces``, in terms of the loss of their own, as in cPINN and XPINN. A point of an interface
    belongs to the box above it, or while :meth:`seen_from_below` to that below. Each network is evaluated at
    the points of its own box alone.

    Parameters
    ----------
    lower, upper, components, periodic, widths, activation
        As of `MLP`, the box of all parts together; widths are those of each network.
    subdomains
        For each axis the number of equal parts, or the places inside where it is cut, from below upwards:
        ``[2, [0.1, 0.9]]``. An axis that wraps around and is cut has an interface at its end too.

    Raises
    ------
    InvalidInput
        As `MLP`, and if there are not as many entries as axes, no axis is cut, a number of parts is less than
        1, or places do not grow inside of the box.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
        subdomains: Sequence[int | Sequence[float]] = (2,),
        widths: Sequence[int] = (20, 20),
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "subdomains": [_as_said(parts) for parts in subdomains],
            "widths": list(widths),
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if len(subdomains) != self.dim:
            expected = f"{self.dim} entries, one an axis"
            raise InvalidInput("model.subdomains", settings["subdomains"], expected)
        self.ends = [
            _ends(low, high, parts)
            for low, high, parts in zip(self.lower, self.upper, settings["subdomains"])
        ]
        counts = [len(ends) - 1 for ends in self.ends]
        if math.prod(counts) == 1:
            hint = "One subdomain is an MLP."
            raise InvalidInput(
                "model.subdomains", settings["subdomains"], "an axis with 2 parts or more", hint
            )
        self.strides = [math.prod(counts[k + 1 :]) for k in range(self.dim)]
        wraps = [wrap and count == 1 for wrap, count in zip(self.periodic, counts)]
        boxes = itertools.product(*(itertools.pairwise(ends) for ends in self.ends))
        self.networks = nn.ModuleList(
            MLP([low for low, _ in box], [high for _, high in box], components, wraps, widths, activation)
            for box in boxes
        )
        self._below = False

    @property
    def interfaces(self) -> tuple[tuple[int, float], ...]:
        """The planes where networks meet: the number of an axis, and where they cross it."""
        found = []
        for k, (ends, wraps) in enumerate(zip(self.ends, self.periodic)):
            if len(ends) > 2:
                found += [(k, place) for place in ends[0 if wraps else 1 : -1]]
        return tuple(found)

    @contextlib.contextmanager
    def seen_from_below(self) -> Iterator[None]:
        """Meanwhile points of an interface belong to the box below it."""
        self._below = True
        try:
            yield
        finally:
            self._below = False

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        numbers, places = self._placed(points)
        if torch.compiler.is_compiling() or points.is_meta or len(points) < 2:
            # Which points are whose cannot be asked here (nor under vmap, a point at a time), or there are
            # none: all of each.
            first, *others = [network.derivatives(places, wanted) for network in self._mlps()]
            for k, found in enumerate(others, 1):
                own = (numbers == k)[:, None]
                first = {index: torch.where(own, found[index], value) for index, value in first.items()}
            return first
        rows = self._rows(numbers)
        own = [
            network.derivatives(places[some], wanted)
            for network, some in zip(self._mlps(), rows)
            if len(some)
        ]
        back = torch.cat(rows).argsort()
        return {index: torch.cat([found[index] for found in own])[back] for index in wanted}

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: 0 by what belongs to other boxes."""
        self.check_points(points)
        numbers, places = self._placed(points)
        gradients = {}
        for k, (network, some) in enumerate(zip(self._mlps(), self._rows(numbers))):
            learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
            found: dict[str, Tensor] = {}
            if len(some) and learned:
                parts = {index: cotangent[some] for index, cotangent in cotangents.items()}
                found = network.pointwise_gradients(places[some], parts)
            for name, p in learned.items():
                slope = points.new_zeros(len(points), *p.shape)
                gradients[f"networks.{k}.{name}"] = (
                    slope.index_copy_(0, some, found[name]) if name in found else slope
                )
        return gradients

    def _mlps(self) -> Iterator[MLP]:
        for network in self.networks:
            assert isinstance(network, MLP)
            yield network

    def _placed(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers (N,) of the boxes of points, and the points, moved into the box where axes wrap."""
        columns, numbers = list(points.unbind(1)), torch.zeros_like(points[:, 0], dtype=torch.int64)
        for k, (ends, stride) in enumerate(zip(self.ends, self.strides)):
            if len(ends) == 2:
                continue
            if self.periodic[k]:
                length = ends[-1] - ends[0]
                turns = (columns[k].detach() - ends[0]) / length
                columns[k] = columns[k] - length * (turns.ceil() - 1 if self._below else turns.floor())
            place, cuts = columns[k].detach()[:, None], points.new_tensor(ends[1:-1])
            numbers = numbers + stride * (place > cuts if self._below else place >= cuts).sum(1)
        return numbers, torch.stack(columns, dim=1)

    def _rows(self, numbers: Tensor) -> tuple[Tensor, ...]:
        """For each network which points are its own; the one place where the host waits for a device."""
        sizes = torch.bincount(numbers, minlength=len(self.networks)).tolist()
        return numbers.argsort(stable=True).split(sizes)


class Jump(Field):
    r"""By how much a field jumps across interfaces: :math:`b \partial^\alpha u^+ - a \partial^\alpha u^-`.

    u+ is what the network above an interface gives at its points, u- the one below. What is asked of it is a
    condition on the interface; parameters have the names that they have in the field.

    Parameters
    ----------
    field
        `Subdomains`, or `HardConditions` around it.
    below, above
        a and b.

    Raises
    ------
    InvalidInput
        If the field has no interfaces.
    """

    def __init__(self, field: Field, below: float = 1.0, above: float = 1.0) -> None:
        super().__init__(
            field.settings,
            lower=field.lower,
            upper=field.upper,
            periodic=field.periodic,
            components=field.out_channels,
        )
        parts = subdomains_of(field)
        if parts is None:
            raise InvalidInput("model", type(field).__name__, "Subdomains, whose parts meet")
        self.field, self.parts = field, parts
        self.below, self.above = below, above

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        return self._across(functools.partial(self.field.derivatives, points, wanted))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`."""
        return self._across(functools.partial(self.field.pointwise_gradients, points, cotangents))

    def _across(self, evaluate: Any) -> dict[Any, Tensor]:
        above = evaluate()
        with self.parts.seen_from_below():
            below = evaluate()
        return {key: self.above * value - self.below * below[key] for key, value in above.items()}


def subdomains_of(field: Field) -> Subdomains | None:
    """The parts of a field, which may meet conditions by its form; None where it is one network."""
    core = field.network if isinstance(field, HardConditions) else field
    return core if isinstance(core, Subdomains) else None


def _as_said(parts: Any) -> int | list[float]:
    """An entry of ``subdomains``, a number of parts or places, of types that a file knows."""
    if isinstance(parts, Integral):
        return int(parts)
    if isinstance(parts, Sequence) and all(isinstance(place, Real) for place in parts):
        return [float(place) for place in parts]
    raise InvalidInput("model.subdomains", parts, "a whole number of parts, or a list of places")


def _ends(low: float, high: float, parts: int | list[float]) -> list[float]:
    """Where the parts of an axis end, both ends of the axis included."""
    if isinstance(parts, int):
        if parts < 1:
            raise InvalidInput("model.subdomains", parts, "at least 1 part of each axis")
        return [low + (high - low) * k / parts for k in range(parts)] + [high]
    ends = [low, *parts, high]
    if any(not a < b for a, b in itertools.pairwise(ends)):
        expected = f"places that grow, above {low:g} and below {high:g}"
        raise InvalidInput("model.subdomains", parts, expected)
    return ends
