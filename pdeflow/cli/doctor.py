"""``pdeflow doctor``: is this installation, and this machine, fit for use?"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pdeflow.cli.own_options import Parser

REQUIRED = (
    "torch",
    "lightning",
    "torchmetrics",
    "jsonargparse",
    "neuraloperator",
    "h5py",
    "numpy",
    "scipy",
    "sympy",
    "safetensors",
    "tensorboard",
    "matplotlib",
    "tqdm",
    "PyYAML",
)
OPTIONAL = {
    "the-well": "reads The Well's own data sets",
    "pyamg": "algebraic multigrid for sparse matrices",
    "torch-geometric": "operators on meshes",
    "shtab": "shell completion",
    "rich": "coloured tables",
}
# Malicious uploads, since removed from PyPI; mirrors and old lock files may still have them.
MALICIOUS = {"2.6.2", "2.6.3"}
OK, WARN, FAIL = "ok", "warn", "FAIL"


@dataclass(frozen=True)
class Finding:
    """One line of the report: its state, what was looked at, what was seen, what to do about it."""

    state: str
    name: str
    seen: str
    advice: str = ""

    def text(self) -> str:
        """The line, with the advice below it."""
        line = f"{self.state:<5}{self.name:<18}{self.seen}"
        return f"{line}\n     -> {self.advice}" if self.advice else line


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow doctor",
        description="Check this installation and machine; exit code 1 if something is broken.",
    )
    made.add_argument("--json", action="store_true", help="print the findings as JSON")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow doctor --help``."""
    given = parser().parse_args(list(arguments))
    findings = [finding for check in CHECKS for finding in check()]
    if given.json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        print("\n".join(finding.text() for finding in findings))
    failed = sum(finding.state == FAIL for finding in findings)
    warned = sum(finding.state == WARN for finding in findings)
    if not given.json:
        print(f"\n{failed} failures, {warned} warnings." if failed or warned else "\nAll is well.")
    return int(failed > 0)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_python() -> list[Finding]:
    """Which Python this is; pip sees to it that it is new enough."""
    return [Finding(OK, "Python", f"{platform.python_version()} at {sys.executable}")]


def check_packages() -> list[Finding]:
    """pdeflow and what it needs are installed, and what is optional is named."""
    own = _version("pdeflow")
    where = Path(__file__).resolve().parents[1]
    findings = [
        Finding(OK, "pdeflow", f"{own} at {where}")
        if own
        else Finding(WARN, "pdeflow", f"runs from {where}, not installed", "Run: pip install -e .")
    ]
    for name in REQUIRED:
        version = _version(name)
        if version is None:
            findings.append(Finding(FAIL, name, "missing", f"Run: pip install {name}"))
        elif name != "lightning":
            findings.append(Finding(OK, name, version))
    for name, use in OPTIONAL.items():
        version = _version(name)
        findings.append(Finding(OK, name, version or f"not installed (optional: {use})"))
    return findings


def check_lightning() -> list[Finding]:
    """Neither name of Lightning is at one of the malicious versions."""
    findings = []
    for name in ("lightning", "pytorch-lightning"):
        version = _version(name)
        if version in MALICIOUS:
            advice = "Malicious upload: uninstall it, change passwords and tokens, take lightning>=2.6.4."
            findings.append(Finding(FAIL, name, version, advice))
        elif version is not None:
            findings.append(Finding(OK, name, version))
    return findings


def check_torch() -> list[Finding]:
    """torch imports; its build, threads and GPUs."""
    try:
        import torch
    except (ImportError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [
            Finding(
                FAIL, "torch import", first, "Install torch again: https://pytorch.org/get-started/locally"
            )
        ]
    build = (
        f"CUDA {torch.version.cuda}" if torch.version.cuda else "ROCm" if torch.version.hip else "CPU only"
    )
    findings = [Finding(OK, "torch build", build)]
    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    findings.append(Finding(OK, "CPU", f"{cores} cores, {threads} threads in torch"))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(i)
            findings.append(Finding(OK, f"GPU {i}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB"))
    elif torch.backends.mps.is_available():
        findings.append(Finding(OK, "GPU", "Apple (mps)"))
    elif torch.version.cuda:
        advice = "Runs go to the CPU. If there is a GPU, check nvidia-smi and the driver's version."
        findings.append(Finding(WARN, "GPU", "none usable, though torch is a CUDA build", advice))
    else:
        findings.append(Finding(OK, "GPU", "none; runs go to the CPU"))
    return findings


def check_compiler() -> list[Finding]:
    """The loops of the linear solvers compile here; what that costs, once a machine."""
    from pdeflow.linalg import native

    if not native.enabled():
        return [Finding(WARN, "compiled loops", "off: PDEFLOW_NATIVE is 0", "Unset it: solves are slower.")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            for source in sorted(native.SOURCES.glob("*.c")):
                native.library(source.stem)
    except RuntimeWarning as error:
        first, *advice = str(error).splitlines()
        return [Finding(WARN, "compiled loops", first, " ".join(advice))]
    spent = sum(native.compile_seconds.values())
    how = f"compiled in {spent:.1f} s" if spent else "compiled earlier"
    return [Finding(OK, "compiled loops", f"{how}, kept in {native.cache_folder()}")]


def check_disk() -> list[Finding]:
    """The current folder can be written to and has room."""
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here) as file:
            file.write(b"x")
        findings = [Finding(OK, "write access", str(here))]
    except OSError as error:
        advice = "Change to a folder that you may write to."
        findings = [Finding(FAIL, "write access", f"{here}: {error.strerror}", advice)]
    free = shutil.disk_usage(here).free / 2**30
    if free < 1:
        findings.append(
            Finding(WARN, "free disk", f"{free:.2f} GiB", "A data set or a run may not fit: free some space.")
        )
    else:
        findings.append(Finding(OK, "free disk", f"{free:.0f} GiB"))
    return findings


def check_shipped() -> list[Finding]:
    """Configs and recipes are found."""
    from pdeflow.cli.lookup import known

    counts = {kind: len(known(kind)) for kind in ("configs", "datasets")}
    seen = f"{counts['configs']} configs, {counts['datasets']} recipes"
    if min(counts.values()) == 0:
        return [
            Finding(FAIL, "shipped files", seen, "Install pdeflow again: its configs or recipes are missing.")
        ]
    return [Finding(OK, "shipped files", seen)]


CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    check_python,
    check_packages,
    check_lightning,
    check_torch,
    check_compiler,
    check_disk,
    check_shipped,
)
