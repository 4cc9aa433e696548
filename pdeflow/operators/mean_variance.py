"""A mean and a variance from one network, by twice as many output channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pdeflow.errors import InvalidInput
from pdeflow.operators.composed_gaussian import ComposedGaussian
from pdeflow.operators.gaussian_graph_operator import GaussianGraphOperator
from pdeflow.operators.gaussian_operator import VARIANCE_FLOOR, Gaussian, GaussianOperator
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.operator import Operator


class MeanVariance(ComposedGaussian):
    r"""Reads the output of an operator as means :math:`\mu` and raw numbers :math:`s` of as many channels:
    :math:`u \sim N(\mu, \log(1 + e^s) + 10^{-8})` at every node, in normalised numbers.

    D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability distribution",
    ICNN 1994; the softplus is that of B. Lakshminarayanan, A. Pritzel, C. Blundell, NeurIPS 2017. Variances
    are computed in float32 at least, whatever the precision of the operator.

    Of an operator on meshes it is a `GraphMeanVariance`, which is a `GraphOperator` too.

    Parameters
    ----------
    operator
        An operator with an even number of output channels: the means first.

    Raises
    ------
    InvalidInput
        For an odd number of output channels, an operator that has a variance already, and an operator on
        meshes in a class that is on grids or the other way round.
    """

    def __new__(cls, operator: Operator | None = None, *_: Any, **__: Any) -> MeanVariance:
        """A `GraphMeanVariance` of an operator on meshes."""
        # A copy is made without arguments, of the class that it is of.
        on_meshes = cls is MeanVariance and isinstance(operator, GraphOperator)
        kind: type[Any] = GraphMeanVariance if on_meshes else cls
        return object.__new__(kind)

    def __init__(self, operator: Operator) -> None:
        if isinstance(operator, GaussianOperator):
            expected = "an operator that gives no variance yet"
            raise InvalidInput("MeanVariance.operator", type(operator).__name__, expected)
        self.check_kind(operator, "MeanVariance.operator", MeanVariance)
        if operator.out_channels % 2:
            raise InvalidInput(
                "MeanVariance.operator.out_channels",
                operator.out_channels,
                "an even number: a mean and a variance for each target channel",
                f"Set out_channels to {2 * operator.out_channels}.",
            )
        super().__init__(
            operator.settings,
            dim=operator.dim,
            in_channels=operator.in_channels,
            out_channels=operator.out_channels // 2,
        )
        self.operator = operator

    @property
    def core(self) -> Operator:
        """The operator whose output is read."""
        return self.operator

    def check_resolution(self, points: Sequence[int]) -> None:
        """As the operator's."""
        self.operator.check_resolution(points)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the operator, which ``distribution`` and ``forward`` both call."""
        self.operator.compile(*args, **kwargs)

    def gathered(self, apply: Callable[[Any], Tensor | Gaussian]) -> Gaussian:
        """The first half of the channels as means, the softplus of the others as variances."""
        y = apply(self.operator)
        assert not isinstance(y, Gaussian)
        mean, raw = y.to(torch.promote_types(y.dtype, torch.float32)).chunk(2, dim=1)
        return Gaussian(mean, softplus(raw) + VARIANCE_FLOOR)


class GraphMeanVariance(GaussianGraphOperator, MeanVariance):
    """`MeanVariance` of an operator on meshes: (nodes, out_channels) each, and at points of a query."""
