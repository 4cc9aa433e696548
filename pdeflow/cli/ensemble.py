"""The members of an ensemble: how each is begun, and how they become one surrogate and one model to test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lightning
import numpy as np

import pdeflow
from pdeflow.atomic_file import write_json
from pdeflow.cli.run_folder import RunFolder
from pdeflow.data.datamodule import GridData
from pdeflow.data.mesh_data import MeshData
from pdeflow.errors import InvalidInput
from pdeflow.operators import Ensemble
from pdeflow.operators.normaliser import Normaliser
from pdeflow.training import TrainingTask
from pdeflow.training.checkpoint_io import load_checkpoint

if TYPE_CHECKING:
    from pdeflow.cli.training_cli import TrainingCLI


def begin_member(cli: TrainingCLI, number: int) -> None:
    """Give a member weights and an order of samples of its own; the first has those of a single model.

    The split into training, validation and test samples is the same for all.
    """
    seed = cli.config.seed_everything
    if seed is not False:
        lightning.seed_everything(_spawned(seed, number), workers=True, verbose=False)
    if isinstance(cli.datamodule, (GridData, MeshData)):
        cli.datamodule.order_seed = _spawned(cli.datamodule.seed, number)
    cli.build_task()


def _spawned(seed: int, number: int) -> int:
    if number == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0])


def join(folder: RunFolder, count: int) -> None:
    """Write the one surrogate of all members, and a history of means over them.

    Each metric of the surrogate is the mean over the members; of an operator of the user's own class there is
    no surrogate, as its training has said.
    """
    parts = folder.members(count)
    write_json(folder.path / "history.json", _mean_history([part.path / "history.json" for part in parts]))
    if not all((part.path / "surrogate").is_dir() for part in parts):
        return
    members = [pdeflow.load(part.path) for part in parts]
    _check_normalisers([member.normaliser for member in members])
    pdeflow.save(
        Ensemble([member.model for member in members]),
        folder.path / "surrogate",
        members[0].normalisation,
        grid=members[0].grid,
        metrics={
            f"{name} (mean of the members)": float(np.mean([member.metrics[name] for member in members]))
            for name in members[0].metrics
        },
        time_step=members[0].time_step,
        equation=members[0].equation,
    )


def _mean_history(paths: Sequence[Path]) -> list[dict[str, float]]:
    """Row by row as long as every member has one: means of losses and errors, seconds together."""
    histories = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    means = []
    for rows in zip(*histories):
        shared = [name for name in rows[0] if all(name in row for row in rows)]
        mean = {name: float(np.mean([row[name] for row in rows])) for name in shared}
        counts = {"epoch": rows[0]["epoch"], "step": rows[0]["step"]}
        means.append(mean | counts | {"seconds": round(sum(row["seconds"] for row in rows), 3)})
    return means


def assembled(cli: TrainingCLI, checkpoints: Sequence[Path]) -> TrainingTask:
    """The task of an ensemble whose members have the weights of these checkpoints.

    Raises
    ------
    InvalidInput
        If members were trained with different normalisations.
    CorruptFile, UnsafeFile
        From ``load_checkpoint``.
    """
    tasks = []
    for path in checkpoints:
        cli.build_task()
        cli.task.load_state_dict(load_checkpoint(path)["state_dict"])
        tasks.append(cli.task)
    _check_normalisers([task.normaliser for task in tasks])
    joint = TrainingTask(Ensemble([task.model for task in tasks]), objective=tasks[0].objective)
    joint.normaliser = tasks[0].normaliser
    return joint


def _check_normalisers(normalisers: Sequence[Normaliser]) -> None:
    first = dict(normalisers[0].named_buffers())
    for number, normaliser in enumerate(normalisers[1:], start=2):
        for name, values in normaliser.named_buffers():
            # Another machine may sum in another order: round-off is no change of the data.
            near = 1e-5 * (first[name].abs() + first[name.replace("mean", "std")])
            if not bool(((values - first[name]).abs() <= near).all()):
                raise InvalidInput(
                    f"normalisation.{name} of member {number}",
                    tuple(values.tolist()),
                    f"{tuple(first[name].tolist())}, as member 1 was trained with",
                    "The data changed while the ensemble was trained: start a new run.",
                )
