"""Lightning is quiet, what training tells is not."""

import logging
from collections.abc import Iterator

import pytest
from lightning.pytorch.utilities import rank_zero_info

from pdeflow.cli.quiet import AboveTheBar, quiet
from pdeflow.training.messages import inform

TOLD = logging.getLogger("pdeflow.training")


@pytest.fixture
def loggers() -> Iterator[None]:
    """The loggers of the process as they are before and after."""
    names = ("pdeflow.training", "lightning", "lightning.pytorch", "lightning.fabric")
    levels = {name: logging.getLogger(name).level for name in names}
    handlers = TOLD.handlers
    TOLD.handlers = []
    yield
    TOLD.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_messages_of_training_are_shown_once(loggers: None, capsys: pytest.CaptureFixture[str]) -> None:
    quiet()
    quiet()
    inform("stage 2 begins.")
    rank_zero_info("a tip")
    assert capsys.readouterr().err == "stage 2 begins.\n"
    assert [type(handler) for handler in TOLD.handlers] == [AboveTheBar]


def test_a_handler_of_the_caller_stays_the_only_one(
    loggers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    own = logging.NullHandler()
    TOLD.addHandler(own)
    quiet()
    inform("stage 2 begins.")
    assert TOLD.handlers == [own]
    assert capsys.readouterr().err == ""
