"""The integral with a learned matrix-valued kernel that the graph operators share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdeflow.operators.neighbours import Neighbours


class KernelIntegral(nn.Module):
    r"""``(K v)(x_i) = 1/|N(i)| sum_{j in N(i)} kappa(e_ij) v(x_j)``, edge-conditioned convolution.

    ``kappa`` is a network from the features of an edge to a ``width`` by ``width`` matrix. Its last layer is
    linear, ``kappa(e) = sum_k h_k(e) W_k``, and so is the sum, which is why their order may change:

    ``(K v)_i = sum_k W_k (1/|N(i)| sum_j h_k(e_ij) v_j)``.

    The inner sum is a product of small matrices at each node; no edge is ever given its matrix. That costs
    ``edges k width + nodes k width^2`` products instead of ``edges k width^2``, and as much less memory.

    Parameters
    ----------
    features
        Numbers that describe an edge.
    width
        Channels of ``v``.
    kernel_width
        Hidden features ``k`` of the kernel's network; its first layer has half as many.

    References
    ----------
    Anandkumar, Azizzadenesheli, Bhattacharya, Kovachki, Li, Liu, Stuart: Neural operator: graph kernel
    network for partial differential equations. 2020. arXiv:2003.03485.
    """

    def __init__(self, features: int, width: int, kernel_width: int) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Sequential(
            nn.Linear(features, max(kernel_width // 2, 1)),
            nn.GELU(),
            nn.Linear(max(kernel_width // 2, 1), kernel_width),
            nn.GELU(),
        )
        self.last = nn.Linear(kernel_width, width * width)

    def basis(self, features: Tensor, neighbours: Neighbours) -> Tensor:
        """``h_k(e) / |N|`` in the table of neighbours, and a constant one for the bias of the last layer.

        Parameters
        ----------
        features
            (edges, features).
        neighbours
            Where the edges lead.

        Returns
        -------
        Tensor
            (targets, kernel_width + 1, widest), 0 where there is no neighbour. It depends on the mesh and on
            the features alone: where one kernel is applied several times it is made once.
        """
        hidden = F.pad(self.hidden(features), (0, 1), value=1.0)
        # The row that stands for no edge.
        table = F.pad(hidden, (0, 0, 0, 1))[neighbours.slots]
        counts = neighbours.counts.to(hidden.dtype).clamp(min=1)
        return (table / counts[:, None, None]).transpose(1, 2)

    def forward(self, basis: Tensor, v: Tensor, neighbours: Neighbours) -> Tensor:
        """The integral.

        Parameters
        ----------
        basis
            As ``basis`` gives it.
        v
            (sources, width).
        neighbours
            Where the edges lead.

        Returns
        -------
        Tensor
            (targets, width).
        """
        seen = v[F.pad(neighbours.source, (0, 1))[neighbours.slots]]  # (targets, widest, width)
        moments = (basis @ seen).flatten(1)  # (targets, (kernel_width + 1) * width)
        matrices = torch.cat((self.last.weight, self.last.bias[:, None]), dim=1)
        matrices = matrices.view(self.width, self.width, -1).permute(2, 1, 0)
        return moments @ matrices.reshape(-1, self.width)
