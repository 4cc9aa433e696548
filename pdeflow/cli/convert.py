"""``pdeflow convert``: other formats of data sets into the Well's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdeflow.cli.own_options import Parser
from pdeflow.errors import InvalidInput


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow convert",
        description="Turn a neuraloperator .pt, a PDEBench .hdf5 or an .npz into a Well file (HDF5).",
        epilog="Example: pdeflow convert darcy_train_16.pt -o data/darcy_small.h5",
    )
    made.add_argument("source", metavar="FILE", type=Path, help="file to read; pickled code in it is refused")
    made.add_argument("-o", "--output", metavar="OUT.h5", type=Path, required=True, help="file to write")
    made.add_argument("--format", help="neuraloperator, pdebench or npz; told from the content by default")
    made.add_argument(
        "--inputs",
        nargs="+",
        default=[],
        metavar="NAME",
        help="arrays that become inputs, as NAME or NEW=STORED (.pt: a=x)",
    )
    made.add_argument(
        "--targets", nargs="+", default=[], metavar="NAME", help="arrays that become solutions (.pt: u=y)"
    )
    made.add_argument("--dim", type=int, help="space dimensions, if an axis of the arrays holds channels")
    made.add_argument("--lower", type=float, default=0.0, help="lower end of the box (default 0)")
    made.add_argument("--upper", type=float, default=1.0, help="upper end of the box (default 1)")
    made.add_argument("--periodic", nargs="+", default=[], metavar="AXIS", help="axes that wrap around")
    made.add_argument("--time", metavar="NAME", help=".npz: array of instants, if the targets have them")
    made.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="(default float32)")
    made.add_argument("--overwrite", action="store_true", help="replace OUT.h5 if it exists")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow convert --help``."""
    given = parser().parse_args(list(arguments))
    if not given.source.exists():
        raise FileNotFoundError(2, "no such file", str(given.source))
    if given.output.exists() and not given.overwrite:
        raise InvalidInput("-o/--output", str(given.output), "a new file", "Or give --overwrite.")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    from tqdm import tqdm

    from pdeflow.data import convert, inspect

    with tqdm(unit="sample", desc="converting") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        options = {key: value for key, value in vars(given).items() if key not in ("source", "output")}
        written = convert(given.source, given.output, progress=progress, **options)
    print(inspect(written).text())
    print(f"Wrote {written}. Next: pdeflow inspect {written} --plot {written.with_suffix('.png')}")
    return 0
