"""Trajectories on a grid as a Lightning data module: states in, the states after them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pdeflow.data.datamodule import GridData
from pdeflow.data.grid_samples import GridSamples
from pdeflow.data.trajectory_samples import TrajectorySamples
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput


class TrajectoryData(GridData):
    """Functions on a uniform grid that change in time, for a model that gives the next state.

    A batch is as that of `GridData`, but ``input`` is ``history`` states, the oldest first, and then the
    constants, and ``target`` ``(B, steps, channels, *S)`` the states after them: ``horizon`` of them in
    training, where a trajectory gives as many samples as there are such windows in it; all that follow the
    first ``history`` in validation and test. ``state`` is how many channels of the input are states,
    ``time_step`` the time between two of them.

    The mean and the deviation of each field are those over all its states.

    Parameters
    ----------
    path, batch_size, resolution, test_resolutions, test_paths, split, num_workers, seed
        As for `GridData`; samples of ``batch_size`` are windows.
    fields
        Names of the fields that change.
    constants
        Names of constant fields or scalars that the model reads at every step.
    history
        States that the model reads.
    horizon
        States after them in a training sample.
    stride
        A step of the model spans so many of the stored instants.

    Raises
    ------
    InvalidInput
        As `GridData`; for windows that do not fit into the stored instants, and a field that does not
        change in time.
    """

    def __init__(
        self,
        path: str,
        fields: list[str],
        constants: list[str] | None = None,
        history: int = 1,
        horizon: int = 1,
        stride: int = 1,
        batch_size: int = 16,
        resolution: int | list[int] | None = None,
        test_resolutions: list[int] | None = None,
        test_paths: list[str] | None = None,
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        for name, value in (("history", history), ("horizon", horizon), ("stride", stride)):
            if value < 1:
                raise InvalidInput(f"data.{name}", value, "at least 1")
        constants = list(constants or [])
        super().__init__(
            path,
            [*fields, *constants],
            fields,
            batch_size,
            resolution,
            test_resolutions,
            test_paths,
            split,
            num_workers,
            seed,
        )
        self.constants, self.history, self.horizon, self.stride = constants, history, horizon, stride

    def _chosen(
        self, readers: list[WellReader], rows: np.ndarray, points: int | Sequence[int] | None, training: bool
    ) -> GridSamples:
        samples = TrajectorySamples(
            readers,
            rows,
            self.targets,
            self.constants,
            points,
            history=self.history,
            horizon=self.horizon if training else None,
            stride=self.stride,
        )
        if not training:
            self._check_step(samples)
        return samples

    def _check_step(self, samples: TrajectorySamples) -> None:
        """Raise InvalidInput for states as far apart as the model was not trained for."""
        step = self._train.time_step  # pyright: ignore[reportAttributeAccessIssue]
        if abs(samples.time_step - step) > 1e-4 * step:
            raise InvalidInput(
                str(samples.readers[0].path),
                f"states {samples.time_step:g} apart",
                f"the step of training, {step:g}",
                "Give a file with the same instants.",
            )
