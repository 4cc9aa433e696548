"""Weights by the neural tangent kernel: all parts of the loss are learned at the same rate.

S. Wang, X. Yu, P. Perdikaris, "When and why PINNs fail to train: A neural tangent kernel perspective", J.
Comput. Phys. 449 (2022).
"""

from __future__ import annotations

import torch

from pdeflow.training.loss_balancing import LARGEST, LossBalance, LossTerms


class NTKWeights(LossBalance):
    r"""The sum of the eigenvalues of the whole kernel over that of a term's own:

    .. math:: \lambda_k = \frac{\sum_j \operatorname{tr} K_j}{\operatorname{tr} K_k}, \qquad
              K_k = J_k J_k^T,

    where :math:`J_k` is the Jacobian, by the parameters of the model, of the residuals whose squares add up
    to the term. The means over points and the ``weight`` that the loss has are part of these: where all terms
    have equally many points and ``weight`` of the objective is 1, it is the paper's formula. A weight stays
    where the kernel of its term vanishes.

    Parameters
    ----------
    every
        As of `LossBalance`; each change costs a Jacobian, point by point.
    """

    def __init__(self, every: int = 100) -> None:
        super().__init__(every)

    def adapt(self, terms: LossTerms, step: int) -> None:
        """See :meth:`LossBalance.adapt`."""
        traces = terms.traces()
        wanted = (traces.sum() / traces).clamp_max(LARGEST)
        self.weights.copy_(torch.where(traces > 0, wanted, self.weights))
