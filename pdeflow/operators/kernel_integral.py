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
        Hidden features ``k`` of the kernel's network, of which one is 1, for the bias of its last layer; its
        first layer has half as many.

    References
    ----------
    Anandkumar, Azizzadenesheli, Bhattacharya, Kovachki, Li, Liu, Stuart: Neural operator: graph kernel
    network for partial differential equations. 2020. arXiv:2003.03485.
    """

    def __init__(self, features: int, width: int, kernel_width: int) -> None:
        super().__init__()
        self.width = width
        first = max(kernel_width // 2, 1)
        self.hidden = nn.Sequential(
            nn.Linear(features, first), nn.GELU(), nn.Linear(first, kernel_width - 1), nn.GELU()
        )
        self.last = nn.Linear(kernel_width - 1, width * width)

    @torch.no_grad()
    def start_as_mean(self, share: float) -> None:
        """Start as ``share`` of the mean over the neighbours, a channel each, and half of what was drawn."""
        self.last.weight.mul_(0.5)
        self.last.bias.mul_(0.5).add_(share * torch.eye(self.width).to(self.last.bias).flatten())

    def basis(self, features: Tensor, neighbours: Neighbours) -> list[Tensor]:
        """``h_k(e) / |N|`` in the tables of neighbours.

        Parameters
        ----------
        features
            (edges, features).
        neighbours
            Where the edges lead.

        Returns
        -------
        list of Tensor
            For each table (rows, kernel_width, widest), 0 where there is no neighbour. They depend on the
            mesh and on the features alone: where one kernel is applied several times they are made once.
        """
        hidden = F.pad(self.hidden(features), (0, 1), value=1.0)
        # With a row for no edge at the end.
        hidden = F.pad(hidden / neighbours.among.to(hidden.dtype)[:, None], (0, 0, 0, 1))
        return [_looked_up(hidden, table).transpose(1, 2) for table in neighbours.tables]

    def forward(self, basis: list[Tensor], v: Tensor, neighbours: Neighbours) -> Tensor:
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
        # Any source will do for no edge: its basis is 0.
        source = F.pad(neighbours.source, (0, 1))
        moments = [
            part @ _looked_up(v, _looked_up(source, table)) for part, table in zip(basis, neighbours.tables)
        ]  # (rows, kernel_width, width) each
        matrices = torch.cat((self.last.weight, self.last.bias[:, None]), dim=1)
        matrices = matrices.view(self.width, self.width, -1).permute(2, 1, 0).reshape(-1, self.width)
        return (torch.cat(moments).flatten(1) @ matrices).index_select(0, neighbours.row)


def _looked_up(values: Tensor, table: Tensor) -> Tensor:
    """``values[table]``, whose gradient costs less this way."""
    return values.index_select(0, table.flatten()).view(*table.shape, *values.shape[1:])
