"""Whether this machine has the device that was asked for."""

from __future__ import annotations

import torch

from pdeflow.errors import InvalidInput


def check_device(name: str, argument: str = "device") -> None:
    """Refuse a device that this machine lacks, before any work.

    Raises
    ------
    InvalidInput
        Naming the devices that there are.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] * torch.backends.mps.is_available()
        expected = f"a device of this machine: {', '.join(here)}"
        raise InvalidInput(argument, name, expected, "Leave it out, or run: pdeflow doctor") from error
