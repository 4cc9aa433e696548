"""``pdeflow generate``: a data set from a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pdeflow import worker_processes
from pdeflow.cli import allowlist
from pdeflow.cli.failure import UsageError
from pdeflow.cli.own_options import Parser, take
from pdeflow.cli.quick_imports import quick_imports

DESCRIPTION = (
    "Make a data set.  Start: pdeflow generate -c datasets/darcy/recipe.yaml -o data/darcy.h5 -n 1000.  "
    "A run that was stopped goes on with the same command.  See the whole recipe: --print_config."
)
# (flags, settings): where and how to run, which decides no sample's bytes and so is no part of the recipe.
OPTIONS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    (("-o", "--output"), {"metavar": "OUT.h5", "help": "file to write (required)"}),
    (("-n",), {"metavar": "N", "help": "the same as --samples"}),
    (("--device",), {"default": "cpu", "help": "cpu (default), cuda, cuda:1, ..."}),
    (
        ("--workers",),
        {"type": int, "default": 1, "help": "processes, dask workers or tasks, one thread each"},
    ),
    (
        ("--executor",),
        {
            "default": "processes",
            "help": "what runs the workers: processes (default), dask (pdeflow[dask]), slurm: a SLURM array, "
            "whose output folder nobody else may write to, "
            "dask-slurm: dask in SLURM jobs (pdeflow[slurm])",
        },
    ),
    (("--scheduler",), {"metavar": "ADDRESS", "help": "running dask scheduler, instead of a local cluster"}),
    (
        ("--cluster",),
        {
            "metavar": "FILE.yaml",
            "help": "settings of the SLURM jobs, as submitit (slurm) or dask_jobqueue.SLURMCluster "
            "(dask-slurm) takes them",
        },
    ),
    (("--overwrite",), {"action": "store_true", "help": "replace OUT.h5 and what an earlier run left"}),
    (
        ("--dry-run",),
        {"action": "store_true", "help": "estimate time, disk and memory from a short pilot; write nothing"},
    ),
    (("--quiet",), {"action": "store_true", "help": "no progress bar"}),
]


def own_parser() -> Parser:
    """The options that are no part of the recipe."""
    own = Parser("pdeflow generate", add_help=False)
    for flags, settings in OPTIONS:
        own.add_argument(*flags, **settings)
    return own


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow generate --help``."""
    given, rest = take(arguments, own_parser(), "datasets")
    if not arguments:
        raise UsageError(
            "command",
            "pdeflow generate",
            "a recipe",
            "Run: pdeflow generate -c datasets/darcy/recipe.yaml -o data/darcy.h5",
        )
    rest = [_with_auto(before, word) for before, word in zip(["", *rest], rest)]
    if given.n is not None:
        rest += [f"--samples={given.n}"]
    worker_processes.keep_memory()
    try:
        # Spawned workers get the import path of now, before --allow has added to it.
        early = sys.platform == "linux" or not given.allow
        if given.workers > 1 and given.executor == "processes" and early and not given.dry_run:
            worker_processes.start_early(given.workers, "pdeflow.generate.executors")
        return _generate(given, rest)
    finally:
        worker_processes.discard()


def _generate(given: argparse.Namespace, rest: list[str]) -> int:
    """What ``run`` does once its own options are read."""
    with quick_imports():
        recipe = parse_recipe(rest, given.allow)
    if given.dry_run:
        from pdeflow.generate import estimate

        print(estimate(recipe, device=given.device, workers=given.workers).text())
        return 0
    if given.output is None:
        raise UsageError("-o/--output", "nothing", "the file to write", "For example: -o data/darcy.h5")
    from pdeflow.atomic_file import explain_write_errors
    from pdeflow.generate import generate

    output = Path(given.output)
    with explain_write_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    shorter = recipe.samples // given.workers if given.workers > recipe.chains else 0
    if 0 < shorter < recipe.chain and not given.quiet:
        chains = f"{recipe.chains} chain{'s' * (recipe.chains > 1)} of up to {recipe.chain} samples"
        text = f"{chains}: workers beyond have nothing to do. A new output may have --chain {shorter}."
        print(text, file=sys.stderr)
    report = generate(
        recipe,
        output,
        device=given.device,
        workers=given.workers,
        executor=given.executor,
        scheduler=given.scheduler,
        cluster=None if given.cluster is None else read_cluster(Path(given.cluster)),
        overwrite=given.overwrite,
        progress=not given.quiet,
    )
    print(report.text())
    print(f"Next: pdeflow inspect {output} --plot {output.with_suffix('.png')}")
    return 1 if report.failed else 0


def read_cluster(path: Path) -> dict[str, Any]:
    """The settings of SLURM jobs in a YAML file.

    Raises
    ------
    UsageError
        If it holds something else.
    """
    import yaml

    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        settings = str(error).splitlines()[0]
    if not isinstance(settings, dict):
        hint = "For example the lines: timeout_min: 60, mem_gb: 4, slurm_partition: cpu"
        raise UsageError("--cluster", settings, f"a YAML file of settings in {path}", hint)
    return settings


def _with_auto(before: str, word: str) -> str:
    """``--solver auto`` reads better than the name of the class."""
    if word == "--solver=auto":
        return "--solver=Auto"
    return "Auto" if (before, word) == ("--solver", "auto") else word


def parse_recipe(arguments: list[str], allow: Sequence[str] = ()) -> Any:
    """The `Recipe` of a command line whose configs are already looked up.

    Raises
    ------
    UsageError
        For an unknown key or class, a wrong type, or a class outside the allow-list.
    """
    from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser

    import pdeflow.problems  # noqa: F401  a class can be named by its short name only once it is imported
    from pdeflow.cli.rewrite import instantiate, usage_error
    from pdeflow.generate import Recipe

    allowlist.apply(allow)
    parser = ArgumentParser(
        prog="pdeflow generate", description=DESCRIPTION, exit_on_error=False, allow_abbrev=False
    )
    if {"-h", "--help"} & set(arguments):
        group = parser.add_argument_group("where and how to run (not keys of a recipe)")
        for flags, settings in OPTIONS:
            group.add_argument(*flags, **settings)
        group.add_argument(
            "--allow", help="prefix of class names a recipe may use besides pdeflow's (may be repeated)"
        )
    parser.add_argument(
        "-c", "--config", action=ActionConfigFile, help="recipe, a YAML file (may be repeated)"
    )
    parser.add_class_arguments(Recipe, None)
    try:
        parsed = parser.parse_args(arguments)
    except ArgumentError as error:
        raise usage_error(str(error), parser, "generate") from error
    parsed.pop("config", None)
    return Recipe(**instantiate(parser, parsed).as_dict())
