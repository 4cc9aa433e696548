"""Complex weights are not made real by a trainer in half precision."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import ToyData, toy_trainer

from pdeflow.errors import InvalidInput
from pdeflow.operators import FNO, UNet
from pdeflow.training import TrainingTask


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_spectral_layers_refuse_it(precision: str, tmp_path: Path) -> None:
    task = TrainingTask(FNO(modes=[4, 4], width=4, layers=1))
    trainer = toy_trainer(tmp_path, epochs=1, callbacks=[], precision=precision)
    with pytest.raises(InvalidInput, match=f"(?s)got '{precision}'.*FNO has complex .*-mixed, or 32-true"):
        trainer.fit(task, datamodule=ToyData())
    assert any(weight.is_complex() for weight in task.parameters())


def test_real_weights_take_it(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, epochs=1, callbacks=[], precision="bf16-true")
    trainer.fit(TrainingTask(UNet(dim=2, width=4, depth=1)), datamodule=ToyData())
