"""The options that belong to a verb and not to its config: taken off before jsonargparse sees the rest."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from pdeflow.cli import lookup
from pdeflow.cli.failure import UsageError


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are `UsageError` and which accepts no abbreviations."""

    def __init__(self, prog: str, **settings: object) -> None:
        super().__init__(prog=prog, allow_abbrev=False, **settings)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` instead of printing the usage and leaving."""
        known = [option for action in self._actions for option in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            name = message.split(": ", 1)[1].split()[0].split("=")[0]
            raise UsageError(name, name, "an option", f"Run: {self.prog} --help", choices=known)
        raise UsageError(self.prog.split()[-1], message, "a complete command", f"Run: {self.prog} --help")


def take(
    arguments: Sequence[str], own: Parser, kind: str = "configs"
) -> tuple[argparse.Namespace, list[str]]:
    """Split a command line into the verb's own options and what jsonargparse is to read.

    ``own`` must not define ``-c``, ``--allow`` or ``-h``. Configs are looked up (see `lookup.find`) and put
    first, so that an option on the command line wins wherever it stands.
    """
    own.add_argument("-c", "--config", action="append", default=[])
    own.add_argument("--allow", action="append", default=[])
    given, rest = own.parse_known_args(list(arguments))
    given.config = [lookup.find(name, kind) for name in given.config]
    for path in given.config:
        lookup.check_text(path)
    return given, [part for path in given.config for part in ("--config", str(path))] + rest
