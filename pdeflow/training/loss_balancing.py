"""Weights of the parts of a loss that change while a model is trained."""

from __future__ import annotations

import abc
from typing import Protocol

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput

LARGEST = 1e30
"""What a quotient of two terms may be: more, where one is next to 0, says nothing more."""


class LossTerms(Protocol):
    """The parts of a loss at this moment, that of the residual inside first; none has a tape."""

    def values(self) -> Tensor:
        """(terms,)."""
        ...

    def gradients(self) -> Tensor:
        """By the parameters of the model, (terms, P)."""
        ...

    def traces(self) -> Tensor:
        r"""Of the kernels :math:`J_k J_k^T` of the residuals whose squares add up to each term, (terms,)."""
        ...


class LossBalance(nn.Module, abc.ABC):
    r"""Weights :math:`\lambda_k` of a loss :math:`\sum_k \lambda_k L_k`, 1 at first.

    The terms are those of a loss without a balance, its ``weight`` included. Validation goes by that loss, so
    that epochs compare. The weights are in checkpoints.

    Parameters
    ----------
    every
        Steps of the optimiser between two changes of the weights.

    Raises
    ------
    InvalidInput
        If that is not at least 1.
    """

    weights: Tensor

    def __init__(self, every: int) -> None:
        super().__init__()
        if every < 1:
            raise InvalidInput("objective.balance.every", every, "at least 1 step")
        self.every = every

    def begin(self, terms: int) -> None:
        """Know how many terms there are, of which the first is the residual inside."""
        self.register_buffer("weights", torch.ones(terms))

    @abc.abstractmethod
    def adapt(self, terms: LossTerms, step: int) -> None:
        """Change ``weights`` (terms,) in place.

        Parameters
        ----------
        terms
            At the parameters as they are.
        step
            How many steps the optimiser has made.
        """
