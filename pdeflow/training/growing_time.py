"""A curriculum in time: the equation is learned on a part of the time that grows.

C. L. Wight, J. Zhao, "Solving Allen-Cahn and Cahn-Hilliard equations using the adaptive physics informed
neural networks", Commun. Comput. Phys. 29 (2021), the first of their approaches in time.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.training.time_course import KEY, StagedTimeCourse


class GrowingTime(StagedTimeCourse):
    r"""In stage k of K all points lie before :math:`t_0 + (k / K)\, (T - t_0)`, moved towards the start.

    Points inside and on sides are as many in every stage; those of an `Observed` stay where they are. The
    domain is a `Box` or a `Cylinder`.

    Parameters
    ----------
    steps
        Of the optimiser in a stage, unless it stalls before.
    stages
        K; in the last one, which has all steps that are left, the time is whole.

    Raises
    ------
    InvalidInput
        If there are not at least two stages and one step.
    """

    remedy: ClassVar[str] = "Give it more epochs, or fewer stages or steps."

    def __init__(self, steps: int, stages: int = 10) -> None:
        if stages < 2:
            raise InvalidInput(f"{KEY}.stages", stages, "at least 2")
        if steps < 1:
            raise InvalidInput(f"{KEY}.steps", steps, "at least 1, of each stage")
        super().__init__(steps)
        self._stages = stages

    @property
    def stages(self) -> int:
        """How many there are."""
        return self._stages

    def place(self, times: Tensor) -> Tensor:
        """See :meth:`TimeCourse.place`."""
        return self.start + (times - self.start) * ((self.stage + 1) / self._stages)

    def progress(self) -> dict[str, Tensor]:
        """See :meth:`Course.progress`."""
        reached = self.start + (self.stop - self.start) * (self.stage + 1) / self._stages
        return {"time reached": torch.tensor(reached)}
