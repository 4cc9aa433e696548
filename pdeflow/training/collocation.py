"""Points at which a statement is to hold, as a Lightning data module."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning_utilities.core.apply_func import apply_to_collection
from scipy.stats import qmc
from torch import Tensor

from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems import Problem
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import sides
from pdeflow.training.physics_informed import INSIDE

Sampler = Literal["sobol", "halton", "lhs", "uniform", "grid"]
VALIDATION, TEST = 2**32 - 1, 2**32 - 2
"""Draws that training does not come to."""


class Collocation(LightningDataModule):
    """Points inside of a box and on its sides, the same in every step; others are held back for validation.

    A batch is a dict: ``points``, the tensors (N, d) by ``"inside"`` and the names of the sides. Points of
    validation and test are draws of their own. A batch of a grid has ``input`` (coordinates of the nodes), ``grid``,
    and ``target`` where the problem knows its exact solution; test points then have ``exact`` (N, unknowns).

    Parameters
    ----------
    problem
        The statement.
    inside
        Points inside.
    on_sides
        Points on each side.
    sampler
        ``"sobol"``, ``"halton"``, ``"lhs"`` (Latin hypercube), ``"uniform"``; or ``"grid"``, centres of equal cells,
        about as many along each axis. Those held back are then of ``"sobol"``, for there is no other such grid.
    steps
        Steps of the optimiser in an epoch.
    resample
        Draw new points after so many epochs; never by default.
    held_back
        Points inside at which the residual is validated, and as many others at which it is tested.
    test_resolutions
        Nodes along each axis at which the solution is compared with the exact one, and drawn.
    seed
        Of the points.
    """

    def __init__(
        self,
        problem: Problem | None = None,
        inside: int = 1000,
        on_sides: int = 100,
        sampler: Sampler = "sobol",
        steps: int = 10,
        resample: int | None = None,
        held_back: int = 1000,
        test_resolutions: Sequence[int] = (101,),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if problem is None:
            hint = "Give the key problem: {class_path: NAME}."
            raise InvalidInput("data.problem", None, "the statement of an equation", hint)
        counts = {"inside": inside, "on_sides": on_sides, "steps": steps, "held_back": held_back}
        for name, value in (*counts.items(), ("resample", 1 if resample is None else resample)):
            if value < 1:
                raise InvalidInput(f"data.{name}", value, "at least 1")
        if sampler not in get_args(Sampler):
            raise InvalidInput("data.sampler", sampler, "a known one", choices=get_args(Sampler))
        self.problem, self.counts, self.sampler = problem, counts, sampler
        self.resample, self.seed = resample, seed
        self.test_resolutions = tuple(test_resolutions)

    @property
    def dim(self) -> int:
        """Coordinates of a point."""
        return len(self.problem.coordinates)

    @property
    def in_channels(self) -> int:
        """Coordinates of a point."""
        return self.dim

    @property
    def out_channels(self) -> int:
        """Unknowns."""
        return len(self.problem.fields)

    @property
    def grid(self) -> Grid:
        """The first test grid."""
        return self.problem.grid(self.test_resolutions[0])

    @property
    def test_names(self) -> list[str]:
        """The points that are held back, and the nodes of each test grid."""
        return ["points", *("x".join([str(n)] * self.dim) for n in self.test_resolutions)]

    @property
    def normalisation(self) -> Normalisation:
        """None to speak of: coordinates and values are as they are."""
        axes, fields = self.problem.coordinates, self.problem.fields
        return Normalisation(
            tuple(axes),
            tuple(fields),
            (0.0,) * len(axes),
            (1.0,) * len(axes),
            (0.0,) * len(fields),
            (1.0,) * len(fields),
        )

    @property
    def model_arguments(self) -> dict[str, Any]:
        """What fields take from the problem."""
        domain = self.problem.domain
        return {
            "lower": list(domain.lower),
            "upper": list(domain.upper),
            "periodic": list(domain.periodic),
            "components": self.out_channels,
        }

    @property
    def _has_exact(self) -> bool:
        middle = [
            torch.tensor(0.5 * (a + b)) for a, b in zip(self.problem.domain.lower, self.problem.domain.upper)
        ]
        return self._formula(middle) is not None

    def _formula(self, coordinates: Sequence[Tensor]) -> Any:
        at = Names("coordinate", dict(zip(self.problem.coordinates, coordinates)))
        numbers = {name: stated.distribution.fixed for name, stated in self.problem.parameters.items()}
        if any(value is None for value in numbers.values()):
            return None
        p = Names(
            "parameter", {name: value(at) if callable(value) else value for name, value in numbers.items()}
        )
        return self.problem.exact(at, p)

    def _exact(self, coordinates: Sequence[Tensor]) -> Tensor:
        """The exact solution (*S, unknowns) at coordinates (*S) each."""
        value = self._formula(coordinates)
        return torch.as_tensor(value, dtype=coordinates[0].dtype).expand(coordinates[0].shape)[..., None]

    def points(self, draw: int, inside: int) -> dict[str, Tensor]:
        """Points of one draw, float64."""
        domain = self.problem.domain
        low, high = (
            torch.tensor(domain.lower, dtype=torch.float64),
            torch.tensor(domain.upper, dtype=torch.float64),
        )
        found = {INSIDE: low + (high - low) * self._unit(inside, self.dim, (draw, 0))}
        for number, side in enumerate(sides(domain)):
            k = domain.axes.index(side[:-1])
            others = (
                self._unit(self.counts["on_sides"], self.dim - 1, (draw, number + 1))
                if self.dim > 1
                else torch.zeros(1, 0)
            )
            unit = torch.cat(
                [others[:, :k], torch.full((len(others), 1), float(side[-1] == "+")), others[:, k:]], dim=1
            )
            found[side] = low + (high - low) * unit
        return found

    def _unit(self, n: int, dim: int, key: tuple[int, int]) -> Tensor:
        """Points (n, dim) of the unit cube."""
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))
        sampler = "sobol" if self.sampler == "grid" and key[0] in (VALIDATION, TEST) else self.sampler
        if sampler == "grid":
            each = max(1, round(n ** (1 / dim)))
            centres = (torch.arange(each, dtype=torch.float64) + 0.5) / each
            return torch.cartesian_prod(*[centres] * dim).reshape(-1, dim)
        if sampler == "uniform":
            return torch.from_numpy(rng.random((n, dim)))
        kinds = {"sobol": qmc.Sobol, "halton": qmc.Halton, "lhs": qmc.LatinHypercube}
        engine = kinds[sampler](dim, rng=rng)
        if sampler == "sobol":  # balanced in powers of two: the first n of the next one
            return torch.from_numpy(engine.random_base2(max(0, (n - 1).bit_length()))[:n].copy())
        return torch.from_numpy(engine.random(n))

    def on_grid(self, points: int) -> dict[str, Any]:
        """The nodes of a grid, with the exact solution there where it is known."""
        grid = self.problem.grid(points)
        axes = torch.meshgrid(*[c.double() for c in grid.coordinates()], indexing="ij")
        target = {"target": self._exact(axes).movedim(-1, 0)[None]} if self._has_exact else {}
        return {
            "input": torch.stack(axes)[None],
            **target,
            "index": torch.zeros(1, dtype=torch.int64),
            "names": list(grid.axes),
            "resolution": points,
        }

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Add the grid: Lightning's precision plug-ins refuse frozen dataclasses before this point.

        Points come in the precision of the model.
        """
        dtype = next(self.trainer.lightning_module.parameters()).dtype  # pyright: ignore[reportOptionalMemberAccess]
        batch = apply_to_collection(batch, Tensor, lambda t: t.to(dtype) if t.is_floating_point() else t)
        return {**batch, "grid": self.problem.grid(batch["resolution"])} if "resolution" in batch else batch

    def train_dataloader(self) -> Steps:
        """The same points for each step of an epoch."""
        return Steps(self)

    def val_dataloader(self) -> Fixed:
        """Points that are held back, and the exact solution on the first test grid."""
        held = {"points": self.points(VALIDATION, self.counts["held_back"])}
        return Fixed([*([self.on_grid(self.test_resolutions[0])] if self._has_exact else []), held])

    def test_dataloader(self) -> list[Fixed]:
        """Points that neither training nor validation have seen; then each test grid."""
        points = self.points(TEST, self.counts["held_back"])
        exact = {"exact": self._exact(points[INSIDE].unbind(1))} if self._has_exact else {}
        return [
            Fixed([{"points": points, **exact}]),
            *(Fixed([self.on_grid(n)]) for n in self.test_resolutions),
        ]


class Fixed:
    """Batches that are always the same."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.batches)


class Steps:
    """The batches of an epoch; Lightning tells it which one by ``sampler.set_epoch``."""

    def __init__(self, data: Collocation) -> None:
        self.data, self.sampler, self.batch_sampler = data, self, None
        self._epoch, self._draw, self._batch = 0, -1, {}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.data.counts["steps"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        draw = self._epoch // self.data.resample if self.data.resample else 0
        if draw != self._draw:
            self._draw, self._batch = draw, {"points": self.data.points(draw, self.data.counts["inside"])}
        for _ in range(len(self)):
            yield self._batch
