"""Mean and standard deviation of each channel, fitted on training samples only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from pdeflow.errors import InvalidInput


@dataclass(frozen=True)
class Normalisation:
    """Statistics that map channels to zero mean and unit variance: ``z = (v - mean) / std``.

    Parameters
    ----------
    input_names, target_names
        Channel names; a vector field ``v`` in 2D gives ``v_x, v_y``.
    input_mean, input_std, target_mean, target_std
        One number a channel, in physical units. The standard deviation is positive.

    Raises
    ------
    InvalidInput
        If the lengths differ, or a number is not finite, or a standard deviation is not positive.
    """

    input_names: tuple[str, ...]
    target_names: tuple[str, ...]
    input_mean: tuple[float, ...]
    input_std: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]

    def __post_init__(self) -> None:
        for side in ("input", "target"):
            names = tuple(getattr(self, f"{side}_names"))
            object.__setattr__(self, f"{side}_names", names)
            for part in ("mean", "std"):
                key = f"{side}_{part}"
                values = tuple(float(v) for v in getattr(self, key))
                object.__setattr__(self, key, values)
                if len(values) != len(names):
                    raise InvalidInput(f"normalisation.{key}", values, f"one number for each of {names}")
                if not np.all(np.isfinite(values)) or (part == "std" and min(values, default=1.0) <= 0):
                    sign = "positive, finite" if part == "std" else "finite"
                    raise InvalidInput(f"normalisation.{key}", values, f"{sign} numbers")

    @classmethod
    def fit(
        cls,
        input_names: Iterable[str],
        target_names: Iterable[str],
        batches: Iterable[tuple[np.ndarray | torch.Tensor, np.ndarray | torch.Tensor]],
    ) -> Normalisation:
        """Fit to batches of inputs ``(B, C, *S)`` and targets ``(B, D, *S)``, seen once, summed in float64.

        Means and squared deviations of the batches are merged as in Chan, Golub, LeVeque 1983. A channel
        without variance keeps its scale: its standard deviation is taken as 1.
        """
        moments = (_Moments(), _Moments())
        for batch in batches:
            for own, values in zip(moments, batch):
                own.add(np.asarray(values))
        (input_mean, input_std), (target_mean, target_std) = (own.mean_and_std() for own in moments)
        return cls(tuple(input_names), tuple(target_names), input_mean, input_std, target_mean, target_std)

    def to_dict(self) -> dict[str, list[Any]]:
        """As lists, for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalisation:
        """The inverse of :meth:`to_dict`.

        Raises
        ------
        InvalidInput
            If a key is missing or unknown.
        """
        known = tuple(cls.__dataclass_fields__)
        for key in values:
            if key not in known:
                raise InvalidInput("normalisation", key, f"the keys {', '.join(known)}", choices=known)
        missing = [key for key in known if key not in values]
        if missing:
            raise InvalidInput("normalisation", sorted(values), f"also {', '.join(missing)}")
        return cls(**{key: tuple(values[key]) for key in known})


class _Moments:
    """Running mean and sum of squared deviations of each channel."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(0)
        self.squares: np.ndarray = np.zeros(0)

    def add(self, values: np.ndarray) -> None:
        values = np.moveaxis(values.astype(np.float64), 1, 0).reshape(values.shape[1], -1)
        count, mean = values.shape[1], values.mean(axis=1)
        squares = ((values - mean[:, None]) ** 2).sum(axis=1)
        if not self.count:
            self.mean, self.squares = np.zeros_like(mean), np.zeros_like(mean)
        total = self.count + count
        shift = mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self.squares = self.squares + squares + shift**2 * (self.count * count / total)
        self.count = total

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        if not self.count:
            raise InvalidInput("normalisation", "no samples", "at least one training sample")
        std = np.sqrt(self.squares / self.count)
        # Round-off leaves a constant channel with a tiny variance; dividing by it would blow up noise.
        constant = std <= 1e-7 * np.maximum(np.abs(self.mean), np.finfo(np.float32).tiny)
        return tuple(self.mean.tolist()), tuple(np.where(constant, 1.0, std).tolist())
