"""Learning-rate annealing: conditions weigh so that their gradients are as large as that of the residual.

S. Wang, Y. Teng, P. Perdikaris, "Understanding and mitigating gradient flow pathologies in physics-informed
neural networks", SIAM J. Sci. Comput. 43 (2021).
"""

from __future__ import annotations

import torch

from pdeflow.errors import InvalidInput
from pdeflow.training.loss_balancing import LARGEST, LossBalance, LossTerms


class LearningRateAnnealing(LossBalance):
    r"""Of the residual's term :math:`L_r` the weight stays 1, of the others it follows

    .. math:: \lambda_k \leftarrow m \lambda_k + (1 - m)
              \frac{\max_\theta |\nabla_\theta L_r|}{\overline{|\nabla_\theta L_k|}},

    the largest and the mean entry of the gradients by the parameters of the model. A weight stays where the
    gradient of its term vanishes.

    Parameters
    ----------
    every
        As of `LossBalance`; each change costs a backward pass a term.
    momentum
        m, from 0 to below 1.

    Raises
    ------
    InvalidInput
        If a number is out of its range.
    """

    def __init__(self, every: int = 10, momentum: float = 0.9) -> None:
        super().__init__(every)
        if not 0 <= momentum < 1:
            raise InvalidInput("objective.balance.momentum", momentum, "a number from 0 to below 1")
        self.momentum = momentum

    def adapt(self, terms: LossTerms, step: int) -> None:
        """See :meth:`LossBalance.adapt`."""
        sizes = terms.gradients().abs()
        means, now = sizes[1:].mean(1), self.weights[1:]
        wanted = torch.where(means > 0, (sizes[0].max() / means).clamp_max(LARGEST), now)
        now.copy_(self.momentum * now + (1 - self.momentum) * wanted)
