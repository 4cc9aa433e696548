"""Deep ensembles: how much independently trained networks differ says how uncertain they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.composed_gaussian import ComposedGaussian
from pdeflow.operators.gaussian_graph_operator import GaussianGraphOperator
from pdeflow.operators.gaussian_operator import VARIANCE_FLOOR, Gaussian, GaussianOperator
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.operator import Operator


class Ensemble(ComposedGaussian):
    r"""The uniform mixture of M members, as a normal distribution with the mixture's mean and variance:

    .. math:: \mu = \frac1M \sum_m \mu_m, \qquad
              \sigma^2 = \frac1M \sum_m \left(\sigma_m^2 + (\mu_m - \mu)^2\right).

    B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and scalable predictive uncertainty estimation using
    deep ensembles", NeurIPS 2017. Members that give no variance have :math:`\sigma_m = 0`: the variance is
    then only that between members. It is never less than 1e-8, in normalised numbers.

    Of operators on meshes it is a `GraphEnsemble`, which is a `GraphOperator` too.

    Parameters
    ----------
    members
        At least two operators of one class with the same settings.

    Raises
    ------
    InvalidInput
        For fewer members, members that differ in more than their weights, members on meshes in a class that
        is on grids or the other way round, and members on meshes with a variance that is no
        `GaussianGraphOperator`'s.
    """

    def __new__(cls, members: Sequence[Operator] = (), *_: Any, **__: Any) -> Ensemble:
        """A `GraphEnsemble` of members on meshes."""
        # A copy is made without arguments, of the class that it is of.
        on_meshes = cls is Ensemble and len(members) and isinstance(members[0], GraphOperator)
        kind: type[Any] = GraphEnsemble if on_meshes else cls
        return object.__new__(kind)

    def __init__(self, members: Sequence[Operator]) -> None:
        if len(members) < 2:
            raise InvalidInput("ensemble", len(members), "at least 2 members")
        first = members[0]
        for member in members[1:]:
            if type(member) is not type(first) or member.settings != first.settings:
                expected = f"members that differ in their weights alone: {first.settings}"
                raise InvalidInput("ensemble", member.settings, expected)
        self.check_kind(first, "ensemble", Ensemble)
        has_variance = isinstance(first, GaussianOperator)
        if isinstance(first, GraphOperator) and has_variance and not isinstance(first, GaussianGraphOperator):
            expected = "on meshes, members without variance or GaussianGraphOperators"
            raise InvalidInput("ensemble", type(first).__name__, expected)
        super().__init__(
            first.settings, dim=first.dim, in_channels=first.in_channels, out_channels=first.out_channels
        )
        self.members = nn.ModuleList(members)

    @property
    def core(self) -> Operator:
        """The first member, or the operator that it reads."""
        first = self.members[0]
        assert isinstance(first, Operator)
        return first.core if isinstance(first, ComposedGaussian) else first

    def check_resolution(self, points: Sequence[int]) -> None:
        """As the members'."""
        first = self.members[0]
        assert isinstance(first, Operator)
        first.check_resolution(points)

    def gathered(self, apply: Callable[[Any], Tensor | Gaussian]) -> Gaussian:
        """Mean and variance of the mixture."""
        found = [m.gathered(apply) if isinstance(m, ComposedGaussian) else apply(m) for m in self.members]
        means = torch.stack([one.mean if isinstance(one, Gaussian) else one for one in found])
        means = means.to(torch.promote_types(means.dtype, torch.float32))  # half precision hides a spread
        mean = means.mean(0)
        variance = (means - mean).square().mean(0)
        within = [one.variance for one in found if isinstance(one, Gaussian)]
        if within:
            variance = variance + torch.stack(within).mean(0)
        return Gaussian(mean, variance.clamp(min=VARIANCE_FLOOR))


class GraphEnsemble(GaussianGraphOperator, Ensemble):
    """`Ensemble` of operators on meshes: (nodes, out_channels) each, and at points of a query."""
