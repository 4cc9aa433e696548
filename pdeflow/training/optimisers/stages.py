"""One optimiser after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from pdeflow.errors import InvalidInput
from pdeflow.training.messages import inform


@dataclass(frozen=True)
class Stage:
    """One optimiser, and how many steps it makes.

    Parameters
    ----------
    optimizer
        Makes it from the parameters.
    steps
        After which the next stage begins; None for all that are left.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    steps: int | None = None


class Stages(Optimizer):
    """Adam and then SSBroyden, for instance: the next stage begins after so many steps, or when one stalls.

    Any optimiser of torch, of this package or of another one can be a stage; `pip install "pdeflow[soap]"`
    gives ``pytorch_optimizer.SOAP`` (N. Vyas et al., "SOAP: Improving and stabilizing Shampoo using Adam",
    ICLR 2025). All are made at once, so that none is refused later. In the loop a schedule moves the
    learning rate of whichever stage it is, from that stage's own; it means nothing to one without a rate.

    Parameters
    ----------
    params
        The parameters, all of which every stage moves.
    stages
        In their order. All but the last need ``steps``.

    Raises
    ------
    InvalidInput
        If there are none, or a number of steps is missing or below 1.
    """

    def __init__(self, params: Iterable[nn.Parameter], stages: Sequence[Stage]) -> None:
        if not stages:
            raise InvalidInput("optimizer.stages", [], "at least one {optimizer: ..., steps: ...}")
        for number, stage in enumerate(stages):
            needed = number + 1 < len(stages)
            if (needed or stage.steps is not None) and (stage.steps is None or stage.steps < 1):
                expected = "a whole number of at least 1" + ", for another stage follows" * needed
                raise InvalidInput(f"optimizer.stages[{number}].steps", stage.steps, expected)
        self.stages, shared = tuple(stages), list(params)
        super().__init__(shared, {})
        self.optimisers = [stage.optimizer(shared) for stage in stages]
        self._begin(0)

    def _begin(self, number: int) -> None:
        self.number, self.taken = number, 0
        self.current = self.optimisers[number]
        self._show_current()

    def _show_current(self) -> None:
        # What the trainer and a schedule of the learning rate look at and change.
        for group in self.current.param_groups:
            group.setdefault("lr", 1.0)
        self.param_groups, self.state = self.current.param_groups, self.current.state

    @property
    def stalled(self) -> bool:
        """Whether the last stage has no step to make."""
        return self.number + 1 == len(self.stages) and getattr(self.current, "stalled", False)

    @property
    def over(self) -> bool:
        """Whether the last stage has made all of its steps."""
        return self.number + 1 == len(self.stages) and self.taken == self.stages[-1].steps

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Any], **further: Any
    ) -> Any:
        """One step of the current stage; gives what that gives.

        Parameters
        ----------
        closure
            Evaluates the loss and its gradient.
        further
            What else the current optimiser takes.
        """
        result = self.current.step(closure, **further)
        self.taken += 1
        steps = self.stages[self.number].steps
        stalled = getattr(self.current, "stalled", False)
        if self.number + 1 < len(self.stages) and (stalled or self.taken == steps):
            before, cause = type(self.current).__name__, getattr(self.current, "cause", "")
            self._begin(self.number + 1)
            why = cause if stalled else f"has made {steps} steps"
            inform(f"{before} {why}: {type(self.current).__name__} goes on.")
        return result

    def state_dict(self) -> dict[str, Any]:
        """That of the current optimiser, and where the schedule stands."""
        return {**self.current.state_dict(), "stage": self.number, "taken": self.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there.

        Raises
        ------
        InvalidInput
            If there are fewer stages than the state needs.
        """
        state = dict(state_dict)
        number, taken = state.pop("stage", 0), state.pop("taken", 0)
        if number >= len(self.stages):
            expected = f"at least {number + 1}, for the checkpoint is of stage number {number + 1}"
            raise InvalidInput("optimizer.stages", f"{len(self.stages)} stages", expected)
        self._begin(number)
        self.taken = taken
        self.current.load_state_dict(state)
        self._show_current()
