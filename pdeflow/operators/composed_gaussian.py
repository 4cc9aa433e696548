"""What `Ensemble` and `MeanVariance` share: a distribution that is put together from other operators."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators.gaussian_operator import Gaussian, GaussianOperator
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.operator import Operator


class ComposedGaussian(GaussianOperator):
    """A `GaussianOperator` that is made of other operators.

    A subclass writes ``core`` and ``gathered``. Parameters are those of ``Operator``.
    """

    @property
    @abc.abstractmethod
    def core(self) -> Operator:
        """The operator that it is made of, at the bottom; the first of several."""

    @abc.abstractmethod
    def gathered(self, apply: Callable[[Any], Tensor | Gaussian]) -> Gaussian:
        """The distribution, of what ``apply`` gives for each operator that this one is made of.

        Parameters
        ----------
        apply
            An operator that is not composed itself to its values, channels in axis 1; to mean and variance
            where it knows these.
        """

    def distribution(self, x: Any) -> Gaussian:
        """Mean and variance, ``(batch, out_channels, *points)`` each, of what ``forward`` takes."""

        def values(part: Operator) -> Tensor | Gaussian:
            return part.distribution(x) if isinstance(part, GaussianOperator) else part(x)

        return self.gathered(values)

    def check_kind(self, part: Operator, key: str, base: type[ComposedGaussian]) -> None:
        """Raise InvalidInput unless this and what it is made of are both on meshes, or both on grids.

        Parameters
        ----------
        part
            An operator that it is made of.
        key
            Its name in the message.
        base
            The class that is made of operators on grids; with ``Graph`` before its name, of those on meshes.
        """
        on_meshes, name = isinstance(self, GraphOperator), type(self).__name__
        if isinstance(part, GraphOperator) == on_meshes:
            return
        expected = f"an operator on {'meshes' if on_meshes else 'grids'}, of which {name} is made"
        hint = f"Take {base.__name__}, which suits operators on grids, or derive from it."
        if not on_meshes:
            hint = f"On meshes, derive {name} from {base.__module__}.Graph{base.__name__}."
        raise InvalidInput(key, type(part).__name__, expected, hint)
