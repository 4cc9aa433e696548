"""A trained operator as a thing to keep: three files in a folder, physical values in and out.

``model.safetensors`` holds the weights, ``surrogate.json`` what is needed to use them, ``README.md``
the model card. Loading runs no code from the files: the weights are plain numbers, and the JSON names a
class that has to be one of ``pdeflow.operators``.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

import pdeflow
from pdeflow.atomic_file import write_bytes
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.grid import Grid
from pdeflow.model_card import model_card
from pdeflow.operators import GaussianOperator, GraphOperator, Operator
from pdeflow.operators.march import march
from pdeflow.operators.normaliser import Normaliser
from pdeflow.stored_operator import components, is_storable, operator_classes, read_operator

if TYPE_CHECKING:
    from torch_geometric.data import Data

FORMAT = 2
"""2: the weights of Fourier operators on odd grids belong to the modes that they stand for."""


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
    """

    def __init__(
        self,
        model: Operator,
        normalisation: Normalisation | None = None,
        *,
        grid: Grid | None = None,
        metrics: Mapping[str, float] | None = None,
        time_step: float | None = None,
    ) -> None:
        self.model = model.eval()
        self.normalisation = normalisation
        self.grid = grid
        self.metrics = dict(metrics or {})
        self.time_step = time_step
        self.normaliser = Normaliser(model.in_channels, model.out_channels)
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
            and real floating-point numbers are taken; the computation is in float32. For an operator on
            meshes a graph of torch-geometric, or a batch of them, with physical values ``x``
            (nodes, in_channels) and ``pos``; the answer is then (nodes, out_channels).
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
        return self._mapped(coefficient, self._predict, (self.model.out_channels,), batch_size)

    @property
    def std_names(self) -> tuple[str, ...]:
        """A name for each channel's standard deviation; none where the model gives no variance."""
        return tuple(f"{name}_std" for name in self.target_names if isinstance(self.model, GaussianOperator))

    @overload
    def predict_with_std(
        self, coefficient: np.ndarray, *, batch_size: int = 64
    ) -> tuple[np.ndarray, np.ndarray]: ...

    @overload
    def predict_with_std(self, coefficient: Tensor, *, batch_size: int = 64) -> tuple[Tensor, Tensor]: ...

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
            name, hint = type(self.model).__name__, "Train with objective GaussianNLL, or with ensemble: 5."
            raise InvalidInput("predict_with_std", name, "an ensemble or a model with a variance", hint)
        model = self.model

        def predict(batch: Tensor) -> Tensor:
            x = batch.to(device=self.device, dtype=torch.float32)
            mean, variance = model.distribution(self.normaliser.encode(x))
            std = self.normaliser.decode_variance(variance).sqrt()
            return torch.stack([self.normaliser.decode(mean), std], dim=1)

        both = self._mapped(coefficient, predict, (2, model.out_channels), batch_size)
        if coefficient.ndim == model.dim:  # one sample, without an axis for samples
            return both[0], both[1]
        return both[:, 0], both[:, 1]

    def _mapped(
        self, given: Any, predict: Callable[[Tensor], Tensor], axes: tuple[int, ...], batch_size: int
    ) -> Any:
        """``predict`` of a batch, some samples at a time, to ``(batch, *axes, *S)``; given as it came."""
        values = _as_tensor(given)
        dtype = values.dtype if values.is_floating_point() else torch.float32
        batch, axes_added = self._with_channels(values)
        self.model.check(batch.shape)
        if not bool(torch.isfinite(batch).all()):
            raise InvalidInput(
                "coefficient",
                f"{int((~torch.isfinite(batch)).sum())} values that are NaN or infinite",
                "finite numbers",
            )
        with torch.no_grad():
            parts = [predict(part) for part in batch.split(batch_size)] if len(batch) else []
        result = torch.cat(parts) if parts else torch.zeros(0, *axes, *batch.shape[2:])
        result = result.to(device=values.device, dtype=dtype)
        if axes_added and axes[-1] == 1:
            result = result.squeeze(len(axes))
        if axes_added == 2:
            result = result.squeeze(0)
        return result.numpy() if isinstance(given, np.ndarray) else result

    @property
    def state_channels(self) -> int:
        """How many input channels are states, the oldest first: those up to the ones with the targets' names.

        Raises
        ------
        InvalidInput
            If the inputs do not hold the targets: the answer cannot be fed back.
        """
        names, targets = self.input_names, self.target_names
        for first in range(0, len(names), len(targets)):
            if names[first : first + len(targets)] == targets:
                return first + len(targets)
        raise InvalidInput("rollout", names, f"inputs with {targets} among them", "Train on TrajectoryData.")

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
            meshes one mesh, or a few nodes of it.
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
            return self._on_nodes(state, steps)[0]
        channels, known = len(self.target_names), self.state_channels

        def predict(batch: Tensor) -> Tensor:
            x = batch.to(device=self.device, dtype=torch.float32)
            return march(self._predict, x[:, :known], x[:, known:], steps, channels)

        return self._mapped(state, predict, (steps, channels), batch_size)

    def rollout_at(self, graph: Data, steps: int, points: Tensor) -> Tensor:
        """March on the nodes of a mesh, and give the last state at any points: evolve sparse, query dense.

        All steps but the last are those of ``rollout``, whose cost does not depend on the points; the last
        one is a ``query``, whose time grows with the number of points, and whose memory does not.

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
            (points, out_channels), NaN where the march has diverged.

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
        _, before = self._on_nodes(graph, steps - 1)
        return self.query(before, points)

    def _on_nodes(self, graph: Data, steps: int) -> tuple[Tensor, Data]:
        """The states after each step, (steps, nodes, channels), and the graph that the next step reads."""
        model = self.model
        if not isinstance(model, GraphOperator):
            raise InvalidInput("rollout_at", type(model).__name__, "an operator on meshes", "Take rollout.")
        model.check(graph)
        if getattr(graph, "num_graphs", 1) != 1:
            raise InvalidInput("state", f"{graph.num_graphs} meshes", "one mesh", "March on them one by one.")
        from torch_geometric.data import Data

        known, channels = self.state_channels, len(self.target_names)
        assert graph.x is not None
        assert graph.pos is not None
        # The neighbours are searched once.
        found = model.connect(graph.pos.cpu().numpy())
        current = model.connected([Data(x=graph.x, pos=graph.pos)], [found])

        def with_values(x: Tensor) -> Data:
            current.x = x[0].T
            return current

        x = graph.x.T[None]  # one sample, its channels, its nodes
        past, constants = x[:, :known], x[:, known:]
        if steps:
            states = march(lambda x: self._on_mesh(with_values(x)).T[None], past, constants, steps, channels)
            past = torch.cat([past, states.flatten(1, 2)], dim=1)[:, -known:]
        else:
            states = x.new_zeros(1, 0, channels, x.shape[2])
        return states[0].transpose(1, 2), with_values(torch.cat([past, constants], dim=1))

    def query(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> Tensor:
        """The solution at points that are no nodes, of an operator on meshes; see ``GraphOperator.query``.

        Raises
        ------
        InvalidInput
            As there, and for an operator on grids.
        """
        if not isinstance(self.model, GraphOperator):
            name = type(self.model).__name__
            raise InvalidInput(
                "query", name, "an operator on meshes", "Interpolate between its grid's nodes."
            )
        self.model.check(graph)
        encoded = self._encoded(graph)
        if inputs is not None:
            inputs = self.normaliser.encode(inputs.to(device=self.device, dtype=torch.float32))
        with torch.no_grad():
            found = self.model.query(encoded, points.to(self.device), inputs)
            return self.normaliser.decode(found).to(points.device)

    def _on_mesh(self, graph: Any) -> Tensor:
        assert isinstance(self.model, GraphOperator)
        self.model.check(graph)
        if not bool(torch.isfinite(graph.x).all()):
            raise InvalidInput("graph.x", "values that are NaN or infinite", "finite numbers")
        with torch.no_grad():
            result = self.normaliser.decode(self.model(self._encoded(graph)))
        return result.to(graph.x.device)

    def _encoded(self, graph: Data) -> Data:
        moved: Any = copy.copy(graph).to(str(self.device))
        moved.x = moved.x.float()
        return self.normaliser.encode(moved)

    def _predict(self, batch: Tensor) -> Tensor:
        x = batch.to(device=self.device, dtype=torch.float32)
        return self.normaliser.decode(self.model(self.normaliser.encode(x)))

    def _with_channels(self, values: Tensor) -> tuple[Tensor, int]:
        """The values as ``(batch, in_channels, *S)``, and how many axes were added for that."""
        dim, channels = self.model.dim, self.model.in_channels
        missing = dim + 2 - values.ndim
        if missing == 0:
            return values, 0
        if missing not in (1, 2) or channels != 1:
            space = ", ".join(["x", "y", "z"][:dim])
            shapes = [f"({space})", f"(batch, {space})"] if channels == 1 else []
            raise InvalidInput(
                "coefficient",
                tuple(values.shape),
                " or ".join([*shapes, f"(batch, {channels}, {space})"]),
                f"The channels are {', '.join(self.input_names)}.",
            )
        return (values.unsqueeze(1), 1) if missing == 1 else (values[None, None], 2)


def save(
    model: Operator,
    folder: str | Path,
    normalisation: Normalisation | None = None,
    *,
    grid: Grid | None = None,
    metrics: Mapping[str, float] | None = None,
    time_step: float | None = None,
) -> Path:
    """Write a surrogate into a folder, made if need be; a surrogate that is there is replaced.

    Parameters
    ----------
    model
        The trained operator, of a class of ``pdeflow.operators``.
    folder
        Gets ``model.safetensors``, ``surrogate.json`` and ``README.md``.
    normalisation
        Statistics that the model was trained with; none if it was trained on physical values.
    grid, metrics, time_step
        What is known about training and quality; for the card and for ``Surrogate``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InvalidInput
        If the model is not of a class that ``load`` would accept, or a weight is not finite.
    """
    from safetensors.torch import save as serialise

    core, head, members = components(model)
    name = type(core).__name__
    if not is_storable(model):
        raise InvalidInput("model", name, "an operator of pdeflow.operators", choices=operator_classes())
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    for key, value in weights.items():
        if not bool(torch.isfinite(torch.view_as_real(value) if value.is_complex() else value).all()):
            hint = "The training diverged; use an earlier checkpoint."
            raise InvalidInput("model", key, "finite weights", hint)
    # Checks that normalisation and model agree before anything is written.
    Surrogate(model, normalisation, grid=grid, metrics=metrics)
    stored = serialise(weights)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "operator": name,
        "settings": core.settings,
        "mean_variance": head,
        "members": members,
        "normalisation": normalisation.to_dict() if normalisation is not None else None,
        "grid": asdict(grid) if grid is not None else None,
        "metrics": {key: float(value) for key, value in (metrics or {}).items()},
        "time_step": time_step,
        "versions": {
            "pdeflow": pdeflow.__version__,
            "torch": torch.__version__,
            "neuraloperator": metadata.version("neuraloperator"),
        },
        "sha256": hashlib.sha256(stored).hexdigest(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The JSON comes last: with it the folder is a surrogate, and its checksum tells mixed files.
    write_bytes(folder / "model.safetensors", stored)
    write_bytes(folder / "README.md", model_card(facts, weights).encode())
    write_bytes(folder / "surrogate.json", json.dumps(facts, indent=1).encode())
    return folder


def load(folder: str | Path) -> Surrogate:
    """Read a surrogate, from its folder or from the folder of the run that trained it.

    Raises
    ------
    InvalidInput
        If there is no surrogate in the folder.
    UnsafeFile
        If it names a class that is not one of ``pdeflow.operators``.
    CorruptFile
        If a file is missing, damaged, or does not fit the others.
    """
    folder = _find(Path(folder))
    facts = _read_facts(folder / "surrogate.json")
    model = read_operator(folder, facts)
    try:
        normalisation, grid = facts["normalisation"], facts["grid"]
        return Surrogate(
            model,
            Normalisation.from_dict(normalisation) if normalisation is not None else None,
            grid=_grid(grid) if grid is not None else None,
            metrics=facts["metrics"],
            time_step=facts.get("time_step"),
        )
    except (InvalidInput, TypeError, KeyError, ValueError) as error:
        raise CorruptFile(f"{folder / 'surrogate.json'}: {error}") from error


def _grid(description: dict[str, Any]) -> Grid:
    if not isinstance(description, dict):
        raise InvalidInput("grid", description, "an object with axes, lower, upper, points and periodic")
    return Grid(**{key: tuple(value) for key, value in description.items()})


def _find(folder: Path) -> Path:
    for candidate in (folder, folder / "surrogate"):
        if (candidate / "surrogate.json").is_file():
            return candidate
    hint = "Give a folder that pdeflow.save or `pdeflow fit` wrote."
    if (folder / "checkpoints").is_dir() or (folder / "members").is_dir():
        hint = f"Its training has not ended. Go on with: pdeflow fit --resume {folder}"
    raise InvalidInput("folder", str(folder), "a folder that holds surrogate.json", hint)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFile(f"{path}: not JSON ({error}). Save the surrogate again.") from error
    wanted = ("format", "operator", "settings", "normalisation", "grid", "metrics", "sha256")
    missing = [key for key in wanted if not isinstance(facts, dict) or key not in facts]
    if missing:
        raise CorruptFile(f"{path}: has no {', '.join(missing)}. Save the surrogate again.")
    if facts["format"] != FORMAT:
        raise CorruptFile(
            f"{path}: format {facts['format']!r}, expected {FORMAT}.\n"
            "Update pdeflow, or save the surrogate again."
        )
    return facts


def _as_tensor(values: Any) -> Tensor:
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "biuf":
            raise InvalidInput("coefficient dtype", str(values.dtype), "real numbers")
        # A copy: torch wants positive strides and memory that may be written to.
        values = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))
    if not isinstance(values, Tensor):
        raise InvalidInput("coefficient", type(values).__name__, "a NumPy array or a torch tensor")
    if values.is_complex():
        raise InvalidInput("coefficient dtype", str(values.dtype), "real numbers")
    return values.detach()
