"""What training tells: messages of the logger ``pdeflow.training``, of the level INFO or WARNING.

Not by Lightning's ``rank_zero_info``: what silences Lightning's own messages would silence these. The
commands show them above the progress bar; a script does with ``logging.basicConfig(level="INFO")``, and
warnings in any case.
"""

import logging

from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger("pdeflow.training")


@rank_zero_only
def inform(message: str) -> None:
    """Tell ``message`` once, from the first of several processes."""
    log.info(message)


@rank_zero_only
def warn(message: str) -> None:
    """Tell ``message`` once, from the first of several processes, also where nobody asked for messages."""
    log.warning(message)
