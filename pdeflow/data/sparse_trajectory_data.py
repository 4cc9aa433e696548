"""Trajectories at a few random nodes as a Lightning data module, for operators on meshes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from pdeflow.data.batches import BatchLoader, BatchOrder
from pdeflow.data.grid_samples import GridSamples
from pdeflow.data.mesh_samples import Connecting
from pdeflow.data.sparse_samples import SparseSamples
from pdeflow.data.trajectory_data import TrajectoryData
from pdeflow.data.trajectory_samples import TrajectorySamples
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput


class SparseTrajectoryData(TrajectoryData):
    """Trajectories at random nodes of their grid, as graphs, for a model that gives the next state.

    A batch is as that of ``MeshData``: ``input``, a torch-geometric ``Batch`` with ``x``
    (nodes, in_channels), ``history`` states and then the constants, with ``pos`` (nodes, dim), and with the
    neighbours that the operator reads; ``target`` (nodes, steps, channels), the states after them;
    ``index``, the trajectory's number in its file; ``grid``, a :class:`~pdeflow.mesh_nodes.MeshNodes` in
    which all nodes count the same; ``state``, how many channels of the input are states; ``time_step``.

    What is learned marches on so many nodes and answers at any point (``Surrogate.rollout``,
    ``Surrogate.rollout_at``). As on grids, a sample of training is a window with ``horizon`` states after it,
    and in validation and test a trajectory, to be marched from its first states to its end. In training the
    nodes are drawn anew in every epoch; in validation and test they stay. In the test ``everywhere`` has the
    last state at all nodes of the grid, ``last`` (B, channels, points) at ``points`` (points, dim).

    Axes that wrap around do so for no operator on meshes: nodes at their ends are not neighbours.

    Parameters
    ----------
    path, fields, constants, history, horizon, stride, batch_size, resolution, test_paths, split, seed
        As for `TrajectoryData`.
    nodes
        How many nodes are drawn of each state or trajectory.

    Raises
    ------
    InvalidInput
        As `TrajectoryData`; for more nodes than a grid has, that of a test included.

    References
    ----------
    Viswanath, Chang, Panas, Berner, Chen, Bera: Reduced-order neural operators: learning Lagrangian
    dynamics on highly sparse graphs (GIOROM). 2024. arXiv:2407.03925.
    """

    def __init__(
        self,
        path: str,
        fields: list[str],
        nodes: int = 1000,
        constants: list[str] | None = None,
        history: int = 1,
        horizon: int = 1,
        stride: int = 1,
        batch_size: int = 4,
        resolution: int | list[int] | None = None,
        test_paths: list[str] | None = None,
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
    ) -> None:
        if nodes < 2:
            raise InvalidInput("data.nodes", nodes, "at least 2")
        super().__init__(
            path,
            fields,
            constants,
            history=history,
            horizon=horizon,
            stride=stride,
            batch_size=batch_size,
            resolution=resolution,
            test_paths=test_paths,
            split=split,
            seed=seed,
        )
        self.nodes = nodes

    def probe(self, operator: Connecting) -> None:
        """Raise InvalidInput where an operator cannot take so many random nodes."""
        assert isinstance(self._loaded_train, TrajectorySamples)
        samples = SparseSamples(self._loaded_train, self.nodes, self.seed, operator, None)
        _ = samples[torch.tensor([0], device="cpu")]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Nothing: the batch has its nodes."""
        return batch

    def test_dataloader(self) -> list[BatchLoader]:
        """Batches of each test set, with what they end in everywhere."""
        return [self._loader(samples, everywhere=True) for samples in self._loaded_tests.values()]

    def _loader(
        self,
        samples: GridSamples,
        *,
        shuffle: bool = False,
        finished: Any = None,
        everywhere: bool = False,
    ) -> BatchLoader:
        assert isinstance(samples, TrajectorySamples)
        trainer = self.trainer
        order = BatchOrder(
            len(samples),
            self.batch_size,
            shuffle=shuffle,
            seed=self.order_seed,
            rank=trainer.global_rank if trainer is not None else 0,
            world=trainer.world_size if trainer is not None else 1,
        )
        # Only the operator knows which nodes it wants to see together.
        operator: Any = trainer.lightning_module.model if trainer is not None else None
        # The members of an ensemble draw nodes of their own in training, and are validated on the same.
        seed, epoch = (self.order_seed, lambda: order.epoch) if shuffle else (self.seed, None)
        sparse = SparseSamples(samples, self.nodes, seed, operator, epoch, everywhere)
        return BatchLoader(sparse, order, finished=finished)

    def _chosen(
        self, readers: list[WellReader], rows: np.ndarray, points: int | Sequence[int] | None, training: bool
    ) -> GridSamples:
        samples = super()._chosen(readers, rows, points, training)
        there = math.prod(samples.grid.points)
        if self.nodes > there:
            expected = f"at most {there}, the nodes of the grid of {readers[0].path}"
            raise InvalidInput("data.nodes", self.nodes, expected, "Take fewer, or a finer grid.")
        return samples
