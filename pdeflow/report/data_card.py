"""What is known of the data behind a run, from the data file that its config names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdeflow.errors import CorruptFile, UnsafeFile

if TYPE_CHECKING:
    from pdeflow.data import MeshReader


def data_card(data_path: str) -> tuple[dict[str, Any], str]:
    """Facts of the data set, and a sentence where there are none.

    Parameters
    ----------
    data_path
        The file, or folder in The Well's layout, that the config names; relative to the working directory.

    Returns
    -------
    dict, str
        ``name``, ``equation`` (LaTeX), ``samples``, ``grid`` (of meshes ``nodes`` and ``triangles``)
        and the attributes of the file, as far as known;
        and why there are none, in one sentence. A data file is no part of the run: one that has moved or is
        damaged is told in the page and does not stop the report.
    """
    if not data_path:
        return {}, "The config does not say which data the model was trained on."
    file = Path(data_path)
    if file.is_dir():
        found = sorted(part for end in ("*.h5", "*.hdf5") for part in (file / "data" / "train").glob(end))
        file = found[0] if found else file
    if not file.is_file():
        return {}, f"The data of the run, {data_path}, are not there any more, so nothing is known of them."
    from pdeflow.data import MeshReader
    from pdeflow.data.open_samples import open_samples

    try:
        with open_samples(file) as reader:
            if isinstance(reader, MeshReader):
                return _mesh_card(reader), ""
            card = {"name": reader.name, "samples": reader.n, "grid": "x".join(map(str, reader.shape))}
            return {**card, **reader.attributes}, ""
    except (CorruptFile, UnsafeFile) as error:
        return {}, f"The data of the run cannot be read: {str(error).splitlines()[0]}"


def _mesh_card(reader: MeshReader) -> dict[str, Any]:
    card: dict[str, Any] = {"name": reader.name, "samples": reader.n}
    for part, counts in (("nodes", reader.node_counts), ("triangles", reader.triangle_counts)):
        least, most = int(counts.min()), int(counts.max())
        each = f"{least} to {most}" if least < most else str(least)
        card[part] = f"{each} a sample, {int(counts.sum())} in all"
    return {**card, **{key: value for key, value in reader.attributes.items() if key != "steady"}}
