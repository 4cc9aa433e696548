"""A statement at points, and its gradients by what is learned, point by point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.fields.hard_conditions import NUMBER
from pdeflow.problems.compiled_statement import CompiledStatement, MultiIndex
from pdeflow.training.bounded_numbers import BoundedNumbers
from pdeflow.training.curriculum import Curriculum
from pdeflow.training.statements import NORMAL, VALUE


class StatementSlopes:
    """Statements of a problem: their values, and Jacobians by the parameters of a field and by numbers.

    Points are (N, d), with values or normals in further columns; those of a product may be given by their
    coordinates (n,) along each axis too.

    Parameters
    ----------
    coordinates
        Names, in their order.
    unknown
        Parameters of the problem that are to be found.
    curriculum
        Of one that changes while training, where there is such.
    """

    def __init__(
        self, coordinates: Sequence[str], unknown: BoundedNumbers, curriculum: Curriculum | None = None
    ) -> None:
        self.coordinates, self.unknown, self.curriculum = tuple(coordinates), unknown, curriculum

    def values(
        self,
        field: Field,
        statement: CompiledStatement,
        points: Tensor,
        axes: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """A statement (N, parts) at points."""
        places = points[:, : field.dim]
        scalars = self._scalars(statement, points, self.unknown.values())
        return statement(places, _derivatives(field, statement, places, axes), scalars)

    def sizes(self, field: Field, statement: CompiledStatement, points: Tensor) -> tuple[Tensor, Tensor]:
        """How large the terms of a statement are; see `CompiledStatement.sizes`."""
        places = points[:, : field.dim]
        scalars = self._scalars(statement, points, self.unknown.values())
        return statement.sizes(places, _derivatives(field, statement, places, None), scalars)

    def jacobian(
        self,
        field: Field,
        statement: CompiledStatement,
        points: Tensor,
        names: Sequence[str],
        axes: Sequence[Tensor] | None = None,
        share: Tensor | None = None,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """A statement (N, parts) at points, and its Jacobian (N, parts, P).

        Parameters
        ----------
        field, statement, points, axes
            As of `values`.
        names
            Of parameters in the order of the columns: ``field.NAME``, ``objective.unknown.free.NAME``.
        share
            Factors (N, 1) of the rows of the Jacobian, and of nothing else; 1 by default.
        out
            Where to write the Jacobian.

        Raises
        ------
        InvalidInput
            If the field has no gradients by one of them.
        """
        values, slopes = self._slopes(field, statement, points, axes, share)
        if missing := [name for name in names if name not in slopes]:
            expected = "gradients by all parameters from pointwise_gradients, each under its own name"
            raise InvalidInput(f"model {type(field).__name__}", f"none by {', '.join(missing)}", expected)
        return values, torch.cat([slopes[name].flatten(2) for name in names], dim=2, out=out)

    def _slopes(
        self,
        field: Field,
        statement: CompiledStatement,
        points: Tensor,
        axes: Sequence[Tensor] | None,
        share: Tensor | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A statement, and its gradients (N, parts, *shape) by each parameter, times the share.

        The statement is a function of derivatives of the field, whose slopes are the cotangents that the
        field is given. A field may depend on unknown numbers too, where it meets values that do.
        """
        places = points[:, : field.dim]
        with torch.no_grad():
            known = _derivatives(field, statement, places, axes)
        with torch.enable_grad():
            leaves = {index: value.detach().requires_grad_() for index, value in known.items()}
            unknown = {
                name: p.detach().expand(len(points)).requires_grad_() for name, p in self.unknown.free.items()
            }
            numbers = {name: self.unknown.value(name, free) for name, free in unknown.items()}
            values = statement(places, leaves, self._scalars(statement, points, numbers))
        found: dict[str, list[Tensor]] = {}
        # The share is in what goes back through the statement: the Jacobian itself is much larger.
        weights = torch.ones_like(values[:, 0]) if share is None else share[:, 0]
        for part in values.unbind(1):
            ends = torch.autograd.grad(
                part,
                [*leaves.values(), *unknown.values()],
                weights,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            cotangents = dict(zip(leaves, ends))
            if axes is None:
                by_name = field.pointwise_gradients(places, cotangents)
            else:
                by_name = field.pointwise_gradients_on_product(axes, cotangents)
            for (name, free), slope in zip(unknown.items(), ends[len(leaves) :]):
                if (within := by_name.pop(NUMBER + name, None)) is not None:
                    (more,) = torch.autograd.grad(numbers[name], free, within, retain_graph=True)
                    slope = slope + more
                found.setdefault(f"objective.unknown.free.{name}", []).append(slope[:, None])
            for name, slope in by_name.items():
                found.setdefault(f"field.{name}", []).append(slope)
        # A view where there is one equation, for stacking copies.
        slopes = {name: p[0][:, None] if len(p) == 1 else torch.stack(p, dim=1) for name, p in found.items()}
        return values.detach(), slopes

    def _scalars(
        self, statement: CompiledStatement, points: Tensor, unknown: Mapping[str, Tensor]
    ) -> dict[str, Tensor | float]:
        """What a statement takes beside derivatives: parameters, and what points carry in further columns."""
        names = [VALUE] if VALUE in statement.scalars else [NORMAL + axis for axis in self.coordinates]
        moving = {} if self.curriculum is None else self.curriculum.values()
        return {**unknown, **moving, **dict(zip(names, points[:, len(self.coordinates) :].unbind(1)))}


def _derivatives(
    field: Field, statement: CompiledStatement, places: Tensor, axes: Sequence[Tensor] | None
) -> dict[MultiIndex, Tensor]:
    """What a statement wants of a field at points, which may be the product of axes."""
    if axes is None:
        return field.derivatives(places, statement.wanted)
    return field.derivatives_on_product(axes, statement.wanted)
