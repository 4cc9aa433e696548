"""What every benchmark shares: the machine's description, the table, the JSON file."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "benchmarks" / "work"
NOT_MEASURED = "not measured"
PACKAGES = ("pdeflow", "torch", "lightning", "neuraloperator", "numpy", "scipy", "h5py")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system, as far as they can be read."""
    name = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":")[1].strip() for line in info.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "gpu": "not measured",
    }


def versions() -> dict[str, str]:
    """Installed versions of the packages that the figures depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def parser(description: str, rows: Sequence[str] = (), device: bool = False) -> argparse.ArgumentParser:
    """The options that every benchmark takes; those with ``rows`` can be asked for some of them only."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--quick", action="store_true", help="a shorter run, within five minutes")
    made.add_argument("--json", type=Path, help="write the results here")
    if rows:

        def named(text: str) -> list[str]:
            found = text.split(",")
            if unknown := set(found) - set(rows):
                raise argparse.ArgumentTypeError(f"no rows {sorted(unknown)}; there are {', '.join(rows)}")
            return found

        made.add_argument("--rows", type=named, metavar="A,B", help=f"of {', '.join(rows)}")
    if device:
        made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return made


def command() -> str:
    """That of this run."""
    return " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as aligned text, one column a key of the first row, which others may lack."""
    keys = list(rows[0])
    cells = [[str(key) for key in keys]]
    values = [[row.get(key, "-") for key in keys] for row in rows]
    cells += [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in v] for v in values]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in cells)


def finish(path: Path | None, rows: list[dict[str, Any]], summary: dict[str, Any], **more: Any) -> None:
    """Print the table and the summary, and write the JSON file if one is asked for."""
    print(table(rows))
    for key, value in summary.items():
        print(f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}")
    if path is not None:
        write(path, rows, summary, **more)
        print(f"written: {path}")


def write(path: Path, rows: list[dict[str, Any]], summary: dict[str, Any], **more: Any) -> None:
    """Write the JSON file, in one move: one that is there may have the rows of hours."""
    result = {
        "command": command(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "versions": versions(),
        **more,
        "rows": rows,
        "summary": summary,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(path)
