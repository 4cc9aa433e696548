"""What a test has found left of a statement, and whether the solution is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdeflow.errors import CorruptFile
from pdeflow.report.metrics_table import printable
from pdeflow.report.run_folder import read_trust

MET = {
    "inside": "inside",
    "form": "by the form of the solution",
    "learned": "learned",
    "measured": "learned from measurements, which may have errors of their own",
}


_NUMBERS = ("residual", "terms", "relative")


@dataclass(frozen=True)
class Part:
    """What is left of an equation or a condition: roots of mean squares, and their quotient."""

    name: str
    met: str
    residual: float | None
    terms: float | None
    relative: float | None


@dataclass(frozen=True)
class Trust:
    """What `trust.json` says.

    Attributes
    ----------
    parts
        What is left of each equation and condition.
    told
        The numbers in a sentence or two.
    warning
        Why the solution is not to be trusted; empty where there is no reason not to.
    """

    parts: list[Part]
    told: str
    warning: str


def trust(record: dict[str, Any], path: Path) -> Trust | None:
    """Read what a test has found; None where it found nothing.

    Parameters
    ----------
    record
        What ``test/trust.json`` holds; see `FieldResults`.
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
        parts = [
            Part(str(row["name"]), MET[row["met"]], *(_number(row[key]) for key in _NUMBERS))
            for row in record["parts"]
        ]
        if not isinstance(record["doubts"], list):
            raise TypeError("no list")
        words = "; ".join(map(str, record["doubts"]))
        told, advice = str(record["told"]), str(record["advice"])
    except (KeyError, TypeError, ValueError) as error:
        expected = "what is left of a statement, as a test writes it"
        raise CorruptFile(
            f"{path}: {type(error).__name__}, expected {expected}. Test the run again."
        ) from error
    return Trust(parts, told, f"The solution is not to be trusted: {words}. {advice}" if words else "")


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def trust_lines(run: Path) -> str:
    """What is known of a solution as plain text; empty for other runs, and those that were not tested.

    Raises
    ------
    CorruptFile
        If ``test/trust.json`` is damaged.
    """
    path = Path(run) / "test" / "trust.json"
    found = trust(read_trust(path), path)
    return "" if found is None else "\n".join(map(printable, filter(None, (found.told, found.warning))))
