"""A PINN of DeepXDE: ``python -m benchmarks.peers.deepxde_pinn JOB.json``.

Its documented way: conditions by an output transform, or as points with values, Adam, then L-BFGS, in
float64, until the seconds are over or it says that it has converged. Points are anchors.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["DDE_BACKEND"] = "pytorch"

import deepxde
import torch
from deepxde.optimizers.config import LBFGS_options
from torch import Tensor

from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.peers.pinn_points import points_of
from benchmarks.peers.pinn_statement import FOREVER, Curve, Inverse, Statement, ends, stated

ITERATIONS_A_LOOK = 20


class Found:
    """`Derivatives`, by DeepXDE."""

    def __init__(self, statement: Statement, x: Tensor, u: Tensor, unknown: Tensor) -> None:
        self.statement, self.x, self.u, self.unknown = statement, x, u, unknown

    def at(self, axis: str) -> Tensor:
        """The coordinate."""
        return self.statement.coordinates(self.x)[axis]

    def d(self, axis: str) -> Tensor:
        """The first derivative."""
        return deepxde.grad.jacobian(self.u, self.x, i=0, j=self.statement.axes.index(axis))

    def d2(self, axis: str) -> Tensor:
        """The second derivative along one axis."""
        k = self.statement.axes.index(axis)
        return deepxde.grad.hessian(self.u, self.x, i=k, j=k)


class Look(deepxde.callbacks.Callback):
    """Fills the curve, and ends the training after so many seconds."""

    def __init__(self, curve: Curve, found: Callable[[Tensor], Tensor], seconds: float) -> None:
        super().__init__()
        self.curve, self.found, self.seconds = curve, found, seconds

    def on_train_begin(self) -> None:
        """Start the clock."""
        self.curve.start()

    def on_train_end(self) -> None:
        """Stop it while the next optimiser is being made."""
        self.curve.stop()

    def on_epoch_end(self) -> None:
        """After a step of Adam, or some of L-BFGS."""
        self.curve.look(self.found)
        if self.curve.taken >= self.seconds:
            self.model.stop_training = True


def main(job: dict[str, Any]) -> dict[str, Any]:
    """The curve, and what the final error is."""
    torch.set_num_threads(1)
    deepxde.config.set_default_float("float64")
    deepxde.config.set_random_seed(job["seed"])
    statement = stated(STATEMENTS[job["case"]](), job)
    points = points_of(job["config"], job["seed"])
    low, high = ([corner[a] for a in statement.axes] for corner in (statement.lower, statement.upper))
    conditions = [
        deepxde.icbc.PointSetBC(places.numpy(), values.numpy())
        for places, values in statement.values(points).values()
    ]
    inverse = isinstance(statement, Inverse)
    unknown = deepxde.Variable(statement.start if inverse else 0.0)
    data = deepxde.data.PDE(
        deepxde.geometry.Hypercube(low, high),
        lambda x, u: statement.residual(Found(statement, x, u, unknown)),
        conditions,
        anchors=points["inside"].numpy(),
    )
    probe = torch.zeros(1, len(statement.axes), dtype=torch.float64)
    fed = len(statement.inputs(statement.coordinates(probe)))
    net = deepxde.nn.FNN([fed, *statement.hidden, 1], "tanh", "Glorot uniform")
    net.apply_feature_transform(lambda x: torch.cat(statement.inputs(statement.coordinates(x)), dim=1))
    net.apply_output_transform(lambda x, out: statement.form(statement.coordinates(x), out))
    model = deepxde.Model(data, net)
    found = (lambda points: unknown.reshape(1, 1)) if inverse else net
    more = {"external_trainable_variables": unknown} if inverse else {}
    weights = [1.0, *[statement.weight] * len(conditions)]
    first, last = ends(statement, job)
    with contextlib.redirect_stdout(sys.stderr):
        model.compile("adam", lr=statement.rate, loss_weights=weights, **more)
        curve = Curve(*statement.tested(job["config"]))
        look = Look(curve, found, first[0])
        model.train(iterations=first[1], display_every=FOREVER, callbacks=[look], verbose=0)
        deepxde.optimizers.set_LBFGS_options(maxcor=100, gtol=0, maxiter=last[1])
        LBFGS_options["iter_per_step"] = ITERATIONS_A_LOOK
        model.compile("L-BFGS", loss_weights=weights, **more)
        model.train(callbacks=[Look(curve, found, last[0])], verbose=0)
    ended = curve.taken
    curve.look(found, always=True)
    return {
        "curve": curve.looks,
        "seconds": ended,
        "parameters": sum(p.numel() for p in net.parameters()),
        "setting": statement.setting,
        "error": curve.looks[-1][1],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
