"""``pdeflow inspect``: what a data file holds, and whether it is sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdeflow.cli.failure import UsageError
from pdeflow.cli.own_options import Parser


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow inspect",
        description="Print the fields, grid, samples and ranges of a data file.",
        epilog="Example: pdeflow inspect data/darcy.h5 --plot darcy.png",
    )
    made.add_argument("file", metavar="FILE", type=Path, help="data file in the Well's layout")
    made.add_argument("--plot", metavar="FILE.png", type=Path, help="also draw some samples")
    made.add_argument(
        "--verify",
        action="store_true",
        help="check values by checksum, the file by its .manifest.json, some samples by their residual",
    )
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow inspect --help``."""
    given = parser().parse_args(list(arguments))
    if not given.file.exists():
        parts = given.file.with_name(given.file.name + ".parts")
        if parts.is_dir():
            hint = "The same `pdeflow generate` command goes on."
            raise UsageError("FILE", str(given.file), f"a finished file; {parts} holds what is done", hint)
        raise FileNotFoundError(2, "no such file", str(given.file))
    if (given.file / "config.yaml").is_file():
        hint = f"What the run holds, as a page: pdeflow report {given.file}"
        raise UsageError("FILE", str(given.file), "a data file, not the folder of a run", hint)
    from pdeflow.data import inspect, open_samples, plot
    from pdeflow.data.inspect import check_picture_name

    if given.plot is not None:
        check_picture_name(given.plot)

    code = 0
    print(inspect(given.file).text())
    if given.verify:
        with open_samples(given.file) as reader:
            reader.verify()
        print("Verified: every value reads, and agrees with its checksum where the file has them.")
        from pdeflow.generate.verify import verify

        found = verify(given.file)
        print(found.text())
        code = 0 if found.sound else 1
    if given.plot is not None:
        given.plot.parent.mkdir(parents=True, exist_ok=True)
        plot(given.file, given.plot)
        print(f"Drawn: {given.plot}")
    return code
