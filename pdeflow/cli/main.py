"""``pdeflow VERB ...``: finds the verb, imports its module, and turns errors into at most five lines."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

# Verb -> (module, one line of help). Modules are imported only when their verb runs, and none of them
# imports torch before its arguments are parsed unless the help itself needs it (fit, generate).
VERBS: dict[str, tuple[str, str]] = {
    "generate": ("generate", "make a data set from a recipe"),
    "fit": ("fit", "train a surrogate from a config file, or resume a run"),
    "validate": ("validate", "metrics of a trained run on its validation split"),
    "test": ("test", "metrics of a trained run at every test resolution, with a report"),
    "predict": ("predict", "apply a trained run to a data file"),
    "export": ("export", "write a trained run as a program for torch or C++"),
    "convert": ("convert", "turn another format (.pt, PDEBench, .npz) into a Well file"),
    "inspect": ("inspect", "print, plot or verify what a data file holds"),
    "report": ("report", "write the HTML report of a run again"),
    "doctor": ("doctor", "check this installation and machine"),
    "completion": ("completion", "print a shell completion script"),
}


def usage() -> str:
    """The text of ``pdeflow --help``."""
    width = max(map(len, VERBS)) + 2
    lines = ["usage: pdeflow VERB [options]", "", "Learned and classical solvers of PDEs.", "", "verbs:"]
    lines += [f"  {verb:<{width}}{text}" for verb, (_, text) in VERBS.items()]
    lines += [
        "",
        "options:",
        "  -h, --help     this text; 'pdeflow VERB --help' for one verb",
        "  --version      print the version",
        "  --traceback    show where an error came from (also PDEFLOW_TRACEBACK=1)",
        "",
        "start:  pdeflow generate -c datasets/darcy/recipe.yaml -o data/darcy.h5",
        "        pdeflow fit -c configs/darcy_fno.yaml",
        "        pdeflow test runs/darcy_fno",
    ]
    return "\n".join(lines)


def dispatch(arguments: Sequence[str]) -> int:
    """Run one verb and return its exit code; errors pass through."""
    from pdeflow.cli.failure import UsageError

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        if len(arguments) > 1 and arguments[0] == "help":
            return dispatch([arguments[1], "--help"])
        print(usage())
        return 0
    if arguments[0] in ("--version", "-V"):
        from pdeflow import __version__

        print(f"pdeflow {__version__}")
        return 0
    verb, rest = arguments[0], list(arguments[1:])
    if verb not in VERBS:
        raise UsageError("verb", verb, "one of pdeflow's verbs", "Run: pdeflow --help", choices=VERBS)
    module = importlib.import_module(f"pdeflow.cli.{VERBS[verb][0]}")
    return module.run(rest) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script.

    Returns
    -------
    int
        0 success; 1 the work failed; 2 the command, a key or a value was wrong; 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # GNU OpenMP's threads spin for milliseconds while they wait: tenfold slower as soon as another process
    # wants their core. Sleeping at once (OMP_WAIT_POLICY=passive) doubles the time of small kernels. A short
    # spin does neither. Read when torch is imported, so set before; what the user has set stands.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    if "--traceback" in given:
        given.remove("--traceback")
        os.environ["PDEFLOW_TRACEBACK"] = "1"
    try:
        return dispatch(given)
    except BrokenPipeError:
        # The reader (head, less) has gone: what is left to print has nowhere to go, and that is no error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + getattr(signal, "SIGPIPE", 13)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException as error:
        from pdeflow.cli.failure import explain

        return explain(error, given)
