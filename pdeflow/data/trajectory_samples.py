"""Windows of trajectories: the states that a model reads, and those that it is to give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from pdeflow.data.grid_samples import GridSamples
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput


class TrajectorySamples(GridSamples):
    """Chosen trajectories of files in The Well's layout, cut into windows.

    A window is ``history`` states, the oldest first, and the ``horizon`` states after them.

    Parameters
    ----------
    readers, rows, points
        As for `GridSamples`.
    fields
        Names of what changes in time: the state.
    constants
        Names of constant fields and scalars that are read beside it.
    history
        States that are read.
    horizon
        States that are to be given; all that follow the first ``history`` where it is None.
    stride
        Every so many of the stored instants is a state.

    Raises
    ------
    InvalidInput
        As for `GridSamples`; for a field that does not change in time, and for too few instants.
    """

    def __init__(
        self,
        readers: Sequence[WellReader],
        rows: np.ndarray,
        fields: Sequence[str],
        constants: Sequence[str] = (),
        points: int | Sequence[int] | None = None,
        *,
        history: int = 1,
        horizon: int | None = None,
        stride: int = 1,
    ) -> None:
        if not fields:
            raise InvalidInput("data.fields", [], "at least one name", choices=readers[0].fields)
        self.fields, self.constants = list(fields), list(constants)
        self.history, self.stride = history, stride
        for reader in readers:
            moving = [] if reader.steady else list(reader.fields)
            for key, names, allowed in (
                ("data.fields", self.fields, moving),
                ("data.constants", self.constants, [*reader.constant_fields, *reader.scalars]),
            ):
                for name in names:
                    if name not in allowed:
                        kind = "depends on time" if key == "data.fields" else "does not depend on time"
                        raise InvalidInput(key, name, f"what {kind} in {reader.path}", choices=allowed)
        super().__init__(readers, rows, [*fields, *constants], fields, points)
        self.time_step = self._time_step()
        self.instants = min(-(-reader.times.shape[-1] // stride) for reader in self.readers)
        if self.instants < history + (horizon or 1):
            unrolled = horizon is not None and horizon > 1
            raise InvalidInput(
                "data.horizon" if unrolled else "data.history",
                horizon if unrolled else history,
                f"windows that fit into {self.instants} instants (history {history}, stride {stride})",
                f"Generate more instants, or take a smaller {'horizon, ' * unrolled}history or stride.",
            )
        self.starts = self.instants - history - horizon + 1 if horizon else 1
        self.horizon = horizon or self.instants - history
        older = [f"{name}[{-k}]" for k in range(history - 1, 0, -1) for name in self.target_names]
        self.input_names = (*older, *self.input_names)

    def _time_step(self) -> float:
        """The time between states, which has to be the same everywhere."""
        steps = [np.diff(np.atleast_2d(reader.times)[:, :: self.stride], axis=1) for reader in self.readers]
        low, high = min(s.min(initial=np.inf) for s in steps), max(s.max(initial=0.0) for s in steps)
        # Times may have been written in float32.
        rounding = 4 * float(np.finfo(np.float32).eps) * max(np.abs(r.times).max() for r in self.readers)
        if high - low > 1e-6 * high + rounding:
            hint = "Choose a stride that makes them equal, or generate equidistant instants."
            raise InvalidInput("data.stride", f"steps of {low:g} to {high:g}", "steps of one length", hint)
        return float(low)

    def __len__(self) -> int:
        return len(self.rows) * self.starts

    @property
    def nbytes(self) -> int:
        """Bytes of all states and constants as float32."""
        states = self.instants * len(self.target_names)
        constants = len(self.input_names) - self.history * len(self.target_names)
        return 4 * len(self.rows) * (states + constants) * int(np.prod(self.grid.shape))

    def __getitem__(self, index: torch.Tensor) -> dict[str, Any]:
        """A batch of windows.

        ``input`` (B, in_channels, *S), the states, oldest first, then the constants; ``target``
        (B, horizon, fields, *S); ``index`` (B,), the trajectory's number in the files; ``state``, how many
        channels of the input are states; ``time_step``, the time between two of them.
        """
        row, start = index // self.starts, index % self.starts
        steps = start[:, None] + torch.arange(self.history + self.horizon)
        if self._memory is not None:
            states, constants = self._memory
            window, constants = states[row[:, None], steps], constants[row]
        else:
            states, constants = self._read(row.numpy())
            window = states[torch.arange(len(states))[:, None], steps]
        past = window[:, : self.history].flatten(1, 2)
        return {
            "input": torch.cat([past, constants], dim=1),
            "target": window[:, self.history :].contiguous(),
            "index": torch.from_numpy(self.rows)[row],
            "names": self.input_names,
            "state": past.shape[1],
            "time_step": self.time_step,
        }

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and targets whose statistics are those of all states, a few megabytes at a time."""
        for states, constants in self._stored():
            flat = states.flatten(0, 1)
            repeated = constants.repeat_interleave(states.shape[1], dim=0)
            yield torch.cat([*[flat] * self.history, repeated], dim=1), flat

    @property
    def _stored_names(self) -> tuple[Sequence[str], Sequence[str]]:
        return self.target_names, self.input_names[self.history * len(self.target_names) :]

    def _read(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """States (k, instants, fields, *S) and constants (k, constants, *S)."""
        rows = self.rows[index]
        which = np.searchsorted(self._starts, rows, side="right") - 1
        widths = [len(names) for names in self._stored_names]
        states = np.empty((len(rows), self.instants, widths[0], *self.grid.shape), np.float32)
        constants = np.empty((len(rows), widths[1], *self.grid.shape), np.float32)
        for file in np.unique(which):
            chosen = which == file
            reader, own = self.readers[file], rows[chosen] - self._starts[file]
            channel = 0
            for name in self.fields:
                values = reader.read(name, own)[:, :: self.stride][:, : self.instants]
                flat = self._on_grid(reader, name, values.reshape(-1, *values.shape[2:]))
                width = flat.shape[1]
                states[chosen, :, channel : channel + width] = flat.reshape(
                    len(own), self.instants, *flat.shape[1:]
                )
                channel += width
            if self.constants:
                columns = [self._on_grid(reader, name, reader.read(name, own)) for name in self.constants]
                constants[chosen] = np.concatenate(columns, axis=1)
        return torch.from_numpy(states), torch.from_numpy(constants)
