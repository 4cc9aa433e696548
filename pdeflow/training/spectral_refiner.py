"""Refining what a spectral operator predicts of one trajectory, by the equation alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput, NumericalFailure
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.operator import Operator
from pdeflow.training.rollout import Rollout
from pdeflow.training.rollout_error import held
from pdeflow.training.sobolev_norm import squared_sobolev
from pdeflow.training.stepper_residual import StepperResidual
from pdeflow.training.task import TrainingTask


@dataclass(frozen=True)
class Refinement:
    """A refined trajectory.

    Parameters
    ----------
    states
        ``(1, steps, channels, *shape)``, in physical units: those with the smallest residual.
    residuals
        The relative residual (see `StepperResidual`) before the first sweep and after each one.
    """

    states: Tensor
    residuals: list[float]


class RefinementFailed(NumericalFailure):
    """The stepper did not stay finite; ``best`` is what there was before.

    Parameters
    ----------
    message
        What happened, and what to try.
    best
        The states with the smallest residual until then, with the residuals until then; what the operator
        predicts, and no residual, if there was none.
    """

    def __init__(self, message: str, best: Refinement) -> None:
        super().__init__(message)
        self.best = best


def check_limits(sweeps: int, iterations: int, tolerance: float) -> None:
    """Raise InvalidInput where one of them is out of range."""
    for name, value in (("sweeps", sweeps), ("iterations", iterations)):
        if value < 1:
            raise InvalidInput(f"SpectralRefiner.{name}", value, "at least 1")
    if not tolerance >= 0:
        raise InvalidInput("SpectralRefiner.tolerance", tolerance, "a number that is not negative")


def spectral_layers(model: Operator) -> list[nn.Module]:
    """The layers that multiply Fourier modes of the grid of the data.

    Raises
    ------
    InvalidInput
        Where there is none, as on meshes: the Fourier layers of a GINO work on a grid of its own.
    """
    from pdeflow.operators.spectral_convolution import SpectralConvolution

    layers: list[nn.Module] = [m for m in model.modules() if isinstance(m, SpectralConvolution)]
    if not layers or isinstance(model, GraphOperator):
        expected = "an operator on grids with spectral layers"
        raise InvalidInput("model", type(model).__name__, expected, "Use FNO, TFNO, UNO, LocalNO or CODANO.")
    return layers


def refine(
    task: TrainingTask,
    batch: dict[str, Any],
    residual: StepperResidual,
    *,
    sweeps: int = 20,
    iterations: int = 20,
    tolerance: float = 1e-3,
) -> Refinement:
    r"""Fine-tune the last spectral layer to one trajectory, without truncation, by the equation.

    The operator marches once; what it read at each step is kept, and so are all of its weights. The last
    spectral layer gets a bias for every mode of the grid at every step, those that the layer cuts off
    included, zero at first: :math:`K v + \beta`. These are the variables, a change of the layer in space and
    time that its own weights, the same at all times, could not make. Each sweep moves all states by the
    stepper side by side, :math:`y_{n+1} = \Phi(u_n)`, and then minimises :math:`\sum_n \|u_{n+1}(\beta) -
    y_{n+1}\|_s^2` by L-BFGS with y held fixed. What is right at a state is so at the next one after a sweep,
    so that as many sweeps as steps reach the stepper's own trajectory. Nodal values stand for the modes: the
    transform is orthogonal, which changes nothing for L-BFGS.

    This is no way around a stepper: marching the same one from the first state is one sweep's work in all. In
    :math:`H^{-1}` a sweep gets the long waves right first; in L2 (order 0) it is nearly a problem for each
    node, and takes fewer iterations.

    Parameters
    ----------
    task
        The trained operator with its normalisation; not changed.
    batch
        One trajectory, as `TrajectoryData` gives it; its target is not looked at.
    residual
        The statement, the stepper and the norm; its weight and loss do not matter.
    sweeps
        At most so many.
    iterations
        Of L-BFGS in a sweep, at most.
    tolerance
        The relative residual at which sweeps end.

    Raises
    ------
    InvalidInput
        For numbers out of range, more than one trajectory, and an operator without a spectral layer.
    RefinementFailed
        If the stepper does not stay finite; it has the best states until then.

    References
    ----------
    S. Cao, F. Brarda, R. Li, Y. Xi, "Spectral-Refiner: accurate fine-tuning of spatiotemporal Fourier neural
    operator for turbulent flows", ICLR 2025 (arXiv:2405.17211).
    """
    check_limits(sweeps, iterations, tolerance)
    if "state" not in batch or len(batch["input"]) != 1:
        raise InvalidInput("batch", tuple(batch["input"].shape), "one trajectory", "Use TrajectoryData.")
    # Tensors of Lightning's tests are made for inference alone: those that gradients go through are copies.
    with torch.inference_mode(False), torch.enable_grad():
        own = {name: v.clone() if isinstance(v, Tensor) else v for name, v in batch.items()}
        with torch.no_grad():
            marched = held(Rollout().eval().predict(task, own)).to(own["input"].dtype)
        inputs, first = _windows(own, marched)
        layer, shape = _last_spectral_layer(task, inputs)
        bias = torch.zeros(shape, device=inputs.device, requires_grad=True)

        def corrected(module: nn.Module, given: Any, output: Tensor) -> Tensor:
            return output + bias

        handle = layer.register_forward_hook(corrected)
        try:
            start = (inputs, first, marched[0])
            return _swept(task, own, residual, start, bias, (sweeps, iterations, tolerance))
        finally:
            handle.remove()


def _swept(
    task: TrainingTask,
    batch: dict[str, Any],
    residual: StepperResidual,
    start: tuple[Tensor, Tensor, Tensor],
    bias: Tensor,
    limits: tuple[int, int, float],
) -> Refinement:
    """``start`` is what the operator reads at each step, the first state, and what it predicts."""
    sweeps, iterations, tolerance = limits
    inputs, first, best = start
    grid, residuals = batch["grid"], []
    while True:
        with torch.no_grad():
            states = task(inputs)
            reached = residual.flow(torch.cat([first, states[:-1]])[None].double(), batch)[0]
            size = squared_sobolev(reached, grid, residual.order).sum()

        def missed(target: Tensor = reached, size: Tensor = size) -> Tensor:
            return squared_sobolev(task(inputs) - target, grid, residual.order).sum() / size

        with torch.no_grad():
            relative = math.sqrt(float(missed()))
        if not math.isfinite(relative):
            raise RefinementFailed(
                f"the stepper of {residual.problem.name} has left all bounds in sweep {len(residuals) + 1}.\n"
                "Take more steps between two states, or refine an operator that is trained for longer.",
                Refinement(best[None], residuals),
            )
        residuals.append(relative)
        if residuals[-1] == min(residuals):
            best = states
        if len(residuals) > sweeps or residuals[-1] <= tolerance:
            return Refinement(best[None], residuals)
        optimiser = torch.optim.LBFGS(
            [bias],
            max_iter=iterations,
            tolerance_grad=0.0,
            tolerance_change=0.0,  # the first step is very short, and must not end the iteration
            line_search_fn="strong_wolfe",
        )

        def closure(optimiser: torch.optim.LBFGS = optimiser) -> Tensor:
            optimiser.zero_grad()
            loss = missed()
            loss.backward(inputs=[bias])
            return loss

        optimiser.step(closure)


def _windows(batch: dict[str, Any], marched: Tensor) -> tuple[Tensor, Tensor]:
    """What the operator reads at each step, (steps, in_channels, *shape), and the state that is given."""
    x, state, channels = batch["input"], batch["state"], marched.shape[2]
    past = x[0, :state].unflatten(0, (-1, channels))
    steps, history = marched.shape[1], len(past)
    states = torch.cat([past, marched[0]])
    windows = torch.stack([states[n : n + history].flatten(0, 1) for n in range(steps)])
    constants = x[:, state:].expand(steps, *x[0, state:].shape)
    return torch.cat([windows, constants], dim=1), past[-1:]


def _last_spectral_layer(task: TrainingTask, inputs: Tensor) -> tuple[nn.Module, torch.Size]:
    """The layer that is called last, and the shape of what it gives."""
    calls: list[tuple[nn.Module, torch.Size]] = []
    handles = [
        layer.register_forward_hook(lambda module, given, output: calls.append((module, output.shape)))
        for layer in spectral_layers(task.model)
    ]
    try:
        with torch.no_grad():
            task(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls[-1]
