"""The test errors of a run as a table, each with a one-line definition."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pdeflow.errors import InvalidInput
from pdeflow.report.run_folder import read_metrics

# p is a prediction, t the truth; unless said otherwise computed a sample and averaged over the samples.
DEFINITIONS = {
    "l2": "relative L2 error, ||p - t|| / ||t||",
    "h1": "relative H1 error: the same with values and first derivatives",
    "nrmse": "RMS of the error / RMS of the truth, a channel (PDEBench)",
    "vrmse": "RMS of the error / standard deviation of the truth, a channel (The Well)",
    "crmse": "error of the spatial mean, RMS over the samples",
    "brmse": "RMS of the error on the boundary nodes",
    "frmse_low": "RMS of the error in wavenumbers 0 to 3",
    "frmse_mid": "RMS of the error in wavenumbers 4 to 11",
    "frmse_high": "RMS of the error in wavenumbers 12 and up",
    "max_error": "largest absolute error of all samples and nodes",
    "l2_last": "of trajectories: relative L2 error of the last state",
    "l2_last_everywhere": "marched on a few nodes: relative L2 error of the last state at answered nodes",
    "unanswered": "marched on a few nodes: share of the grid's nodes without an answer, far from these",
    "drift_last": "of trajectories: error of the last state's spatial mean / RMS of that state",
    "diverged": "of trajectories: share of samples that left all bounds",
    "nll": "with a variance: negative log likelihood of a value, mean over all values",
    "crps": "with a variance: continuous ranked probability score, mean over all values",
    "coverage_1std": "with a variance: share of values within 1 standard deviation (0.683 expected)",
    "coverage_2std": "with a variance: share of values within 2 standard deviations (0.954 expected)",
    "calibration": "with a variance: RMS over intervals of the share of values inside less the probability",
    "residual": "RMS of the equation's residual at points that training has not seen",
    "conditions": "RMS of what is left of all conditions on the sides",
    "loss": "the objective that was trained, on the test samples",
}
UNDEFINED = "no definition is known to the report"


def definition(metric: str) -> str:
    """The one-line definition of a metric."""
    if metric.startswith("l2 of "):
        return f"relative L2 error of {metric.removeprefix('l2 of ')} alone"
    return DEFINITIONS.get(metric, UNDEFINED)


def metric_names(table: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Every metric that some resolution has, the relative L2 error first, then as they come."""
    names = dict.fromkeys(name for row in table.values() for name in row)
    return sorted(names, key=lambda name: name != "l2")


def number(value: float | None) -> str:
    """Four significant digits; a dash where nothing was measured."""
    return "-" if value is None else f"{value:.4g}"


def metrics_table(run: Path) -> str:
    """The metrics of a tested run as plain text, one metric a row and one resolution a column.

    Parameters
    ----------
    run
        A run folder with ``test/metrics.json``.

    Raises
    ------
    InvalidInput
        If the run has not been tested.
    CorruptFile
        If ``test/metrics.json`` is damaged.
    """
    path = Path(run) / "test" / "metrics.json"
    table = read_metrics(path)
    if not table:
        raise InvalidInput(
            "run", str(run), "a run folder with test/metrics.json", f"Test it first: pdeflow test {run}"
        )
    columns = ["metric", *(printable(name) for name in table), ""]
    rows = [
        [printable(name), *(number(row.get(name)) for row in table.values()), definition(name)]
        for name in metric_names(table)
    ]
    widths = [max(len(line[k]) for line in (columns, *rows)) for k in range(len(columns))]
    lines = []
    for line in (columns, *rows):
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:-1], widths[1:-1])), line[-1]]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def printable(name: str) -> str:
    """A name from a file without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in name)
