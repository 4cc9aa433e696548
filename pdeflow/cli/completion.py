"""``pdeflow completion SHELL``: a static completion script; nothing of pdeflow runs while the user types."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence

from pdeflow.cli.main import VERBS
from pdeflow.cli.own_options import Parser
from pdeflow.errors import MissingDependency

SHELLS = ("bash", "zsh")
# fit, validate and test take any key of a config as an option; these are the ones most often given by hand.
# A test asserts that each of them exists.
COMMON_KEYS = (
    "model",
    "model.help",
    "objective",
    "objective.loss",
    "optimizer",
    "optimizer.lr",
    "lr_scheduler",
    "data",
    "data.path",
    "data.batch_size",
    "data.resolution",
    "data.test_resolutions",
    "data.test_paths",
    "trainer.max_epochs",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.precision",
    "trainer.fast_dev_run",
    "ensemble",
    "compile",
    "seed_everything",
    "print_config",
)


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow completion",
        description="Print a completion script for your shell.",
        epilog="bash:\n"
        "  mkdir -p ~/.local/share/bash-completion/completions\n"
        "  pdeflow completion bash > ~/.local/share/bash-completion/completions/pdeflow\n"
        "zsh:\n"
        '  pdeflow completion zsh > "${fpath[1]}/_pdeflow"',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("shell", choices=SHELLS, help="the shell")
    return made


def whole_parser() -> argparse.ArgumentParser:
    """All verbs and their options in one parser, made without importing torch: what shtab reads."""
    import shtab

    whole = argparse.ArgumentParser(prog="pdeflow")
    whole.add_argument("--version", action="store_true", help="print the version")
    verbs = whole.add_subparsers()
    for verb, (module, text) in VERBS.items():
        made = verbs.add_parser(verb, help=text)
        if verb in ("fit", "validate", "test"):
            _add_training(made, verb)
            continue
        if verb == "generate":
            from pdeflow.cli.generate import OPTIONS

            made.add_argument("-c", "--config", help="recipe").complete = shtab.FILE  # type: ignore[attr-defined]
            for key in ("samples", "resolution", "seed", "chain", "problem", "rtol", "dtype", "name"):
                made.add_argument(f"--{key}", help="a key of the recipe")
            for flags, settings in OPTIONS:
                made.add_argument(*flags, **settings)
            continue
        source = importlib.import_module(f"pdeflow.cli.{module}").parser()
        for action in source._actions:
            if not isinstance(action, argparse._HelpAction):
                made._add_action(action)
                if action.metavar in ("FILE", "RUN", "OUT", "OUT.h5", "FILE.png"):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole


def _add_training(made: argparse.ArgumentParser, verb: str) -> None:
    import shtab

    from pdeflow.cli import evaluate, fit

    made.add_argument("-c", "--config", help="config").complete = shtab.FILE  # type: ignore[attr-defined]
    for name, text in (fit.OPTIONS if verb == "fit" else evaluate.OPTIONS).items():
        action = made.add_argument(name, help=text)
        if name in ("RUN", "--resume", "--ckpt"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    for key in COMMON_KEYS:
        made.add_argument(f"--{key}", help="a key of the config")


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow completion --help``."""
    given = parser().parse_args(list(arguments))
    try:
        import shtab
    except ImportError as error:
        raise MissingDependency("shtab is not installed.\nRun: pip install shtab") from error
    print(shtab.complete(whole_parser(), shell=given.shell))
    return 0
