"""Several fields as one, each with unknowns of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field, product_points
from pdeflow.fields.fourier_features import FourierFeatures
from pdeflow.fields.gaussians import Gaussians
from pdeflow.fields.mlp import MLP
from pdeflow.fields.pirate_net import PirateNet
from pdeflow.fields.separable import Separable
from pdeflow.problems.compiled_statement import MultiIndex

PARTS = {kind.__name__: kind for kind in (FourierFeatures, Gaussians, MLP, PirateNet, Separable)}
"""What can be a part: fields of which no more is asked than derivatives."""


class JoinedFields(Field):
    r"""The unknowns of several fields, one after the other: a network for u, and another one for k.

    .. math:: (u, k)(x) = (N_1(x), N_2(x))

    The networks have no parameter in common, and may be of different kinds and sizes. A part with fewer
    coordinates than the others does not depend on the last ones: beside u(x, t) it is k(x).

    Parameters
    ----------
    parts
        At least two of `FourierFeatures`, `Gaussians`, `MLP`, `PirateNet` and `Separable`, each of as many
        unknowns as its ``components`` says. They have one box, or the first coordinates of it. What
        ``settings`` has of a field will do, too.

    Raises
    ------
    InvalidInput
        If there are fewer, one is of another kind, or boxes differ.
    """

    def __init__(self, parts: Sequence[Field]) -> None:
        made = [part if isinstance(part, Field) else _made(k, part) for k, part in enumerate(parts)]
        if len(made) < 2:
            expected, hint = "at least 2 fields", "One field is a model by itself."
            raise InvalidInput("model.parts", f"{len(made)} of them", expected, hint)
        widest = max(made, key=lambda part: part.dim)
        for k, part in enumerate(made):
            if PARTS.get(type(part).__name__) is not type(part):
                key, expected = f"model.parts[{k}]", "a field of which derivatives are all that is asked"
                raise InvalidInput(key, type(part).__name__, expected, choices=PARTS)
            for name in ("lower", "upper", "periodic"):
                got, expected = getattr(part, name), getattr(widest, name)[: part.dim]
                if got != expected:
                    words = f"{list(expected)}, as another part has it"
                    raise InvalidInput(f"model.parts[{k}].{name}", list(got), words)
        settings = {
            "parts": [{"class_path": type(part).__name__, "init_args": part.settings} for part in made]
        }
        super().__init__(
            settings,
            lower=widest.lower,
            upper=widest.upper,
            periodic=widest.periodic,
            components=sum(part.out_channels for part in made),
        )
        self.parts = nn.ModuleList(made)

    @property
    def linear_parameters(self) -> tuple[str, ...]:
        """See :attr:`Field.linear_parameters`: those of all parts."""
        return tuple(
            f"parts.{k}.{name}" for k, part in enumerate(self._fields()) for name in part.linear_parameters
        )

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        return self._joined(
            wanted, points[:, :1], lambda part, own: part.derivatives(points[:, : part.dim], own)
        )

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives_on_product`: what each part knows of products is used."""

        def on_axes(part: Field, own: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
            found = part.derivatives_on_product(axes[: part.dim], own)
            times = math.prod(len(axis) for axis in axes[part.dim :])
            return {index: value.repeat_interleave(times, dim=0) for index, value in found.items()}

        return self._joined(wanted, product_points(axes)[:, :1], on_axes)

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: those of each part, by its own unknowns."""
        self.check_points(points)
        return self._gradients(
            points, cotangents, lambda part, own: part.pointwise_gradients(points[:, : part.dim], own)
        )

    def pointwise_gradients_on_product(
        self, axes: Sequence[Tensor], cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients_on_product`."""
        points = product_points(axes)

        def on_axes(part: Field, own: Mapping[MultiIndex, Tensor]) -> dict[str, Tensor]:
            if part.dim == self.dim:
                return part.pointwise_gradients_on_product(axes, own)
            return part.pointwise_gradients(points[:, : part.dim], own)

        return self._gradients(points, cotangents, on_axes)

    def _fields(self) -> Iterator[Field]:
        for part in self.parts:
            assert isinstance(part, Field)
            yield part

    def _joined(
        self,
        wanted: Sequence[MultiIndex],
        column: Tensor,
        evaluate: Callable[[Field, Sequence[MultiIndex]], dict[MultiIndex, Tensor]],
    ) -> dict[MultiIndex, Tensor]:
        """Derivatives of all parts, side by side; ``column`` is (N, 1), for what is 0."""
        columns: dict[MultiIndex, list[Tensor]] = {index: [] for index in wanted}
        for part in self._fields():
            own = [index[: part.dim] for index in columns if not any(index[part.dim :])]
            found = evaluate(part, own) if own else {}
            nothing = torch.zeros_like(column).expand(-1, part.out_channels)
            for index, values in columns.items():
                values.append(nothing if any(index[part.dim :]) else found[index[: part.dim]])
        return {index: torch.cat(values, dim=1) for index, values in columns.items()}

    def _gradients(
        self,
        points: Tensor,
        cotangents: Mapping[MultiIndex, Tensor],
        evaluate: Callable[[Field, Mapping[MultiIndex, Tensor]], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Gradients by the parameters of all parts, each from the cotangents of its own unknowns."""
        gradients, first = {}, 0
        for k, part in enumerate(self._fields()):
            last = first + part.out_channels
            own = {
                index[: part.dim]: cotangent[:, first:last]
                for index, cotangent in cotangents.items()
                if not any(index[part.dim :])
            }
            learned = {name: p for name, p in part.named_parameters() if p.requires_grad}
            if own and learned:
                found = evaluate(part, own)
            else:  # nothing that is asked changes with it
                found = {name: points.new_zeros(len(points), *p.shape) for name, p in learned.items()}
            gradients |= {f"parts.{k}.{name}": slope for name, slope in found.items()}
            first = last
        return gradients


def _made(k: int, part: Any) -> Field:
    """The field of which ``settings`` has this."""
    given = part if isinstance(part, Mapping) else {}
    name, arguments = given.get("class_path"), given.get("init_args")
    if name not in PARTS or not isinstance(arguments, Mapping):
        expected = "a field, or its class_path and init_args"
        raise InvalidInput(f"model.parts[{k}]", part, expected, choices=PARTS)
    return PARTS[name](**arguments)
