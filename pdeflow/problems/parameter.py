"""What an equation depends on."""

from __future__ import annotations

from pdeflow.errors import InvalidInput
from pdeflow.problems.distributions import Distribution


class Parameter:
    """Something an equation depends on, with the distribution that samples draw it from.

    Parameters
    ----------
    distribution
        A number's or a field's.
    positive
        Whether the equation makes sense for positive values only.
    argument
        The key under which the user gave the distribution, for the error that refuses it.
    same_draw_as
        Name of a parameter whose random numbers serve here too: patches, say, that two fields have at the
        same places. By default a parameter has its own.

    Raises
    ------
    InvalidInput
        If it must be positive and the distribution is not.
    """

    def __init__(
        self,
        distribution: Distribution,
        *,
        positive: bool = False,
        argument: str | None = None,
        same_draw_as: str | None = None,
    ) -> None:
        if positive and not distribution.positive:
            raise InvalidInput(
                argument or "distribution of a positive parameter",
                distribution,
                "a distribution whose samples are all positive",
                "Try LogNormalField, or move the range above 0.",
            )
        self.distribution, self.positive, self.same_draw_as = distribution, positive, same_draw_as

    def __str__(self) -> str:
        shared = f", the random numbers those of {self.same_draw_as}" if self.same_draw_as else ""
        return f"{self.distribution}{shared}"
