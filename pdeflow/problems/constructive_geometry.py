"""Domains made of others: union, intersection, difference.

A. A. G. Requicha, "Representations for rigid solids: theory, methods, and systems", ACM Comput. Surv. 12
(1980); as functions V. L. Rvachev, see :func:`~pdeflow.problems.r_functions.conjunction`.
"""

from __future__ import annotations

import abc
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.domain import Domain, Piece
from pdeflow.problems.r_functions import conjunction, disjunction
from pdeflow.problems.space_filling import space_filling

_TINY = 1e-18
"""Added to distances that are divided by, so that where they vanish there is still a value and a slope."""
_PLACES = 64
"""Points of a side at which to look whether parts touch."""


class Combination(Domain, abc.ABC):
    """Two domains of the same axes, combined.

    Raises
    ------
    InvalidInput
        If their axes differ, one wraps around, or nothing is left.
    """

    sign: str

    def __init__(self, first: Domain, second: Domain) -> None:
        self.first, self.second = first, second
        if first.axes != second.axes:
            raise InvalidInput("axes", second.axes, f"{first.axes}, those of {first}")
        for part in (first, second):
            if any(part.periodic):
                hint = "Combine bounded domains only."
                raise InvalidInput("domain", part, "one without axes that wrap around", hint)
        self.axes, self.periodic = first.axes, first.periodic
        self.lower, self.upper = self._corners()
        if not all(low < high for low, high in zip(self.lower, self.upper)) or not self.share_of_box:
            hint = "Look whether the parts meet, and which is taken from which."
            raise InvalidInput("domain", self, "a domain that is not empty", hint)

    @abc.abstractmethod
    def _corners(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Of the box around what is left."""

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`; where both have the same boundary, the first one's counts."""

        def repeated(points: np.ndarray, normals: np.ndarray, own: Any = None) -> np.ndarray:
            twice = self.first.on_boundary(points, normals)
            return twice if own is None else twice | own(points, normals)

        second = (
            replace(piece, repeated=lambda x, n, own=piece.repeated: repeated(x, n, own))
            for piece in self._second_pieces()
        )
        return (*self.first.pieces(), *second)

    def _second_pieces(self) -> tuple[Piece, ...]:
        return self.second.pieces()

    def __repr__(self) -> str:
        return f"({self.first} {self.sign} {self.second})"


class Union(Combination):
    """``first | second``: what lies in either."""

    sign = "|"

    def _corners(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        lower, upper = zip(self.first.lower, self.second.lower), zip(self.first.upper, self.second.upper)
        return tuple(min(pair) for pair in lower), tuple(max(pair) for pair in upper)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return self.first.contains(points) | self.second.contains(points)

    def _touch(self) -> bool:
        """Whether the parts have boundary in common and lie on its two sides."""
        for side in self.first.sides:
            points, normals = self.first.on_side(side, _PLACES, _spread)
            if self.second.on_boundary(points, -normals).any():
                return True
        return False

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return disjunction(self.first.signed_distance(at), self.second.signed_distance(at))

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`; for all sides together only, and where parts do not merely touch.

        Where they do, both distances vanish inside of the union.
        """
        self.check_sides("sides", sides)
        _require_all(self, self.sides, sides)
        if self._touch():
            hint = "Let them overlap, or learn the values (objective.hard: false)."
            raise InvalidInput(
                "domain", self, "parts that overlap, or are apart, to vanish on all sides", hint
            )
        return self.signed_distance(at) / self.size


class Intersection(Combination):
    """``first & second``: what lies in both."""

    sign = "&"

    def _corners(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        lower, upper = zip(self.first.lower, self.second.lower), zip(self.first.upper, self.second.upper)
        return tuple(max(pair) for pair in lower), tuple(min(pair) for pair in upper)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return self.first.contains(points) & self.second.contains(points)

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return conjunction(self.first.signed_distance(at), self.second.signed_distance(at))

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`: a product, which is smoother than the conjunction."""
        self.check_sides("sides", sides)
        parts = [part.vanishing(at, own) for part in (self.first, self.second) if (own := _own(part, sides))]
        return _product(parts)


class Difference(Combination):
    """``first - second``: what lies in the first only; normals on the second's boundary point into it."""

    sign = "-"

    def _corners(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return self.first.lower, self.first.upper

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return self.first.contains(points) & ~self.second.contains(points)

    def _second_pieces(self) -> tuple[Piece, ...]:
        return tuple(_turned(piece) for piece in self.second.pieces())

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return conjunction(self.first.signed_distance(at), -self.second.signed_distance(at))

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        r"""See :meth:`Domain.vanishing`: a product of what is left of the first, and of all that is taken
        away.

        Of several parts that are taken away it is :math:`1 / \sum_k 1 / d_k`, as smooth as the distances
        :math:`d_k` where the parts do not meet (A. Biswas, V. Shapiro, "Approximate distance fields with
        non-vanishing gradients", Graph. Models 66, 2004). All sides of a part have to be chosen, or none.
        """
        self.check_sides("sides", sides)
        whole, taken = self._taken()
        parts = [whole.vanishing(at, own)] if (own := _own(whole, sides)) else []
        inverse: list[tuple[float, Any]] = []
        for part in taken:
            if own := _own(part, sides):
                _require_all(self, [side for side in part.sides if side in self.sides], own)
                inverse.append((part.size, 1.0 / (part.size * part.vanishing_outside(at) + _TINY)))
        if inverse:
            smallest = min(size for size, _ in inverse)
            parts.append(1.0 / (smallest * sum(term for _, term in inverse)))
        return _product(parts)

    def _taken(self) -> tuple[Domain, list[Domain]]:
        """What everything is taken from, and all that is."""
        if isinstance(self.first, Difference):
            whole, before = self.first._taken()
            return whole, [*before, self.second]
        return self.first, [self.second]


class Named(Domain):
    """A domain whose whole boundary is one side; see :meth:`Domain.named`."""

    def __init__(self, domain: Domain, side: str) -> None:
        self.domain, self.side = domain, side
        self.axes, self.periodic = domain.axes, domain.periodic
        self.lower, self.upper = domain.lower, domain.upper

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return self.domain.contains(points)

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`."""
        return tuple(replace(piece, side=self.side) for piece in self.domain.pieces())

    @property
    def volume(self) -> float:
        """See :attr:`Domain.volume`."""
        return self.domain.volume

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return self.domain.signed_distance(at)

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`."""
        self.check_sides("sides", sides)
        return self.domain.vanishing(at, self.domain.sides if sides else ())

    def vanishing_outside(self, at: Any) -> Any:
        """See :meth:`Domain.vanishing_outside`."""
        return self.domain.vanishing_outside(at)

    def __repr__(self) -> str:
        return f"{self.domain}.named({self.side!r})"


def _spread(n: int, dim: int) -> np.ndarray:
    return space_filling("halton", n, dim, np.random.SeedSequence(0))


def _turned(piece: Piece) -> Piece:
    """A piece seen from its other side."""

    def place(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points, normals = piece.place(unit)
        return points, -normals

    own = piece.repeated
    repeated = None if own is None else lambda points, normals: own(points, -normals)
    return replace(piece, place=place, repeated=repeated)


def _own(part: Domain, sides: Collection[str]) -> list[str]:
    return [side for side in part.sides if side in sides]


def _require_all(domain: Domain, wanted: Collection[str], sides: Collection[str]) -> None:
    missing = [side for side in wanted if side not in sides]
    if missing:
        hint = "Learn the values there (objective.hard: false), or give values on all of them."
        raise InvalidInput("sides", list(sides), f"{', '.join(missing)} too, to vanish in {domain}", hint)


def _product(parts: list[Any]) -> Any:
    result = parts[0]
    for part in parts[1:]:
        result = result * part
    return result
