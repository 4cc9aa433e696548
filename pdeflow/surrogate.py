"""A trained operator as a thing to use: physical values in and out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.operators import Gaussian, GaussianGraphOperator, GaussianOperator, GraphOperator, Operator
from pdeflow.operators.march import fed_back, in_bounds, march, march_on_nodes
from pdeflow.operators.normaliser import Normaliser
from pdeflow.stored_operator import components
from pdeflow.surrogate_arrays import mapped

if TYPE_CHECKING:
    from torch_geometric.data import Data


class Surrogate:
    """Maps a physical input function to the physical solution on the same grid, or on the same mesh.

    Parameters
    ----------
    model
        The operator, which works with normalised numbers.
    normalisation
        Statistics of the data it was trained on; ``None`` leaves the numbers as they are.
    grid
        The grid it was trained on, for information: the box and the resolution.
    metrics
        Numbers known about its quality, by name.
    time_step
        Of a model that gives the next state, the time until then.
    equation
        That of the data it was trained on, in LaTeX, for information.
    """

    def __init__(
        self,
        model: Operator,
        normalisation: Normalisation | None = None,
        *,
        grid: Grid | None = None,
        metrics: Mapping[str, float] | None = None,
        time_step: float | None = None,
        equation: str | None = None,
    ) -> None:
        self.model = model.eval()
        self.normalisation = normalisation
        self.grid = grid
        self.metrics = dict(metrics or {})
        self.time_step, self.equation = time_step, equation
        self.normaliser = Normaliser(model.in_channels, model.out_channels).to(self.dtype)
        if normalisation is not None:
            self.normaliser.set(normalisation)
        self.to(next(model.parameters()).device)

    def __repr__(self) -> str:
        names = ", ".join(self.input_names), ", ".join(self.target_names)
        core, head, members = components(self.model)
        kind = type(core).__name__ + " with variance" * head
        if members > 1:
            kind = f"{members} of {kind}"
        facts = [f"{kind}: {names[0]} -> {names[1]}"]
        if self.time_step is not None:
            facts.append(f"steps of {self.time_step:g}")
        if self.grid is not None:
            facts.append(f"trained on {'x'.join(map(str, self.grid.points))}")
        facts += [f"{name} {value:.3g}" for name, value in self.metrics.items()]
        return f"Surrogate({', '.join(facts)})"

    @property
    def input_names(self) -> tuple[str, ...]:
        """A name for each input channel."""
        if self.normalisation is not None:
            return self.normalisation.input_names
        return tuple(f"input{i}" for i in range(self.model.in_channels))

    @property
    def target_names(self) -> tuple[str, ...]:
        """A name for each output channel."""
        if self.normalisation is not None:
            return self.normalisation.target_names
        return tuple(f"output{i}" for i in range(self.model.out_channels))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, in which it computes."""
        # Complex weights stay in single precision where the others are in double.
        return next(p.dtype for p in self.model.parameters() if p.is_floating_point())

    def to(self, device: torch.device | str) -> Surrogate:
        """Compute on this device from now on; gives itself."""
        self.device = torch.device(device)
        self.model.to(self.device)
        self.normaliser.to(self.device)
        return self

    @overload
    def __call__(self, coefficient: np.ndarray, *, batch_size: int = 64) -> np.ndarray: ...

    @overload
    def __call__(self, coefficient: Tensor | Data, *, batch_size: int = 64) -> Tensor: ...

    def __call__(self, coefficient: Any, *, batch_size: int = 64) -> Any:
        """Predict the solution.

        Parameters
        ----------
        coefficient
            Physical values, NumPy array or torch tensor, of shape ``(*S)``, ``(batch, *S)`` or
            ``(batch, in_channels, *S)``; the first two only for one input channel. Booleans, integers
            and real floating-point numbers are taken; the computation is in the precision of the weights,
            float32 unless ``trainer.precision`` was another. For an operator on meshes a graph of
            torch-geometric, or a batch of them, with physical values ``x`` (nodes, in_channels) and ``pos``;
            the answer is then (nodes, out_channels).
        batch_size
            Samples computed at a time.

        Returns
        -------
        numpy.ndarray or Tensor
            As the input: an array for an array, a tensor on the same device for a tensor, of its
            floating-point dtype (float32 for booleans and integers); ``(*S)``, ``(batch, *S)`` or
            ``(batch, out_channels, *S)``. With several output channels the channel axis is always there.

        Raises
        ------
        InvalidInput
            For a wrong number of axes or channels, a resolution the model cannot take, a dtype that
            is not a real number's, or values that are not finite.
        """
        if isinstance(self.model, GraphOperator):
            return self._on_mesh(coefficient)
        return self._on_grid(coefficient, self._predict, (self.model.out_channels,), batch_size)

    @property
    def std_names(self) -> tuple[str, ...]:
        """A name for each channel's standard deviation; none where the model gives no variance."""
        return tuple(f"{name}_std" for name in self.target_names if isinstance(self.model, GaussianOperator))

    @overload
    def predict_with_std(
        self, coefficient: np.ndarray, *, batch_size: int = 64
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @overload
    def predict_with_std(
        self, coefficient: Tensor | Data, *, batch_size: int = 64
    ) -> tuple[Tensor, Tensor]: ...

    def predict_with_std(self, coefficient: Any, *, batch_size: int = 64) -> Any:
        """The solution and its standard deviation at every node.

        Parameters
        ----------
        coefficient, batch_size
            What the call takes.

        Returns
        -------
        tuple
            Twice what the call gives: what it gives itself, the mean, and the standard deviation, in the
            solution's unit.

        Raises
        ------
        InvalidInput
            As the call does, and for a model that gives no variance.
        """
        if not isinstance(self.model, GaussianOperator):
            raise self._no_variance("predict_with_std")
        model = self.model
        if isinstance(model, GraphOperator):
            self._check_mesh(coefficient)
            with torch.no_grad():
                both = self._decoded(model.distribution(self._encoded(coefficient)))
            mean, std = (part.to(coefficient.x.device) for part in both)
            return mean, std

        def predict(batch: Tensor) -> Tensor:
            x = batch.to(device=self.device, dtype=self.dtype)
            return torch.stack(self._decoded(model.distribution(self.normaliser.encode(x))), dim=1)

        both = self._on_grid(coefficient, predict, (2, model.out_channels), batch_size)
        if coefficient.ndim == model.dim:  # one sample, without an axis for samples
            return both[0], both[1]
        return both[:, 0], both[:, 1]

    def _no_variance(self, key: str) -> InvalidInput:
        name, hint = type(self.model).__name__, "Train with objective GaussianNLL, or with ensemble: 5."
        return InvalidInput(key, name, "an ensemble or a model with a variance", hint)

    def _decoded(self, found: Gaussian) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in physical units."""
        std = self.normaliser.decode_variance(found.variance).sqrt()
        return self.normaliser.decode(found.mean), std

    @property
    def state_channels(self) -> int:
        """How many input channels are states, the oldest first: those up to the ones with the targets' names.

        Raises
        ------
        InvalidInput
            If the inputs do not begin with the targets, or with older states of them (``u[-1]``) and then
            these: the answer cannot be fed back.
        """
        names, targets = self.input_names, self.target_names
        for first in range(0, len(names), len(targets)):
            older = tuple(f"{name}[{-k}]" for k in range(first // len(targets), 0, -1) for name in targets)
            if names[: first + len(targets)] == older + targets:
                return first + len(targets)
        sparse = "Sparse" * isinstance(self.model, GraphOperator)
        hint = f"Train on {sparse}TrajectoryData."
        raise InvalidInput("rollout", names, f"inputs that begin with states of {targets}", hint)

    @overload
    def rollout(self, state: np.ndarray, steps: int, *, batch_size: int = 64) -> np.ndarray: ...

    @overload
    def rollout(self, state: Tensor | Data, steps: int, *, batch_size: int = 64) -> Tensor: ...

    def rollout(self, state: Any, steps: int, *, batch_size: int = 64) -> Any:
        """March in time, feeding every state back; see :func:`~pdeflow.operators.march.march`.

        What is fed back of an ensemble, or of a model with a variance, is its mean.

        Parameters
        ----------
        state
            What the call takes: the states, the oldest first, then the constants. Of an operator on
            meshes one mesh, or a few nodes of it, of which one may stand alone, as among those drawn in
            training and test.
        steps
            How many of the model's steps, ``time_step`` each.
        batch_size
            Samples computed at a time.

        Returns
        -------
        numpy.ndarray or Tensor
            ``(steps, *S)``, ``(batch, steps, *S)`` or ``(batch, steps, out_channels, *S)``, as the input;
            on a mesh (steps, nodes, out_channels); NaN from where a sample has diverged.

        Raises
        ------
        InvalidInput
            As the call does, for no steps, for a model whose answers are no inputs, and for several meshes.
        """
        if steps < 1:
            raise InvalidInput("steps", steps, "at least 1")
        if isinstance(self.model, GraphOperator):
            return self._states(self._connected(state), steps).transpose(0, 1)
        channels, known = len(self.target_names), self.state_channels

        def predict(batch: Tensor) -> Tensor:
            x = batch.to(device=self.device, dtype=self.dtype)
            return march(self._predict, x[:, :known], x[:, known:], steps, channels)

        return self._on_grid(state, predict, (steps, channels), batch_size)

    def rollout_at(self, graph: Data, steps: int, points: Tensor) -> Tensor:
        """March on the nodes of a mesh, and give the last state at any points: evolve sparse, query dense.

        All steps but the last are those of ``rollout``, whose cost does not depend on the points; the last
        one is a ``query``, whose time grows with the number of points, and whose memory grows with it by
        the answer alone.

        Parameters
        ----------
        graph
            What ``rollout`` takes: a few nodes, such as a thousand.
        steps
            How many steps.
        points
            (points, dim), such as a hundred thousand.

        Returns
        -------
        Tensor
            (points, out_channels), NaN where the march has diverged, in the last step too.

        Raises
        ------
        InvalidInput
            As ``rollout`` and ``query``.

        References
        ----------
        Viswanath, Chang, Panas, Berner, Chen, Bera: Reduced-order neural operators: learning Lagrangian
        dynamics on highly sparse graphs (GIOROM). 2024. arXiv:2407.03925.
        """
        if steps < 1:
            raise InvalidInput("steps", steps, "at least 1")
        before = self._connected(graph)
        states, known = self._states(before, steps - 1), self.state_channels
        if not bool(torch.isfinite(states).all()):
            return torch.full((len(points), len(self.target_names)), torch.nan, device=points.device)
        start = before.x[:, :known]
        before.x = fed_back(before.x, states, known)
        last = self.query(before, points)
        fine = in_bounds(last.T[None], start.T[None].to(last))
        return torch.where(fine, last, torch.nan)

    def _connected(self, graph: Any) -> Any:
        """One mesh with its neighbours, which are then searched once for all steps.

        They are those of a random part of a mesh, as in training, validation and test.
        """
        model = self.model
        if not isinstance(model, GraphOperator):
            raise InvalidInput("rollout_at", type(model).__name__, "an operator on meshes", "Take rollout.")
        self._check_mesh(graph)
        if getattr(graph, "num_graphs", 1) != 1:
            raise InvalidInput("state", f"{graph.num_graphs} meshes", "one mesh", "March on them one by one.")
        from torch_geometric.data import Data

        found = model.connect(graph.pos.cpu().numpy(), sampled=True)
        return model.connected([Data(x=graph.x, pos=graph.pos)], [found])

    def _states(self, graph: Any, steps: int) -> Tensor:
        """The states after each step on one mesh, (nodes, steps, channels)."""
        channels = len(self.target_names)
        return march_on_nodes(self._on_mesh, graph, 1, self.state_channels, steps, channels)

    def query(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> Tensor:
        """The solution at points that are no nodes, of an operator on meshes; see ``GraphOperator.query``.

        Raises
        ------
        InvalidInput
            As there, for values that are not finite, and for an operator on grids.
        """
        model, asked = self._asked("query", graph, points, inputs)
        with torch.no_grad():
            found = model.query(*asked)
            return self.normaliser.decode(found).to(points.device)

    def query_with_std(
        self, graph: Data, points: Tensor, inputs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The solution and its standard deviation at points that are no nodes, (points, out_channels) each.

        Raises
        ------
        InvalidInput
            As ``query``, and for a model that gives no variance.
        """
        model, asked = self._asked("query_with_std", graph, points, inputs)
        if not isinstance(model, GaussianGraphOperator):
            raise self._no_variance("query_with_std")
        with torch.no_grad():
            found = model.query_distribution(*asked)
        mean, std = (part.to(points.device) for part in self._decoded(found))
        return mean, std

    def _asked(
        self, key: str, graph: Data, points: Tensor, inputs: Tensor | None
    ) -> tuple[GraphOperator, tuple[Data, Tensor, Tensor | None]]:
        """The model, if it is on meshes; a mesh, points and inputs there, as it takes them."""
        model = self.model
        if not isinstance(model, GraphOperator):
            hint = "Interpolate between its grid's nodes."
            raise InvalidInput(key, type(model).__name__, "an operator on meshes", hint)
        self._check_mesh(graph)
        model.check_query(graph, points, inputs)
        if inputs is not None:
            _check_finite("inputs", inputs)
            inputs = self.normaliser.encode(inputs.to(device=self.device, dtype=self.dtype))
        return model, (self._encoded(graph), points.to(self.device), inputs)

    def _on_grid(
        self, given: Any, predict: Callable[[Tensor], Tensor], axes: tuple[int, ...], batch_size: int
    ) -> Any:
        """As `mapped`, to ``(batch, *axes, *S)``."""
        return mapped(given, self.model, self.input_names, predict, axes, batch_size)

    def _on_mesh(self, graph: Any) -> Tensor:
        self._check_mesh(graph)
        with torch.no_grad():
            result = self.normaliser.decode(self.model(self._encoded(graph)))
        return result.to(graph.x.device)

    def _check_mesh(self, graph: Any) -> None:
        assert isinstance(self.model, GraphOperator)
        x = getattr(graph, "x", None)
        if isinstance(x, Tensor) and x.ndim == 2 and x.shape[1] != self.model.in_channels:
            hint = f"It was trained to read {', '.join(self.input_names)}, in this order."
            raise InvalidInput("graph.x", tuple(x.shape), f"(nodes, {self.model.in_channels})", hint)
        self.model.check(graph)
        _check_finite("graph.x", graph.x)
        _check_finite("graph.pos", graph.pos)

    def _encoded(self, graph: Data) -> Data:
        moved: Any = copy.copy(graph).to(str(self.device))
        moved.x = moved.x.to(self.dtype)
        return self.normaliser.encode(moved)

    def _predict(self, batch: Tensor) -> Tensor:
        x = batch.to(device=self.device, dtype=self.dtype)
        return self.normaliser.decode(self.model(self.normaliser.encode(x)))


def _check_finite(name: str, values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise InvalidInput(name, "values that are NaN or infinite", "finite numbers")
