"""The order in which samples are seen, and a loader that can stop and go on in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from pdeflow.data.grid_samples import GridSamples
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

if TYPE_CHECKING:
    from pdeflow.data.mesh_samples import MeshSamples
    from pdeflow.data.sparse_samples import SparseSamples


class BatchOrder:
    """Batches of sample positions; with ``shuffle`` a pure function of ``(seed, epoch)``.

    With several processes each takes its share of every batch: ``world`` processes with ``batch_size`` see
    what one would with ``world * batch_size``. In training the shares are equal, for which at most
    ``world - 1`` samples an epoch are left out; otherwise no sample is left out or repeated, and the
    processes still make the same number of batches, which collective communication needs.

    Parameters
    ----------
    n
        Number of samples.
    batch_size
        Samples a batch and process.
    shuffle
        Whether this is training order.
    seed
        Root of the random order.
    rank, world
        This process, and how many there are.

    Raises
    ------
    InvalidInput
        If there are fewer samples than a batch (in training) or than processes.
    """

    def __init__(
        self, n: int, batch_size: int, *, shuffle: bool = False, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size < 1:
            raise InvalidInput("batch_size", batch_size, "at least 1")
        if shuffle and n < batch_size * world:
            raise InvalidInput(
                "batch_size",
                batch_size * world,
                f"at most the {n} training samples: the data set is smaller than a batch",
                "Choose a smaller batch_size, or use more data.",
            )
        if n < world:
            raise InvalidInput("devices", world, f"at most as many processes as the {n} samples of this set")
        self.n, self.batch_size, self.shuffle, self.seed = n, batch_size, shuffle, seed
        self.rank, self.world = rank, world
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._cuts()) - 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Positions ``(B,)`` int64 of each batch of this process, from batch ``start`` on."""
        order = np.arange(self.n)
        if self.shuffle:
            stream = np.random.SeedSequence(self.seed, spawn_key=(1, self.epoch))
            order = np.random.default_rng(stream).permutation(self.n)
        cuts = self._cuts()
        for a, b in zip(cuts[self.start : -1], cuts[self.start + 1 :]):
            # Every world-th of the batch that all processes see together.
            yield torch.from_numpy(order[a:b][self.rank :: self.world].copy())

    def _cuts(self) -> list[int]:
        together = self.batch_size * self.world
        cuts = [*range(0, self.n, together), self.n]
        last = cuts[-1] - cuts[-2]
        if self.world > 1 and self.shuffle:
            cuts[-1] = cuts[-2] + last // self.world * self.world
            return cuts if cuts[-1] > cuts[-2] else cuts[:-1]
        if last < self.world and len(cuts) > 2:
            # Too few for one each: the batch before takes them in.
            del cuts[-2]
        return cuts


class BatchLoader:
    """Iterates over batches of samples; Lightning saves and restores where it is.

    Samples in memory are indexed directly, with no worker processes between. The position in the epoch counts
    batches that were delivered (or that the trainer finished, if ``finished`` is given), not those that
    workers prefetched.

    Parameters
    ----------
    samples
        What to draw from.
    order
        In which order; Lightning calls its ``set_epoch``, because it finds it under the name ``sampler``.
    num_workers
        Processes that read samples which are not in memory.
    grid
        Put into every batch under ``"grid"`` if given.
    finished
        How many batches of this epoch are done, asked when a checkpoint is written.
    """

    def __init__(
        self,
        samples: GridSamples | MeshSamples | SparseSamples,
        order: BatchOrder,
        *,
        num_workers: int = 0,
        grid: Grid | None = None,
        finished: Callable[[], int] | None = None,
    ) -> None:
        self.samples, self.sampler, self.grid = samples, order, grid
        # Lightning asks for it wherever there is a sampler.
        self.batch_sampler = None
        self._finished = finished
        self._delivered = 0
        self._resume: tuple[int, int] | None = None
        self._workers: DataLoader[dict[str, torch.Tensor]] | None = None
        if num_workers and not samples.in_memory:
            self._workers = DataLoader(
                samples,  # type: ignore[arg-type]
                sampler=order,  # type: ignore[arg-type]
                batch_size=None,
                num_workers=num_workers,
                collate_fn=_as_is,
                # Not persistent: workers end with their iterator, not when the garbage collector comes by.
                # Its own stream: the workers' seeds must not shift the global one, which a model draws from.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # A generator: the epoch is read at the first batch, after Lightning has set it.
        order = self.sampler
        first = 0
        if self._resume is not None:
            epoch, batch = self._resume
            first = batch if epoch == order.epoch and batch < len(order) else 0
            self._resume = None
        order.start = self._delivered = first
        for batch in map(self.samples.__getitem__, order) if self._workers is None else self._workers:
            self._delivered += 1
            yield batch if self.grid is None else {**batch, "grid": self.grid}

    def state_dict(self) -> dict[str, int]:
        """Where this epoch stands, and what the order depends on."""
        done = self._delivered if self._finished is None else self._finished()
        return {"epoch": self.sampler.epoch, "batch": done, "batches": len(self), **self._identity()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after the batches of ``state`` when its epoch comes.

        Raises
        ------
        InvalidInput
            If the state stands in the middle of an epoch that these settings would order differently.
        """
        if 0 < state["batch"] < state["batches"]:
            for key, value in self._identity().items():
                if state[key] != value:
                    raise InvalidInput(
                        f"data, {key}",
                        value,
                        f"{state[key]}, as in the checkpoint, which stands inside an epoch",
                        f"Resume with {key} = {state[key]}, or from a checkpoint at the end of an epoch.",
                    )
        self._resume = (state["epoch"], state["batch"])

    def _identity(self) -> dict[str, int]:
        order = self.sampler
        return {"samples": order.n, "batch_size": order.batch_size * order.world, "seed": order.seed}


def _as_is(batch: Any) -> Any:
    return batch
