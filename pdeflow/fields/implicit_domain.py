"""What lies inside of a domain, by a formula that can be stored."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields.expression_text import expression_text, read_expression
from pdeflow.problems.calculus import Names
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.domain import Domain
from pdeflow.problems.symbolic import coordinate


@dataclass(frozen=True)
class ImplicitDomain:
    """The points at which an expression is not negative; see :meth:`Domain.signed_distance`.

    Parameters
    ----------
    words
        What to call it.
    coordinates
        Names, in the order of the columns of points.
    signed_distance
        The expression.
    """

    words: str
    coordinates: tuple[str, ...]
    signed_distance: sympy.Expr

    @classmethod
    def of(cls, domain: Domain) -> ImplicitDomain:
        """That of a domain without axes that wrap around."""
        at = {axis: coordinate(axis) for axis in domain.axes}
        distance = sympy.sympify(domain.signed_distance(Names("coordinate", at)))
        return cls(repr(domain), domain.axes, distance)

    def to_dict(self) -> dict[str, Any]:
        """For `from_dict`, the formula as text.

        Raises
        ------
        InvalidInput
            If it is made of more than elementary functions; see `expression_text`.
        """
        at = {name: coordinate(name) for name in self.coordinates}
        text = expression_text(self.signed_distance, at)
        return {"words": self.words, "coordinates": list(self.coordinates), "signed_distance": text}

    @classmethod
    def from_dict(cls, words: str, coordinates: Sequence[str], signed_distance: str) -> ImplicitDomain:
        """The domain that `to_dict` wrote; nothing in it is evaluated.

        Raises
        ------
        UnsafeFile
            If the text is no formula of the coordinates.
        InvalidInput
            If the coordinates are no names.
        """
        for name in coordinates:
            if not isinstance(name, str) or not name.isidentifier():
                raise InvalidInput("domain.coordinates", name, "the name of a coordinate")
        at = {name: coordinate(name) for name in coordinates}
        return cls(f"{words:.200}", tuple(coordinates), read_expression(signed_distance, at))

    def outside(self, points: Tensor, slack: float) -> Tensor:
        """(N,) whether points (N, dim) lie outside by more than about this distance; float64, on the CPU."""
        distance = self._compiled(points.detach().to(device="cpu", dtype=torch.float64), {}, {})[:, 0]
        return distance < -slack

    @functools.cached_property
    def _compiled(self) -> CompiledStatement:
        at = {name: coordinate(name) for name in self.coordinates}
        return CompiledStatement([self.signed_distance], [], at, {})
