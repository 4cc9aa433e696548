"""The page that goes with a saved surrogate and says what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

import pdeflow.fields
from pdeflow.data.plain_equation import plain_equation


def model_card(facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Markdown for a person who finds the folder.

    Parameters
    ----------
    facts
        What ``surrogate.json`` holds.
    weights
        The state of the model, for its size.
    """
    count = sum(w.numel() * (2 if w.is_complex() else 1) for w in weights.values())
    lines = [
        f"# {facts['operator']} surrogate",
        "",
        *(_use_of_field(facts) if _is_field(facts) else _use(facts)),
        "",
        "| | |",
        "|---|---|",
        f"| operator | {facts['operator']}, {count:,} numbers |",
    ]
    if facts["members"] > 1:
        lines.append(f"| members of the ensemble | {facts['members']} |")
    if facts["mean_variance"]:
        lines.append("| output | a mean and a variance at every node |")
    lines += [f"| {name} | {_shown(value)} |" for name, value in facts["settings"].items()]
    lines += [f"| {name} version | {version} |" for name, version in facts["versions"].items()]
    if _is_field(facts):
        return "\n".join([*lines, "", *_domain(facts), *_quality(facts), *_limits_of_field()])
    return "\n".join([*lines, "", *_data(facts), *_quality(facts), *_limits(facts)])


def _is_field(facts: Mapping[str, Any]) -> bool:
    return facts["operator"] in pdeflow.fields.__all__


def _use(facts: Mapping[str, Any]) -> list[str]:
    return [
        "Maps a physical input function to the physical solution on the same grid or mesh.",
        "",
        "```python",
        "import pdeflow",
        'surrogate = pdeflow.load("this folder")',
        "# NumPy or torch: (*S), (batch, *S) or (batch, channels, *S); on meshes a graph of torch-geometric",
        "solution = surrogate(coefficient)",
        *["solution, deviation = surrogate.predict_with_std(coefficient)"] * _knows_std(facts),
        "```",
    ]


def _use_of_field(facts: Mapping[str, Any]) -> list[str]:
    names = _axes(facts)
    return [
        "The solution of one equation, learned from its statement; a function of position.",
        "",
        "```python",
        "import pdeflow",
        'u = pdeflow.load("this folder")',
        f"values = u(points)  # NumPy or torch, (..., {len(names)}): {', '.join(names)} of each point",
        "```",
    ]


def _axes(facts: Mapping[str, Any]) -> list[str]:
    """The names of a field's coordinates."""
    known = facts["normalisation"]
    return (
        known["input_names"] if known else [f"coordinate {k + 1}" for k in range(len(_box(facts)["lower"]))]
    )


def _box(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a field that have its box: those of `JoinedFields` are those of its parts."""
    settings = facts["settings"]
    parts = [part["init_args"] for part in settings.get("parts", [])]
    return max(parts, key=lambda part: len(part["lower"])) if parts else settings


def _domain(facts: Mapping[str, Any]) -> list[str]:
    lines, settings = ["## Where", ""], _box(facts)
    wrapping = settings["periodic"] or [False] * len(settings["lower"])
    for axis, low, high, wraps in zip(_axes(facts), settings["lower"], settings["upper"], wrapping):
        lines.append(f"- {axis} from {low:g} to {high:g}{', where it wraps around' * wraps}")
    if facts["domain"] is not None:
        lines.append(f"- of this box what lies in {facts['domain']['words']}")
    formulas = facts["hard_conditions"] or {}
    met = any(text != "Integer(1)" for text in formulas.get("distance", []))
    lines += ["- values on the sides are met by the form of the field"] * met
    known = facts["normalisation"]
    for k, (low, high) in enumerate(formulas.get("bounds", [])):
        stated = {"above": low, "below": high}
        said = [f"{word} {bound:g}" for word, bound in stated.items() if bound is not None]
        name = known["target_names"][k] if known else f"unknown {k + 1}"
        lines += [f"- {name} is {' and '.join(said)} by the form of the field"] * bool(said)
    return [*lines, ""]


def _knows_std(facts: Mapping[str, Any]) -> bool:
    return facts["members"] > 1 or facts["mean_variance"]


def _data(facts: Mapping[str, Any]) -> list[str]:
    lines = ["## Trained on", ""]
    if facts.get("equation"):
        lines.append(f"- data of {plain_equation(facts['equation'])}")
    grid, normalisation = facts["grid"], facts["normalisation"]
    if grid is not None:
        for i, axis in enumerate(grid["axes"]):
            ends = "periodic" if grid["periodic"][i] else "both ends included"
            low, high, points = (grid[key][i] for key in ("lower", "upper", "points"))
            lines.append(f"- {axis} from {low:g} to {high:g}: {points} points, {ends}")
    if normalisation is None:
        lines.append("- values as they are, without normalisation")
    else:
        for side in ("input", "target"):
            for name, mean, std in zip(
                *(normalisation[f"{side}_{part}"] for part in ("names", "mean", "std"))
            ):
                lines.append(f"- {side} `{name}`: mean {mean:.4g}, deviation {std:.4g}")
    return [*lines, ""]


def _quality(facts: Mapping[str, Any]) -> list[str]:
    if not facts["metrics"]:
        return ["## Quality", "", "Not recorded.", ""]
    rows = [f"| {name} | {value:.4g} |" for name, value in sorted(facts["metrics"].items())]
    return ["## Quality", "", "| metric | value |", "|---|---|", *rows, ""]


def _limits(facts: Mapping[str, Any]) -> list[str]:
    return [
        "## Not for",
        "",
        "- inputs unlike those it was trained on: other ranges, other kinds of function, another box or",
        "  other boundary conditions; it gives an answer there too, and the answer is worth nothing;",
        "- decisions that need a guaranteed error: solve the equation instead, or check the residual.",
        "",
    ]


def _limits_of_field() -> list[str]:
    return [
        "## Not for",
        "",
        "- points outside of the domain, other parameters or other conditions: train it again;",
        "- decisions that need a guaranteed error: look at the residual, and solve by another method too.",
        "",
    ]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
