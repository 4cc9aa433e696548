"""Relative loss balancing with random lookback.

R. Bischof, M. A. Kraus, "Multi-objective loss balancing for physics-informed deep learning", Comput. Methods
Appl. Mech. Eng. 439 (2025).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.training.loss_balancing import LARGEST, LossBalance, LossTerms


class ReLoBRaLo(LossBalance):
    r"""A term weighs more, the less it has fallen since the start, or since the change before:

    .. math::

        \hat\lambda_k(s) = n \operatorname{softmax}_k \frac{L_k}{T L_k(s)}, \qquad
        \lambda_k \leftarrow \alpha \big(\rho \lambda_k + (1 - \rho) \hat\lambda_k(0)\big)
        + (1 - \alpha) \hat\lambda_k(\text{before}),

    with n terms; :math:`\rho` is 1 or, seldom, 0: the random lookback. ``weight`` of the objective stays a
    factor of the terms; 1 is as in the paper.

    Parameters
    ----------
    every
        As of `LossBalance`; a change costs next to nothing.
    memory
        :math:`\alpha`, from 0 to 1.
    temperature
        T: large ones make the weights equal.
    remembering
        How probable :math:`\rho = 1` is.
    seed
        Of :math:`\rho`, which depends on it and on the step alone.

    Raises
    ------
    InvalidInput
        If a number is out of its range.
    """

    before: Tensor
    start: Tensor

    def __init__(
        self,
        every: int = 1,
        memory: float = 0.999,
        temperature: float = 0.1,
        remembering: float = 0.999,
        seed: int = 0,
    ) -> None:
        super().__init__(every)
        for name, value in (("memory", memory), ("remembering", remembering)):
            if not 0 <= value <= 1:
                raise InvalidInput(f"objective.balance.{name}", value, "a number from 0 to 1")
        if not temperature > 0:
            raise InvalidInput("objective.balance.temperature", temperature, "a positive number")
        if seed < 0:
            raise InvalidInput("objective.balance.seed", seed, "a whole number of at least 0")
        self.memory, self.temperature, self.remembering, self.seed = memory, temperature, remembering, seed

    def begin(self, terms: int) -> None:
        """See :meth:`LossBalance.begin`; the losses to compare with are kept too."""
        super().begin(terms)
        self.register_buffer("start", torch.ones(terms))
        self.register_buffer("before", torch.ones(terms))

    def adapt(self, terms: LossTerms, step: int) -> None:
        """See :meth:`LossBalance.adapt`."""
        losses = terms.values()
        if step == 0:
            self.start.copy_(losses)
        else:
            drawn = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(step,))).random()
            kept = self.weights if drawn < self.remembering else self._relative(losses, self.start)
            recent = self._relative(losses, self.before)
            self.weights.copy_(self.memory * kept + (1 - self.memory) * recent)
        self.before.copy_(losses)

    def _relative(self, losses: Tensor, then: Tensor) -> Tensor:
        least = torch.finfo(losses.dtype).tiny
        quotients = (losses / (self.temperature * then).clamp_min(least)).clamp_max(LARGEST)
        return len(losses) * torch.softmax(quotients, 0)
