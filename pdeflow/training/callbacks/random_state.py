"""The state of the random generators in every checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback


class RandomState(Callback):
    """Saves the generators of Python, NumPy and torch (CPU and CUDA) and puts them back on resuming.

    Together with the data module's order of samples, which is a function of seed and epoch, a run
    interrupted and resumed draws the numbers that an uninterrupted one would have drawn. States are
    kept as tensors and plain numbers, so the checkpoint loads without unpickling. With several processes the
    states of the first one are saved, and all of them go on from these.
    """

    def state_dict(self) -> dict[str, Any]:
        """The states at this moment, of this process."""
        version, words, gauss = random.getstate()
        generator = np.random.get_state(legacy=False)  # noqa: NPY002  others may draw from it
        assert isinstance(generator, dict)
        inner = generator["state"]
        return {
            "python": {"version": version, "words": torch.tensor(words, dtype=torch.int64), "gauss": gauss},
            "numpy": {
                "key": torch.from_numpy(inner["key"].astype(np.int64)),
                "pos": int(inner["pos"]),
                "has_gauss": int(generator["has_gauss"]),
                "gauss": float(generator["gauss"]),
            },
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the states back. The trainer does this before any data loader draws from them."""
        python, numpy = state_dict["python"], state_dict["numpy"]
        random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
        np.random.set_state(  # noqa: NPY002
            (
                "MT19937",
                numpy["key"].numpy().astype(np.uint32),
                numpy["pos"],
                numpy["has_gauss"],
                numpy["gauss"],
            )
        )
        torch.set_rng_state(state_dict["torch"].cpu())
        if len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([s.cpu() for s in state_dict["cuda"]])
