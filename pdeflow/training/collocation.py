"""Points at which a statement is to hold, as a Lightning data module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

from pdeflow.data.datamodule import finished_batches
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems import ParametricFamily, Problem
from pdeflow.problems.calculus import Names
from pdeflow.problems.domain import Box, Design
from pdeflow.problems.observed import observations
from pdeflow.problems.space_filling import SpaceFilling, space_filling
from pdeflow.problems.unknowns import components
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed
from pdeflow.training.residual_adaptive import Resampling

VALIDATION, TEST = 2**32 - 1, 2**32 - 2
"""Draws that training does not come to."""
CHOICE = 2**32 - 1
"""The number of the random numbers by which points are chosen; sides come before."""
AT_ONCE = 10_000
"""Points at which residuals are looked at together."""


class Collocation(LightningDataModule):
    """Points inside of a domain and on its sides, the same in every step; others are held back to validate.

    A batch is a dict: ``points``, the tensors (N, d) by ``"inside"`` and the names of the sides. On sides of
    what is no box, d more columns are the outward normals; those of an `Observed` have the values. Where the
    sampler is a grid in a box, ``axes`` has the coordinates along each axis, whose product they are.
    Where the model is made of `Subdomains`, there are points of each interface too, by ``"x=0.5"``.
    Points of validation and test are draws of their own. A batch of a grid has ``input`` (coordinates of the
    nodes), ``grid``, and ``target`` where the problem knows its exact solution; test points then have
    ``exact`` (N, unknowns), or where there is a reference. Where a parameter is to be found there is neither:
    those that are known belong to the value that the problem was given for it.

    Parameters
    ----------
    problem
        The statement.
    inside
        Points inside; about as many where the domain is no box.
    on_sides
        Points on each side, and about as many on each interface.
    sampler
        ``"sobol"``, ``"halton"``, ``"lhs"`` (Latin hypercube), ``"uniform"``; or ``"grid"``, centres of equal
        cells, about as many along each axis; see :func:`~pdeflow.problems.space_filling.space_filling`. Those
        held back are then of ``"sobol"``, for there is no other such grid.
    steps
        Steps of the optimiser in an epoch.
    resample
        How new points inside are chosen while training, and after how many steps: ``Redraw``, ``RAD`` or
        ``R3``; those on sides are drawn anew with them. All stay by default.
    held_back
        Points inside at which the residual is validated, and as many others at which it is tested.
    test_resolutions
        Nodes along each axis of grids on which the solution is drawn, and where the domain is a box compared
        with the exact one; by default 101, in three dimensions 21. Of a `ParametricFamily` its members with
        the lowest, middle and highest parameters are.
    seed
        Of the points.
    """

    def __init__(
        self,
        problem: Problem | None = None,
        inside: int = 1000,
        on_sides: int = 100,
        sampler: SpaceFilling = "sobol",
        steps: int = 10,
        resample: Resampling | None = None,
        held_back: int = 1000,
        test_resolutions: Sequence[int] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if problem is None:
            hint = "Give the key problem: {class_path: NAME}."
            raise InvalidInput("data.problem", None, "the statement of an equation", hint)
        counts = {"inside": inside, "on_sides": on_sides, "steps": steps, "held_back": held_back}
        for name, value in counts.items():
            if value < 1:
                raise InvalidInput(f"data.{name}", value, "at least 1")
        if sampler not in get_args(SpaceFilling):
            raise InvalidInput("data.sampler", sampler, "a known one", choices=get_args(SpaceFilling))
        if sampler == "grid" and resample is not None:
            hint = "Take sobol, or leave resample out."
            raise InvalidInput("data.sampler", sampler, "one of which there are new points to choose", hint)
        self.problem, self.counts = problem, counts
        self.sampler: SpaceFilling = sampler
        self.resample, self.seed = resample, seed
        self.chosen: tuple[int, Tensor] | None = None
        self.interfaces: dict[str, tuple[int, float]] = {}
        self.to_be_found = False
        if test_resolutions is not None and not test_resolutions:
            hint = "Leave the key out for what is usual."
            raise InvalidInput("data.test_resolutions", [], "at least one number of nodes", hint)
        usual = (101,) if self.problem.grid(2).dim < 3 else (21,)
        self.test_resolutions = usual if test_resolutions is None else tuple(test_resolutions)

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
        """The points that are held back, and the nodes of each test grid; of which member of a family."""
        dim = self.problem.grid(2).dim
        of = [f"-{where}" if where else where for where in self._sections]
        return ["points", *("x".join([str(n)] * dim) + where for n in self.test_grids for where in of)]

    @property
    def test_grids(self) -> tuple[int, ...]:
        """Nodes along each axis of the test grids; only boxes have such."""
        return self.test_resolutions if isinstance(self.problem.domain, Box) else ()

    @property
    def _sections(self) -> dict[str, dict[str, float]]:
        """Of a family the members that are compared on grids; else one, without more coordinates."""
        return self.problem.sections() if isinstance(self.problem, ParametricFamily) else {"": {}}

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
        if self.to_be_found or any(value is None for value in numbers.values()):
            return None
        p = Names(
            "parameter", {name: value(at) if callable(value) else value for name, value in numbers.items()}
        )
        return self.problem.exact(at, p)

    def _exact(self, coordinates: Sequence[Tensor]) -> Tensor:
        """The exact solution (*S, unknowns) at coordinates (*S) each."""
        fields, name = self.problem.fields, f"{type(self.problem).__name__}.exact"
        like = coordinates[0]
        parts = components(fields, self._formula(coordinates), name)
        columns = [torch.as_tensor(part, dtype=like.dtype).expand(like.shape) for part in parts]
        return torch.stack(columns, dim=-1)

    def _reference(self, points: Tensor) -> Tensor | None:
        """The reference solution (N, unknowns) at points (N, d), where there is one."""
        values = self.problem.reference(points.numpy())
        if values is None:
            return None
        one, full = (len(points),), (len(points), self.out_channels)
        if values.shape != full and (values.shape != one or self.out_channels > 1):
            name, known = f"shape of {type(self.problem).__name__}.reference", self.problem.fields
            expected = f"{full}, a column for each of {', '.join(known)}"
            hint = "Stack them by np.stack([...], axis=1)." if len(known) > 1 else f"Or {one}."
            raise InvalidInput(name, values.shape, expected, hint)
        return torch.from_numpy(values).reshape(full)

    def known(self, points: Tensor) -> Tensor | None:
        """The exact or else the reference solution (N, unknowns) at points (N, d), where there is one."""
        if self.to_be_found:
            return None
        return self._exact(points.unbind(1)) if self._has_exact else self._reference(points)

    def setup(self, stage: str) -> None:
        """Know where the networks of the model meet, and whether parameters are to be found."""
        objective: Any = None if self.trainer is None else self.trainer.lightning_module.objective
        if isinstance(objective, PhysicsInformed):
            self.to_be_found = bool(objective.found())
            if objective.interfaces is not None:
                self.interfaces = objective.interfaces.places

    def points(self, draw: int, inside: int) -> dict[str, Tensor]:
        """Points of one draw, float64."""
        domain = self.problem.domain
        found = {INSIDE: self._inside(draw, inside)}
        for number, side in enumerate(domain.sides):
            points, normals = domain.on_side(side, self.counts["on_sides"], self._design(draw, number + 1))
            columns = [points] if isinstance(domain, Box) else [points, normals]
            found[side] = torch.from_numpy(np.concatenate(columns, axis=1))
        for number, (name, (axis, place)) in enumerate(self.interfaces.items(), len(domain.sides) + 1):
            design, key = self._design(draw, number), "model.subdomains"
            points = domain.across(axis, place, self.counts["on_sides"], design, key)
            found[name] = torch.from_numpy(points)
        for name, observed in observations(self.problem):
            found[name] = torch.from_numpy(observed.table)
        return found

    def axes(self, points: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        """The coordinates along each axis of sets of points that are products, the last axis fastest."""
        if self.sampler != "grid" or not isinstance(self.problem.domain, Box):
            return {}
        sets = [INSIDE, *self.problem.domain.sides]
        return {name: [torch.unique(column) for column in points[name].unbind(1)] for name in sets}

    def _inside(self, draw: int, n: int) -> Tensor:
        """About n points inside, of one draw."""
        return torch.from_numpy(self.problem.domain.inside(n, self._design(draw, 0)))

    def _design(self, draw: int, number: int) -> Design:
        """How points are spread; those that training does not come to are not those of its grid."""
        sampler: SpaceFilling = self.sampler
        if sampler == "grid" and draw in (VALIDATION, TEST):
            sampler = "sobol"
        seed = np.random.SeedSequence(self.seed, spawn_key=(draw, number))
        return lambda n, dim: space_filling(sampler, n, dim, seed)

    def next_points(self, draw: int, points: dict[str, Tensor]) -> dict[str, Tensor]:
        """The points of a draw, those inside from those before: `resample` chooses them."""
        assert self.resample is not None
        new = self.points(draw, self.counts["inside"])
        if not self.resample.needs_residuals:
            return new
        # The first number that no side has, and a draw of the same number again is another one.
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(draw, CHOICE)))
        chosen = self.resample.choose(
            points[INSIDE], lambda n: self._inside(draw, n), self._residual_norm, rng
        )
        return {**new, INSIDE: chosen}

    @torch.no_grad()
    def _residual_norm(self, points: Tensor) -> Tensor:
        """The norm (N,) of the residual of the model as it is at points (N, d), float64 on the host."""
        task: Any = self.trainer.lightning_module  # pyright: ignore[reportOptionalMemberAccess]
        like = next(task.model.parameters())
        sizes = []
        for part in points.split(AT_ONCE):
            placed = task.objective.placed({INSIDE: part.to(like)})[INSIDE]
            sizes.append(task.objective.residual(task.model, placed).norm(dim=1).to("cpu", torch.float64))
        return torch.cat(sizes)

    def state_dict(self) -> dict[str, Any]:
        """Points that were chosen by residuals cannot be drawn again: checkpoints have them."""
        chosen = self.resample is not None and self.resample.needs_residuals and self.chosen is not None
        return {"inside": self.chosen[1], "draw": self.chosen[0]} if chosen else {}  # pyright: ignore[reportOptionalSubscript]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the points of a checkpoint."""
        if state_dict:
            self.chosen = (int(state_dict["draw"]), state_dict["inside"].double())

    def on_grid(self, points: int, member: Mapping[str, float] | None = None) -> dict[str, Any]:
        """The nodes of a grid, of a member of a family, with the exact solution there where it is known."""
        grid = self.problem.grid(points)
        axes = torch.meshgrid(*[c.double() for c in grid.coordinates()], indexing="ij")
        axes = (*axes, *(torch.full_like(axes[0], value) for value in (member or {}).values()))
        target = {"target": self._exact(axes).movedim(-1, 0)[None]} if self._has_exact else {}
        return {
            "input": torch.stack(axes)[None],
            **target,
            "index": torch.zeros(1, dtype=torch.int64),
            "names": list(self.problem.coordinates),
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
        return Fixed([*(self._on_grids(self.test_grids[:1]) if self._has_exact else ()), held])

    def test_dataloader(self) -> list[Fixed]:
        """Points that neither training nor validation have seen; then each test grid."""
        points = self.points(TEST, self.counts["held_back"])
        known = self.known(points[INSIDE])
        exact = {} if known is None else {"exact": known}
        return [
            Fixed([{"points": points, **exact}]),
            *(Fixed([one]) for one in self._on_grids(self.test_grids)),
        ]

    def _on_grids(self, resolutions: Sequence[int]) -> list[dict[str, Any]]:
        """Each of these grids, of each section."""
        return [self.on_grid(n, member) for n in resolutions for member in self._sections.values()]


class Fixed:
    """Batches that are always the same."""

    def __init__(self, batches: Sequence[dict[str, Any]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.batches)


class Steps:
    """The batches of an epoch; Lightning tells it which one by ``sampler.set_epoch``.

    In the middle of an epoch a checkpoint says which step comes next.
    """

    def __init__(self, data: Collocation) -> None:
        self.data, self.sampler, self.batch_sampler = data, self, None
        self._epoch, self._delivered = 0, 0
        self._resume: tuple[int, int] | None = None
        self._draw, chosen = (0, None) if data.chosen is None else data.chosen
        self._points = data.points(self._draw, data.counts["inside"])
        if chosen is not None:
            self._points[INSIDE] = chosen
        self._axes = data.axes(self._points)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self.data.counts["steps"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        first = 0
        if self._resume is not None:
            epoch, step = self._resume
            first = step if epoch == self._epoch and step < len(self) else 0
            self._resume = None
        for step in range(first, len(self)):
            if self.data.resample is not None:
                draw = (self._epoch * len(self) + step) // self.data.resample.every
                if draw != self._draw:
                    self._points = self.data.next_points(draw, self._points)
                    self._draw, self.data.chosen = draw, (draw, self._points[INSIDE])
            self._delivered = step + 1
            yield {"points": self._points, **({"axes": self._axes} if self._axes else {})}

    def state_dict(self) -> dict[str, int]:
        """Where this epoch stands."""
        trainer = self.data.trainer
        done = self._delivered if trainer is None else finished_batches(trainer)
        return {"epoch": self._epoch, "step": done}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the steps of a checkpoint when its epoch comes."""
        self._resume = (int(state_dict["epoch"]), int(state_dict["step"]))
