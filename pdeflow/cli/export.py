"""``pdeflow export RUN -o model.pt2``: a trained surrogate as a file that runs without pdeflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pdeflow.cli.own_options import Parser
from pdeflow.cli.predict import surrogate_folder
from pdeflow.cli.quick_imports import quick_imports
from pdeflow.cli.quiet import quiet
from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow export",
        description="Write a trained operator with its normalisation as a program of torch.export, or "
        "compiled by AOTInductor: physical values in and out, any number of samples, one grid; of a "
        "field any points. Load only "
        "programs that you trust: torch reads them with pickle, and compiled ones are machine code.",
        epilog="Example: pdeflow export runs/darcy_fno -o darcy.pt2 --aot",
    )
    made.add_argument("run", metavar="RUN", help="a run folder, its name in runs/, or a saved surrogate")
    made.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="OUT.pt2")
    made.add_argument("--aot", action="store_true", help="compile to machine code; needs a C++ compiler")
    made.add_argument(
        "--points", type=int, nargs="+", metavar="N", help="nodes along each axis (default: as trained)"
    )
    made.add_argument("--mesh", type=Path, metavar="FILE", help="of an operator on meshes: a file of meshes")
    made.add_argument("--sample", type=int, default=0, metavar="N", help="which of them (default 0)")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    made.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow export --help``."""
    given = parser().parse_args(list(arguments))
    if given.output.suffix != ".pt2":
        raise InvalidInput("-o/--output", str(given.output), "a name that ends in .pt2")
    if given.output.exists() and not given.overwrite:
        raise InvalidInput("-o/--output", str(given.output), "a new file", "Or give --overwrite.")
    folder = surrogate_folder(given.run)
    with quick_imports():
        import pdeflow
        from pdeflow.device import check_device
        from pdeflow.exported_program import export, facts
    quiet()
    check_device(given.device, "--device")
    surrogate = pdeflow.load(folder).to(given.device)
    positions = _positions(given.mesh, given.sample) if given.mesh else None
    export(surrogate, given.output, given.points, positions, compiled=given.aot)
    said = facts(surrogate, given.points, positions)

    def function(side: str) -> str:
        channels = len(said[side])
        if "lower" in said:
            return f"(points, {channels}) of {', '.join(said[side])}"
        shape = [said["nodes"], channels] if "nodes" in said else [channels, *said["points"]]
        return f"(batch, {', '.join(map(str, shape))}) of {', '.join(said[side])}"

    print(f"Wrote {said['operator']} to {given.output}: from {function('inputs')} to {function('outputs')}")
    return 0


def _positions(path: Path, sample: int) -> np.ndarray:
    """The nodes of one mesh of a file, (nodes, 2)."""
    from pdeflow.data import open_samples
    from pdeflow.data.mesh_reader import MeshReader

    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    with open_samples(path) as reader:
        if not isinstance(reader, MeshReader):
            raise InvalidInput("--mesh", str(path), "a file of meshes", "Of a grid, give --points.")
        if not 0 <= sample < reader.n:
            raise InvalidInput("--sample", sample, f"a number from 0 to {reader.n - 1}")
        return reader.mesh(sample).positions
