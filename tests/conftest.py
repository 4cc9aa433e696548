"""Shared by every test: one thread a process, derandomised property tests."""

from __future__ import annotations

import torch
from hypothesis import settings

settings.register_profile("derandomised", derandomize=True, deadline=None)
settings.load_profile("derandomised")
# Two threads inside one small kernel are slower than one; pytest-xdist runs a process a core.
torch.set_num_threads(1)
