"""A run folder as the report sees it: read once, checked, and held as plain arrays and dictionaries."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.report.mesh_sample import MeshSample, read_mesh_samples

RANKS = ("best", "median", "worst")


@dataclass(frozen=True)
class TestedResolution:
    """What one test set gave; arrays are float64 and ``None`` where the run did not record them.

    Attributes
    ----------
    name
        The resolution as the metrics call it, for example ``"64x64"``.
    metrics
        Metric name to its mean over the test samples.
    errors
        (n,) relative L2 error of every test sample.
    index
        (n,) number of each test sample in its data set.
    ranks
        What the m samples kept as fields are, for example ``("best", "median", "worst")``.
    inputs, target, prediction, residual, estimate
        (m, channels, \\*shape) fields in physical units; the last two of models that are one solution, whose
        target may be unknown, with an estimate of the error then. Of a domain that is no box they are masked
        arrays on the box around it.
    axes
        What the axes of the fields are.
    spectrum_error, spectrum_truth
        (k,) energy of the error and of the truth by wavenumber 0, 1, ..., k - 1.
    rollout_l2, rollout_drift
        (steps,) of trajectories: the mean errors by step.
    coverage
        (levels,) of models with a variance: the share of values inside the central interval of probability
        1 / (levels + 1), 2 / (levels + 1), ...
    meshes
        The samples kept of those that have nodes of their own; there are no fields then.
    """

    __test__ = False  # pytest would otherwise collect the class by its name

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    errors: np.ndarray | None = None
    index: np.ndarray | None = None
    ranks: tuple[str, ...] = ()
    inputs: np.ndarray | None = None
    target: np.ndarray | None = None
    prediction: np.ndarray | None = None
    residual: np.ndarray | None = None
    estimate: np.ndarray | None = None
    axes: tuple[str, ...] = ("x", "y", "z")
    spectrum_error: np.ndarray | None = None
    spectrum_truth: np.ndarray | None = None
    rollout_l2: np.ndarray | None = None
    rollout_drift: np.ndarray | None = None
    coverage: np.ndarray | None = None
    meshes: tuple[MeshSample, ...] = ()

    @property
    def shown(self) -> list[tuple[int, float]]:
        """(sample number, relative L2 error) of each sample kept as fields; -1 for an unknown number."""
        if self.prediction is None:
            return []
        if self.target is None:
            return [(-1, math.nan)] * len(self.prediction)
        pairs = []
        for target, prediction in zip(self.target, self.prediction):
            norm = math.sqrt(np.square(target).sum())
            error = math.sqrt(np.square(prediction - target).sum()) / norm if norm else math.nan
            number = -1
            # Of trajectories the fields are the last states, and the errors those of all steps.
            told = self.errors if self.rollout_l2 is None else None
            if told is not None and self.index is not None and np.isfinite(told).any():
                nearest = int(np.nanargmin(np.abs(told - error))) if math.isfinite(error) else -1
                # the fields are float32 and the recorded errors float64: equal to a few parts in 1e3
                if nearest >= 0 and math.isclose(told[nearest], error, rel_tol=5e-3, abs_tol=1e-6):
                    number = int(self.index[nearest])
            pairs.append((number, error))
        return pairs


@dataclass(frozen=True)
class Run:
    """All that the report uses of a run folder; an empty part was not there."""

    path: Path
    config: dict[str, Any]
    config_text: str
    history: list[dict[str, Any]]
    tests: list[TestedResolution]
    surrogate: dict[str, Any]
    parameters: int | None
    statement: dict[str, Any] = field(default_factory=dict)
    conditioning: dict[str, Any] = field(default_factory=dict)
    trust: dict[str, Any] = field(default_factory=dict)

    @property
    def is_field(self) -> bool:
        """Whether the model is one solution, learned from its statement."""
        objective = self.setting("objective", "class_path")
        return isinstance(objective, str) and objective.rpartition(".")[2] == "PhysicsInformed"

    @property
    def data_class(self) -> str:
        """The name of the class of the data; empty where it is not recorded."""
        value = self.setting("data", "class_path")
        return value.rpartition(".")[2] if isinstance(value, str) else ""

    @property
    def epochs(self) -> int:
        """How many epochs the history tells of."""
        return len({row["epoch"] for row in self.history if isinstance(row.get("epoch"), (int, float))})

    @property
    def unfinished(self) -> str:
        """What to say of a training that has not come to its end, as where it was interrupted; else empty."""
        wanted = self.setting("trainer", "max_epochs")
        if self.surrogate or not isinstance(wanted, int) or not 0 < self.epochs < wanted:
            return ""
        return f"Its training has not ended: {self.epochs} of {wanted} epochs are done."

    @property
    def monitor(self) -> str:
        """The number by which the best epoch was chosen."""
        return "valid/loss" if self.is_field else "valid/l2"

    def setting(self, *keys: str) -> Any:
        """The config entry under ``keys``, looked up with and without ``init_args`` between them."""
        here: Any = self.config
        for key in keys:
            if not isinstance(here, Mapping):
                return None
            inner = here.get("init_args")
            here = here[key] if key in here else inner.get(key) if isinstance(inner, Mapping) else None
        return here


def read_run(path: Path) -> Run:
    """Read what a run folder holds.

    Parameters
    ----------
    path
        The folder. It must hold at least one of ``config.yaml``, ``history.json``, ``test/metrics.json``;
        the rest may be absent.

    Raises
    ------
    InvalidInput
        If the folder does not exist or is not a run folder.
    CorruptFile
        If a file in it is damaged or does not hold what its name says; the message names the file.
    UnsafeFile
        If an array holds Python objects, or declares more than is stored for it.
    """
    path = Path(path)
    if not path.is_dir():
        raise InvalidInput("run", str(path), "a run folder", "Train one with `pdeflow fit`.")
    if not any((path / name).exists() for name in ("config.yaml", "history.json", "test/metrics.json")):
        raise InvalidInput(
            "run",
            str(path),
            "a folder that holds config.yaml, history.json or test/metrics.json",
            "Give the folder that `pdeflow fit` wrote (its name stands at the end of the training).",
        )
    config, text = _config(path / "config.yaml")
    return Run(
        path=path,
        config=config,
        config_text=text,
        history=_history(path / "history.json"),
        tests=_tests(path / "test"),
        surrogate=_mapping(path / "surrogate" / "surrogate.json"),
        parameters=_count_parameters(path / "surrogate" / "model.safetensors"),
        statement=_mapping(path / "test" / "statement.json"),
        conditioning=_mapping(path / "conditioning.json"),
        trust=read_trust(path / "test" / "trust.json"),
    )


def read_trust(path: Path) -> dict[str, Any]:
    """``test/trust.json`` of a solution; empty if the file is not there."""
    return _mapping(path)


def read_metrics(path: Path) -> dict[str, dict[str, float]]:
    """``test/metrics.json`` as resolution -> metric -> value; empty if the file is not there.

    Raises
    ------
    CorruptFile
        If the file is not JSON or not two levels of names with numbers below.
    """
    table = _mapping(path)
    for resolution, metrics in table.items():
        if not isinstance(metrics, dict):
            raise CorruptFile(
                f"{path}: {resolution!r} holds {metrics!r:.60}, expected metric names and numbers. "
                "Test the run again."
            )
        for name, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise CorruptFile(
                    f"{path}: {name!r} at {resolution!r} is {value!r:.60}, expected a number. Test again."
                )
    return {name: {key: float(value) for key, value in row.items()} for name, row in table.items()}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}).") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CorruptFile(
            f"{path}: not valid JSON ({error}). It was cut or edited: restore it, or move it away "
            "to leave it out of the report."
        ) from error


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = _json(path)
    if not isinstance(value, dict):
        raise CorruptFile(f"{path}: holds a {type(value).__name__}, expected an object with names.")
    return value


def _config(path: Path) -> tuple[dict[str, Any], str]:
    if not path.is_file():
        return {}, ""
    text = _read_text(path)
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise CorruptFile(f"{path}: not valid YAML ({error}).") from error
    if not isinstance(value, dict):
        raise CorruptFile(f"{path}: holds a {type(value).__name__}, expected keys and values.")
    return value, text


def _history(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    rows = _json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorruptFile(f"{path}: expected a list with one object an epoch.")
    return rows


def _tests(folder: Path) -> list[TestedResolution]:
    metrics = read_metrics(folder / "metrics.json")
    files = {file.stem: file for file in sorted(folder.glob("*.npz"))}
    names = [*metrics, *(name for name in files if name not in metrics)]
    return [
        _tested(name, metrics.get(name, {}), files[name])
        if name in files
        else TestedResolution(name, metrics[name])
        for name in names
    ]


def _tested(name: str, metrics: dict[str, float], path: Path) -> TestedResolution:
    # pdeflow.data loads torch, which `import pdeflow.report` does without.
    from pdeflow.data.npz_arrays import read_arrays

    arrays = read_arrays(path)

    def numbers(key: str) -> np.ndarray | None:
        array = arrays.get(key)
        if array is None:
            return None
        if array.dtype.kind not in "fiu":
            raise CorruptFile(f"{path}: array {key!r} has dtype {array.dtype}, expected real numbers.")
        return array.astype(np.float64)

    errors, index = numbers("l2"), numbers("index")
    for key, array in (("l2", errors), ("index", index)):
        if array is not None and (array.ndim != 1 or (errors is not None and len(array) != len(errors))):
            raise CorruptFile(f"{path}: array {key!r} has shape {array.shape}, expected one number a sample.")
    fields = {key: numbers(key) for key in ("input", "target", "prediction", "residual", "estimate")}
    axes = tuple(str(axis) for axis in arrays["axes"].ravel()) if "axes" in arrays else ("x", "y", "z")
    present = [array for array in fields.values() if array is not None]
    ranks = tuple(str(rank) for rank in arrays["rank"].ravel()) if "rank" in arrays else RANKS
    if present:
        shapes = {key: array.shape for key, array in fields.items() if array is not None}
        target, prediction = fields["target"], fields["prediction"]
        alone = target is None and fields["residual"] is not None
        if (
            (target is None and not alone)
            or prediction is None
            or not 3 <= prediction.ndim <= 5
            or 0 in prediction.shape
        ):
            raise CorruptFile(
                f"{path}: fields {shapes}, expected target and prediction of shape (samples, channels, *S)."
            )
        if (target is not None and target.shape != prediction.shape) or any(
            array.shape[0] != len(prediction) or array.shape[2:] != prediction.shape[2:] for array in present
        ):
            raise CorruptFile(f"{path}: fields of different shapes: {shapes}.")
        if len(ranks) != len(prediction):
            raise CorruptFile(f"{path}: {len(prediction)} samples kept, but named {ranks}.")
        if len(axes) < prediction.ndim - 2:
            raise CorruptFile(f"{path}: fields of {prediction.ndim - 2} axes, but named {axes}.")
        if "inside" in arrays:
            fields = _masked(path, fields, arrays["inside"], prediction.shape[2:])
    error, truth = numbers("spectrum_error"), numbers("spectrum_truth")
    sizes = [None if spectrum is None else spectrum.shape for spectrum in (error, truth)]
    if sizes[0] != sizes[1] or (sizes[0] is not None and len(sizes[0]) != 1):
        raise CorruptFile(
            f"{path}: spectrum_error and spectrum_truth have shapes {sizes}, expected (k,) both."
        )
    steps = [numbers("rollout_l2"), numbers("rollout_drift")]
    sizes = [None if curve is None else curve.shape for curve in steps]
    if sizes[0] != sizes[1] or (sizes[0] is not None and len(sizes[0]) != 1):
        raise CorruptFile(f"{path}: rollout_l2 and rollout_drift are not of the same (steps,).")
    coverage = numbers("coverage")
    if coverage is not None and (coverage.ndim != 1 or not ((coverage >= 0) & (coverage <= 1)).all()):
        raise CorruptFile(
            f"{path}: coverage of shape {coverage.shape}, expected shares (levels,) from 0 to 1."
        )
    return TestedResolution(
        name,
        metrics,
        errors,
        index,
        ranks,
        fields["input"],
        fields["target"],
        fields["prediction"],
        fields["residual"],
        fields["estimate"],
        axes,
        error,
        truth,
        steps[0],
        steps[1],
        coverage,
        read_mesh_samples(path, arrays, ranks, errors, index, steps[0] is not None),
    )


def _masked(
    path: Path, fields: dict[str, np.ndarray | None], inside: np.ndarray, shape: tuple[int, ...]
) -> dict[str, np.ndarray | None]:
    """The fields without the nodes outside of the domain."""
    if inside.dtype != np.bool_ or inside.shape != shape or not inside.any():
        got = f"{inside.dtype}, shape {inside.shape}, {int(np.count_nonzero(inside))} of them inside"
        raise CorruptFile(
            f"{path}: array 'inside' is {got}, expected truth values of shape {shape}, some true."
        )
    return {
        key: None if array is None else np.ma.array(array, mask=np.broadcast_to(~inside, array.shape))
        for key, array in fields.items()
    }


def _count_parameters(path: Path) -> int | None:
    """Real numbers in a safetensors file, a complex one being two, from its header: a length, then JSON."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
        if not 0 < length <= path.stat().st_size - 8:
            raise CorruptFile(f"{path}: not a safetensors file, or cut short. Save the surrogate again.")
        try:
            header = json.loads(stream.read(length))
            entries = [entry for key, entry in header.items() if key != "__metadata__"]
            return sum(math.prod(entry["shape"]) * (1 + (entry["dtype"] == "C64")) for entry in entries)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFile(f"{path}: damaged header ({error}). Save the surrogate again.") from error
