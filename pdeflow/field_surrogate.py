"""A trained field as a thing to use: points in, values of the solution out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.fields.implicit_domain import ImplicitDomain
from pdeflow.grid import Grid
from pdeflow.surrogate import Surrogate
from pdeflow.surrogate_arrays import as_tensor

OUTSIDE = 1e-6
"""How far outside of the domain a point may lie, in lengths of the box around it: no more than round-off of
float32."""


class FieldSurrogate(Surrogate):
    """The solution that a field has become, at any points of its domain.

    ``model.derivatives`` gives exact derivatives of it. Parameters are those of `Surrogate`, and:

    Parameters
    ----------
    domain
        Where the equation was stated; by default everything in the box of the field.

    Raises
    ------
    InvalidInput
        If the domain has not as many coordinates as the field.
    """

    model: Field

    def __init__(
        self,
        model: Field,
        normalisation: Normalisation | None = None,
        *,
        domain: ImplicitDomain | None = None,
        grid: Grid | None = None,
        metrics: Mapping[str, float] | None = None,
        time_step: float | None = None,
        equation: str | None = None,
    ) -> None:
        super().__init__(
            model, normalisation, grid=grid, metrics=metrics, time_step=time_step, equation=equation
        )
        if domain is not None and len(domain.coordinates) != model.dim:
            raise InvalidInput("domain", domain.words, f"one of {model.dim} coordinates, as the field")
        self.domain = domain

    @overload
    def __call__(self, coefficient: np.ndarray, *, batch_size: int = 8192) -> np.ndarray: ...

    @overload
    def __call__(self, coefficient: Tensor, *, batch_size: int = 8192) -> Tensor: ...

    def __call__(self, coefficient: Any, *, batch_size: int = 8192) -> Any:
        """The solution at points.

        Parameters
        ----------
        coefficient
            Points (*S, dim), NumPy array or torch tensor: the last axis has the coordinates, in the order of
            ``input_names``.
        batch_size
            Points computed at a time.

        Returns
        -------
        numpy.ndarray or Tensor
            (*S) for one unknown, (*S, components) for several; as the input: an array for an array, a tensor
            on the same device for a tensor, of its floating-point dtype (that of the weights for integers).

        Raises
        ------
        InvalidInput
            For another number of coordinates, coordinates that are not finite, or points outside of the
            domain; an axis that wraps around has no outside. For points at which the field has no value.
        """
        if batch_size < 1:
            raise InvalidInput("batch_size", batch_size, "at least 1")
        given = as_tensor(coefficient)
        dtype = given.dtype if given.is_floating_point() else self.dtype
        if given.ndim < 1 or given.shape[-1] != self.model.dim:
            names = ", ".join(self.input_names)
            expected = f"(..., {self.model.dim}): the coordinates {names} of each point in the last axis"
            raise InvalidInput("shape of points", tuple(given.shape), expected)
        points = given.reshape(-1, self.model.dim).to(device=self.device, dtype=self.dtype)
        self._check_inside(points)
        with torch.no_grad():
            parts = [self.model.at(part) for part in points.split(batch_size)] if len(points) else []
        values = torch.cat(parts) if parts else points.new_zeros(0, self.model.out_channels)
        if bool((unknown := ~torch.isfinite(values).all(1)).any()):
            place = ", ".join(f"{x:g}" for x in points[unknown][0].tolist())
            expected = "points at which the field has a value"
            count = f"{int(unknown.sum())} of {len(points)}"
            hint = f"{count} lie on corners or edges where it has none: leave them out."
            raise InvalidInput("points", f"({place})", expected, hint)
        values = values.reshape(*given.shape[:-1], self.model.out_channels).to(
            device=given.device, dtype=dtype
        )
        if self.model.out_channels == 1:
            values = values.squeeze(-1)
        return values.numpy() if isinstance(coefficient, np.ndarray) else values

    def _check_inside(self, points: Tensor) -> None:
        if not bool(torch.isfinite(points).all()):
            wrong = int((~torch.isfinite(points)).any(1).sum())
            raise InvalidInput("points", f"{wrong} that are NaN or infinite", "finite numbers")
        model = self.model
        for k, (low, high, wraps) in enumerate(zip(model.lower, model.upper, model.periodic)):
            slack = OUTSIDE * (high - low)
            outside = (points[:, k] < low - slack) | (points[:, k] > high + slack)
            if not wraps and bool(outside.any()):
                name, first = self.input_names[k], float(points[outside, k][0])
                expected = f"{name} from {low:g} to {high:g}, where the equation was stated"
                hint = f"{int(outside.sum())} of {len(points)} points lie outside."
                raise InvalidInput("points", f"{name} = {first:g}", expected, hint)
        if self.domain is None:
            return
        size = min(high - low for low, high in zip(model.lower, model.upper))
        outside = self.domain.outside(points, OUTSIDE * size)
        if bool(outside.any()):
            first = ", ".join(f"{x:g}" for x in points.cpu()[outside][0].tolist())
            expected = f"points of {self.domain.words}, where the equation was stated"
            hint = f"{int(outside.sum())} of {len(points)} points lie outside."
            raise InvalidInput("points", f"({first})", expected, hint)

    def rollout(self, state: Any, steps: int, *, batch_size: int = 64) -> Any:
        """There is nothing to march: time, where there is one, is a coordinate.

        Raises
        ------
        InvalidInput
            Always.
        """
        hint = "Time is one of its coordinates: call it at points of later times."
        raise InvalidInput(
            "rollout", type(self.model).__name__, "an operator that gives the next state", hint
        )
