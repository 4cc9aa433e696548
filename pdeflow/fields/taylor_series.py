r"""Truncated Taylor series in several variables, of many functions at many points at once.

A series is a tensor ``(orders, ...)`` of the coefficients :math:`c_\alpha = \partial^\alpha u / \alpha!`, one
for each multi-index of an `Orders`. Linear maps act on each of them alone; functions of one variable by the
formula of Faa di Bruno,

.. math:: [f(u)]_\alpha = \sum_{k \le |\alpha|} \frac{f^{(k)}(u_0)}{k!}
          \sum_{\beta_1 + \dots + \beta_k = \alpha,\ \beta_j \ne 0} u_{\beta_1} \cdots u_{\beta_k}.

A. Griewank, A. Walther, "Evaluating Derivatives", SIAM 2008, chapter 13.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.compiled_statement import MultiIndex

Coefficients = Callable[[Tensor, int], list[Tensor]]
"""Of values z and a number m, ``f^(k)(z) / k!`` for k = 0, ..., m."""


@dataclass(frozen=True)
class Orders:
    """The multi-indices that a series has: those wanted, and all below them.

    Parameters
    ----------
    wanted
        At least one; all of one length.
    """

    wanted: tuple[MultiIndex, ...]

    def __post_init__(self) -> None:
        lengths = {len(index) for index in self.wanted}
        if len(lengths) != 1 or any(order < 0 for index in self.wanted for order in index):
            raise InvalidInput("orders", self.wanted, "multi-indices of one length, of numbers of at least 0")

    @classmethod
    def of(cls, indices: Iterable[MultiIndex]) -> Orders:
        """Those, in an order of their own, each once."""
        return cls(tuple(sorted({tuple(index) for index in indices}, key=lambda a: (sum(a), a))))

    @property
    def dim(self) -> int:
        """How many variables there are."""
        return len(self.wanted[0])

    @functools.cached_property
    def indices(self) -> tuple[MultiIndex, ...]:
        """All that are kept, lower orders first, 0 foremost."""
        below = {b for a in self.wanted for b in itertools.product(*(range(order + 1) for order in a))}
        return tuple(sorted(below, key=lambda a: (sum(a), a)))

    @functools.cached_property
    def place(self) -> dict[MultiIndex, int]:
        """Where each of them stands."""
        return {index: k for k, index in enumerate(self.indices)}

    @property
    def highest(self) -> int:
        """The highest total order."""
        return sum(self.indices[-1])

    @functools.cached_property
    def compositions(self) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], ...]:
        """For each index the products of the formula above: how often each is there, and its factors."""
        found = []
        for index in self.indices:
            terms: Counter[tuple[int, ...]] = Counter()
            for parts in _ordered_sums(index):
                terms[tuple(sorted(self.place[part] for part in parts))] += 1
            found.append(tuple((count, places) for places, count in sorted(terms.items())))
        return tuple(found)

    @functools.cached_property
    def splits(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each index all pairs of places whose indices add up to it."""
        found = []
        for index in self.indices:
            parts = itertools.product(*(range(order + 1) for order in index))
            rests = ((part, tuple(a - b for a, b in zip(index, part))) for part in parts)
            found.append(tuple((self.place[part], self.place[rest]) for part, rest in rests))
        return tuple(found)

    def multiply(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> list[Tensor]:
        """The series of a product, by the rule of Leibniz."""
        return [
            functools.reduce(torch.add, [first[i] * second[j] for i, j in pairs]) for pairs in self.splits
        ]

    def derivatives(self, series: Sequence[Tensor]) -> dict[MultiIndex, Tensor]:
        """The wanted derivatives of a series, a tensor for each index."""
        return {
            index: series[self.place[index]] * math.prod(map(math.factorial, index)) for index in self.wanted
        }

    def compose(self, coefficients: Coefficients, series: Sequence[Tensor | None]) -> list[Tensor]:
        """The series of f(u) from that of u, a tensor for each index or None where it is 0."""
        assert series[0] is not None
        f = coefficients(series[0], self.highest)
        result = [f[0]]
        for terms in self.compositions[1:]:
            total: Tensor | None = None
            for count, places in terms:
                factors = [series[place] for place in places]
                if any(factor is None for factor in factors):
                    continue
                product = functools.reduce(torch.mul, factors)  # pyright: ignore[reportArgumentType]
                product = f[len(places)] * (product if count == 1 else count * product)
                total = product if total is None else total + product
            result.append(torch.zeros_like(f[0]) if total is None else total)
        return result


def _ordered_sums(index: MultiIndex) -> Iterable[tuple[MultiIndex, ...]]:
    """All ordered ways to write a multi-index as a sum of others that are not 0; none for 0."""
    if not any(index):
        return
    yield (index,)
    for first in itertools.product(*(range(order + 1) for order in index)):
        if any(first) and first != index:
            rest = tuple(a - b for a, b in zip(index, first))
            for others in _ordered_sums(rest):
                yield (first, *others)
