"""Windows of trajectories at a few random nodes of their grid, as batches of graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pdeflow.data.mesh_samples import Connecting
from pdeflow.data.trajectory_samples import TrajectorySamples
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.triangle_mesh import BOUNDARY_PARTS


class SparseSamples:
    """Windows of trajectories, or whole ones, each seen at random nodes of the grid.

    Parameters
    ----------
    samples
        The windows.
    nodes
        How many nodes are drawn, at most as many as the grid has.
    seed
        Root of the draws, which depend on nothing else but the epoch and the window's number.
    operator
        What finds the neighbours; none without it.
    epoch
        Asked for the number of the epoch; where it is None the nodes of a window stay the same.
    everywhere
        Whether a batch also has the last state of each window at all nodes of the grid.
    """

    def __init__(
        self,
        samples: TrajectorySamples,
        nodes: int,
        seed: int,
        operator: Connecting | None,
        epoch: Callable[[], int] | None,
        everywhere: bool = False,
    ) -> None:
        self.samples, self.nodes, self.seed = samples, nodes, seed
        self.operator, self.epoch, self.everywhere = operator, epoch, everywhere
        self.in_memory = samples.in_memory
        grid = samples.grid
        self.positions = torch.stack([*grid.mesh(device="cpu").values()], dim=-1).flatten(0, -2).float()
        self.boundary = _boundary(grid)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: torch.Tensor) -> dict[str, Any]:
        """A batch; see ``SparseTrajectoryData``. ``index`` counts the windows."""
        from torch_geometric.data import Batch, Data

        windows = self.samples[index]
        values, states = windows["input"].flatten(2), windows["target"].flatten(3)
        kept = [self._drawn(number) for number in index.tolist()]
        graphs: list[Any] = [
            Data(x=x[:, nodes].T.contiguous(), pos=self.positions[nodes]) for x, nodes in zip(values, kept)
        ]
        if self.operator is None:
            batch: Any = Batch.from_data_list(graphs)
        else:
            found = [self.operator.connect(graph.pos.numpy(), sampled=True) for graph in graphs]
            batch = self.operator.connected(graphs, found)
        share = torch.full((len(graphs) * self.nodes,), 1 / self.nodes, device="cpu")
        target = torch.cat([state[:, :, nodes].permute(2, 0, 1) for state, nodes in zip(states, kept)])
        made = {
            "input": batch,
            "target": target,
            "index": windows["index"],
            "grid": MeshNodes(
                batch.batch, share, torch.cat([self.boundary[nodes] for nodes in kept]), len(graphs)
            ),
            "state": windows["state"],
            "time_step": windows["time_step"],
        }
        if self.everywhere:
            made["everywhere"] = {"points": self.positions, "last": states[:, -1]}
        return made

    def _drawn(self, window: int) -> torch.Tensor:
        turn = () if self.epoch is None else (self.epoch(),)
        stream = np.random.SeedSequence(self.seed, spawn_key=(3, window, *turn))
        drawn = np.random.default_rng(stream).choice(len(self.positions), self.nodes, replace=False)
        return torch.from_numpy(np.sort(drawn))


def _boundary(grid: Grid) -> torch.Tensor:
    """(nodes,) for each node the part of the boundary that it lies on."""
    outer = torch.zeros(grid.shape, dtype=torch.bool, device="cpu")
    for axis, wraps in enumerate(grid.periodic):
        if not wraps:
            outer.transpose(0, axis)[[0, -1]] = True
    return torch.where(outer.flatten(), BOUNDARY_PARTS.index("outer"), BOUNDARY_PARTS.index("inside"))
