"""Lightning without its tips and the warnings that do not apply here; the messages of training are shown."""

from __future__ import annotations

import logging
import sys
import warnings

from tqdm import tqdm

# Each is right in general and wrong here.
IRRELEVANT = (
    # Grid data lies in memory or in one HDF5 file: worker processes would cost more than they save.
    r".*does not have many workers.*",
    # A resumed run writes into its own checkpoint folder, on purpose.
    r"Checkpoint directory .* exists and is not empty.*",
    # Inside torch and Lightning, about each other; nothing a user of pdeflow can change.
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*`torch.jit.script(_method)?` is deprecated.*",
    r".*Starting from v1\.9\.0, `tensorboardX` has been removed.*",
    # An epoch of a small data set may have fewer batches than log_every_n_steps: epochs are logged anyway.
    r"The number of training batches .* is smaller than the logging interval.*",
    # The task moves batches itself, because the grid in them is a description and stays where it is.
    r"You have overridden `transfer_batch_to_device` in `LightningModule`.*",
    # A test needs the weights of a checkpoint, not what the callbacks of training kept in it.
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*",
    # The weights of Fourier operators are complex, but compiled products are of their real parts.
    r"Torchinductor does not support code generation for complex operators.*",
    # Lightning's scheduler bookkeeping on resume steps nothing twice.
    r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`.*",
)


class AboveTheBar(logging.Handler):
    """Writes each message on its own line to the standard error, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        tqdm.write(self.format(record), file=sys.stderr)


def quiet() -> None:
    """Silence Lightning's messages (hardware found, seed, tips) and the warnings in `IRRELEVANT`.

    What training tells (`pdeflow.training.messages`) is shown, unless the caller has its own handler for it.
    """
    told = logging.getLogger("pdeflow.training")
    if not told.handlers:
        told.addHandler(AboveTheBar())
        told.setLevel(logging.INFO)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in IRRELEVANT:
        warnings.filterwarnings("ignore", message=pattern)
