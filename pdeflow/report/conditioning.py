"""What a preconditioner of the model's modes was worth: condition numbers, and the spectra behind them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pdeflow.errors import CorruptFile
from pdeflow.report.fields import Panel
from pdeflow.report.figure import BLUE, ORANGE, new_figure, style, svg_uri


def conditioning(record: dict[str, Any], path: Path) -> tuple[str, Panel] | None:
    """The condition numbers as a sentence and the eigenvalues as a picture; None where none were recorded.

    Parameters
    ----------
    record
        What ``conditioning.json`` holds; see `ConditionNumbers`.
    path
        The file, for errors.

    Raises
    ------
    CorruptFile
        If something else is in it.
    """
    if not record:
        return None
    try:
        kappas = {name: _kappa(record[name]["kappa"]) for name in ("before", "after", "trained")}
        weights = {name: float(record[name]["weight"]) for name in ("after", "trained")}
        rate = float(record["trained"]["learning_rate"])
        spectra = {name: np.array(record[name]["eigenvalues"], np.float64) for name in ("before", "after")}
        if any(values.ndim != 1 or not (values > 0).any() for values in spectra.values()):
            raise ValueError("no spectrum")
    except (KeyError, TypeError, ValueError) as error:
        expected = "condition numbers and eigenvalues, as training writes them"
        raise CorruptFile(f"{path}: {type(error).__name__}, expected {expected}.") from error
    words = (
        f"Condition number of training {kappas['before']:.3g} before preconditioning, "
        f"{kappas['after']:.3g} after"
    )
    if weights["after"]:
        words += (
            f", each for the weight of the conditions that makes it smallest: {weights['after']:.3g} after. "
            f"It was trained with {weights['trained']:.3g}: {kappas['trained']:.3g}"
        )
    return f"{words}. Gradient descent is fastest at a rate of {rate:.3g}.", _spectra(spectra)


def _kappa(value: Any) -> float:
    return math.inf if value is None else float(value)


def _spectra(spectra: dict[str, np.ndarray]) -> Panel:
    """Eigenvalues over the largest one, in their order; those that rounding made negative are left out."""
    looks = {"before": (ORANGE, "before"), "after": (BLUE, "preconditioned")}
    with style():
        figure = new_figure(4.2, 2.7)
        axes = figure.subplots()
        for name, (colour, label) in looks.items():
            share = np.sort(spectra[name]) / spectra[name].max()
            number = np.arange(1, len(share) + 1)
            axes.plot(number[share > 0], share[share > 0], ".", color=colour, label=label, markersize=3)
        axes.set_yscale("log")
        axes.set_xlabel("number of the eigenvalue")
        axes.set_ylabel("over the largest")
        axes.legend(fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1)
        figure.set_layout_engine("constrained")
        source = svg_uri(figure)
    count = len(spectra["after"])
    alt = f"Spectra of the matrix of training, {count} eigenvalues, before and after preconditioning."
    return Panel("Eigenvalues of the matrix of training", alt, source)
