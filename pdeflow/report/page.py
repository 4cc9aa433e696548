"""The self-contained HTML page of a run."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np

from pdeflow.atomic_file import write_bytes
from pdeflow.report.conditioning import conditioning
from pdeflow.report.curves import (
    calibration_curve,
    equation,
    error_by_step,
    error_histogram,
    error_spectrum,
    learning_curves,
    learning_rate,
)
from pdeflow.report.data_card import data_card
from pdeflow.report.fields import (
    MAX_CHANNELS,
    Panel,
    Sample,
    count_panels,
    overview_png,
    pixels_for,
    sample_panels,
)
from pdeflow.report.history import best_epoch, series, train_seconds
from pdeflow.report.mesh_pictures import count_mesh_panels, mesh_overview_png, mesh_panels
from pdeflow.report.mesh_sample import MeshSample
from pdeflow.report.metrics_table import definition, metric_names, number
from pdeflow.report.run_folder import Run, TestedResolution, read_run
from pdeflow.report.snippet import channel_names, snippet
from pdeflow.report.trust import trust

MAX_RESOLUTIONS = 8
_NO_STATEMENT = "The statement is in the config; `pdeflow test` writes it out here."
_PACKAGES = ("pdeflow", "torch", "lightning", "neuraloperator", "numpy", "matplotlib")
_FILES = {
    "config.yaml": "everything needed to train it again",
    "conditioning.json": "condition numbers before and after preconditioning, and the spectra",
    "history.json": "losses, errors and seconds of every epoch",
    "checkpoints/best.ckpt": "weights of the best epoch",
    "checkpoints/last.ckpt": "where an interrupted training goes on",
    "members": "the members of the ensemble: checkpoints, history and surrogate of each",
    "surrogate": "the trained model: weights, settings, normalisation, card",
    "tensorboard": "the log, for TensorBoard",
    "test/metrics.json": "the metrics of this page",
    "test/trust.json": "what is left of the statement, and whether to trust the solution",
    "report.png": "the samples of this page as one picture",
}


@dataclass(frozen=True)
class _Tab:
    """One resolution of the page."""

    name: str
    kind: str
    samples: list[Sample]
    histogram: Panel | None
    spectrum: Panel | None
    steps: Panel | None
    calibration: Panel | None
    notes: list[str]
    on_grid: bool


def write_report(run: Path) -> Path:
    """Write ``RUN/report.html`` and, where samples were recorded, ``RUN/report.png``.

    The page needs no network and no other file: pictures are embedded, nothing is scripted. A part that the
    run does not have (no history, no test, no surrogate) is said in one sentence in its place.

    Parameters
    ----------
    run
        The run folder; ``config.yaml``, ``history.json``, ``test/`` and ``surrogate/`` are read, and the
        data file that the config names, none of them is changed.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InvalidInput
        If the folder does not exist or holds no run.
    CorruptFile
        If a file of the run is damaged.
    """
    from jinja2 import Environment, StrictUndefined

    found = read_run(run)
    page = found.path / "report.html"
    picture = found.path / "report.png"
    shown = _overview(found)
    if shown is not None:
        inputs, targets = _names(found, shown)
        if shown.meshes:
            write_bytes(picture, mesh_overview_png(shown.meshes, inputs, targets))
        else:
            write_bytes(picture, overview_png(shown, inputs, targets))
    else:
        picture.unlink(missing_ok=True)  # one from an earlier test would show another model's errors
    source = resources.files("pdeflow.report").joinpath("template.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    text = environment.from_string(source).render(**_content(found))
    write_bytes(page, text.encode("utf-8", errors="replace"))
    return page


def _content(run: Run) -> dict[str, Any]:
    table = {tested.name: tested.metrics for tested in run.tests if tested.metrics}
    metrics = metric_names(table)
    lead = metrics[0] if metrics else ""
    card, no_card = (_statement_card(run), _NO_STATEMENT) if run.is_field else data_card(_data_path(run))
    latex = card.get("equation")
    latex = latex.strip() if isinstance(latex, str) else ""
    lines, told = snippet(run)
    return {
        "title": _title(run, card),
        "folder": run.path.absolute().name,
        "lead": definition(lead) if lead else "",
        "headline": [(name, row.get(lead)) for name, row in table.items()],
        "facts": _facts(run),
        "equation": equation(latex) if latex else None,
        "latex": latex,
        "tabs": _tabs(run),
        "untabbed": [tested.name for tested in _pictured(run)[MAX_RESOLUTIONS:]],
        "is_field": run.is_field,
        "learning": learning_curves(run.history, run.monitor),
        "rate": learning_rate(run.history),
        "best": best_epoch(run.history, run.monitor),
        "trust": trust(run.trust, run.path / "test" / "trust.json"),
        "conditioning": conditioning(run.conditioning, run.path / "conditioning.json"),
        "table": table,
        "metrics": [(name, definition(name)) for name in metrics],
        "config": run.config_text,
        "card": {k: v for k, v in card.items() if k != "equation" and isinstance(v, (str, int, float))},
        "no_card": no_card,
        "snippet": lines,
        "snippet_told": told,
        "unfinished": run.unfinished,
        "place": _place(run),
        "files": [(name, what) for name, what in _FILES.items() if (run.path / name).exists()],
        "path": str(run.path),
        "versions": _versions(run),
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _statement_card(run: Run) -> dict[str, Any]:
    """What the problem of a field says of itself, lists as text."""
    shown = {}
    for name, value in run.statement.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {what}" for key, what in value.items())
        elif isinstance(value, list):
            value = "; ".join(map(str, value))
        if value:
            shown[name] = value
    return shown


def _class_name(run: Run) -> str:
    value = run.setting("model", "class_path")
    if isinstance(value, str):
        return value.rsplit(".", 1)[-1]
    value = run.surrogate.get("operator")
    return value if isinstance(value, str) else "model"


def _data_path(run: Run) -> str:
    value = run.setting("data", "path")
    return value if isinstance(value, str) else ""


def _title(run: Run, card: dict[str, Any]) -> str:
    problem = card.get("name")
    if not isinstance(problem, str):
        problem = Path(_data_path(run)).stem or run.path.absolute().name
    return f"{_class_name(run)} on {problem}"


def _found_parameters(run: Run) -> list[tuple[str, str]]:
    """What was looked for beside the solution: as it was tested, or else as it was in the best epoch."""
    tested = run.statement.get("found")
    if isinstance(tested, dict) and tested:
        numbers = {name: value for name, value in tested.items() if isinstance(value, (int, float))}
        return [(f"{name}, found", f"{value:.6g}") for name, value in numbers.items()]
    unknown, best = run.setting("objective", "unknown"), best_epoch(run.history, run.monitor)
    if not isinstance(unknown, dict) or best is None:
        return []
    return [
        (f"{name}, found", f"{value:.6g}")
        for name in unknown
        for epoch, value in zip(*series(run.history, f"valid/{name}"))
        if epoch == best[0]
    ]


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = _found_parameters(run)
    if run.parameters is not None:
        facts.append(("parameters", f"{run.parameters:,}".replace(",", "\u202f")))
    members = run.setting("ensemble")
    if isinstance(members, int) and members > 1:
        facts.append(("members", str(members)))
    if run.epochs:
        of = f" of {run.setting('trainer', 'max_epochs')}" if run.unfinished else ""
        facts.append(("epochs", f"{run.epochs}{of}"))
    seconds = train_seconds(run.history)
    if seconds is not None:
        facts.append(("training", _duration(seconds)))
    tested = next((tested.errors for tested in run.tests if tested.errors is not None), None)
    if tested is not None:
        facts.append(("test samples", str(len(tested))))
    drawn = "seed of the points" if run.is_field else "split seed"
    for label, keys in (("seed", ("seed_everything",)), (drawn, ("data", "seed"))):
        value = run.setting(*keys)
        if value is not None and not isinstance(value, (dict, list)):
            facts.append((label, str(value)))
    if _data_path(run):
        facts.append(("data", _data_path(run)))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.3g} min" if minutes < 120 else f"{minutes / 60:.3g} h"


def _names(run: Run, tested: TestedResolution) -> tuple[list[str], list[str]]:
    """Names of the input and target channels: as the surrogate or the config has them, else counted."""

    def named(key: str, count: int, fallback: str) -> list[str]:
        stored = channel_names(run, key.removesuffix("s"))
        if len(stored) == count:
            return stored
        names = run.setting("data", key)
        if names is None:  # of trajectories the state is both
            names = run.setting("data", "fields")
        if isinstance(names, str):
            names = [names]
        if isinstance(names, list) and len(names) == count:
            return [str(name) for name in names]
        return [fallback] if count == 1 else [f"{fallback}{k}" for k in range(count)]

    inputs = 0 if tested.inputs is None else tested.inputs.shape[1]
    targets = 0 if tested.prediction is None else tested.prediction.shape[1]
    if tested.meshes:
        inputs, targets = tested.meshes[0].input.shape[1], tested.meshes[0].target.shape[1]
    stated = run.statement.get("fields")
    if isinstance(stated, list) and len(stated) == targets:
        return named("inputs", inputs, "a"), [str(name) for name in stated]
    return named("inputs", inputs, "a"), named("targets", targets, "u")


def _overview(run: Run) -> TestedResolution | None:
    """What the picture of a run shows: its first test set that has fields, and of a family all members."""
    shown = [tested for tested in run.tests if tested.prediction is not None or tested.meshes]
    if not shown or not run.is_field:
        return shown[0] if shown else None
    first = shown[0]
    members = [tested for tested in shown if _same_grid(tested, first)]
    parts = {
        key: [getattr(member, key) for member in members]
        for key in ("target", "prediction", "residual", "estimate")
    }
    together: dict[str, Any] = {
        key: None if any(array is None for array in arrays) else np.ma.concatenate(arrays)
        for key, arrays in parts.items()
    }
    return replace(first, ranks=tuple(rank for member in members for rank in member.ranks), **together)


def _same_grid(tested: TestedResolution, other: TestedResolution) -> bool:
    """Whether two test sets are on one grid: members of a family differ in what follows its name."""
    assert tested.prediction is not None
    assert other.prediction is not None
    named = tested.name.partition("-")[0] == other.name.partition("-")[0]
    return named and tested.prediction.shape == other.prediction.shape


def _place(run: Run) -> str:
    """The word before the name of a test set: those of grids are resolutions, those of meshes files."""
    return "on" if run.data_class == "MeshData" else "at"


def _pictured(run: Run) -> list[TestedResolution]:
    """The test sets with a tab of their own: of a field the grids, and not the scattered points."""
    return [tested for tested in run.tests if tested.prediction is not None or not run.is_field]


def _tabs(run: Run) -> list[_Tab]:
    shown = _pictured(run)[:MAX_RESOLUTIONS]
    pixels = pixels_for(sum(count_panels(one) + count_mesh_panels(one.meshes) for one in shown))
    return [_tab(run, tested, pixels) for tested in shown]


def _tab(run: Run, tested: TestedResolution, pixels: int) -> _Tab:
    notes = []
    inputs, targets = _names(run, tested)
    fields = tested.prediction
    if tested.meshes:
        notes += _mesh_notes(tested.meshes, max(len(inputs), len(targets)))
    elif fields is None:
        notes.append(
            f"No samples were recorded {_place(run)} {tested.name}, so there are no pictures of them."
        )
    else:
        longest = max(fields.shape[2:])
        if run.is_field and fields.ndim == 4:
            notes.append(f"{tested.axes[0]} runs to the right, {tested.axes[1]} upwards.")
        if np.ma.is_masked(fields):
            notes.append("Nodes outside of the domain are left blank.")
        if fields.ndim > 3 and longest > pixels:
            notes.append(f"Pictures show one node in {-(-longest // pixels)} along each axis.")
        if max(len(inputs), len(targets)) > MAX_CHANNELS:
            notes.append(f"Only the first {MAX_CHANNELS} channels are shown.")
    if tested.metrics == {} and not run.is_field:
        notes.append(f"test/metrics.json has no metrics {_place(run)} {tested.name}.")
    if tested.rollout_l2 is not None and (tested.target is not None or tested.meshes):
        notes.append(f"Pictures show the last of {len(tested.rollout_l2)} steps.")
    samples = sample_panels(tested, inputs, targets, pixels)
    samples += mesh_panels(tested.meshes, tested.name, inputs, targets, pixels)
    kind = ""
    if samples and fields is not None:
        several = "" if len(samples[0].rows) == 1 else "three"
        kind = {3: "three lines", 4: several, 5: "slices"}[fields.ndim]
    return _Tab(
        tested.name,
        kind,
        samples,
        error_histogram(tested.errors, tested.name),
        error_spectrum(tested.spectrum_error, tested.spectrum_truth, tested.name),
        error_by_step(tested.rollout_l2, tested.rollout_drift, tested.name),
        calibration_curve(tested.coverage, tested.name),
        notes,
        not tested.meshes and run.data_class not in ("MeshData", "SparseTrajectoryData"),
    )


def _mesh_notes(samples: tuple[MeshSample, ...], channels: int) -> list[str]:
    """What to know of pictures of functions that are not on a grid."""
    notes = []
    if samples[0].nodes.shape[1] != 2:
        notes.append("Each node is a point in the picture, seen along the last axis where there are three.")
    elif samples[0].triangles is None:
        notes.append("Nodes are joined to their neighbours by triangles (Delaunay), the long ones left out.")
    if channels > MAX_CHANNELS:
        notes.append(f"Only the first {MAX_CHANNELS} channels are shown.")
    return notes


def _versions(run: Run) -> list[tuple[str, str, str]]:
    """(package, version that trained the model, version that wrote this page); empty where not known."""
    trained = run.surrogate.get("versions")
    trained = trained if isinstance(trained, dict) else {}
    here = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            here[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            here[package] = ""  # run from a checkout, or an optional package that is not installed
    return [(name, str(trained.get(name, "")), here.get(name, "")) for name in {**here, **trained}]
