"""A PINN of PINA: ``python -m benchmarks.peers.pina_pinn JOB.json``.

Its documented way: conditions by the form of the model, or as points with values, Adam, then a second Trainer
with torch's L-BFGS, in float64, until the seconds are over; of an inverse problem Adam alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import lightning
import torch
from pina import Condition, LabelTensor, Trainer
from pina.domain import CartesianDomain
from pina.equation import Equation
from pina.operator import grad
from pina.optim import TorchOptimizer
from pina.problem import InverseProblem, SpatialProblem
from pina.solver import PhysicsInformedSingleModelSolver
from pina.weighting import ScalarWeighting
from torch import Tensor, nn

from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.peers.pinn_points import points_of
from benchmarks.peers.pinn_statement import Curve, Inverse, Statement, ends, stated

ITERATIONS_A_STEP = 20
"""Of torch's L-BFGS."""


class Found:
    """`Derivatives`, by PINA."""

    def __init__(self, x: LabelTensor, u: LabelTensor, unknown: Tensor) -> None:
        self.x, self.labelled, self.unknown = x, u, unknown
        self.u = u.as_subclass(Tensor)

    def at(self, axis: str) -> Tensor:
        """The coordinate."""
        return self.x.extract([axis]).as_subclass(Tensor)

    def _first(self, axis: str) -> LabelTensor:
        return grad(self.labelled, self.x, components=["u"], d=[axis])

    def d(self, axis: str) -> Tensor:
        """The first derivative."""
        return self._first(axis).as_subclass(Tensor)

    def d2(self, axis: str) -> Tensor:
        """The second derivative along one axis."""
        first = self._first(axis)
        return grad(first, self.x, components=list(first.labels), d=[axis]).as_subclass(Tensor)


class Model(nn.Module):
    """A tanh network whose form meets the conditions."""

    def __init__(self, statement: Statement) -> None:
        super().__init__()
        self.statement = statement
        probe = torch.zeros(1, len(statement.axes), dtype=torch.float64)
        widths = [len(statement.inputs(statement.coordinates(probe))), *statement.hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.Tanh()]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        for layer in self.network:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1) at points (N, d)."""
        if isinstance(x, LabelTensor):  # their domains have the axes in an order of their own
            x = x.extract(list(self.statement.axes))
        at = self.statement.coordinates(x.as_subclass(Tensor))
        return self.statement.form(at, self.network(torch.cat(self.statement.inputs(at), dim=1)))


class Look(lightning.Callback):
    """Fills the curve, and ends the training after so many seconds."""

    def __init__(self, curve: Curve, found: Callable[[Tensor], Tensor], seconds: float) -> None:
        self.curve, self.found, self.seconds = curve, found, seconds

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clock."""
        self.curve.start()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Stop it while the next optimiser is being made."""
        self.curve.stop()

    def on_train_batch_end(self, trainer: lightning.Trainer, *given: Any) -> None:
        """After a step."""
        self.curve.look(self.found)
        if self.curve.taken >= self.seconds:
            trainer.should_stop = True


def problem_of(statement: Statement, points: Mapping[str, Tensor]) -> SpatialProblem:
    """With the residual inside, and values on the sides where they are learned."""
    box = CartesianDomain({axis: [statement.lower[axis], statement.upper[axis]] for axis in statement.axes})
    inverse, nothing = isinstance(statement, Inverse), torch.zeros(1)

    def of_known(x: LabelTensor, u: LabelTensor) -> Tensor:
        return statement.residual(Found(x, u, nothing))

    def of_unknown(x: LabelTensor, u: LabelTensor, unknown: dict[str, Tensor]) -> Tensor:
        return statement.residual(Found(x, u, unknown["unknown"]))

    axes = list(statement.axes)
    equation = Equation(of_unknown if inverse else of_known)
    given = {"inside": Condition(input=LabelTensor(points["inside"], axes), equation=equation)}
    for side, (places, values) in statement.values(points).items():
        given[side] = Condition(input=LabelTensor(places, axes), target=LabelTensor(values, ["u"]))

    class Stated(SpatialProblem):
        output_variables: ClassVar = ["u"]
        spatial_domain = box
        domains: ClassVar = {}
        conditions: ClassVar = given

    if not inverse:
        return Stated()

    class StatedInverse(Stated, InverseProblem):
        unknown_parameter_domain = CartesianDomain({"unknown": [0.0, statement.most]})

    problem = StatedInverse()
    problem.unknown_parameters["unknown"].data.fill_(statement.start)  # theirs is drawn
    return problem


def main(job: dict[str, Any]) -> dict[str, Any]:
    """The curve, and what the final error is."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    lightning.seed_everything(job["seed"], verbose=False)
    statement = stated(STATEMENTS[job["case"]](), job)
    problem = problem_of(statement, points_of(job["config"], job["seed"]))
    model = Model(statement)
    weighting = ScalarWeighting(
        {name: 1.0 if name == "inside" else statement.weight for name in problem.conditions}
    )
    found = model
    if isinstance(problem, InverseProblem):
        unknown = problem.unknown_parameters["unknown"]
        found = lambda points: unknown.reshape(1, 1)  # noqa: E731
    curve = Curve(*statement.tested(job["config"]))
    lbfgs = TorchOptimizer(
        torch.optim.LBFGS,
        max_iter=ITERATIONS_A_STEP,
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0.0,
        tolerance_change=0.0,
    )
    adam = TorchOptimizer(torch.optim.Adam, lr=statement.rate)
    first, last = ends(statement, job)
    stages = [(*first, adam), (last[0], max(1, last[1] // ITERATIONS_A_STEP), lbfgs)]
    if isinstance(problem, InverseProblem):  # has two groups of parameters, which L-BFGS does not take
        stages = [(*last, adam)]
    with contextlib.redirect_stdout(sys.stderr):
        for seconds, steps, optimizer in stages:
            solver = PhysicsInformedSingleModelSolver(problem, model, optimizer, weighting=weighting)
            trainer = Trainer(
                solver,
                accelerator="cpu",
                devices=1,
                callbacks=[Look(curve, found, seconds)],
                max_epochs=steps,
                precision="64-true",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.train()
    ended = curve.taken
    curve.look(found, always=True)
    return {
        "curve": curve.looks,
        "seconds": ended,
        "parameters": sum(p.numel() for p in model.parameters()),
        "setting": statement.setting,
        "error": curve.looks[-1][1],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
