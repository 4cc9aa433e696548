"""The shape of every preconditioner."""

from __future__ import annotations

import abc

from pdeflow.linalg.operator import LinearOperator


class Preconditioner(abc.ABC):
    """A recipe for an approximate inverse; it holds settings only and serves any number of operators."""

    @abc.abstractmethod
    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        """An operator that applies ``M ~ A^-1``.

        ``previous`` is what an earlier ``init`` gave for a similar operator; its parts may be reused.
        It does not say more than A about which systems are finite: NaN in one system of A may make M
        non-finite for that system, and for no other. Unless M is ``traced`` it is made for
        ``A.detach()``: no derivative by the coefficients of A goes through it.
        """
