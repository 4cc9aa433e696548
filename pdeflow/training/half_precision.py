"""Whether the weights of an operator can be kept in half precision."""

from __future__ import annotations

from pdeflow.errors import InvalidInput
from pdeflow.operators.operator import Operator


def check_precision(model: Operator, precision: str) -> None:
    """Raise InvalidInput where a trainer would make half-precision numbers of complex weights.

    torch has no complex numbers of that kind: it would keep the real parts.

    Parameters
    ----------
    model
        The operator, not converted yet.
    precision
        The trainer's, such as ``"bf16-true"``.
    """
    if precision in ("16-true", "bf16-true") and any(p.is_complex() for p in model.parameters()):
        mixed = precision.replace("true", "mixed")
        expected = f"another one, for {type(model).__name__} has complex weights"
        raise InvalidInput("trainer.precision", precision, expected, f"Take {mixed}, or 32-true.")
